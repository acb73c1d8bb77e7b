"""``napari-anomaly train``: a detector from normal scans."""

from __future__ import annotations

import argparse
from typing import Any

from napari_anomaly.cli.batch import with_bar
from napari_anomaly.cli.flags import add_flags, settings_from
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Train, and say where the detector is."""
    from napari_anomaly.training.train import train

    path = with_bar(train(settings_from(vars(options), TrainSettings)), "training")
    print(f"The detector is in {path}. Use it with: napari-anomaly detect SCAN -o DIR --detector {path}")
    return True
