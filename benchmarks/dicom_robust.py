"""How long a folder of 10,000 mixed files takes to list, and how much memory a 2,000-slice CT needs.

``python benchmarks/dicom_robust.py`` makes both in a temporary folder, measures each in a process of its own, and
writes ``docs/results/dicom-robust.md``; it ends with an error if a bound that is stated there is not kept.
``--slices`` and ``--files`` make it smaller, and then nothing is written.
"""

import argparse
import os
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
MOST_SECONDS = 30.0
"""To list the files, of one processor."""
MOST_MEMORY = 1.5
"""To read the CT, in sizes of its volume: whole numbers that lie straight are copied nowhere."""


def junk(folder: Path, count: int) -> str:
    """Write files of many kinds: three series in ten, texts, pictures, cut off and empty files in between."""
    from dicoms import ROOT, one_slice, places, save

    rng = np.random.default_rng(0)
    images = rng.integers(0, 1000, (100, 64, 64), dtype=np.int16)
    where = places(100)
    series, uid = count // 10 * 3, ROOT + "5.1000"
    slices = []
    for k in range(100):
        data = one_slice(images[k], where[k], k + 1, SeriesInstanceUID=uid)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        slices.append(save(data, folder / "slice").read_bytes())
    (folder / "slice").unlink()
    for number in range(count):
        path = folder / f"{number % 97:02d}" / f"f{number:05d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < series:
            other = f"{ROOT}5.{1000 + number // 100}"
            path.write_bytes(slices[number % 100].replace(uid.encode(), other.encode()))
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

    # libraries and their memory are not what is measured
    from napari_anomaly.io import dicom  # noqa: F401

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, busy = time.perf_counter(), time.process_time()
    found = len(io.series_in(folder)) if what == "list" else io.read_scan(folder).voxels.shape[0]
    took, worked = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{found} {took:.2f} {worked:.2f} {base / 2**20:.3f} {peak / 2**20:.3f}")


def asked(what: str, folder: Path) -> tuple[int, float, float, float, float]:
    """Measure in a process of its own: what was found, seconds, of the processor, GiB before, GiB at the peak."""
    words = [sys.executable, str(ME), "--measure", what, str(folder)]
    told = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    found, *numbers = told[-5:]
    took, worked, base, peak = map(float, numbers)
    return int(found), took, worked, base, peak


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
    rows, broken, busy = [], [], False
    for what, make, count in (("list", junk, options.files), ("read", large, options.slices)):
        with tempfile.TemporaryDirectory() as place:
            told = make(Path(place), count)
            found, took, worked, base, peak = asked(what, Path(place))
        rows.append(f"| {what} | {told} | {found} | {took:.1f} | {worked:.1f} | {base:.2f} | {peak:.2f} |")
        print(rows[-1], flush=True)
        busy |= took > 2 * worked
        share = (peak - base) * 2**30 / (count * 512 * 512 * 2)
        if what == "list":
            broken += [f"{worked:.1f} s to list"] * (worked > MOST_SECONDS)
        else:
            broken += [f"{share:.2f} volumes to read"] * (share > MOST_MEMORY)
    if (options.files, options.slices) == (parser.get_default("files"), parser.get_default("slices")):
        TABLE.write_text(page(rows, share, busy=busy), encoding="utf-8")
    if broken:
        sys.exit(f"bounds that are not kept: {', '.join(broken)}")


def page(rows: list[str], share: float, *, busy: bool) -> str:
    aside = "\n\nThe machine was busy with other work meanwhile: what the clock says counts for little."
    return (
        "# DICOM: many files, and large series\n\n"
        "`python benchmarks/dicom_robust.py` makes this page; "
        f"{platform.system()}, Python {platform.python_version()}, one core, files that were just written (the disk "
        "plays no part). *Found* counts series, or slices; seconds by the clock, and of the processor, which a busy "
        "machine changes little; memory of the process before and at its peak, in GiB.\n\n"
        "| what | of | found | seconds | of the processor | before | peak |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nReading takes {share:.2f} times the memory of the volume; the bound is {MOST_MEMORY}, that of listing "
        f"{MOST_SECONDS:.0f} seconds of one processor. The program ends with an error if either is not kept."
        f"{aside if busy else ''}\n"
    )


if __name__ == "__main__":
    main()
