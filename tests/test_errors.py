import pytest

from napari_anomaly import errors


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.UnreadableScan, errors.ScanError),
        (errors.BadGeometry, errors.ScanError),
        (errors.GridMismatch, errors.ScanError),
        (errors.UnreadableDetector, errors.DetectorError),
        (errors.WrongModality, errors.DetectorError),
        (errors.StaleReview, errors.ReviewError),
        (errors.ScanError, errors.AnomalyError),
        (errors.DetectorError, errors.AnomalyError),
        (errors.ReviewError, errors.AnomalyError),
        (errors.ArchiveError, errors.AnomalyError),
        (errors.MissingExtra, errors.AnomalyError),
        (errors.AnomalyError, Exception),
    ],
)
def test_the_tree(kind: type[Exception], parent: type[Exception]) -> None:
    assert kind.__bases__ == (parent,)
    assert str(kind("what to do")) == "what to do"


def test_every_error_is_public() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert kinds == set(errors.__all__)
