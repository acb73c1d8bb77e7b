#!/usr/bin/env python3
"""Install everything that is missing and run napari-anomaly, or its tests.

``python3 start.py``       detects anomalies in the bundled scan: in a napari window, or into files where
                           there is no screen.
``python3 start.py test``  runs the tests; further words go to pytest.

Everything goes into ``.venv`` beside this file, but for system libraries, which Debian's or Ubuntu's package
manager installs. Needs Python 3.11 or newer and, until then, nothing but the standard library.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python must hear why, not fail on a name)
    sys.exit(
        "napari-anomaly needs Python 3.11 or newer. Run this file with one, for example: python3.12 start.py"
    )

import argparse
import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
RESULTS = HERE / "anomaly-results"
LINUX = sys.platform.startswith("linux")
TORCH_CPU = "https://download.pytorch.org/whl/cpu"

# What a window needs, as the dynamic linker names it, and the Debian package that brings it.
WINDOW_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
}
VIRTUAL_SCREEN = {"Xvfb": "xvfb", "xauth": "xauth"}


def main(arguments: Sequence[str]) -> int:
    """Do one of the two jobs and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "job", nargs="?", choices=("run", "test"), default="run", help="what to do; run if left out"
    )
    parser.add_argument(
        "--cuda", action="store_true", help="take PyTorch's default build, on Linux the CUDA one"
    )
    options, rest = parser.parse_known_args(arguments)
    if rest and options.job == "run":
        parser.error(f"unknown: {' '.join(rest)}")
    testing = options.job == "test"
    os.chdir(HERE)
    install_system_packages(testing=testing)
    python = make_environment()
    install_torch(python, cuda=options.cuda)
    install_package(python, testing=testing)
    return run_tests(python, rest) if testing else run_main_job(python)


def install_system_packages(*, testing: bool) -> None:
    """Install the system libraries and programs that are missing, on Linux."""
    if not LINUX:
        return
    missing = [package for library, package in WINDOW_LIBRARIES.items() if not loads(library)]
    if testing and not screen_announced():
        missing += [package for program, package in VIRTUAL_SCREEN.items() if not shutil.which(program)]
    problem = apt_install(missing, ask=testing or screen_announced())
    if problem and (testing or screen_announced()):
        sys.exit(problem)
    if problem:
        say(f"{problem} Without them no window can open; this job needs none and goes on.")


def loads(library: str) -> bool:
    """Tell whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def apt_install(packages: Sequence[str], *, ask: bool) -> str:
    """Install Debian packages; return what stood in the way, or nothing.

    Parameters
    ----------
    packages
        Names; none is fine.
    ask
        Whether sudo may ask for a password.
    """
    if not packages:
        return ""
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        return (
            f"Missing system libraries, by their Debian names: {names}. Install what your system calls them."
        )
    rights: list[str] = []
    if os.geteuid() != 0:
        rights = ["sudo"] if ask else ["sudo", "-n"]
        if not shutil.which("sudo") or (not ask and failed(["sudo", "-n", "true"])):
            return f"Missing system packages. Have an administrator run: apt-get install {names}."
    say(f"Installing system packages: {names}")
    apt = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    # A list of packages that is partly out of date may still serve.
    subprocess.call([*apt, "-q", "update"])
    if subprocess.call([*apt, "-q", "install", "-y", "--no-install-recommends", *packages]):
        return f"apt-get could not install {names} (see above)."
    return ""


def failed(command: Sequence[str | Path]) -> bool:
    """Run a command in silence and tell whether it failed."""
    try:
        quiet = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return quiet.returncode != 0


def make_environment() -> Path:
    """Make the virtual environment unless a working one is there; return its Python."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not failed([python, "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]):
        return python
    if importlib.util.find_spec("ensurepip") is None:
        # Debian and Ubuntu keep this part of Python in a package of its own.
        problem = apt_install([f"python3.{sys.version_info.minor}-venv"], ask=True)
        if problem:
            sys.exit(problem)
    say(f"Making a virtual environment in {ENVIRONMENT}")
    if subprocess.call([sys.executable, "-m", "venv", "--clear", ENVIRONMENT]):
        sys.exit("No virtual environment could be made (see above).")
    return python


def pip(python: Path, *arguments: str) -> None:
    """Run the environment's pip, and stop with its status if it fails."""
    status = subprocess.call([python, "-m", "pip", "--disable-pip-version-check", *arguments])
    if status:
        sys.exit(f"pip could not do its work (see above): pip {' '.join(arguments)}")


def install_torch(python: Path, *, cuda: bool) -> None:
    """Install PyTorch, and never several GB of CUDA on a Linux machine that cannot use them.

    PyPI's PyTorch for Linux is the CUDA build. Where there is no NVIDIA GPU the CPU build is taken: from
    wherever pip is set up to look, if it is there, else from PyTorch's own index.
    """
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = next(name for name in project["dependencies"] if re.match(r"torch\b", name))
    if fits(answer_of(python, "-c", "import importlib.metadata as m; print(m.version('torch'))"), wanted):
        return
    if cuda or not LINUX or nvidia_gpu():
        say("Installing PyTorch")
        pip(python, "install", wanted)
        return
    for source in ((), ("--extra-index-url", TORCH_CPU, "--timeout", "10", "--retries", "1")):
        build = cpu_build(answer_of(python, "-m", "pip", "index", "versions", "torch", *source), wanted)
        if build:
            say(f"Installing PyTorch for the CPU ({build}): no NVIDIA GPU was found")
            pip(python, "install", f"torch=={build}", *source)
            return
    sys.exit(
        f"No NVIDIA GPU was found, and no CPU build of PyTorch: {TORCH_CPU} could not be reached.\n"
        "Try again with a connection, or put a CPU wheel where pip looks for it (option find-links), or\n"
        "take the CUDA build, which is several GB: python3 start.py --cuda"
    )


def answer_of(*command: str | Path) -> str:
    """Run a command and return what it printed; nothing if it failed."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def cpu_build(listing: str, wanted: str) -> str | None:
    """Choose the newest CPU build within a requirement's bounds from the versions that pip lists."""
    found = re.search(r"Available versions: (.*)", listing)
    builds = (
        version for version in (found.group(1).split(", ") if found else ()) if version.endswith("+cpu")
    )
    return next((build for build in builds if fits(build, wanted)), None)


def fits(version: str, wanted: str) -> bool:
    """Tell whether 2.13.0+cpu lies within the bounds of ``torch>=2.4,<2.14``."""
    lowest, beyond, asked = (
        tuple(map(int, re.findall(r"\d+", text)[:2])) for text in (*wanted.split(","), version)
    )
    return lowest <= asked < beyond


def nvidia_gpu() -> bool:
    """Tell whether an NVIDIA driver with a GPU is at work."""
    return any(Path("/proc/driver/nvidia/gpus").glob("*")) or not failed(["nvidia-smi", "-L"])


def install_package(python: Path, *, testing: bool) -> None:
    """Install this checkout with a window toolkit and the fast engine, unless that is done already."""
    recipe = hashlib.sha256(
        (HERE / "pyproject.toml").read_bytes() + f"{python} {testing}".encode()
    ).hexdigest()
    stamp = ENVIRONMENT / ("installed-for-tests" if testing else "installed")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
        return
    say("Installing napari-anomaly and what it needs")
    # Dependency groups need a pip of 2025.
    pip(python, "install", "--quiet", "--upgrade", "pip>=25.1")
    groups = ("--group", "test") if testing else ()
    pip(python, "install", "--editable", ".[qt,openvino]", *groups)
    stamp.write_text(recipe, encoding="utf-8")


def screen_announced() -> bool:
    """Tell whether the surroundings promise a screen."""
    return not LINUX or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def screen_works(python: Path) -> bool:
    """Tell whether a window could really be opened; a forwarded display may be gone."""
    if not screen_announced():
        return False
    return not failed([python, "-c", "from qtpy.QtGui import QGuiApplication; QGuiApplication([])"])


def run_main_job(python: Path) -> int:
    """Detect anomalies in the bundled scan, in a window if there can be one."""
    if screen_works(python):
        say("Opening napari with the bundled scan; the detector runs beside it")
        code = "from napari_anomaly.plugin.launch import open_and_detect; open_and_detect()"
        return subprocess.call([python, "-c", code])
    say("There is no screen: detecting anomalies in the bundled scan without a window")
    command = python.with_name("napari-anomaly.exe" if os.name == "nt" else "napari-anomaly")
    status = subprocess.call([command, "detect", "--sample", "ms-flair", "--picture", "-o", RESULTS])
    if status == 0:
        say(f"Mask, map, proxy, table, manifest and picture are in {RESULTS}")
    return status


def run_tests(python: Path, arguments: Sequence[str]) -> int:
    """Run the tests, on a virtual screen wherever there is one: no window then flickers over the real one."""
    tests: list[str | Path] = [python, "-m", "pytest", *arguments]
    surroundings = {name: value for name, value in os.environ.items() if name != "QT_QPA_PLATFORM"}
    if shutil.which("xvfb-run"):
        tests = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *tests]
        surroundings.pop("WAYLAND_DISPLAY", None)
    return subprocess.call(tests, env=surroundings)


def say(text: str) -> None:
    """Tell the user what happens next."""
    print(f"\n{text}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
