"""Flags follow the fields of a settings class, and nothing else."""

import argparse
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from napari_anomaly.cli.flags import add_flags, numbers, settings_from
from napari_anomaly.errors import AnomalyError


class Oven(BaseModel, frozen=True, extra="forbid"):
    """How to bake.

    More words that are no title.
    """

    degrees: float = Field(default=180, gt=0, le=300, description="how hot, 100 % sure.")
    minutes: int | None = Field(default=None, description="how long")
    mode: Literal["fan", "grill"] = "fan"
    door_open: bool = False
    recipe: Path | None = None
    trays: tuple[int, ...] = ()


def parsed(*words, **options):
    parser = argparse.ArgumentParser()
    add_flags(parser, Oven, **options)
    return settings_from(vars(parser.parse_args(words)), Oven)


def test_without_flags_the_fields_own_defaults_count():
    assert parsed() == Oven()


def test_every_kind_of_field_is_read():
    read = parsed(
        "--degrees", "220.5", "--minutes", "7", "--mode", "grill", "--door-open", "--recipe", "a/b.txt"
    )
    assert read == Oven(degrees=220.5, minutes=7, mode="grill", door_open=True, recipe=Path("a/b.txt"))
    assert not parsed("--no-door-open").door_open


def test_a_tuple_takes_any_number_of_words():
    assert parsed("--trays", "1", "3", "2").trays == (1, 3, 2)
    assert parsed().trays == ()


def test_the_flag_is_named_when_a_value_is_out_of_bounds():
    with pytest.raises(AnomalyError, match=r"--degrees 900.0: Input should be less than or equal to 300"):
        parsed("--degrees", "900")


def test_choices_are_those_of_the_type(capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed("--mode", "steam")
    assert "fan" in capsys.readouterr().err


def test_help_shows_description_and_default():
    parser = argparse.ArgumentParser()
    add_flags(parser, Oven)
    text = parser.format_help()
    assert "How to bake:" in text
    assert "how hot, 100 % sure (180" in text
    assert "(no)" in text


def test_a_field_can_be_left_out():
    parser = argparse.ArgumentParser()
    add_flags(parser, Oven, leave_out={"door_open"})
    assert "--door-open" not in parser.format_help()


def test_other_arguments_are_no_settings():
    assert settings_from({"degrees": 200, "scans": ["a"]}, Oven) == Oven(degrees=200)


def test_a_required_field_is_a_required_flag(capsys):
    class Must(BaseModel):
        """Needs it."""

        out: Path

    parser = argparse.ArgumentParser()
    add_flags(parser, Must)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([])
    assert "--out" in capsys.readouterr().err


def test_a_kind_that_no_flag_can_carry_is_a_mistake():
    class Nested(BaseModel):
        """Holds another."""

        oven: Oven = Oven()

    with pytest.raises(TypeError, match="leave it out"):
        add_flags(argparse.ArgumentParser(), Nested)


def test_numbers_behind_a_flag():
    assert numbers("0") == (0,)
    assert numbers("2,0,2") == (2, 0)
    assert numbers("all") == ()
    for wrong in ("", "1,", "-1", "one", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError, match="write 0, or 0,2, or all"):
            numbers(wrong)
