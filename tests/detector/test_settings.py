import pytest
from pydantic import ValidationError

from napari_anomaly.detector.settings import DetectSettings


def test_every_field_says_what_it_does():
    for name, field in DetectSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"device": "abacus"}, "'auto', 'cpu', 'cuda' or 'mps'"),
        ({"engine": "steam"}, "'auto', 'openvino' or 'torch'"),
        ({"networks": "both"}, "'joint', 'plane', 'volume' or 'mean'"),
        ({"supervoxel_mm3": 7.9}, "greater than or equal to 8"),
        ({"supervoxel_mm3": 20_001}, "less than or equal to 20000"),
        ({"tile": 0}, "greater than or equal to 1"),
        ({"tile": 257}, "less than or equal to 256"),
        ({"mirrored": True}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_out_of_bounds_is_refused(words, complaint):
    with pytest.raises(ValidationError, match=complaint):
        DetectSettings(**words)


def test_settings_do_not_change():
    settings = DetectSettings(mirror=True)
    with pytest.raises(ValidationError, match="frozen"):
        settings.mirror = False
    assert settings == DetectSettings(mirror=True) != DetectSettings()
