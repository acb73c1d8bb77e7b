"""Make the bundled samples from the downloaded originals: ``python sample_data/make.py FOLDER``.

The folder holds ``ms_flair_t1_t2`` and ``stroke_t2`` (see README.md for where they come from). Images are
cropped to what is not background, with a margin, and the multiple-sclerosis ones are rounded; the affine
follows the crop.
"""

import gzip
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).parent
MARGIN = 8
# Grey values are rounded to these steps: well below the noise of the images, and half the size of a file.
STEPS = {"flair": 0.25, "t1": 1.0, "t2": 1.0}


def crop_of(image: np.ndarray) -> tuple[slice, ...]:
    """Give the box around everything that is not 0, with the margin."""
    bounds = [(places.min(), places.max()) for places in np.nonzero(image)]
    sizes = zip(bounds, image.shape, strict=True)
    return tuple(slice(max(low - MARGIN, 0), min(high + MARGIN + 1, n)) for (low, high), n in sizes)


def save(path: Path, source: nib.Nifti1Image, box: tuple[slice, ...], *, step: float) -> None:
    """Write a cropped image as int16 (or uint8 when it fits) with a scale; no name, no time in the file."""
    exact = np.asarray(source.dataobj, dtype=np.float64)[box] / step
    # Inside the brain nothing becomes 0, which stands for what was stripped.
    values = np.where((np.abs(exact) < 0.5) & (exact != 0), np.copysign(1, exact), np.rint(exact))
    dtype = np.uint8 if values.min() >= 0 and values.max() <= 255 else np.int16
    affine = source.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    image = nib.Nifti1Image(values.astype(dtype), affine)
    image.header.set_sform(affine, code="mni" if "ms" in path.parts[-2] else "aligned")
    image.header.set_qform(affine, code="mni" if "ms" in path.parts[-2] else "aligned")
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(step, 0)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([step, 0], "<f4").tobytes()  # nibabel resets the scale when it writes
    path.write_bytes(gzip.compress(bytes(raw), 9, mtime=0))


def main(folder: Path) -> None:
    """Make all samples from a folder of originals."""
    ms, stroke = folder / "ms_flair_t1_t2", folder / "stroke_t2"
    flair = nib.load(ms / "flair.nii.gz")
    box = crop_of(np.asarray(flair.dataobj))
    for name, step in STEPS.items():
        save(HERE / "ms" / f"ms-{name}.nii.gz", nib.load(ms / f"{name}.nii.gz"), box, step=step)
    save(HERE / "ms" / "ms-lesions.nii.gz", nib.load(ms / "lesion_mask.nii.gz"), box, step=1.0)
    whole = tuple(slice(0, n) for n in nib.load(stroke / "t2.nii.gz").shape)
    for name, file in (("t2", "t2"), ("lesions", "lesion_mask")):
        save(HERE / "stroke" / f"stroke-{name}.nii.gz", nib.load(stroke / f"{file}.nii.gz"), whole, step=1.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
