"""``napari-anomaly agreement``: what several readers said of one scan, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_anomaly.agreement import Agreement, agreement_as_installed, read_review, write_csv


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
    found = agreement_as_installed(read_review(path) for path in options.reviews)
    _print(found)
    if options.csv is not None:
        print(write_csv(found, options.csv))
    return True


def _print(found: Agreement) -> None:
    rows = found.rows()
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    for line in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    for sentence in (*found.sentences(), *found.notes):
        print(sentence)
