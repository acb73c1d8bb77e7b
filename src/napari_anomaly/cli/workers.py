"""Several scans of a worklist at once, on Dask workers of this machine or of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from napari_anomaly.cli.looking import Looking, Outcome, look
from napari_anomaly.errors import ScanError
from napari_anomaly.worklist import Row

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 15
"""Seconds until a scheduler must have answered."""

LIVES = 3
"""A scan whose worker was lost this often is a row with its reason: it may be the scan that kills them."""


def look_at_all(
    looking: Looking, rows: Sequence[Row], *, workers: int = 1, scheduler: str | None = None
) -> Iterator[tuple[Row, Outcome]]:
    """Look at scans, and give them as they are done.

    Parameters
    ----------
    looking : Looking
        How.
    rows : sequence of Row
        Scans.
    workers : int, default 1
        Scans at once on this machine, each in a process of its own; 1 stays in this process.
    scheduler : str, optional
        Address of a Dask scheduler whose workers do it instead.

    Raises
    ------
    ScanError
        If Dask's `distributed` is needed and not installed, or no scheduler answers.
    """
    if scheduler is None and workers <= 1:
        yield from ((row, look(looking, row.path, row.series)) for row in rows)
        return
    with ExitStack() as closing:
        client = closing.enter_context(client_of(workers, scheduler, closing))
        from distributed import as_completed

        places = {
            client.submit(
                look, looking, row.path.absolute(), row.series, pure=False, retries=0, key=f"scan-{row.id}"
            ): row
            for row in rows
        }
        for future in as_completed(list(places)):
            yield places[future], _outcome(future)
            # a result that is kept keeps its memory on the worker
            future.release()


def _outcome(future: object) -> Outcome:
    from distributed import KilledWorker

    try:
        outcome: Outcome = future.result()  # type: ignore[attr-defined]
    except KilledWorker:
        return Outcome(
            reason=f"Its worker was lost {LIVES} times: killed, or out of memory. Try it alone, with --retry."
        )
    return outcome


def client_of(workers: int, scheduler: str | None, closing: ExitStack) -> Client:
    """Start workers on this machine that share its processors, or join a scheduler.

    Parameters
    ----------
    workers : int
        Processes on this machine.
    scheduler : str or None
        Address of a scheduler to join instead.
    closing : ExitStack
        Ends what was started.

    Raises
    ------
    ScanError
        If Dask's `distributed` is not installed, or no scheduler answers.
    """
    try:
        import dask
        from distributed import Client, LocalCluster

        from napari_anomaly.cli.settling import Settling, gpus_here
    except ImportError as error:
        raise ScanError(
            "Several workers need Dask's distributed, which is not installed. Install it with: "
            "pip install 'napari-anomaly[cluster]', or leave --workers and --scheduler out."
        ) from error
    closing.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": LIVES - 1}))
    if scheduler is not None:
        try:
            return Client(scheduler, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise ScanError(
                f"No Dask scheduler answers at {scheduler}. Start one with: dask scheduler"
            ) from error
    cluster = closing.enter_context(
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)
    )
    client = Client(cluster)
    client.register_plugin(Settling(workers, gpus_here()))
    return client
