"""``napari-anomaly train-anatomy``: the network that says where a finding lies."""

from __future__ import annotations

import argparse
from typing import Any

from napari_anomaly.cli.batch import with_bar
from napari_anomaly.cli.flags import add_flags, settings_from
from napari_anomaly.training.anatomy_settings import AnatomySettings


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "train-anatomy",
        help="train the network that says where a finding lies",
        description="Train the network that labels the structures of a brain in any MR contrast, on label maps. "
        "Training that was stopped goes on where it was.",
    )
    add_flags(parser, AnatomySettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Train, and say where the weights are."""
    from napari_anomaly.training.anatomy import train_anatomy

    path = with_bar(train_anatomy(settings_from(vars(options), AnatomySettings)), "training")
    print(f"The anatomy network is in {path}.")
    return True
