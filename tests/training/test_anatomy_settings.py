import pytest
from pydantic import ValidationError

from napari_anomaly.networks.anatomy import ANATOMY_WIDTHS
from napari_anomaly.training.anatomy_settings import AnatomySettings


def test_the_network_is_the_one_that_the_package_knows():
    assert AnatomySettings().widths == ANATOMY_WIDTHS


def test_out_of_bounds_and_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        AnatomySettings(lobes=1.5)
    with pytest.raises(ValidationError, match="Extra inputs"):
        AnatomySettings(labels="x")  # type: ignore[call-arg]
