"""Several scans one after the other: what goes wrong with one is told, and the others are still done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from tqdm import tqdm

from napari_anomaly.errors import AnomalyError
from napari_anomaly.progress import Progress, drain
from napari_anomaly.scan import Scan

EXPECTED = (AnomalyError, OSError, MemoryError)
"""What a user can do something about; anything else is a mistake of ours and shows its traceback."""

T = TypeVar("T")


@runtime_checkable
class Labelled(Protocol):
    """Something that the user called by a name."""

    @property
    def label(self) -> str:
        """What the user called it."""


Case = TypeVar("Case", bound=Labelled)


def each(cases: Iterable[Case], one: Callable[[Case], None]) -> bool:
    """Do one case after the other, whatever happens to some; return whether all went well."""
    complete = True
    for case in cases:
        try:
            one(case)
        except EXPECTED as error:
            complain(case.label, error)
            complete = False
    return complete


def complain(what: str, error: BaseException) -> None:
    """Say on stderr, in one line, what is wrong with what."""
    text = " ".join(str(error).split()) or "the memory of this machine does not suffice"
    print(f"napari-anomaly: {what + ': ' if what else ''}{text}", file=sys.stderr)


def with_bar(steps: Generator[Progress, None, T], title: str) -> T:
    """Run a piece of work with a bar on stderr, where that is a terminal, and return its result."""
    with tqdm(desc=title, total=1, leave=False, disable=None, file=sys.stderr) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.set_postfix_str(progress.text, refresh=False)
            bar.update(progress.done - bar.n)

        return drain(steps, show)


def once(paths: Iterable[Path]) -> list[Path]:
    """Drop every path to a file that was named before."""
    first: dict[Path, Path] = {}
    for path in paths:
        first.setdefault(path.resolve(), path)
    return list(first.values())


@dataclass(slots=True)
class Names:
    """Names of results that were given out, so that two scans of one name do not overwrite one another."""

    # Some file systems do not tell upper from lower case.
    _taken: set[str] = field(default_factory=set)

    def distinct(self, scan: Scan, label: str, folder: str) -> Scan:
        """Give a scan a name of its own; where another has it, the folder's comes first, and stderr says so.

        Parameters
        ----------
        scan
            What was read.
        label
            What the user called it.
        folder
            Name of the folder it lies in.
        """
        name, count = scan.name, 1
        while name.casefold() in self._taken:
            name = f"{folder}_{scan.name}" + (f"_{count}" if count > 1 else "")
            count += 1
        self._taken.add(name.casefold())
        if name == scan.name:
            return scan
        print(
            f"napari-anomaly: {label}: a second {scan.name}; its results are called {name}", file=sys.stderr
        )
        return replace(scan, name=name)
