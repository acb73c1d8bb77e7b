"""Seconds per stage, memory and arithmetic of one detection; writes docs/results/detect-speed.md.

    python benchmarks/detect_speed.py [--scan FILE] [--device cpu] [--repeats 3]

Every engine runs in a process of its own, so that its peak memory is its own; the arithmetic of the networks is set
against the matrix product that the same machine reaches in the same run.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from pages import write_page

OUT = Path(__file__).parents[1] / "docs" / "results" / "detect-speed.md"
WAYS = {
    "PyTorch": ("torch", False),
    "OpenVINO": ("openvino", False),
    "OpenVINO, second opinion too": ("openvino", True),
}
"""Engine, and whether ProxyAno is asked, too: then every method is on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scan", type=Path, help="else the bundled FLAIR on 182 x 218 x 182")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--second-opinion", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(measure(options)))
        return
    results = {}
    for name, (engine, asked) in WAYS.items():
        command = [sys.executable, __file__, "--engine", engine, "--device", options.device]
        command += ["--repeats", str(options.repeats)] + (
            ["--scan", str(options.scan)] if options.scan else []
        )
        command += ["--second-opinion"] if asked else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
    write_page(OUT, report(results))
    print(OUT.read_text(encoding="utf-8"))


def measure(options: argparse.Namespace) -> dict[str, object]:
    import torch

    from napari_anomaly import io
    from napari_anomaly.detector import checkpoint
    from napari_anomaly.detector.detect import detect
    from napari_anomaly.detector.settings import DetectSettings
    from napari_anomaly.progress import drain

    scan = io.read_scan(options.scan) if options.scan else padded_sample()
    began = time.perf_counter()
    detector = checkpoint.load(checkpoint.DEFAULT)
    loading = time.perf_counter() - began
    settings = DetectSettings(
        device=options.device, engine=options.engine, second_opinion=options.second_opinion
    )
    runs = []
    for _ in range(options.repeats):
        began = time.perf_counter()
        found = drain(detect(scan, detector, settings))
        runs.append({**found.seconds, "all": time.perf_counter() - began})
    stages = {name: min(run[name] for run in runs) for name in runs[0]}
    return {
        "shape": scan.geometry.shape,
        "first": runs[0]["all"],
        "loading": loading,
        "stages": stages,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "gflop": count_gflop(scan, detector),
        "peak_gflops": matrix_product(torch),
        "threads": torch.get_num_threads(),
    }


def padded_sample():
    """Return the bundled FLAIR on the grid of the MNI template again, from which it was cropped."""
    import numpy as np

    from napari_anomaly.samples import open_sample
    from napari_anomaly.scan import Scan

    scan = open_sample("ms-flair")
    missing = [max(0, n - m) for n, m in zip((182, 218, 182), scan.geometry.shape, strict=True)]
    room = [(side // 2, -(-side // 2)) for side in missing]
    return Scan.from_array(np.pad(scan.voxels, room), spacing=scan.geometry.spacing, name="ms-flair")


def count_gflop(scan, detector) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from napari_anomaly.detector.engine import TorchEngine
    from napari_anomaly.detector.tiling import score
    from napari_anomaly.preprocess import prepare
    from napari_anomaly.progress import drain

    prepared = prepare(scan, detector.extraction, device=torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        drain(score(TorchEngine(detector.network), prepared.image, prepared.mask))
    return counter.get_total_flops() / 1e9


def matrix_product(torch) -> float:
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = 1e9
    for _ in range(6):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best / 1e9


def report(results: dict) -> str:
    one = results["PyTorch"]
    lines = [
        "# Speed of a detection",
        "",
        f"A scan of {' x '.join(map(str, one['shape']))}, {one['threads']} CPU threads, {platform.machine()}, "
        "all stages, best of the repeats; made by `python benchmarks/detect_speed.py`.",
        "",
        f"| stage, seconds | {' | '.join(WAYS)} |",
        "|" + "---|" * (len(WAYS) + 1),
    ]
    stages = list(results[list(WAYS)[-1]]["stages"])
    for name in [*(stage for stage in stages if stage != "all"), "all"]:
        lines.append(row(name, [results[way]["stages"].get(name) for way in WAYS]))
    for label, key in (
        ("first run", "first"),
        ("reading the detector", "loading"),
        ("peak memory, GiB", "peak_gib"),
    ):
        lines.append(row(label, [results[way][key] for way in WAYS]))
    for way in list(WAYS)[:2]:
        facts = results[way]
        rate = facts["gflop"] / facts["stages"]["networks"]
        lines.append(
            f"\n{way}: {facts['gflop']:.0f} GFLOP in the networks, {rate:.0f} GFLOP/s, "
            f"{rate / facts['peak_gflops']:.0%} of the {facts['peak_gflops']:.0f} GFLOP/s "
            "of a float32 matrix product here."
        )
    lines += [
        "",
        "The aims on 2 CPU cores are 8 s and 2 GB, 12 s with every method on. The second look, which tells how stable "
        "findings are, is in these seconds (networks, calibrate); the GFLOP are those of one look, so the shares are "
        "too low. `--no-stability` takes it off.",
    ]
    return "\n".join(lines) + "\n"


def row(name: str, values: list[float | None]) -> str:
    return f"| {name} | " + " | ".join("" if value is None else f"{value:.2f}" for value in values) + " |"


if __name__ == "__main__":
    main()
