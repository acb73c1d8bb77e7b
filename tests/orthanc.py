"""A real archive, Orthanc, on this machine; Debian's packages orthanc and orthanc-dicomweb bring it."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = next(
    (
        path
        for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
        for path in Path(folder).glob("libOrthancDicomWeb.so*")
    ),
    None,
)
MISSING = PROGRAM is None or PLUGIN is None
WANTED = "needs Orthanc: apt-get install orthanc orthanc-dicomweb"


class Orthanc:
    """An archive that runs until `stop`.

    Parameters
    ----------
    folder
        For its storage and settings.
    secured
        Certificate chain with its key, and the authority (PEM), where it is to speak DIMSE over TLS alone. HTTPS is
        left to a server in front: Debian's Orthanc 1.10.1 dies of it.
    asks
        Whether it then asks for a certificate of whoever talks to it.
    settings
        More of its settings.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secured: tuple[Path, Path] | None = None,
        asks: bool = False,
        **settings: object,
    ) -> None:
        self.web_port, self.dimse_port = free_port(), free_port()
        self._secured = secured
        told = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.web_port,
            "DicomPort": self.dimse_port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"reader": "secret"},
            "Plugins": [str(PLUGIN)],
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowStore": True,
            **settings,
        }
        if secured is not None:
            told |= {
                "DicomTlsEnabled": True,
                "DicomTlsCertificate": str(secured[0]),
                "DicomTlsPrivateKey": str(secured[0]),
                "DicomTlsTrustedCertificates": str(secured[1]),
                "DicomTlsRemoteCertificateRequired": asks,
            }
        (folder / "settings.json").write_text(json.dumps(told))
        self.log = (folder / "log.txt").open("w")
        self._process = subprocess.Popen(
            [str(PROGRAM), str(folder / "settings.json")], stdout=self.log, stderr=subprocess.STDOUT
        )

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"dicom{'s' if self._secured else ''}://ORTHANC@127.0.0.1:{self.dimse_port}"

    def get(self, path: str) -> bytes:
        """Ask in Orthanc's own words, not in DICOM's."""
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, f"http://127.0.0.1:{self.web_port}", "reader", "secret")
        ask = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
        with ask.open(f"http://127.0.0.1:{self.web_port}{path}", timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def wait(self) -> None:
        for _ in range(600):
            try:
                self.get("/system")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("Orthanc does not start")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self.log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
