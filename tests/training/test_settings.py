import pytest
from pydantic import ValidationError

from napari_anomaly.training.settings import TrainSettings


def test_every_field_says_what_it_does():
    for name, field in TrainSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"steps": 0}, "greater than or equal to 1"),
        ({"minutes": -1}, "greater than or equal to 0"),
        ({"extraction_steps": -1}, "greater than or equal to 0"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"learning_rate": 0.2}, "less than or equal to 0.1"),
        ({"embedding_weight": -0.1}, "greater than or equal to 0"),
        ({"held_out_every": 1}, "greater than or equal to 2"),
        ({"checkpoint_minutes": 0}, "greater than 0"),
        ({"name": ""}, "at least 1 character"),
        ({"region": "knee"}, "'brain' or 'body'"),
        ({"epochs": 3}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_out_of_bounds_is_refused(words, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TrainSettings(**words)


def test_settings_do_not_change():
    settings = TrainSettings(seed=3)
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 4
    assert settings == TrainSettings(seed=3) != TrainSettings()
