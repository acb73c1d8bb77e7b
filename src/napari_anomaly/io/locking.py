"""A file that only one program at a time may write to; the system lets go of it when the program ends."""

import errno
import sys

__all__ = ["hold"]

# Far behind the end of any file of ours: Windows locks bytes, and others must still be able to read.
_PLACE = 1 << 40


def hold(file: int) -> bool:
    """Take a file for this program alone, until the file is closed or the program ends, however it ends.

    Parameters
    ----------
    file
        Descriptor of the open file.

    Returns
    -------
    bool
        False if another program has it. True also where the file system knows no locks.
    """
    try:
        _lock(file)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


if sys.platform == "win32":
    import msvcrt
    import os

    def _lock(file: int) -> None:
        here = os.lseek(file, 0, os.SEEK_CUR)
        os.lseek(file, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, here, os.SEEK_SET)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
