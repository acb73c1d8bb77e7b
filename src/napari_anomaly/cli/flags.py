"""Flags of the command line, made from the fields of a settings class.

The field is the one place where a default, its bounds and its description stand: the flag repeats none.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from napari_anomaly.errors import AnomalyError

Settings = TypeVar("Settings", bound=BaseModel)


def numbers(text: str) -> tuple[int, ...]:
    """Read numbers that stand behind a flag, ``0`` or ``0,2``; ``all`` gives none.

    Raises
    ------
    argparse.ArgumentTypeError
        If they are none.
    """
    if text == "all":
        return ()
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers: write 0, or 0,2, or all")
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


def add_flags(
    parser: argparse.ArgumentParser, settings: type[BaseModel], *, leave_out: Collection[str] = ()
) -> None:
    """Add one flag for each field: ``min_volume_mm3`` becomes ``--min-volume-mm3``.

    A flag that is not given is absent from the parsed arguments, so that the field's own default counts.

    Parameters
    ----------
    parser
        Gets the flags.
    settings
        Fields may be bool, int, float, str, Path, a Literal of strings or a tuple of any number of these,
        each of them optional too.
    leave_out
        Fields that get no flag.

    Raises
    ------
    TypeError
        If a field is of a kind that a flag cannot carry.
    """
    group = parser.add_argument_group(_title(settings))
    for name, field in settings.model_fields.items():
        if name in leave_out:
            continue
        group.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            default=argparse.SUPPRESS,
            required=field.is_required(),
            help=_help(field),
            **_kind(name, field.annotation),
        )


def settings_from(arguments: Mapping[str, Any], settings: type[Settings]) -> Settings:
    """Make settings of the parsed arguments that are fields of the class.

    Raises
    ------
    AnomalyError
        If a value is out of its bounds; the message names the flag.
    """
    given = {name: value for name, value in arguments.items() if name in settings.model_fields}
    try:
        return settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"--{part} ".replace("_", "-") for part in first["loc"][:1])
        raise AnomalyError(f"{where}{first.get('input')!r}: {first['msg']}.") from error


def _title(settings: type[BaseModel]) -> str:
    return (settings.__doc__ or settings.__name__).strip().splitlines()[0].rstrip(".")


def _help(field: FieldInfo) -> str:
    text = (field.description or "").rstrip(".").replace("%", "%%")
    if field.default in (PydanticUndefined, None, ()):
        return text
    shown = {True: "yes", False: "no"} if isinstance(field.default, bool) else {}
    return f"{text} ({shown.get(field.default, field.default)})"


def _kind(name: str, annotation: Any) -> dict[str, Any]:
    """Say what argparse needs to read one value of a type."""
    choices = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is Literal:
        return {"choices": choices}
    if NoneType in get_args(annotation) and len(choices) == 1:
        return _kind(name, choices[0])
    if get_origin(annotation) is tuple and choices[1:] == [Ellipsis]:
        return {"nargs": "+", **_kind(name, choices[0])}
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if annotation in (int, float, str, Path):
        return {"type": annotation, "metavar": annotation.__name__.upper()}
    raise TypeError(f"No flag can carry the field {name} of type {annotation}; leave it out")
