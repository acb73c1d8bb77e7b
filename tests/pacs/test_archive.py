import logging
import subprocess
import sys

import pytest

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address, connect, unlogged


@pytest.mark.parametrize(
    ("text", "host", "port", "title", "safe"),
    [
        ("https://pacs.example/dicom-web/", "pacs.example", 443, "", True),
        ("http://pacs.example:8042/dicom-web", "pacs.example", 8042, "", False),
        ("http://127.0.0.1:8042", "127.0.0.1", 8042, "", True),
        ("dicom://ARCHIVE@pacs.example", "pacs.example", 104, "ARCHIVE", False),
        ("dicoms://ARCHIVE@pacs.example:11112", "pacs.example", 11112, "ARCHIVE", True),
    ],
)
def test_addresses(text, host, port, title, safe):
    address = Address.of(text)
    assert (address.host, address.port, address.title, address.safe) == (host, port, title, safe)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with https://"),
        ("pacs.example", "begins with https://"),
        ("ftp://pacs.example", "begins with https://"),
        ("https://", "begins with https://"),
        ("https://pacs.example:port/", "begins with https://"),
        ("https://reader:secret@pacs.example", "A password does not belong"),
        ("https://reader@pacs.example", "A password does not belong"),
        ("dicom://A:secret@pacs.example", "A password does not belong"),
        ("dicom://pacs.example:104", "names the archive's application entity title"),
        ("dicom://TITLEOFMORETHANSIXTEEN@pacs.example:104", "names the archive's application entity title"),
    ],
)
def test_what_is_no_address_is_told_and_no_secret_repeated(text, words):
    with pytest.raises(ArchiveError, match=words) as caught:
        Address.of(text)
    assert "secret" not in str(caught.value)


def test_certificates_must_be_there(tmp_path):
    with pytest.raises(ArchiveError, match="is not there"):
        connect("https://pacs.example", ca=tmp_path / "none.pem")


def test_libraries_say_nothing_for_a_while(caplog):
    quiet, other = logging.getLogger("urllib3.connectionpool"), logging.getLogger("somebody.else")
    with caplog.at_level(logging.DEBUG):
        with unlogged():
            quiet.error("Muster")
            other.error("heard")
        quiet.error("again")
    assert [record.message for record in caplog.records] == ["heard", "again"]


def test_without_the_extra_its_name_is_told():
    code = (
        "import sys; sys.modules['dicomweb_client'] = None; sys.modules['keyring'] = None\n"
        "from napari_anomaly.cli import main\n"
        "sys.exit(main(['pacs', 'search', '--archive', 'https://127.0.0.1:1/']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'napari-anomaly[pacs]'" in done.stderr
