"""Files that several windows and programs share: SQLite, of a known layout or not at all."""

import sqlite3
from pathlib import Path

__all__ = ["ForeignFileError", "open_database"]


class ForeignFileError(Exception):
    """The file is of another kind, or of another version."""


def open_database(file: Path, *, schema: str, version: int) -> sqlite3.Connection:
    """Open a database, and make it where there is none.

    Parameters
    ----------
    file
        Its folder is made where it is missing.
    schema
        Statements that make it, each ended by a semicolon.
    version
        Of the layout.

    Raises
    ------
    ForeignFileError
        If the file holds something else.
    OSError, sqlite3.Error
        If it cannot be opened.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(file, timeout=10.0, isolation_level=None)
    try:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found not in (0, version) or (found == 0 and tables):
            raise ForeignFileError(file)
        if found == 0:
            # As one step: a file that was half made would be taken for one of another kind.
            database.executescript(f"BEGIN; {schema} PRAGMA user_version = {version}; COMMIT;")
    except BaseException:
        database.close()
        raise
    return database
