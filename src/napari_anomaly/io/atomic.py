"""Files that appear whole and together, or not at all."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_anomaly.errors import ScanError

__all__ = ["together"]


@contextmanager
def together(*, keep: Iterable[Path] = ()) -> Iterator[Callable[[Path], Path]]:
    """Write some files so that all of them appear, or none.

    The block gets a function: given the path that a file shall have, it answers where to write it for now, in
    the same folder. When the block ends, every file is flushed to the disk and takes its name; when it fails,
    all is as before.

    Parameters
    ----------
    keep
        Files that must not be overwritten.

    Raises
    ------
    ScanError
        If a path is one of those to keep, or the disk refuses.
    """
    staged: dict[Path, Path] = {}
    kept = tuple(keep)

    def stage(path: Path) -> Path:
        if any(_same(path, other) for other in kept):
            raise ScanError(f"{path} is the scan itself, which is never overwritten. Choose another name.")
        # Not tempfile: its files are for their owner alone, and would stay so under their final name.
        staged[path] = path.with_name(f".{secrets.token_hex(8)}.part")
        return staged[path]

    try:
        yield stage
        for part in staged.values():
            _flush(part)
        _rename(staged)
    except OSError as error:
        place = next(iter(staged), Path()).parent
        raise ScanError(
            f"Nothing was written to {place}: {error.strerror or error}. "
            "Check that the folder is there, may be written to and has space."
        ) from error
    finally:
        for part in staged.values():
            part.unlink(missing_ok=True)


def _rename(staged: dict[Path, Path]) -> None:
    """Give all files their names; take it back if one of them cannot have it."""
    before: dict[Path, Path | None] = {}
    try:
        for path, part in staged.items():
            before[path] = _backup(path)
            os.replace(part, path)
    except OSError:
        for path, old in before.items():
            if old is not None:
                os.replace(old, path)
            elif not staged[path].exists():
                path.unlink(missing_ok=True)
        raise
    for old in before.values():
        if old is not None:
            old.unlink()
    for folder in {path.parent for path in staged}:
        _flush(folder)


def _backup(path: Path) -> Path | None:
    if not path.exists():
        return None
    old = path.with_name(f".{secrets.token_hex(8)}.old")
    try:
        os.link(path, old)
    except OSError:  # file systems without hard links
        shutil.copy2(path, old)
    return old


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot flush a folder
        return
    # A file must be open for writing where flushing follows Windows' rules; a folder cannot be.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _same(path: Path, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, other)
    return path.absolute() == other.absolute()
