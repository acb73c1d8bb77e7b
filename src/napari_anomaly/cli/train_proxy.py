"""``napari-anomaly train-proxy``: a second opinion from normal scans."""

from __future__ import annotations

import argparse
from typing import Any

from napari_anomaly.cli.batch import with_bar
from napari_anomaly.cli.flags import add_flags, settings_from
from napari_anomaly.training.proxy_settings import ProxySettings


def add(commands: Any) -> None:
    """Describe the words of this command."""
    parser = commands.add_parser(
        "train-proxy",
        help="train a second opinion on normal scans",
        description="Train ProxyAno, the second opinion beside the detector, on scans without anomalies, or on label "
        "maps that such scans are made of. Training that was stopped goes on where it was.",
    )
    add_flags(parser, ProxySettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> bool:
    """Train, and say where the weights are."""
    from napari_anomaly.training.second_opinion import train_proxy

    path = with_bar(train_proxy(settings_from(vars(options), ProxySettings)), "training")
    print(f"The weights of the second opinion are in {path}.")
    return True
