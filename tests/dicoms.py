"""Small DICOM series with known answers, written with pydicom."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

ROOT = "1.2.826.0.1.3680043.8.498."
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
PATIENT = "Mustermann^Erika"
ORIGIN = (-20.0, -30.0, 40.0)
SPACING = (1.5, 0.75)  # between rows, between columns


def ramp(shape=(5, 6, 4), start=0) -> np.ndarray:
    """Give slices in which every voxel has a number of its own."""
    return (np.arange(np.prod(shape)).reshape(shape) + start).astype(np.int16)


def header(kind=MRImageStorage, **tags: Any) -> FileDataset:
    """Start a file with everything that a series has in common."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = kind
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = PATIENT, "ID4711", "", "F"
    data.StudyInstanceUID, data.SeriesInstanceUID = ROOT + "1", ROOT + "2"
    data.FrameOfReferenceUID, data.StudyID, data.AccessionNumber = ROOT + "3", "", ""
    data.Modality = "CT" if kind == CTImageStorage else "MR"
    data.StudyDate, data.StudyTime, data.SeriesNumber = "20240229", "120000", 7
    data.ReferringPhysicianName, data.Manufacturer, data.PositionReferenceIndicator = "", "", ""
    data.SeriesDescription = "t1 mprage Mustermann"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    set_tags(data, tags)
    return data


def set_tags(data: Dataset, tags: dict[str, Any]) -> None:
    """Set some tags; None takes one out."""
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            delattr(data, name)


def places(count: int, *, directions=AXIAL, step=3.0, lean=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Give positions of slices in a row, each moved aside by `lean` from the one before."""
    normal = np.cross(*directions)
    return np.array(ORIGIN) + np.outer(np.arange(count), normal * step + lean)


def one_slice(image: np.ndarray, position, number: int, *, directions=AXIAL, **tags: Any) -> FileDataset:
    """Make one classic image."""
    data = header(tags.pop("kind", MRImageStorage))
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}9.{number}"
    data.InstanceNumber = number
    data.Rows, data.Columns = image.shape
    data.ImageOrientationPatient = [float(v) for v in np.ravel(directions)]
    data.ImagePositionPatient = [float(v) for v in position]
    data.PixelSpacing, data.SliceThickness = list(SPACING), 3.0
    data.PixelData = image.tobytes()
    set_tags(data, tags)
    return data


def save(data: FileDataset, path: Path) -> Path:
    """Write a file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def classic(folder: Path, slices: np.ndarray, *, positions=None, first=1, **tags: Any) -> list[Path]:
    """Write a series of single images; file names and numbers run against the order in space."""
    directions = tags.get("directions", AXIAL)
    positions = places(len(slices), directions=directions) if positions is None else positions
    count = len(slices)
    return [
        save(
            one_slice(image, place, first + count - 1 - k, **tags),
            folder / f"im{first + count - 1 - k:03d}.dcm",
        )
        for k, (image, place) in enumerate(zip(slices, positions, strict=True))
    ]


def enhanced(path: Path, slices: np.ndarray, *, positions=None, frame_tags=None, **tags: Any) -> Path:
    """Write one enhanced MR file; frames lie in it as given."""
    data = header(EnhancedMRImageStorage)
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = ROOT + "8.1"
    data.InstanceNumber = 1
    data.NumberOfFrames, data.Rows, data.Columns = (int(n) for n in slices.shape)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [float(v) for v in np.ravel(AXIAL)]
    measures.PixelSpacing, measures.SliceThickness = list(SPACING), 3.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    positions = places(len(slices)) if positions is None else positions
    data.PerFrameFunctionalGroupsSequence = [
        _groups(place, k, (frame_tags or {}).get(k, {})) for k, place in enumerate(positions)
    ]
    data.PixelData = slices.tobytes()
    set_tags(data, tags)
    return save(data, path)


def _groups(position, index: int, tags: dict[str, Any]) -> Dataset:
    groups, place, content, values = Dataset(), Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [float(v) for v in position]
    content.StackID, content.InStackPositionNumber = "1", index + 1
    content.DimensionIndexValues = [1, index + 1]
    values.RescaleIntercept, values.RescaleSlope, values.RescaleType = 0, 1, "US"
    set_tags(content, {key: value for key, value in tags.items() if key != "RescaleSlope"})
    set_tags(values, {key: value for key, value in tags.items() if key == "RescaleSlope"})
    groups.PlanePositionSequence, groups.FrameContentSequence = [place], [content]
    groups.PixelValueTransformationSequence = [values]
    return groups


def csa(**values: list[object]) -> bytes:
    """Write a private header of Siemens, in its second form."""
    out = b"SV10\4\3\2\1" + struct.pack("<2I", len(values), 77)
    for name, items in values.items():
        out += struct.pack("<64si4s3i", name.encode(), len(items), b"FD", 4, len(items), 77)
        for item in items:
            text = str(item).encode() + b"\0"
            out += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return out


def mosaic(path: Path, slices: np.ndarray, *, directions=AXIAL, step=3.0, sign=1.0, **tags: Any) -> Path:
    """Write slices as tiles of one image, as Siemens does, the first of them at `ORIGIN`."""
    count, rows, columns = slices.shape
    side = int(np.ceil(np.sqrt(count)))
    image = np.zeros((side * rows, side * columns), slices.dtype)
    for k, each in enumerate(slices):
        row, column = divmod(k, side)
        image[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = each
    across, down = np.array(directions)
    aside = across * SPACING[1] * columns * (side - 1) / 2 + down * SPACING[0] * rows * (side - 1) / 2
    number = tags.pop("number", 1)
    kind = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    data = one_slice(
        image,
        np.array(ORIGIN) - aside,
        number,
        directions=directions,
        ImageType=kind,
        AcquisitionNumber=number,
    )
    data.Manufacturer, data.SpacingBetweenSlices = "SIEMENS", step
    normal = [f"{v:.8f}" for v in sign * np.cross(*directions)]
    block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa(NumberOfImagesInMosaic=[count], SliceNormalVector=normal))
    set_tags(data, tags)
    return save(data, path)


def detected(scan, *, structure: int | None = None):
    """Make a map with two bright boxes on the grid of a scan, and the findings in it."""
    from napari_anomaly.anatomy import Anatomy
    from napari_anomaly.findings import find
    from phantoms import a_map

    score = np.full(scan.geometry.shape, 0.1, np.float32)
    score[1:3, 1:4, 1:3] = 0.95
    score[2, 2, 2] = 0.999
    score[-2:, -2:, -2:] = 0.97
    anomaly_map = a_map(score, geometry=scan.geometry)
    if structure is not None:
        labels = np.full(score.shape, structure, np.uint8)
        anatomy = Anatomy(labels, np.zeros_like(labels), scan.geometry)
        anomaly_map = replace(anomaly_map, anatomy=anatomy)
    return anomaly_map, find(anomaly_map, 0.9)
