import pytest
from pydicom import dcmread

from dicoms import ROOT, classic, ramp
from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.match import Match
from napari_anomaly.pacs.transfer import fetching, storing
from napari_anomaly.progress import drain

SLICES = ramp((3, 4, 5))
MATCH = Match(ROOT + "1", ROOT + "2", modality="MR", number="7", images=3)


class Shelf:
    """An archive without a wire."""

    def __init__(self, files=(), room=100):
        self.files, self.room, self.asked, self.stored = list(files), room, 0, []

    def find(self, query):
        yield MATCH

    def search(self, query):
        return [MATCH]

    def fetch(self, match):
        self.asked += 1
        yield from (dcmread(file) for file in self.files)

    def store(self, dataset):
        if len(self.stored) == self.room:
            raise ArchiveError("The archive is full.")
        self.stored.append(dataset)


def test_what_is_there_is_not_fetched_again(tmp_path):
    shelf = Shelf(classic(tmp_path / "in", SLICES))
    first = drain(fetching(shelf, [MATCH], tmp_path / "out"))
    assert drain(fetching(shelf, [MATCH], tmp_path / "out")) == first
    assert shelf.asked == 1
    next(first[0].glob("*.dcm")).unlink()
    drain(fetching(shelf, [MATCH], tmp_path / "out"))
    assert shelf.asked == 2
    assert len(list(first[0].iterdir())) == 3


def test_a_part_of_a_series_is_nothing(tmp_path):
    shelf = Shelf(classic(tmp_path / "in", SLICES)[:2])
    with pytest.raises(ArchiveError, match="sent 2 of 3 files"):
        drain(fetching(shelf, [MATCH], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_are_no_dicom_and_archives_that_are_full(tmp_path):
    files = classic(tmp_path / "in", SLICES)
    shelf = Shelf(room=2)
    with pytest.raises(ArchiveError, match=r"full\. 2 of 3 files were stored"):
        drain(storing(shelf, files))
    (tmp_path / "a.dcm").write_text("no DICOM")
    shelf = Shelf()
    with pytest.raises(ArchiveError, match=r"is no DICOM file.*1 of 2 files"):
        drain(storing(shelf, [files[0], tmp_path / "a.dcm"]))
    assert [each.SOPInstanceUID for each in shelf.stored] == [dcmread(files[0]).SOPInstanceUID]
