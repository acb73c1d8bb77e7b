import keyring
import pytest
from keyring.backends.fail import Keyring

from napari_anomaly.errors import ArchiveError
from napari_anomaly.pacs.archive import Address
from napari_anomaly.pacs.credentials import Credential, forget, keep, recall

SAFE = Address.of("https://pacs.example/dicom-web")
OPEN = Address.of("http://pacs.example/dicom-web")


def test_what_is_kept_comes_back_and_can_go(ring):
    assert recall(SAFE) is None
    keep(SAFE, Credential("secret", "reader"))
    assert recall(SAFE) == Credential("secret", "reader")
    assert recall(Address.of("https://other.example")) is None
    assert forget(SAFE)
    assert recall(SAFE) is None
    assert not forget(SAFE)


def test_a_secret_does_not_show():
    assert "secret" not in repr(Credential("secret", "reader"))


def test_nothing_is_sent_in_the_open(ring):
    with pytest.raises(ArchiveError, match="would be sent in the open"):
        keep(OPEN, Credential("secret"))
    ring.set_password("napari-anomaly", OPEN.url, '["", "secret"]')
    with pytest.raises(ArchiveError, match="would be sent in the open"):
        recall(OPEN)


def test_without_a_keyring_nothing_is_kept(ring):
    keyring.set_keyring(Keyring())
    assert recall(SAFE) is None
    with pytest.raises(ArchiveError, match="no keyring that can be written to"):
        keep(SAFE, Credential("secret"))
    with pytest.raises(ArchiveError, match="cannot be opened"):
        forget(SAFE)


def test_a_keyring_that_is_a_file_is_refused(ring):
    keyring.set_keyring(type("Plain", (type(ring),), {"__module__": "keyrings.alt.file"})())
    with pytest.raises(ArchiveError, match="writes files"):
        keep(SAFE, Credential("secret"))
