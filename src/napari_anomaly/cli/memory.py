"""``napari-anomaly memory``: what is remembered of rejected findings."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_anomaly.io.atomic import together
from napari_anomaly.recall import Memory, Remembered

_COLUMNS = ("said", "verdict", "reason", "mm3", "anatomy", "scan", "detector", "reader")


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "memory",
        help="list, export or empty what is remembered of rejected findings",
        description="Findings that you reject are remembered, and what looks like them is marked in the dock "
        "Findings. This lists them, writes them to a file, forgets them, or switches the memory off and on.",
    )
    acts = parser.add_subparsers(required=True, metavar="list|export|clear|off|on")
    for name, words, run in (
        ("list", "one line for each finding", _list),
        ("export", "write everything to a JSON file", _export),
        ("clear", "forget everything", _clear),
        ("off", "remember and mark nothing from now on", _off),
        ("on", "remember and mark again", _on),
    ):
        act = acts.add_parser(name, help=words, description=words)
        act.add_argument(
            "--memory", type=Path, metavar="FILE", help="another file than that in your data folder"
        )
        if name == "export":
            act.add_argument("file", type=Path, metavar="JSON", help="where to")
        act.set_defaults(run=run)


def _list(options: argparse.Namespace) -> bool:
    with Memory(options.memory) as memory:
        remembered, on = memory.remembered(), memory.on
    print(f"{memory.file}: {len(remembered)} findings, {'on' if on else 'off'}")
    if remembered:
        _print_table([_COLUMNS, *(_row(one) for one in remembered)])
    return True


def _export(options: argparse.Namespace) -> bool:
    with Memory(options.memory) as memory:
        text = memory.to_json()
    with together() as stage:
        stage(options.file).write_text(text, encoding="utf-8")
    print(options.file)
    return True


def _clear(options: argparse.Namespace) -> bool:
    with Memory(options.memory) as memory:
        print(f"{memory.file}: {memory.clear()} findings forgotten")
    return True


def _off(options: argparse.Namespace) -> bool:
    return _switch(options, on=False)


def _on(options: argparse.Namespace) -> bool:
    return _switch(options, on=True)


def _switch(options: argparse.Namespace, *, on: bool) -> bool:
    with Memory(options.memory) as memory:
        memory.on = on
        print(f"{memory.file}: {'on' if on else 'off'}; {len(memory.remembered())} findings are kept")
    return True


def _row(one: Remembered) -> tuple[str, ...]:
    where = " ".join(one.descriptor.anatomy)
    volume = f"{10 ** one.descriptor.numbers[0]:.0f}"
    whose = one.reviewed
    return (
        one.said[:16].replace("T", " "),
        one.verdict.value.replace("_", " "),
        one.reason,
        volume,
        where,
        whose.scan_sha256[:12],
        whose.detector_sha256[:12],
        whose.reader,
    )


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    lines = list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
