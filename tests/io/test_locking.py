import os
from pathlib import Path

from napari_anomaly.io.locking import hold


def test_one_at_a_time_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    first, second = (os.open(path, os.O_RDWR) for _ in range(2))
    assert hold(first)
    assert not hold(second)
    os.close(first)
    assert hold(second)
    os.close(second)
