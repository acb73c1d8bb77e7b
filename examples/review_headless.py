"""Judge findings without a screen and export what is left: ``python review_headless.py SCAN MAP FOLDER``.

MAP is an anomaly map that ``napari-anomaly detect`` wrote. Findings below 500 mm3 are called false positives.
"""

import sys
from pathlib import Path

import napari_anomaly as na


def main(path: Path, map_path: Path, folder: Path, *, threshold: float = 0.999) -> Path:
    scan = na.read_scan(path)
    found = na.AnomalyMap(
        score=na.read_scan(map_path).voxels,
        geometry=scan.geometry,
        scan_score=0.0,  # not needed for a review
        detector="from a file",
        detector_sha256="",
        default_threshold=threshold,
        default_min_volume_mm3=0.0,
    )
    findings = na.find(found, threshold)

    # A review is a value: marking gives a new one. Verdicts are keyed by the finding's id, not by its rank.
    small = [finding.id for finding in findings if finding.volume_mm3 < 500]
    review = na.Review.of(scan, found).mark(
        small, na.Verdict.FALSE_POSITIVE, reason="too small for this study"
    )
    print(f"{len(findings)} findings, {len(small)} of them called false positive")

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{scan.name}_review.json").write_text(review.to_json(), encoding="utf-8")
    mask = folder / f"{scan.name}_reviewed-mask.nii.gz"
    na.write_like(na.to_mask(findings, review).voxels, scan, mask, kind="mask")
    return mask


if __name__ == "__main__":
    print(main(*map(Path, sys.argv[1:4])))
