"""What can go wrong, in words that a reader of scans understands.

::

    AnomalyError
    ├── ScanError               something about a scan, or about two that should fit
    │   ├── UnreadableScan      the file is damaged, of a foreign kind, or needs a choice
    │   ├── BadGeometry         the affine or the shape cannot describe a scan
    │   └── GridMismatch        two images that should share a grid do not
    ├── DetectorError           something about a detector or its run
    │   ├── UnreadableDetector  the detector file is damaged or of a foreign kind
    │   └── WrongModality       the scan is outside of what the detector knows
    ├── ReviewError             something about a review
    │   └── StaleReview         the review belongs to another scan or another map
    ├── ArchiveError            the hospital's archive cannot be reached, or refuses
    └── MissingExtra            an optional dependency is not installed

Every message says what was found, what was needed and what to do; the panels and the command line show it as
it is. Mistakes of a programmer stay ``TypeError`` and ``ValueError``.
"""

# ruff: noqa: N818 (the names say what happened; the base class says that it is an error)

__all__ = [
    "AnomalyError",
    "ArchiveError",
    "BadGeometry",
    "DetectorError",
    "GridMismatch",
    "MissingExtra",
    "ReviewError",
    "ScanError",
    "StaleReview",
    "UnreadableDetector",
    "UnreadableScan",
    "WrongModality",
]


class AnomalyError(Exception):
    """Anything that this package reports to its user."""


class ScanError(AnomalyError):
    """Something is wrong with a scan, or with two images that should fit each other."""


class UnreadableScan(ScanError):
    """A file cannot be read as one 3D scan: damaged, of a foreign kind, or a choice is needed."""


class BadGeometry(ScanError):
    """A shape or an affine cannot describe a scan in space."""


class GridMismatch(ScanError):
    """Two images that should lie on the same voxel grid do not."""


class DetectorError(AnomalyError):
    """Something is wrong with a detector or with its run."""


class UnreadableDetector(DetectorError):
    """A detector file is damaged, of a foreign kind, or from another version."""


class WrongModality(DetectorError):
    """The scan is outside of what the detector has learned."""


class ReviewError(AnomalyError):
    """Something is wrong with a review."""


class StaleReview(ReviewError):
    """A review was made on another scan or on another anomaly map."""


class ArchiveError(AnomalyError):
    """The hospital's archive cannot be reached, refuses, or does not hold what was asked for."""


class MissingExtra(AnomalyError):
    """An optional dependency that this step needs is not installed."""
