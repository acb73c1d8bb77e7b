"""Codes for what is said in DICOM: structures of the brain, verdicts, measurements, the algorithm.

Where the standard has a code, it is taken; a verdict has none, so there is a scheme of our own.

Source: DICOM PS3.16 2024, CID 7140 and 7192 (structures), CID 244 (laterality), CID 7469 (measurements),
PS3.3, 8 (coding schemes; designators that begin with 99 are private).
"""

from collections.abc import Mapping
from types import MappingProxyType

import highdicom
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from napari_anomaly.anatomy import NAMES, STRUCTURES, Anatomy
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.findings import Finding, Findings
from napari_anomaly.review import Verdict

__all__ = ["RANK", "REGIONS", "SCHEME", "VERDICT", "VERDICTS", "algorithm", "our_scheme", "sites"]

SCHEME = "99NAPARIANOMALY"
"""Designator of our own codes; other programs may not know them, and show their meaning."""

VERDICT = Code("verdict", SCHEME, "Reader's verdict")
VERDICTS: Mapping[Verdict | None, Code] = MappingProxyType(
    {
        Verdict.REAL: Code("real", SCHEME, "Real finding"),
        Verdict.UNSURE: Code("unsure", SCHEME, "Unsure"),
        Verdict.FALSE_POSITIVE: Code("false_positive", SCHEME, "False positive"),
        None: Code("not_judged", SCHEME, "Not judged"),
    }
)
RANK = codes.DCM.PercentileRankingOfMeasurement
"""What a calibrated score is: how many of a hundred normal voxels score lower."""

_SCT = codes.SCT
_LOBES = {
    f"{lobe} {tissue}": code
    for lobe, code in (
        ("frontal", _SCT.FrontalLobe),
        ("parietal", _SCT.ParietalLobe),
        ("temporal", _SCT.TemporalLobe),
        ("occipital", _SCT.OccipitalLobe),
    )
    for tissue in ("white matter", "cortex")
}
REGIONS: Mapping[str, Code] = MappingProxyType(
    {
        **_LOBES,
        "brainstem": _SCT.BrainStem,
        "third ventricle": _SCT.ThirdVentricle,
        "fourth ventricle": _SCT.FourthVentricle,
        "internal capsule": _SCT.InternalCapsule,
        "corpus callosum": _SCT.CorpusCallosum,
        "insula": _SCT.Insula,
        "cingulate cortex": _SCT.CerebralCortex,
        "lateral ventricle": _SCT.LateralVentricle,
        "thalamus": _SCT.Thalamus,
        "caudate": _SCT.CaudateNucleus,
        "putamen": _SCT.Putamen,
        "pallidum": _SCT.GlobusPallidus,
        "hippocampus": _SCT.Hippocampus,
        "amygdala": _SCT.Amygdala,
        "ventral diencephalon": _SCT.Diencephalon,
        "cerebellar cortex": _SCT.CerebellarCortex,
        "cerebellar white matter": _SCT.CerebellarWhiteMatter,
        "fluid around the brain": _SCT.SubarachnoidSpace,
    }
)
"""Code of each structure in `napari_anomaly.anatomy.NAMES` that lies in the head; a lobe for its tissues."""

_SIDES = {"left": _SCT.Left, "right": _SCT.Right}
_SHARE = 0.25
"""A structure that holds less of a finding than this is not coded as its site."""


def sites(finding: Finding, findings: Findings, anomaly_map: AnomalyMap) -> list[tuple[Code, Code | None]]:
    """Give where a finding lies: structure and side, the one that holds most of it first; empty if not known."""
    if anomaly_map.anatomy is None:
        return []
    held = _held(finding, findings, anomaly_map.anatomy)
    found: dict[tuple[Code, Code | None], int] = {}
    for label in np.flatnonzero(held):
        structure = STRUCTURES[label]
        key = REGIONS[structure.name], _SIDES.get(structure.side)
        found[key] = found.get(key, 0) + int(held[label])
    least = _SHARE * sum(found.values())
    return [key for key, count in sorted(found.items(), key=lambda pair: -pair[1]) if count >= least]


def _held(finding: Finding, findings: Findings, anatomy: Anatomy) -> np.ndarray:
    """Count the voxels of a finding in each structure; those outside of the brain do not count."""
    inside = findings.labels[finding.slices] == finding.rank
    held = np.bincount(anatomy.labels[finding.slices][inside], minlength=len(STRUCTURES))
    held[[label for label, structure in enumerate(STRUCTURES) if structure.name not in REGIONS]] = 0
    return held


def algorithm(anomaly_map: AnomalyMap) -> highdicom.AlgorithmIdentificationSequence:
    """Name the detector that made a map."""
    return highdicom.AlgorithmIdentificationSequence(
        name=f"napari-anomaly {anomaly_map.detector}"[:64],
        family=codes.cid7162.ArtificialIntelligence,
        version=anomaly_map.detector_sha256[:12],
        source="napari-anomaly",
    )


def our_scheme() -> Dataset:
    """Say who answers for our own codes, as a file that holds some must."""
    told = Dataset()
    told.CodingSchemeDesignator = SCHEME
    told.CodingSchemeName = "napari-anomaly"
    told.CodingSchemeResponsibleOrganization = "The napari-anomaly developers"
    return told


if set(NAMES) - set(REGIONS) != {STRUCTURES[0].name}:
    raise RuntimeError("each structure of the brain needs a code")
