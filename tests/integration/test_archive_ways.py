"""Ways to a real archive, Orthanc, that need settings of their own: C-MOVE, and everything over TLS."""

import io as bytes_io
import json
import ssl

import numpy as np
import pytest
import trustme

from archives import tls_front
from dicoms import classic, ramp
from napari_anomaly import io, pacs
from napari_anomaly.cli import main
from napari_anomaly.errors import ArchiveError
from orthanc import MISSING, WANTED, Orthanc, free_port

pytestmark = pytest.mark.skipif(MISSING, reason=WANTED)
SLICES = ramp((6, 16, 12))
TITLE = "MOVEHERE"


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Make an authority, and a certificate of this machine; give both as files."""
    folder, ca = tmp_path_factory.mktemp("authority"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "own.pem")
    return folder / "server.pem", folder / "ca.pem"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, port, authority):
    """Run an archive that gives nothing away by C-GET, and sends to one port."""
    server = Orthanc(
        tmp_path_factory.mktemp("orthanc"),
        DicomAlwaysAllowGet=False,
        DicomAlwaysAllowMove=True,
        DicomModalities={
            "here": {"AET": TITLE, "Host": "127.0.0.1", "Port": port, "AllowGet": False, "AllowMove": True}
        },
    )
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def secured(tmp_path_factory, authority):
    server = Orthanc(tmp_path_factory.mktemp("secured"), secured=authority)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def test_a_series_is_moved(orthanc, ring, port, tmp_path, capsys):
    files = classic(tmp_path / "in", SLICES)
    way = ["--archive", orthanc.dimse, "--calling", TITLE]
    assert main(["pacs", "store", *way, *map(str, files)]) == 0
    fetch = ["pacs", "fetch", *way, "--patient-id", "ID4711", "-o", str(tmp_path / "out")]
    assert main(fetch) == 2
    capsys.readouterr()
    assert main([*fetch, "--move", str(port)]) == 0
    folder = capsys.readouterr().out.strip()
    one, other = io.read_scan(folder), io.read_scan(tmp_path / "in")
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_allclose(one.geometry.affine, other.geometry.affine, atol=1e-9)


def test_a_port_that_orthanc_does_not_send_to_is_told(orthanc, ring, port, tmp_path, capsys):
    classic(tmp_path / "in", SLICES)
    way = ["--archive", orthanc.dimse, "--timeout", "20"]
    assert main(["pacs", "store", *way, str(tmp_path / "in")]) == 0
    fetch = ["pacs", "fetch", *way, "--patient-id", "ID4711", "-o", str(tmp_path / "out")]
    for title, number in (("STRANGER", port), (TITLE, free_port())):
        assert main([*fetch, "--calling", title, "--move", str(number)]) == 2
        told = capsys.readouterr().err
        assert f"{title} is this machine, at port {number}" in told
        assert "Muster" not in told
    assert list((tmp_path / "out").iterdir()) == []


def test_a_transfer_that_is_stopped_frees_the_port(orthanc, ring, port, tmp_path):
    archive = pacs.connect(orthanc.dimse, calling=TITLE, timeout=30, move_port=port)
    for path in classic(tmp_path / "in", SLICES):
        pacs.connect(orthanc.dimse).store(dataset(path))
    (match,) = archive.search(pacs.Query(patient_id="ID4711"))
    steps = pacs.fetching(archive, [match], tmp_path / "out")
    next(steps)
    steps.close()
    assert list((tmp_path / "out").iterdir()) == []
    again = pacs.fetching(archive, [match], tmp_path / "out")
    assert len([step for step in again if step.done]) == 6


def dataset(path):
    from pydicom import dcmread

    return dcmread(path)


@pytest.fixture(params=["web", "dimse"])
def place(request, secured, ring, authority, monkeypatch):
    """Give the address of an archive that is reached over TLS."""
    if request.param == "dimse":
        yield secured.dimse
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[0])
    with tls_front(secured.web_port, context) as port:
        address = f"https://127.0.0.1:{port}/dicom-web"
        monkeypatch.setattr("sys.stdin", bytes_io.StringIO("secret\n"))
        assert main(["pacs", "login", "--archive", address, "--user", "reader"]) == 0
        yield address


def test_the_way_round_over_tls(secured, place, authority, tmp_path):
    ca = authority[1]
    classic(tmp_path / "in", SLICES)
    words = ["--archive", place, "--ca", str(ca)]
    assert main(["pacs", "store", *words, str(tmp_path / "in")]) == 0
    assert main(["pacs", "fetch", *words, "--patient-id", "ID4711", "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 6
    assert len(json.loads(secured.get("/instances"))) == 6
    with pytest.raises(ArchiveError, match="certificate that is not trusted"):
        pacs.connect(place, timeout=20).search(pacs.Query())


def test_a_series_is_moved_over_tls_by_who_shows_a_certificate(ring, port, authority, tmp_path, capsys):
    here = {"AET": TITLE, "Host": "127.0.0.1", "Port": port, "AllowMove": True, "UseDicomTls": True}
    (tmp_path / "archive").mkdir()
    server = Orthanc(
        tmp_path / "archive",
        secured=authority,
        asks=True,
        DicomAlwaysAllowGet=False,
        DicomAlwaysAllowMove=True,
        DicomModalities={"here": here},
    )
    try:
        server.wait()
        classic(tmp_path / "in", SLICES)
        way = ["--archive", server.dimse, "--calling", TITLE, "--ca", str(authority[1])]
        assert main(["pacs", "store", *way, str(tmp_path / "in")]) == 2
        assert "Muster" not in capsys.readouterr().err
        way += ["--certificate", str(authority[0].with_name("own.pem"))]
        assert main(["pacs", "store", *way, str(tmp_path / "in")]) == 0
        fetch = ["pacs", "fetch", *way, "--patient-id", "ID4711", "-o", str(tmp_path / "out")]
        capsys.readouterr()
        assert main([*fetch, "--move", str(port)]) == 0
        folder = capsys.readouterr().out.strip()
    finally:
        server.stop()
    np.testing.assert_array_equal(io.read_scan(folder).voxels, io.read_scan(tmp_path / "in").voxels)
