"""Several cases, one of which fails; and names that must not meet."""

from dataclasses import dataclass

import numpy as np
import pytest

from napari_anomaly.cli.batch import Names, complain, each, once, with_bar
from napari_anomaly.errors import ScanError
from napari_anomaly.progress import Progress
from napari_anomaly.scan import Scan


@dataclass
class Word:
    label: str


def test_one_that_fails_is_told_in_one_line_and_the_others_are_done(capsys):
    done = []

    def one(word):
        if word.label == "b":
            raise ScanError("It is\ndamaged.")
        done.append(word.label)

    assert not each([Word("a"), Word("b"), Word("c")], one)
    assert done == ["a", "c"]
    assert capsys.readouterr().err == "napari-anomaly: b: It is damaged.\n"
    assert each([Word("a")], one)


def test_our_own_mistakes_are_not_hidden():
    def one(word):
        raise ZeroDivisionError("a mistake of ours")

    with pytest.raises(ZeroDivisionError, match="of ours"):
        each([Word("a")], one)


def test_an_error_without_words_is_a_lack_of_memory(capsys):
    complain("big.nii", MemoryError())
    assert capsys.readouterr().err == "napari-anomaly: big.nii: the memory of this machine does not suffice\n"


def test_a_file_that_is_named_twice_is_done_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    first = tmp_path / "b"
    assert once([first, tmp_path / "a", tmp_path / "." / "b"]) == [first, tmp_path / "a"]


def scan(name):
    return Scan.from_array(np.zeros((1, 1, 1)), name=name)


def test_equal_names_are_told_apart_by_the_folder(capsys):
    names = Names()
    given = [names.distinct(scan(name), "x.nii", "mr7").name for name in ("head", "Head", "head", "other")]
    assert given == ["head", "mr7_Head", "mr7_head_2", "other"]
    assert "x.nii: a second head; its results are called mr7_head_2" in capsys.readouterr().err


def test_work_with_a_bar_gives_back_its_result(capsys):
    def work():
        yield Progress(1, 2, "half")
        return "done"

    assert with_bar(work(), "work") == "done"
    assert capsys.readouterr().err == ""  # no terminal, no bar
