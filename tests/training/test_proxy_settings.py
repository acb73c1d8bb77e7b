import pytest
from pydantic import ValidationError

from napari_anomaly.training.proxy_settings import ProxySettings


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("steps", 0, 1),
        ("memory_items", -1, 0),
        ("superpixel_mm", 2.0, 4.0),
        ("widths", (4, 4), (4, 4, 4)),
        ("proxy", "photograph", "supervoxels"),
        ("pseudo_anomalies", "scan", "proxy"),
    ],
)
def test_fields_have_bounds(name, wrong, right):
    assert getattr(ProxySettings(**{name: right}), name) == right
    with pytest.raises(ValidationError, match=name):
        ProxySettings(**{name: wrong})


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="colour"):
        ProxySettings(colour="red")
    assert ProxySettings().model_dump()["proxy"] == "superpixels"
