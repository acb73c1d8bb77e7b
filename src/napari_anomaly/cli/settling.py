"""What a worker of this machine does before its first scan: it takes a graphics card and its share of the processors.

Needs the extra ``cluster``.
"""

from __future__ import annotations

import os

from distributed import Worker, WorkerPlugin

from napari_anomaly.cli.looking import share_processors

__all__ = ["Settling", "gpus_here", "take_gpu"]


class Settling(WorkerPlugin):
    """Has every worker keep to a graphics card and a share of the processors, one that replaces a lost one, too.

    Parameters
    ----------
    workers : int
        How many there are on this machine.
    gpus : tuple of str
        See `take_gpu`.
    """

    name = "napari-anomaly"

    def __init__(self, workers: int, gpus: tuple[str, ...]) -> None:
        self.workers = workers
        self.gpus = gpus

    def setup(self, worker: Worker) -> None:
        """Do it; workers of one machine are numbered from 0, and a replacement has the number of the lost one."""
        take_gpu(int(worker.name), self.gpus)
        share_processors(self.workers)


def take_gpu(number: int, gpus: tuple[str, ...]) -> str:
    """Have this process use one graphics card, another one than its neighbours; call it before anything computes.

    Parameters
    ----------
    number : int
        Which worker this is, from 0.
    gpus : tuple of str
        Names or numbers of the cards, as ``CUDA_VISIBLE_DEVICES`` counts them; none on a machine without.

    Returns
    -------
    str
        Which one it is; empty for none.
    """
    if not gpus:
        return ""
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return os.environ["CUDA_VISIBLE_DEVICES"]


def gpus_here() -> tuple[str, ...]:
    """Give the graphics cards that this process may use, by what ``CUDA_VISIBLE_DEVICES`` calls them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip())
    return tuple(str(number) for number in range(torch.cuda.device_count()))
