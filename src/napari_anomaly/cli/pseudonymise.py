"""``napari-anomaly pseudonymise``: copies of DICOM series without the patient."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from napari_anomaly import io
from napari_anomaly.cli.batch import once, with_bar
from napari_anomaly.errors import AnomalyError
from napari_anomaly.io import Pseudonyms
from napari_anomaly.io.formats import extra_module


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "pseudonymise",
        help="copy DICOM series without the patient",
        description="Copy DICOM series without the patient's name, number, days, UIDs, free words and private "
        "elements. With the same key the same patient gets the same pseudonym in every run.",
    )
    parser.add_argument("scans", nargs="+", type=Path, metavar="SERIES", help="DICOM folder, file or .zip")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the copies")
    parser.add_argument(
        "--key",
        type=Path,
        required=True,
        metavar="FILE",
        help="the secret, to be kept; made if it is not there",
    )
    _add_shift(parser)
    parser.set_defaults(run=run)


def add_pseudonyms(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the words with which what another command writes is pseudonymised."""
    parser.add_argument(
        "--pseudonymise",
        type=Path,
        metavar="KEY",
        help=f"{what} without the patient; KEY is the file with the secret, made if it is not there",
    )
    _add_shift(parser)


def _add_shift(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shift-dates",
        action="store_true",
        help="move days of examinations by a number of days that each patient has, in place of taking them out",
    )


def pseudonyms_of(key: Path | None, *, shift_dates: bool) -> Pseudonyms | None:
    """Read the key; None where none is named. A key that is new is told on stderr."""
    if key is None:
        return None
    new = not key.exists()
    pseudonyms = Pseudonyms.read(key, shift_dates=shift_dates)
    if new:
        print(
            f"napari-anomaly: a new key was made: {key}. Keep it, and keep it secret: with it the same patients get "
            "the same pseudonyms again.",
            file=sys.stderr,
        )
    return pseudonyms


def run(options: argparse.Namespace) -> bool:
    """Copy all series; return whether nothing was left out."""
    copying = extra_module("dicom_copies").copying
    pseudonyms = pseudonyms_of(options.key, shift_dates=options.shift_dates)
    copies = with_bar(copying(once(options.scans), options.out, pseudonyms), "copying")
    for folder in copies.folders:
        print(folder)
        if _drawn(folder):
            print(
                f"napari-anomaly: look at {folder}: the same pixels are the brightest in nearly every slice, as where "
                "words are burnt in, and they are in the copy, too.",
                file=sys.stderr,
            )
    for reason in copies.left_out:
        print(f"napari-anomaly: left out: {reason}", file=sys.stderr)
    return not copies.left_out


def _drawn(folder: Path) -> bool:
    """Look whether words seem to be drawn into the slices of a copy; what is no scan has none that repeat."""
    try:
        return bool(io.read_scan(folder, volume=0).source.details["drawn"])
    except AnomalyError:
        return False
