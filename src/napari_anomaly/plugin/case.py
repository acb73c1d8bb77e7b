"""One scan in the window: its session, its layers, and what may be done with it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from napari.components import ViewerModel
from napari.layers import Image, Labels
from psygnal import Signal

from napari_anomaly import io
from napari_anomaly.anomaly import AnomalyMap
from napari_anomaly.corrections import carried
from napari_anomaly.errors import ReviewError
from napari_anomaly.export import MaskChoice, to_mask
from napari_anomaly.findings import Findings
from napari_anomaly.growth import grown
from napari_anomaly.journal import Header, Journal, journal_path, others_beside, reader_name
from napari_anomaly.plugin.display import step_of
from napari_anomaly.plugin.engine import Outcome
from napari_anomaly.plugin.ghosts import dashed
from napari_anomaly.plugin.layers import scan_layer, scan_of
from napari_anomaly.plugin.preferences import preferences
from napari_anomaly.plugin.result_layers import ResultLayers, Strokes
from napari_anomaly.plugin.review_place import folder_for
from napari_anomaly.plugin.windows import Window, windows_for
from napari_anomaly.progress import Progress, Steps
from napari_anomaly.review import Entry, Verdict, judged
from napari_anomaly.scan import Scan
from napari_anomaly.session import Session

__all__ = ["Case", "VOLUME", "VOLUMES", "reading", "writing_map", "writing_mask"]

VOLUMES = "napari_anomaly_volumes"
VOLUME = "napari_anomaly_volume"


class Case:
    """A scan's layer, what is known of it, and the layers of its result.

    Parameters
    ----------
    viewer
        Where it is shown.
    layer
        The layer of the scan.

    Attributes
    ----------
    problem
        Signal with an error that the reader must hear of.
    chosen
        Findings that the reader has chosen, by id.
    ghosts
        Whether what was judged false stays visible as a dashed outline in grey.
    newest
        Voxel, as flat index, of what the reader has just added or changed; the findings to come choose it.
    judged_false
        Those of the shown findings that were judged false, by id.
    shown
        The findings on the screen; those of a moment ago while new ones are being computed.
    remarks
        What the reader should know of the review that was found.
    """

    problem = Signal(Exception)

    def __init__(self, viewer: ViewerModel, layer: Image) -> None:
        self.layer = layer
        self._viewer = viewer
        self.newest: int | None = None
        self.session = Session()
        self.layers = ResultLayers(viewer, layer)
        self.journal: Journal | None = None
        self.closed_to_review = ""
        self.remarks: tuple[str, ...] = ()
        self.chosen: tuple[int, ...] = ()
        self.ghosts = False
        self.shown: Findings | None = None
        self.judged_false: frozenset[int] = frozenset()
        self._listening: Labels | None = None
        self._painting = False
        self.session.settings_changed.connect(self._show_settings)
        self.session.open(scan_of(layer))
        self.windows: tuple[Window, ...] = windows_for(self.scan)

    @property
    def scan(self) -> Scan:
        """The scan as the layer shows it now."""
        scan = self.session.scan
        if scan is None:
            raise RuntimeError("a case always has a scan")
        return scan

    def refresh(self) -> Scan:
        """Take over what another plugin did to the layer since; the result of the scan before leaves.

        Raises
        ------
        ScanError
            If the layer no longer holds a scan.
        """
        scan = scan_of(self.layer)
        if scan is not self.scan and not _same(scan, self.scan):
            self.session.open(scan)
            self._close_journal()
            self.chosen, self.shown = (), None
            self.windows = windows_for(scan)
        return self.scan

    def show_volume(self, scan: Scan, volume: int) -> None:
        """Show another volume of the same file in place of the one before; its result leaves."""
        self.show_scan(scan)
        self.layer.metadata[VOLUME] = volume

    def show_scan(self, scan: Scan) -> None:
        """Show another scan in place of the one before, in the same layers; its result leaves."""
        self.close()
        self.session.open(scan)
        self.windows = windows_for(scan)
        self.chosen, self.shown, self.remarks = (), None, ()
        self.judged_false = frozenset()
        data, keywords, _ = scan_layer(scan)
        self.layers.hide()
        self.layer.data = data
        for name in ("scale", "translate"):
            if not np.allclose(getattr(self.layer, name), keywords[name]):
                setattr(self.layer, name, keywords[name])
        self.layer.name = keywords["name"]
        self.layer.metadata.update(keywords["metadata"])
        self.layer.contrast_limits_range = _range(scan)
        self.layer.contrast_limits = keywords["contrast_limits"]

    def show_result(self, outcome: Outcome) -> None:
        """Show what the detector made of the scan, and go on with its review where there is one."""
        before, wanted = self.session.map, preferences().threshold
        self.session.set_result(outcome.result)
        if wanted and (before is None or before.detector_sha256 != outcome.result.map.detector_sha256):
            self.session.threshold = wanted
        self.chosen, self.shown = (), None
        self.resume()
        self._show_settings()
        self.layers.show(outcome.display, self.scan)

    def _show_settings(self) -> None:
        self.layers.show_snap(self.session.snap)
        self.layers.show_threshold(step_of(self.session.threshold))

    # The review

    def resume(self) -> None:
        """Open the journal of this scan and detector, and take up the review that it holds."""
        self._close_journal()
        session, scan, anomaly_map = self.session, self.scan, self.session.map
        if anomaly_map is None:
            return
        header = header_of(scan, anomaly_map)
        folder = folder_for(scan)
        try:
            journal = Journal.open(journal_path(folder, header), header)
        except ReviewError as error:
            self.closed_to_review = str(error)
            session.record_with(self._refuse)
            return
        self.closed_to_review = ""
        self.journal = journal
        self.remarks = tuple(_remarks(journal, folder, header))
        if journal.settings is not None:
            _set(session, journal.settings)
        if not journal.is_new:
            moved = journal.review.map_sha256 != anomaly_map.sha256
            review = journal.review.model_copy(update={"map_sha256": anomaly_map.sha256})
            session.set_review(review, saved=True)
            change = carried(review, session.findings) if moved and session.findings is not None else None
            if change is not None:
                journal.record(Entry(do="change", change=change))
                session.set_review(review.apply(change), saved=True)
        session.record_with(self._record)

    def _record(self, entry: Entry) -> None:
        if self.journal is None:
            raise ReviewError("The review of this scan is closed. Detect again to open it.")
        if self.journal.is_new and entry.do != "settings":
            self.journal.record(self.session.settings)
        self.journal.record(entry)

    def _refuse(self, entry: Entry) -> None:
        if entry.do != "settings":
            raise ReviewError(self.closed_to_review)

    def _close_journal(self) -> None:
        if self.journal is not None:
            self.journal.close()
        self.journal = None
        self.session.record_with(None)

    def close(self) -> None:
        """Put the review away; everything in it is on the disk."""
        self._close_journal()

    def show_findings(self, findings: Findings, mask: UInt8[np.ndarray, "z y x"]) -> None:
        """Show findings as the mask, without those that were judged false.

        Parameters
        ----------
        findings
            What was found.
        mask
            1 where there is a finding; it is taken over and must not be used further.
        """
        self.judged_false = self._find_judged_false(findings)
        for finding in findings:
            if finding.id in self.judged_false:
                mask[finding.slices][findings.labels[finding.slices] == finding.rank] = 0
        self.layers.show_mask(mask, self.scan)
        self.shown = findings
        self._listen()
        self._show_marks(findings)

    def show_verdicts(self) -> None:
        """Bring the mask in line with the verdicts; only what has changed is drawn anew."""
        findings = self.session.findings if self.session.has_findings else None
        if findings is None:
            return
        before, self.judged_false = self.judged_false, self._find_judged_false(findings)
        changes = [
            (finding.slices, findings.labels[finding.slices] == finding.rank, finding.id in before)
            for finding in findings
            if (finding.id in before) != (finding.id in self.judged_false)
        ]
        if changes:
            self.layers.change_mask(changes)
            self._show_marks(findings)

    def choose(self, finding_ids: Iterable[int]) -> None:
        """Outline the findings that the reader has chosen."""
        self.chosen = tuple(finding_ids)
        if self.session.has_findings and self.session.findings is not None:
            self._show_marks(self.session.findings)

    def show_ghosts(self, on: bool) -> None:
        """Show or hide what was judged false."""
        self.ghosts = on
        self.choose(self.chosen)

    def take_strokes(self, event: object = None) -> None:
        """Take what was painted into the mask over into the review."""
        strokes = self.layers.strokes()
        if strokes is None:
            return
        self._painting = False
        try:
            self.session.paint(*strokes)
        except ReviewError as error:
            self.layers.drop_strokes()
            self.problem.emit(error)
            return
        self.layers.keep_strokes(strokes)
        self._warn_of_ghosts(strokes)

    def _warn_of_ghosts(self, strokes: Strokes) -> None:
        """Say so where the reader painted into a finding that stays out of the mask."""
        flat, values = strokes
        if self.shown is None or not self.judged_false:
            return
        touched = np.unique(self.shown.labels.reshape(-1)[flat[values > 0]])
        ranks = [one.rank for one in self.shown if one.id in self.judged_false and one.rank in touched]
        if ranks:
            self.problem.emit(
                ReviewError(
                    f"You painted into finding {ranks[0]}, which you judged false positive: it stays out of the "
                    "mask. Take that verdict back first (Backspace)."
                )
            )

    def toggle_supervoxel(self, index: tuple[int, int, int]) -> bool:
        """Take the whole supervoxel around a voxel into the mask, or out of it.

        Parameters
        ----------
        index
            Voxel (z, y, x).

        Returns
        -------
        bool
            Whether there is a supervoxel.
        """
        supervoxels, mask = self.session.supervoxels, self.layers.mask
        if supervoxels is None or mask is None or not _inside(index, supervoxels.ids.shape):
            return False
        number = int(supervoxels.ids[index])
        if number == 0:
            return False
        flat = np.flatnonzero(supervoxels.ids == number)
        self.session.paint(flat, -1 if mask.data[index] else 1)
        return True

    def grow(self, index: tuple[int, int, int]) -> bool:
        """Add a finding that was missed: it grows from the supervoxel around a voxel.

        Parameters
        ----------
        index
            Voxel (z, y, x).

        Returns
        -------
        bool
            Whether there is a supervoxel.
        """
        supervoxels = self.session.supervoxels
        if supervoxels is None or not _inside(index, supervoxels.ids.shape):
            return False
        flat = grown(supervoxels, index)
        if flat.size:
            self.session.paint(flat, 1)
            self.newest = int(np.ravel_multi_index(index, supervoxels.ids.shape))
        return bool(flat.size)

    def _find_judged_false(self, findings: Findings) -> frozenset[int]:
        review = self.session.review
        verdicts = judged(review, (finding.id for finding in findings))
        return frozenset(key for key, verdict in verdicts.items() if verdict is Verdict.FALSE_POSITIVE)

    def show_plane(self) -> None:
        """Draw ghosts for the plane that is looked at."""
        if self.ghosts and self.judged_false:
            self.choose(self.chosen)

    def _show_marks(self, findings: Findings) -> None:
        dims = self._viewer.dims
        axis = None if dims.ndisplay == 3 else int(dims.order[0])
        regions = [
            (finding.slices, dashed(inside, axis) if value == 2 else inside, value)
            for value, wanted in ((2, self.judged_false if self.ghosts else ()), (1, self.chosen))
            for finding in findings
            if finding.id in wanted
            for inside in (findings.labels[finding.slices] == finding.rank,)
        ]
        self.layers.show_marks(regions, self.scan)

    def _listen(self) -> None:
        mask = self.layers.mask
        if mask is not None and mask is not self._listening:
            self._listening = mask
            mask.events.paint.connect(self._on_paint)
            mask.events.labels_update.connect(self._on_drawn)

    def _on_paint(self, event: object = None) -> None:
        # A stroke of the mouse is told when it is drawn; one of a program just before.
        self._painting = True
        self.take_strokes()

    def _on_drawn(self, event: object = None) -> None:
        if self._painting:
            self.take_strokes()

    @property
    def volumes(self) -> int:
        """How many volumes the file of the scan holds."""
        return int(self.layer.metadata.get(VOLUMES, 1))

    @property
    def volume(self) -> int:
        """Which of them is shown, from 0."""
        return int(self.layer.metadata.get(VOLUME, 0))

    @property
    def badge(self) -> str:
        """What is special about the place of the scan, in a few words; mostly empty."""
        geometry = self.scan.geometry
        if geometry.unit == "voxel":
            return "size of a voxel unknown: shown in voxels"
        stack = self.scan.source.details.get("stack")
        if stack is not None and stack.resampled:
            why = f"gantry tilt {stack.tilt:.1f}°" if stack.tilt else "uneven slices"
            return f"{why}: resampled"
        angle = geometry.obliquity
        return f"oblique {angle:.0f}°: planes follow the scan" if angle >= 0.5 else ""

    def default_path(self, kind: str) -> Path:
        """Suggest where to export to: beside the scan, in its own format, under its own name."""
        source, wanted = self.scan.source, preferences().exports
        folder = source.path.parent if source.path is not None else Path.cwd()
        folder = Path(wanted).expanduser() if wanted else folder
        suffix = ".tif" if source.format == "tiff" else ".nii.gz"
        return folder / f"{self.scan.name}_{kind}{suffix}"


def reading(scan: Scan, volume: int) -> Steps[Scan]:
    """Read another volume of the file that a scan came from."""
    yield Progress(0, 0, "reading")
    return io.read_volume(scan, volume)


def writing_mask(case: Case, path: Path, choice: MaskChoice = "all") -> Steps[Path]:
    """Write the mask as the window shows it, painted corrections included.

    Call it in the window's thread; the generator may run in another.

    Parameters
    ----------
    case
        Whose mask.
    path
        Where to.
    choice
        Which findings: see `napari_anomaly.export.to_mask`.
    """
    case.take_strokes()
    session, scan = case.session, case.scan
    question, review = session.question, session.review
    findings = session.findings if session.has_findings else None

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing the mask")
        if question is not None:
            found = question.answer() if findings is None else findings
            io.write_like(to_mask(found, review, choice=choice).voxels, scan, path, kind="mask")
        return path

    return steps()


def writing_map(case: Case, path: Path) -> Steps[Path]:
    """Write the calibrated scores; call it in the window's thread, as `writing_mask`."""
    anomaly_map, scan = case.session.map, case.scan

    def steps() -> Steps[Path]:
        yield Progress(0, 0, "writing the map")
        if anomaly_map is not None:
            io.write_like(anomaly_map.score, scan, path, kind="map")
        return path

    return steps()


def header_of(scan: Scan, anomaly_map: AnomalyMap) -> Header:
    """Say what is read, for a journal."""
    return Header(
        scan=scan.name,
        scan_sha256=scan.sha256,
        detector=anomaly_map.detector,
        detector_sha256=anomaly_map.detector_sha256,
        map_sha256=anomaly_map.sha256,
        reader=reader_name(),
    )


def _range(scan: Scan) -> tuple[float, float]:
    low, high = float(scan.voxels.min()), float(scan.voxels.max())
    return (low, high) if high > low else (low, low + 1.0)


def _remarks(journal: Journal, folder: Path, header: Header) -> Iterator[str]:
    """Say what the reader should know of the review that was found, or of others beside it."""
    said = len([one for one in journal.review.verdicts.values() if one.verdict is not None])
    if said or journal.review.strokes or journal.review.groups:
        painted = " and painted corrections" if journal.review.strokes else ""
        painted += " and what you split or merged" if journal.review.groups else ""
        yield f"Your review goes on where it ended: {said} verdict{'' if said == 1 else 's'}{painted}."
    others = others_beside(folder, header)
    if others:
        yield (
            f"{others[0].name} was made on another scan of this name, or with another detector; "
            "it is left alone."
        )


def _set(session: Session, settings: Entry) -> None:
    if settings.threshold is not None:
        session.threshold = settings.threshold
    if settings.min_volume_mm3 is not None:
        session.min_volume_mm3 = settings.min_volume_mm3
    if settings.snap is not None:
        session.snap = settings.snap
    if settings.extend is not None:
        session.extend = settings.extend


def _inside(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(0 <= i < n for i, n in zip(index, shape, strict=True))


def _same(one: Scan, other: Scan) -> bool:
    # A layer of another plugin gives a new Scan each time, on the same array.
    return (
        one.voxels.shape == other.voxels.shape
        and one.voxels.__array_interface__["data"] == other.voxels.__array_interface__["data"]
        and one.geometry.same_grid(other.geometry)
    )
