"""``napari-anomaly agreement``: what several readers said of one scan, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_anomaly.agreement import Agreement, Pair, agreement, read_review, write_csv
from napari_anomaly.errors import MissingExtra


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "agreement",
        help="compare the reviews of several readers of one scan",
        description="Compare what several readers said of the findings of one scan: each finding with each "
        "verdict, how often every two readers agree, and Cohen's kappa.",
    )
    parser.add_argument(
        "reviews", nargs="+", type=Path, metavar="REVIEW", help="a journal (.jsonl), or an exported JSON"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table to this file, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Print the table; return whether all of it could be computed."""
    reviews = [read_review(path) for path in options.reviews]
    missing = ""
    try:
        found = agreement(reviews)
    except MissingExtra as error:
        found, missing = agreement(reviews, kappa=False), str(error)
    _print(found)
    if missing:
        print(missing)
    if options.csv is not None:
        print(write_csv(found, options.csv))
    return True


def _print(found: Agreement) -> None:
    rows = found.rows()
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    for line in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    for pair in found.pairs:
        print(_words(pair))
    for note in found.notes:
        print(note)


def _words(pair: Pair) -> str:
    names = f"{pair.first} and {pair.second}"
    if pair.share is None:
        return f"{names}: no finding was judged by both"
    kappa = "not defined" if pair.kappa is None else f"{pair.kappa:.2f}"
    return (
        f"{names}: the same verdict on {pair.same} of {pair.both} findings ({pair.share:.0%}), kappa {kappa}"
    )
