"""Agreement: what several readers said of the findings of one scan, side by side, and how far they agree."""

import csv
import io
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from napari_anomaly.errors import MissingExtra, ReviewError, StaleReview
from napari_anomaly.io.atomic import together
from napari_anomaly.journal import read_journal
from napari_anomaly.review import Review, Verdict

__all__ = [
    "Agreement",
    "Gathered",
    "Pair",
    "agreed",
    "agreement",
    "agreement_as_installed",
    "agreement_csv",
    "gather",
    "read_review",
    "write_csv",
]

_WORDS = {Verdict.REAL: "real", Verdict.FALSE_POSITIVE: "false positive", Verdict.UNSURE: "unsure", None: ""}
_AGREE = {True: "yes", False: "no", None: ""}


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
    with_kappa
        Whether kappa was computed.
    """

    readers: tuple[str, ...]
    findings: tuple[int, ...]
    verdicts: tuple[tuple[Verdict | None, ...], ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    with_kappa: bool = True

    def rows(self) -> list[tuple[str, ...]]:
        """Give the table in words: titles, then one row for each finding."""
        titles = ("finding", *self.readers, "agree")
        return [
            titles,
            *(self._row(key, said) for key, said in zip(self.findings, self.verdicts, strict=True)),
        ]

    def sentences(self) -> list[str]:
        """Say how far each two readers agree, a sentence for each pair."""
        return [self._sentence(pair) for pair in self.pairs]

    def _row(self, key: int, said: Sequence[Verdict | None]) -> tuple[str, ...]:
        return (str(key), *(_WORDS[verdict] for verdict in said), _AGREE[agreed(said)])

    def _sentence(self, pair: Pair) -> str:
        names = f"{pair.first} and {pair.second}"
        if pair.share is None:
            return f"{names}: no finding was judged by both"
        text = f"{names}: the same verdict on {pair.same} of {pair.both} findings ({pair.share:.0%})"
        if not self.with_kappa:
            return text
        return f"{text}, kappa {'not defined' if pair.kappa is None else f'{pair.kappa:.2f}'}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Reviews of one scan and one detector, told apart from others.

    Parameters
    ----------
    reviews
        Those that can be compared, in the order of their files.
    left_out
        A sentence for each file that cannot.
    """

    reviews: tuple[Review, ...]
    left_out: tuple[str, ...] = ()


def agreed(said: Iterable[Verdict | None]) -> bool | None:
    """Tell whether all who judged a finding said the same; None where fewer than two did."""
    given = [verdict for verdict in said if verdict is not None]
    return len(set(given)) == 1 if len(given) > 1 else None


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


def gather(paths: Iterable[Path], *, scan_sha256: str, detector_sha256: str) -> Gathered:
    """Read those reviews that are of one scan and one detector; no file is changed.

    Parameters
    ----------
    paths
        Files, as `read_review` takes them.
    scan_sha256, detector_sha256
        Fingerprints of what was read; a review of anything else is left out, and so is what cannot be read.
    """
    reviews: list[Review] = []
    left_out: list[str] = []
    for path in paths:
        try:
            review = read_review(path)
        except ReviewError as error:
            left_out.append(str(error))
            continue
        strange = _strangeness(review, scan_sha256, detector_sha256)
        if strange:
            left_out.append(f"{path.name} is left out: it is a review of another {strange}.")
        else:
            reviews.append(review)
    return Gathered(tuple(reviews), tuple(left_out))


def agreement_as_installed(reviews: Iterable[Review]) -> Agreement:
    """Compare as `agreement` does; without kappa, and with a note that says so, where scikit-learn is missing."""
    compared = tuple(reviews)
    try:
        return agreement(compared)
    except MissingExtra as error:
        found = agreement(compared, kappa=False)
        return replace(found, notes=(*found.notes, str(error)))


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
    notes = tuple(
        note for name, review in zip(readers, compared, strict=True) for note in _looks(name, review)
    )
    if len({review.map_sha256 for review in compared}) > 1:
        notes = (
            *notes,
            "The scores differ a little between the reviews: some findings may have other numbers.",
        )
    return Agreement(readers, tuple(keys), verdicts, pairs, notes, kappa)


def agreement_csv(found: Agreement) -> str:
    """Write the table as CSV, and below it the pairs of readers."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerows(found.rows())
    table.writerow(())
    table.writerows((note,) for note in found.notes)
    table.writerow(("reader", "reader", "judged by both", "same verdict", "share", "Cohen's kappa"))
    for pair in found.pairs:
        numbers = ("" if value is None else f"{value:.3f}" for value in (pair.share, pair.kappa))
        table.writerow((pair.first, pair.second, pair.both, pair.same, *numbers))
    return text.getvalue()


def write_csv(found: Agreement, path: Path, *, keep: Iterable[Path] = ()) -> Path:
    """Write the table to a file, whole or not at all, and give back its path.

    Parameters
    ----------
    found
        What is written.
    path
        Where to.
    keep
        Files that must not be overwritten.

    Raises
    ------
    ScanError
        If the disk refuses, or the path is one of those to keep.
    """
    with together(keep=keep) as stage:
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


def _strangeness(review: Review, scan_sha256: str, detector_sha256: str) -> str:
    for what, open_, theirs in (
        ("scan", scan_sha256, review.scan_sha256),
        ("detector", detector_sha256, review.detector_sha256),
    ):
        if open_ != theirs:
            return f"{what} ({theirs[:12] or 'it does not say which'}) than the open one ({open_[:12]})"
    return ""


def _names(reviews: Sequence[Review]) -> tuple[str, ...]:
    names: list[str] = []
    for number, review in enumerate(reviews, 1):
        name = review.reader or f"reader {number}"
        names.append(name if name not in names else f"{name} ({number})")
    return tuple(names)


def _looks(name: str, review: Review) -> Iterator[str]:
    """Say which of a reader's verdicts are no independent reading."""
    if not review.seen:
        return
    first = min(review.seen, key=lambda one: one.when)
    later = sum(one.verdict is not None and one.when > first.when for one in review.verdicts.values())
    others = f" ({', '.join(first.readers)})" if first.readers else ""
    yield (
        f"{name} saw what others said{others} on {first.when:%Y-%m-%d %H:%M} UTC with {first.unjudged} findings not "
        f"judged: {later} of {name}'s verdicts were given or changed after that, and are not independent."
    )


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
