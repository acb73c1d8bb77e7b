"""``napari-anomaly train``: a detector from normal scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_anomaly.cli.batch import with_bar
from napari_anomaly.cli.flags import add_flags, settings_from
from napari_anomaly.journal import normal_after_all
from napari_anomaly.training.settings import TrainSettings


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "train",
        help="train a detector on normal scans",
        description="Train a detector on scans without anomalies, or on label maps that such scans are made "
        "of. Training that was stopped goes on where it was.",
    )
    add_flags(parser, TrainSettings)
    parser.add_argument(
        "--read",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders of scans that were read, with the reviews beside them: those of which everything that was judged "
        "is a false positive, and nothing was drawn, are learned as normal after all",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Train, and say where the detector is."""
    from napari_anomaly.training.train import train

    settings = settings_from(vars(options), TrainSettings)
    if options.read:
        found = normal_after_all(options.read)
        print(f"{len(found)} scans that were read are normal after all.")
        settings = settings.model_copy(update={"normal_scans": (*settings.normal_scans, *found)})
    path = with_bar(train(settings), "training")
    print(f"The detector is in {path}. Use it with: napari-anomaly detect SCAN -o DIR --detector {path}")
    return True
