"""What this package writes as DICOM, checked by parts that nobody here wrote.

``python benchmarks/dicom_validators.py [FOLDER...]`` writes every kind of object for synthetic series and for the
series in the folders, and the table ``docs/results/dicom-validators.md``. It needs dciodvfy (Debian: dicom3tools)
and ``pip install dcm2niix``; the pixels are read back with SimpleITK, highdicom and dcm2niix.
"""

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread

from napari_anomaly import io
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.findings import Findings, find
from napari_anomaly.io.dicom import frames_of, to_slices
from napari_anomaly.review import Review, Verdict
from napari_anomaly.scan import Scan

TABLE = Path(__file__).parents[1] / "docs" / "results" / "dicom-validators.md"
TESTS = Path(__file__).parents[1] / "tests"
# Said of what the source holds, and of codes and terms that are newer than the program or our own.
EXPECTED = {
    "needed to build DICOMDIR": "the source has no value either",
    "Retired Person Name form": "the source's own name",
    "<99NAPARIANOMALY>": "our own codes for verdicts; their scheme stands in the file",
    "<QUANTITY>": "a term of the standard since 2018",
    "only permitted to be empty when actually unknown": "the source does not say which side",
}


def synthetic(folder: Path) -> Iterator[Path]:
    """Write series of every kind that is read."""
    sys.path.insert(0, str(TESTS))
    from dicoms import SAGITTAL, classic, enhanced, places, ramp

    slices = ramp((12, 40, 32))
    words = {"StudyID": "1", "StudyTime": "120000"}
    classic(folder / "classic axial MR", slices, **words)
    classic(folder / "classic sagittal MR", slices, directions=SAGITTAL, **words)
    classic(folder / "tilted", slices, positions=places(12, lean=np.array((0.0, 1.0, 0.0))), **words)
    enhanced(folder / "enhanced MR" / "one.dcm", slices, **words)
    times = {k: {"TemporalPositionIndex": k % 2 + 1} for k in range(24)}
    twice, where = np.repeat(slices, 2, axis=0), np.repeat(places(12), 2, axis=0)
    enhanced(
        folder / "enhanced MR two volumes" / "one.dcm", twice, positions=where, frame_tags=times, **words
    )
    yield from sorted(folder.iterdir())


def case(scan: Scan) -> tuple[AnomalyMap, Findings, Review]:
    """Make a map of three boxes, the findings, and a review with each kind of verdict."""
    score = np.full(scan.geometry.shape, 0.1, np.float32)
    for share, height in ((0.25, 0.95), (0.5, 0.97), (0.75, 0.99)):
        start = [int(n * share) for n in score.shape]
        box = tuple(slice(s, s + max(2, n // 10)) for s, n in zip(start, score.shape, strict=True))
        score[box] = height
    made = AnomalyMap(score, scan.geometry, 0.8, "validators", "0" * 64, 0.9, 0.0)
    findings = find(made, 0.9)
    review = Review.of(scan, made, reader="A. Reader")
    for finding, verdict in zip(
        findings, (Verdict.REAL, Verdict.FALSE_POSITIVE, Verdict.UNSURE), strict=False
    ):
        review = review.mark([finding.id], verdict)
    return made, findings, review


def judged(path: Path) -> tuple[list[str], Counter[str], list[str]]:
    """Ask dciodvfy: errors, warnings that are expected, and others."""
    answer = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (answer.stdout + answer.stderr).splitlines()
    errors = [line for line in lines if line.startswith("Error")]
    expected: Counter[str] = Counter()
    others = []
    for line in lines:
        if line.startswith("Warning"):
            why = next((why for words, why in EXPECTED.items() if words in line), None)
            if why is None:
                others.append(line)
            else:
                expected[why] += 1
    return errors, expected, others


def read_back(path: Path, scan: Scan, findings: Findings, made: AnomalyMap) -> str:
    """Read an object with highdicom and SimpleITK, and say how it agrees with what was meant."""
    with pydicom.config.disable_value_validation():
        if path.name.endswith("seg.dcm"):
            return _segmentation_back(path, scan, findings)
        if path.name.endswith("pm.dcm"):
            return _map_back(path, scan, made)
        if path.name.endswith("sr.dcm"):
            groups = highdicom.sr.srread(path).content.get_image_measurement_groups()
            return f"highdicom: parsed, {len(groups)} groups without a region"
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        off = int(np.abs(image[0].astype(int) - dcmread(path).pixel_array.astype(int)).max())
        return f"SimpleITK: largest difference {off}"


def _segmentation_back(path: Path, scan: Scan, findings: Findings) -> str:
    seg = highdicom.seg.segread(path)
    meant = to_slices(findings.labels, scan)
    place = {tuple(np.round(frame.position, 4)): n for n, frame in enumerate(frames_of(scan))}
    ranks = {int(s.SegmentNumber): int(s.SegmentLabel.split()[-1]) for s in seg.SegmentSequence}
    try:
        other = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError:
        other = None
    differ = theirs = 0
    found = np.zeros(meant.shape, bool)
    apart = 0.0
    for number, (groups, frame) in enumerate(
        zip(seg.PerFrameFunctionalGroupsSequence, np.atleast_3d(seg.pixel_array), strict=True)
    ):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        plane = place[tuple(np.round(position, 4))]
        apart = max(apart, float(np.linalg.norm(position - frames_of(scan)[plane].position)))
        rank = ranks[int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        differ += int(np.count_nonzero((frame > 0) != (meant[plane] == rank)))
        found[plane] |= frame > 0
        if other is not None:
            theirs += int(np.count_nonzero((other[number] > 0) != (frame > 0)))
    differ += int(np.count_nonzero(found != np.isin(meant, list(ranks.values()))))
    second = "cannot read 1-bit frames" if other is None else f"{theirs} voxels differ"
    return f"highdicom: {differ} voxels differ, {apart:.4f} mm apart; SimpleITK: {second}"


def _map_back(path: Path, scan: Scan, made: AnomalyMap) -> str:
    back = highdicom.imread(path)
    meant = to_slices(made.score, scan)
    place = {tuple(np.round(frame.position, 4)): n for n, frame in enumerate(frames_of(scan))}
    frames = back.get_frames(apply_real_world_transform=True)
    off = 0.0
    for groups, frame in zip(back.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = np.round(np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float), 4)
        off = max(off, float(np.abs(frame - meant[place[tuple(position)]]).max()))
    return f"highdicom: largest difference {off:g}"


def series_agree(folder: Path, scan: Scan) -> str:
    """Compare our reading of a source series with dcm2niix's and SimpleITK's: voxels and corners."""
    if scan.source.details["stack"].resampled or scan.source.details["volumes"] > 1:
        return "crooked or several volumes: see the agreement page"
    with tempfile.TemporaryDirectory() as place:
        program = str(Path(sys.executable).with_name("dcm2niix"))
        subprocess.run([program, "-f", "out", "-o", place, str(folder)], capture_output=True, check=False)
        images = sorted(Path(place).glob("*.nii*"))
        if not images:
            return "dcm2niix made nothing"
        theirs = nib.as_closest_canonical(nib.load(images[0]))
        io.write_like(scan.voxels, scan, Path(place) / "ours.nii", kind="image")
        ours = nib.as_closest_canonical(nib.load(Path(place) / "ours.nii"))
        if ours.shape != theirs.shape:
            return f"dcm2niix: another grid {theirs.shape}"
        off = float(np.abs(ours.get_fdata() - theirs.get_fdata()).max())
        ends = np.stack(np.meshgrid(*[(0, n - 1) for n in ours.shape], indexing="ij"), -1).reshape(-1, 3)
        at = [nib.affines.apply_affine(image.affine, ends) for image in (ours, theirs)]
        apart = float(np.linalg.norm(at[0] - at[1], axis=1).max())
    return f"dcm2niix: largest difference {off:g}, corners {apart:.4f} mm apart"


def rows(folder: Path, out: Path) -> Iterator[str]:
    volumes = io.volumes(folder)
    scan = io.read_scan(folder, volume=1 if volumes > 1 else None)
    name = folder.name
    made, findings, review = case(scan)
    yield f"| {name} | the source, as read | | | {series_agree(folder, scan)} |"
    for path in io.save_dicom(out / name, scan, made, findings, review=review):
        errors, expected, others = judged(path)
        warned = "; ".join(f"{count} x {why}" for why, count in expected.items())
        found = "; ".join(errors + others) or "none"
        kind = path.name.rsplit("_", 1)[-1]
        yield f"| {name} | {kind} | {found} | {warned or 'none'} | {read_back(path, scan, findings, made)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders that hold one series each")
    options = parser.parse_args()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("highdicom", "pydicom", "SimpleITK", "dcm2niix")
    )
    told = subprocess.run(["dpkg-query", "-W", "dicom3tools"], capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as place:
        folders = [*synthetic(Path(place) / "in"), *options.folders]
        body = "\n".join(row for folder in folders for row in rows(folder, Path(place) / "out"))
    text = (
        "# DICOM that we write: what others say of it\n\n"
        "`python benchmarks/dicom_validators.py FOLDER...` makes this page: every object of `detect --dicom`, "
        f"checked by dciodvfy ({' '.join(told.stdout.split()) or 'version unknown'}) and read back "
        f"({versions}).\n\n"
        "| series | object | errors, and warnings not expected | expected warnings | read back |\n"
        f"|---|---|---|---|---|\n{body}\n"
    )
    TABLE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
