import os
import stat

import pytest
from pydicom.uid import UID

from napari_anomaly.errors import ScanError
from napari_anomaly.io import Pseudonyms

KEY = b"sixteen bytes or more"


def test_one_key_gives_one_pseudonym_and_another_gives_others():
    one, again, other = Pseudonyms(KEY), Pseudonyms(KEY), Pseudonyms(KEY + b"!")
    for ask in (
        lambda each: each.patient("ID4711"),
        lambda each: each.uid("1.2.3"),
        lambda each: each.day("20240229", "ID4711"),
    ):
        assert ask(one) == ask(again) != ask(other)
    assert one.patient("ID4711") != one.patient("ID4712")
    assert UID(one.uid("1.2.3")).is_valid
    assert "sixteen" not in repr(one)


def test_days_of_a_patient_keep_their_distance():
    one = Pseudonyms(KEY)
    first, second = one.day("20240228", "ID4711"), one.day("20240301123045.5+0100", "ID4711")
    assert second[8:] == "123045.5+0100"
    assert first < "20231201"
    from datetime import date

    apart = date.fromisoformat(second[:8]) - date.fromisoformat(first)
    assert apart.days == 2
    assert one.day("20240228", "ID4712") != first


@pytest.mark.parametrize("text", ["", "2024", "20241399", "yesterday", "00010101"])
def test_what_is_no_day_is_not_moved(text):
    assert Pseudonyms(KEY).day(text, "ID4711") == ""


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "key"
    one = Pseudonyms.read(path)
    assert Pseudonyms.read(path) == one
    assert len(one.key) == 64
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_that_are_none(tmp_path):
    (tmp_path / "short").write_text("secret\n")
    with pytest.raises(ScanError, match="6 bytes can be guessed"):
        Pseudonyms.read(tmp_path / "short")
    with pytest.raises(ScanError, match="cannot be read or made"):
        Pseudonyms.read(tmp_path / "none" / "key")
