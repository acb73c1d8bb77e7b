"""Agreement: what several readers said of the findings of one scan, side by side, and how far they agree."""

import csv
import io
import json
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from napari_anomaly.errors import MissingExtra, ReviewError, StaleReview
from napari_anomaly.io.atomic import together
from napari_anomaly.journal import read_journal
from napari_anomaly.review import Review, Verdict

__all__ = ["Agreement", "Pair", "agreement", "agreement_csv", "read_review", "write_csv"]

_WORDS = {Verdict.REAL: "real", Verdict.FALSE_POSITIVE: "false positive", Verdict.UNSURE: "unsure", None: ""}


@dataclass(frozen=True, slots=True)
class Pair:
    """How far two readers agree on the findings that both have judged.

    Parameters
    ----------
    first, second
        The readers.
    both
        Findings that both have judged.
    same
        Those of them with one verdict.
    kappa
        Cohen's kappa; None where it is not defined, because nothing was judged by both or both gave one and the
        same verdict to everything, and where scikit-learn is not installed.
    """

    first: str
    second: str
    both: int
    same: int
    kappa: float | None

    @property
    def share(self) -> float | None:
        """Share of the findings that both have judged on which they agree; None where there are none."""
        return self.same / self.both if self.both else None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What several readers said of one scan.

    Parameters
    ----------
    readers
        Their names, in the order of their reviews.
    findings
        Ids of all findings that somebody has judged.
    verdicts
        For each finding what each reader said; None for nothing.
    pairs
        Each two readers.
    notes
        What must be known of the comparison.
    """

    readers: tuple[str, ...]
    findings: tuple[int, ...]
    verdicts: tuple[tuple[Verdict | None, ...], ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """Give the table in words: titles, then one row for each finding."""
        titles = ("finding", *self.readers, "agree")
        return [
            titles,
            *(self._row(key, said) for key, said in zip(self.findings, self.verdicts, strict=True)),
        ]

    def _row(self, key: int, said: Sequence[Verdict | None]) -> tuple[str, ...]:
        given = [verdict for verdict in said if verdict is not None]
        agree = "" if len(given) < 2 else ("yes" if len(set(given)) == 1 else "no")
        return (str(key), *(_WORDS[verdict] for verdict in said), agree)


def read_review(path: Path) -> Review:
    """Read what somebody said of a scan: a journal, a review, or what Everything (JSON) has written.

    Raises
    ------
    ReviewError
        If it is none of these.
    """
    if path.suffix == ".jsonl":
        header, review = read_journal(path)
        return review.model_copy(update={"reader": header.reader})
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text)
    except (OSError, ValueError) as error:
        raise ReviewError(f"The review {path} cannot be read ({error}). Choose a review file.") from error
    if isinstance(content, dict) and content.get("product") == "napari-anomaly reading":
        text = json.dumps(content.get("review"))
    return Review.from_json(text)


def agreement(reviews: Iterable[Review], *, kappa: bool = True) -> Agreement:
    """Compare the verdicts of several readers.

    Parameters
    ----------
    reviews
        Two or more, of one scan and one detector.
    kappa
        Whether to compute Cohen's kappa, which needs scikit-learn.

    Raises
    ------
    ReviewError
        If there are fewer than two.
    StaleReview
        If they are of different scans or detectors.
    MissingExtra
        If kappa is wanted and scikit-learn is not installed.
    """
    compared = tuple(reviews)
    if len(compared) < 2:
        raise ReviewError("Name the reviews of two readers or more to compare them.")
    _check_same(compared)
    readers = _names(compared)
    keys = sorted(
        {key for review in compared for key, one in review.verdicts.items() if one.verdict is not None}
    )
    verdicts = tuple(tuple(review.verdict(key) for review in compared) for key in keys)
    pairs = tuple(
        _pair(readers[i], readers[j], [(said[i], said[j]) for said in verdicts], kappa=kappa)
        for i, j in combinations(range(len(compared)), 2)
    )
    notes: tuple[str, ...] = ()
    if len({review.map_sha256 for review in compared}) > 1:
        notes = ("The scores differ a little between the reviews: some findings may have other numbers.",)
    return Agreement(readers, tuple(keys), verdicts, pairs, notes)


def agreement_csv(found: Agreement) -> str:
    """Write the table as CSV, and below it the pairs of readers."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerows(found.rows())
    table.writerow(())
    table.writerow(("reader", "reader", "judged by both", "same verdict", "share", "Cohen's kappa"))
    for pair in found.pairs:
        numbers = ("" if value is None else f"{value:.3f}" for value in (pair.share, pair.kappa))
        table.writerow((pair.first, pair.second, pair.both, pair.same, *numbers))
    return text.getvalue()


def write_csv(found: Agreement, path: Path) -> Path:
    """Write the table to a file, whole or not at all.

    Raises
    ------
    ScanError
        If the disk refuses.
    """
    with together() as stage:
        stage(path).write_text(agreement_csv(found), encoding="utf-8", newline="")
    return path


def _check_same(reviews: Sequence[Review]) -> None:
    first = reviews[0]
    for other in reviews[1:]:
        for what, mine, theirs in (
            ("scans", first.scan_sha256, other.scan_sha256),
            ("detectors", first.detector_sha256, other.detector_sha256),
        ):
            if mine != theirs:
                raise StaleReview(
                    f"The reviews are of different {what} ({mine[:12]} and {theirs[:12]}), and only those of one "
                    "can be compared. Name the reviews of one scan."
                )


def _names(reviews: Sequence[Review]) -> tuple[str, ...]:
    names: list[str] = []
    for number, review in enumerate(reviews, 1):
        name = review.reader or f"reader {number}"
        names.append(name if name not in names else f"{name} ({number})")
    return tuple(names)


def _pair(
    first: str, second: str, said: Sequence[tuple[Verdict | None, Verdict | None]], *, kappa: bool
) -> Pair:
    both = [(one.value, other.value) for one, other in said if one is not None and other is not None]
    same = sum(one == other for one, other in both)
    return Pair(first, second, len(both), same, _kappa(both) if kappa else None)


def _kappa(both: Sequence[tuple[str, str]]) -> float | None:
    try:
        from sklearn.metrics import cohen_kappa_score
    except ImportError as error:
        raise MissingExtra(
            "Cohen's kappa needs scikit-learn. Install it with: pip install 'napari-anomaly[agreement]'"
        ) from error
    if not both:
        return None
    with warnings.catch_warnings():
        # Where one and the same verdict was given to all it is not defined, and that is said as None.
        warnings.simplefilter("ignore")
        value = float(cohen_kappa_score([one for one, _ in both], [other for _, other in both]))
    return value if math.isfinite(value) else None
