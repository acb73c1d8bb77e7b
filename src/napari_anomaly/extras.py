"""Parts of the package that need an extra, or PyTorch: a clear word where it is missing."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from napari_anomaly.errors import MissingExtra

__all__ = ["load", "torch_needed"]


def load(name: str, libraries: Collection[str], *, extra: str, what: str) -> Any:
    """Load a module of this package that needs an extra.

    Parameters
    ----------
    name
        Without ``napari_anomaly.``
    libraries
        What the extra brings, by the names that are imported.
    extra
        Its name.
    what
        What needs it, in words that begin a sentence.

    Raises
    ------
    MissingExtra
        If one of the libraries is not installed.
    """
    try:
        return import_module(f"napari_anomaly.{name}")
    except ModuleNotFoundError as error:
        if error.name not in libraries:
            raise
        raise MissingExtra(
            f"{what} needs {error.name}, which is not installed. "
            f"Install it with: pip install 'napari-anomaly[{extra}]'"
        ) from error


@contextmanager
def torch_needed(what: str) -> Iterator[None]:
    """Say in words that PyTorch is missing, where something turns out to need it.

    Parameters
    ----------
    what
        What needs it, in words that begin a sentence.

    Raises
    ------
    MissingExtra
        If PyTorch is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise MissingExtra(
            f"{what} needs PyTorch, which is not installed. Install it with: pip install torch. "
            "What was found elsewhere can be read without it."
        ) from error
