"""Train a detector on a folder of normal scans: ``python train_on_normals.py FOLDER DETECTOR.safetensors``."""

import sys
from pathlib import Path
from typing import Any

import napari_anomaly as na
from napari_anomaly.detector import checkpoint
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.train import train


def main(normals: Path, out: Path, **settings: Any) -> Path:
    # Two hours on a CPU make a useful detector; a GPU is many times faster. Stop it at any time: the same call goes on.
    wanted = TrainSettings(normals=(normals,), out=out, name="my-site", **{"minutes": 120, **settings})
    path = na.drain(train(wanted), lambda step: print(f"{step.fraction:4.0%}  {step.text}"))

    detector = checkpoint.load(path)
    print(f"{detector.name} calls a voxel a finding from {detector.default_threshold:.5f}")
    return path


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
