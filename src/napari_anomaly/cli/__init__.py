"""The command line, without a screen: detect, evaluate, train, pacs, pseudonymise, info and others.

Exit status: 0 when all was done; 2 when something could not be, with one line on stderr for each file that
says what is wrong with it; 130 when the user stopped it.  With several scans, one that fails leaves nothing
behind and the others are still done.

Each command is a module with `add`, which describes its words, and a function that does the work and returns
whether all of it was done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from napari_anomaly.cli import (
    agreement,
    detect,
    evaluate,
    info,
    memory,
    pacs,
    pseudonymise,
    screen,
    train,
    train_anatomy,
    train_proxy,
)
from napari_anomaly.cli.batch import EXPECTED, complain
from napari_anomaly.extras import torch_needed

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments
        Words after the program's name; those of the process if left out.

    Raises
    ------
    SystemExit
        With status 2, if the words cannot be understood.
    """
    parser = argparse.ArgumentParser(
        prog="napari-anomaly",
        description="Find what is unusual in 3D scans. Research software, not a medical device.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        detect,
        screen,
        evaluate,
        train,
        train_anatomy,
        train_proxy,
        pacs,
        pseudonymise,
        memory,
        agreement,
        info,
    ):
        command.add(commands)
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], bool] = options.run
    try:
        with torch_needed("This"):
            return 0 if run(options) else 2
    except EXPECTED as error:
        complain("", error)
        return 2
    except KeyboardInterrupt:
        print("napari-anomaly: stopped", file=sys.stderr)
        return 130
