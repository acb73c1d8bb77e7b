"""The figures of an evaluation, as a table to read and as JSON to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from napari_anomaly.evaluation.metrics import auroc
from napari_anomaly.evaluation.protocol import CaseFigures, ProtocolSettings

_Column = tuple[str, Callable[[CaseFigures], float | None], str]

# Title, where the figure comes from, and how it is written.
_COLUMNS: tuple[_Column, ...] = (
    ("lesions ml", lambda case: case.truth_mm3 / 1000, ".1f"),
    ("AP", lambda case: case.inside.average_precision, ".3f"),
    ("AUROC", lambda case: case.inside.auroc, ".3f"),
    ("Dice", lambda case: case.inside.dice, ".3f"),
    ("best", lambda case: case.inside.best_dice, ".3f"),
    ("at", lambda case: case.inside.best_threshold, ".5g"),
    ("found", lambda case: case.lesions.recall if case.lesions else None, ".0%"),
    ("false", lambda case: case.lesions.false_findings if case.lesions else None, ".1f"),
    ("AP grid", lambda case: case.whole.average_precision, ".3f"),
    ("AP bright", lambda case: case.intensity.bright_average_precision, ".3f"),
    ("Dice bright", lambda case: case.intensity.bright_best_dice, ".3f"),
    ("AP dark", lambda case: case.intensity.dark_average_precision, ".3f"),
    ("Dice dark", lambda case: case.intensity.dark_best_dice, ".3f"),
    ("s", lambda case: case.seconds, ".1f"),
)
_LEGEND = (
    "AP, AUROC, Dice (at the stated threshold), best Dice and its threshold: voxels that were looked at.\n"
    "found: share of lesions. false: findings on no lesion. AP grid: all voxels of the scan.\n"
    "bright, dark: plain intensity, ranked in the voxels that were looked at."
)


class EvaluationReport(BaseModel):
    """All cases of one evaluation, and how they were made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    evaluated: str
    detector_sha256: str | None = None
    settings: Mapping[str, Any] = {}
    protocol: ProtocolSettings = ProtocolSettings()
    versions: Mapping[str, str] = {}
    cases: tuple[CaseFigures, ...]
    mean: Mapping[str, float | None] = {}
    scan_auroc: float | None = None

    @classmethod
    def of(cls, cases: Sequence[CaseFigures], **about: Any) -> EvaluationReport:
        """Add the mean over scans, and what the scan scores say, to a list of cases.

        Parameters
        ----------
        cases
            One or more.
        **about
            Other fields of the report.
        """
        means = {name: _mean([value(case) for case in cases]) for name, value, _ in _COLUMNS if name != "at"}
        return cls(cases=tuple(cases), mean=means, scan_auroc=_scan_auroc(cases), **about)

    def to_json(self) -> str:
        """Write the report as JSON; figures without a meaning are null."""
        return self.model_dump_json(indent=2) + "\n"

    def table(self) -> str:
        """Write the report as a table for a terminal: a row for each scan, and their mean."""
        rows = [["scan", *(title for title, _, _ in _COLUMNS)]]
        for case in self.cases:
            rows.append([case.scan, *(_text(value(case), form) for _, value, form in _COLUMNS)])
        if len(self.cases) > 1:
            rows.append(["mean", *(_text(self.mean.get(title), form) for title, _, form in _COLUMNS)])
        lines = [f"{self.evaluated}, scans: {len(self.cases)}", *_aligned(rows), _LEGEND]
        if self.scan_auroc is not None:
            lines.append(
                f"AUROC of the scan score, scans with a lesion against scans without: {self.scan_auroc:.3f}"
            )
        lost = sum(case.truth_outside_mm3 for case in self.cases)
        if lost > 0:
            lines.append(
                f"{lost / 1000:.2f} ml of lesions lie where nothing was looked at; AP grid counts them."
            )
        return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _scan_auroc(cases: Sequence[CaseFigures]) -> float | None:
    judged = [(case.scan_score, case.truth_mm3 > 0) for case in cases if case.scan_score is not None]
    if len({unusual for _, unusual in judged}) < 2:
        return None
    return auroc(np.array([score for score, _ in judged]), np.array([unusual for _, unusual in judged]))


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
