"""How long a folder of 10,000 mixed files takes to list, and how much memory a 2,000-slice CT needs.

``python benchmarks/dicom_robust.py`` makes both in a temporary folder, measures each in a process of its own, and
writes ``docs/results/dicom-robust.md``. ``--slices`` and ``--files`` make it smaller.
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.uid import CTImageStorage

TABLE = Path(__file__).parents[1] / "docs" / "results" / "dicom-robust.md"
TESTS = Path(__file__).parents[1] / "tests"
ME = Path(__file__)


def junk(folder: Path, count: int) -> str:
    """Write files of many kinds: three series in ten, texts, pictures, cut off and empty files in between."""
    from dicoms import ROOT, one_slice, places, save

    rng = np.random.default_rng(0)
    images = rng.integers(0, 1000, (100, 64, 64), dtype=np.int16)
    where = places(100)
    series = count // 10 * 3
    for number in range(count):
        path = folder / f"{number % 97:02d}" / f"f{number:05d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < series:
            k, uid = number % 100, ROOT + f"5.{number // 100}"
            data = one_slice(images[k], where[k], k + 1, SeriesInstanceUID=uid)
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
            save(data, path)
        else:
            path.write_bytes(_other(number, rng))
    return f"{count} files, {series} of them DICOM in {series // 100} series, the others texts, pictures, damaged"


def _other(number: int, rng: np.random.Generator) -> bytes:
    kind = number % 5
    if kind == 0:
        return b""
    if kind == 1:
        return b"patient list\n" * 50
    if kind == 2:
        return b"\x89PNG\r\n\x1a\n" + rng.bytes(5000)
    if kind == 3:
        return b"\0" * 128 + b"DICM" + rng.bytes(300)
    return rng.bytes(20_000)


def large(folder: Path, slices: int) -> str:
    """Write a CT of so many slices of 512 x 512."""
    from dicoms import one_slice, places, save

    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 2000, (512, 512), dtype=np.int16)
    for k, place in enumerate(places(slices, step=0.5)):
        save(one_slice(np.roll(image, k, axis=0), place, k + 1, kind=CTImageStorage), folder / f"{k:05d}.dcm")
    return f"{slices} slices of 512 x 512, 16 bit ({slices * 512 * 512 * 2 / 2**30:.2f} GiB of voxels)"


def measure(what: str, folder: Path) -> None:
    """Do one thing in this process, and print seconds and the peak of memory."""
    from napari_anomaly import io

    if what == "read":
        # libraries and their memory are not what is measured
        from napari_anomaly.io import dicom  # noqa: F401
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, busy = time.perf_counter(), time.process_time()
    found = len(io.series_in(folder)) if what == "list" else io.read_scan(folder).voxels.shape[0]
    took, worked = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{found} {took:.1f} {worked:.1f} {base / 2**20:.2f} {peak / 2**20:.2f}")


def asked(what: str, folder: Path) -> list[str]:
    words = [sys.executable, str(ME), "--measure", what, str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--slices", type=int, default=2_000)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    sys.path.insert(0, str(TESTS))
    rows = []
    for what, make, count in (("list", junk, options.files), ("read", large, options.slices)):
        with tempfile.TemporaryDirectory() as place:
            told = make(Path(place), count)
            found, took, worked, base, peak = asked(what, Path(place))
            rows.append(f"| {what} | {told} | {found} | {took} | {worked} | {base} | {peak} |")
            print(rows[-1], flush=True)
    text = (
        "# DICOM: many files, and large series\n\n"
        "`python benchmarks/dicom_robust.py` makes this page; "
        f"{platform.system()}, Python {platform.python_version()}, one core. *Found* counts series, or slices; "
        "seconds by the clock, and of the processor, which a busy machine does not change; memory of the process "
        "before and at its peak, in GiB.\n\n"
        "| what | of | found | seconds | of the processor | before | peak |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
