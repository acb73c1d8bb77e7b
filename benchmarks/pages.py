"""Pages of results: a command makes the upper part anew, and what people wrote below it stays."""

from pathlib import Path

BY_HAND = (
    "<!-- Below: written by hand. It stays when the tables are made anew; read whether it still holds. -->"
)


def write_page(path: Path, made: str) -> None:
    """Write a page, and keep what stands below `BY_HAND` on the one that is there.

    Parameters
    ----------
    path : Path
        Markdown file.
    made : str
        What the command has to say.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    _, mark, kept = before.partition(BY_HAND)
    path.write_text(made.rstrip() + "\n" + (f"\n{mark}{kept}" if mark else ""), encoding="utf-8")
