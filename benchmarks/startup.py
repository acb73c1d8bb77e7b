"""Time what opens with the viewer; writes docs/results/startup.md.

``python benchmarks/startup.py [--repeats 5]``
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

OUT = Path(__file__).parents[1] / "docs" / "results" / "startup.md"
STATEMENTS = {
    "nothing (Python itself)": "pass",
    "numpy": "import numpy",
    "napari": "import napari.layers",
    "napari_anomaly": "import napari_anomaly",
    "napari_anomaly.plugin": "import napari_anomaly.plugin",
    "napari_anomaly.plugin.contributions (readers, writers)": "import napari_anomaly.plugin.contributions",
    "napari_anomaly.detector.detect": "import napari_anomaly.detector.detect",
    "torch": "import torch",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    lines = [
        "# Start-up",
        "",
        f"Median of {repeats} fresh interpreters, one after another in the same run; torch is loaded only when "
        "a detection starts. Made by `python benchmarks/startup.py`.",
        "",
        "| import | seconds | loads torch |",
        "|---|---|---|",
    ]
    for name, statement in STATEMENTS.items():
        seconds, torch = zip(*(run(statement) for _ in range(repeats)), strict=True)
        lines.append(f"| {name} | {statistics.median(seconds):.2f} | {'yes' if any(torch) else 'no'} |")
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def run(statement: str) -> tuple[float, bool]:
    began = time.perf_counter()
    code = f"{statement}\nimport sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout.strip().endswith("True")


if __name__ == "__main__":
    main()
