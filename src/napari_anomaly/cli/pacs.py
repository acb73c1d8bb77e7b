"""``napari-anomaly pacs``: search the hospital's archive, fetch series, store results."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from getpass import getpass
from pathlib import Path
from typing import Any

from napari_anomaly import pacs
from napari_anomaly.cli.batch import with_bar
from napari_anomaly.cli.pseudonymise import add_pseudonyms, pseudonyms_of
from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address, pacs_module

_PLACE = "NAPARI_ANOMALY_ARCHIVE"
_COLUMNS = ("date", "patient", "ID", "modality", "number", "description", "files", "series")


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "pacs",
        help="search the hospital's archive, fetch series, store results",
        description="Talk to an archive over DICOMweb (https://...) or DIMSE (dicom://TITLE@host:port). Passwords "
        f"and tokens live in the system's keyring. The address may stand in {_PLACE}.",
    )
    tasks = parser.add_subparsers(required=True, metavar="TASK")
    for name, words, work in (
        ("search", "list series by date, modality, patient", _search),
        ("fetch", "copy series into folders", _fetch),
        ("store", "put DICOM files into the archive", _store),
        ("login", "keep a password or a token in the system's keyring", _login),
        ("logout", "take it out again", _logout),
    ):
        task = tasks.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        task.add_argument("--archive", default=os.environ.get(_PLACE, ""), metavar="URL", help="its address")
        _ADD[name](task)
        task.set_defaults(run=work)


def _add_way(task: argparse.ArgumentParser) -> None:
    task.add_argument("--ca", type=Path, metavar="FILE", help="certificates (PEM) to trust")
    task.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="our own certificate with its key (PEM), for an archive that asks for one, and for --move over TLS",
    )
    task.add_argument(
        "--calling", default="NAPARIANOMALY", metavar="TITLE", help="our own title, for DIMSE (%(default)s)"
    )
    task.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="longest wait for an answer (%(default)s)",
    )


def _add_query(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--patient-name", default="", metavar="NAME", help="Family^Given; * stands for any letters"
    )
    task.add_argument("--patient-id", default="", metavar="ID", help="the hospital's number")
    task.add_argument("--dates", default="", metavar="DAY[-DAY]", help="20240229 or 20240201-20240229")
    task.add_argument("--modality", default="", metavar="CT|MR|PT", help="kind of scan")
    task.add_argument("--accession", default="", metavar="NUMBER", help="accession number")
    task.add_argument("--study", default="", metavar="UID", help="study instance UID")
    task.add_argument("--series", default="", metavar="UID", help="series instance UID")
    _add_way(task)


def _add_search(task: argparse.ArgumentParser) -> None:
    _add_query(task)
    task.add_argument("--json", action="store_true", help="write JSON")


def _add_fetch(task: argparse.ArgumentParser) -> None:
    _add_query(task)
    task.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the series")
    task.add_argument(
        "--move",
        type=int,
        metavar="PORT",
        help="for a DIMSE archive that refuses C-GET: have it send the series to this port of ours (C-MOVE), which "
        "it must know together with our title",
    )
    add_pseudonyms(task, "write the series")


def _add_store(task: argparse.ArgumentParser) -> None:
    task.add_argument("files", nargs="+", type=Path, metavar="FILE", help="DICOM files, or folders of *.dcm")
    _add_way(task)


def _add_login(task: argparse.ArgumentParser) -> None:
    task.add_argument("--user", default="", metavar="NAME", help="for a password; a token has none")


def _add_nothing(task: argparse.ArgumentParser) -> None:
    """An address is all that is needed."""


_ADD: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "search": _add_search,
    "fetch": _add_fetch,
    "store": _add_store,
    "login": _add_login,
    "logout": _add_nothing,
}


def _archive(options: argparse.Namespace) -> pacs.Archive:
    return pacs.connect(
        options.archive,
        ca=options.ca,
        certificate=options.certificate,
        calling=options.calling,
        timeout=options.timeout,
        move_port=getattr(options, "move", None),
    )


def _query(options: argparse.Namespace) -> pacs.Query:
    names = [each.name for each in fields(pacs.Query)]
    return pacs.Query(**{name: getattr(options, name) for name in names})


def _search(options: argparse.Namespace) -> bool:
    """Print the series that were found; names go to whoever reads the screen, and nowhere else."""
    found = _archive(options).search(_query(options))
    if options.json:
        print(json.dumps([match.to_dict() for match in found], indent=1))
    else:
        print("\n".join(_table(found)))
    return True


def _table(found: list[pacs.Match]) -> list[str]:
    rows = [_COLUMNS] + [
        (
            match.study_date,
            match.patient_name,
            match.patient_id,
            match.modality,
            match.number,
            match.description,
            str(match.images or ""),
            match.series,
        )
        for match in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _fetch(options: argparse.Namespace) -> bool:
    """Fetch the series that were found."""
    query = _query(options)
    if query == pacs.Query():
        raise ArchiveError(
            "Everything in the archive would be fetched. Say which series: by patient, date, --series."
        )
    archive = _archive(options)
    found = archive.search(query)
    if not found:
        raise ArchiveError(
            "The archive holds no such series. Look at what it holds with: napari-anomaly pacs search"
        )
    pseudonyms = pseudonyms_of(options.pseudonymise, shift_dates=options.shift_dates)
    steps = pacs.fetching(archive, found, options.out, pseudonyms=pseudonyms)
    for folder in with_bar(steps, "fetching"):
        print(folder)
    return True


def _store(options: argparse.Namespace) -> bool:
    """Store files, and say how many."""
    files = [
        file for path in options.files for file in (sorted(path.glob("*.dcm")) if path.is_dir() else [path])
    ]
    if not files:
        raise ArchiveError("There is no file to store. Name DICOM files, or a folder that holds *.dcm.")
    print(f"{with_bar(pacs.storing(_archive(options), files), 'storing')} files stored")
    return True


def _login(options: argparse.Namespace) -> bool:
    """Ask for a password or a token, or read it from a pipe, and keep it."""
    address, credentials = Address.of(options.archive), pacs_module("credentials")
    credentials.refuse_in_the_open(address)
    if sys.stdin.isatty():
        secret = getpass("Password: " if options.user else "Token: ")
    else:
        secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        raise ArchiveError("Nothing was given, and nothing was kept.")
    credentials.keep(address, credentials.Credential(secret, options.user))
    print("Kept in the system's keyring.")
    return True


def _logout(options: argparse.Namespace) -> bool:
    """Take a password or a token out of the keyring."""
    there = pacs_module("credentials").forget(Address.of(options.archive))
    print("Taken out of the system's keyring." if there else "There was none.")
    return True
