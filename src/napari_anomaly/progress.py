"""Long work as a generator that yields how far it is and returns its result.

The core knows neither threads nor callbacks: a command line drains the generator with a bar, a window hands
it to a worker, and closing it cancels the work.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

__all__ = ["Progress", "Steps", "drain"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work is.

    Parameters
    ----------
    done
        Units finished so far (tiles, steps, scans).
    total
        Units in all; 0 when not known yet.
    text
        What is being done, in words for the user.
    """

    done: int
    total: int
    text: str

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1; 0 while the total is not known."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


Steps: TypeAlias = Generator[Progress, None, T]
"""A piece of work: yields `Progress`, returns its result."""


def drain(steps: Generator[Progress, None, T], on_progress: Callable[[Progress], object] | None = None) -> T:
    """Run a piece of work to its end and give back its result.

    Parameters
    ----------
    steps
        The generator to run.
    on_progress
        Called with every `Progress`; what it returns is ignored. An exception that it raises closes the work.

    Returns
    -------
    T
        What the generator returned.
    """
    try:
        while True:
            progress = next(steps)
            if on_progress is not None:
                on_progress(progress)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()
