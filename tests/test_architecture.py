"""The rules of the house, measured: sizes, directions of imports, and what an import may load."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_anomaly"
MODULES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = [
    *MODULES,
    ROOT / "start.py",
    *(path for folder in ("examples", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")),
]

MODULE_LIMIT, MODULE_MEDIAN = 500, 150
BODY_LIMIT, BODY_MEDIAN, BODY_P90, SHARE_OVER_LIMIT = 50, 6, 22, 0.01


def lines_of(path):
    return path.read_text(encoding="utf-8").count("\n")


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def functions():
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                yield path, node


def body_length(function):
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_modules_stay_small():
    sizes = {path.relative_to(ROOT).as_posix(): lines_of(path) for path in EVERYTHING}
    assert {name: size for name, size in sizes.items() if size > MODULE_LIMIT} == {}
    assert statistics.median(lines_of(path) for path in MODULES) <= MODULE_MEDIAN


def test_functions_stay_short():
    lengths = sorted(body_length(function) for _, function in functions())
    long = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for path, function in functions()
        if body_length(function) > BODY_LIMIT
    ]
    assert statistics.median(lengths) <= BODY_MEDIAN
    assert lengths[int(0.9 * len(lengths))] <= BODY_P90
    assert len(long) < SHARE_OVER_LIMIT * len(lengths), long


def test_no_module_is_a_drawer_for_odds_and_ends():
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_errors_are_raised_and_nothing_is_unpickled(path):
    for node in ast.walk(tree_of(path)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert vanishes under python -O"
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
            assert not imported & {"pickle", "joblib", "dill"}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr != "load", f"line {node.lineno}: torch.load unpickles"


def run_linter(folder, source):
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_contracts_are_kept():
    answer = run_linter(ROOT, ROOT / "src")
    assert answer.returncode == 0, answer.stdout
    assert re.search(r"Contracts: 4 kept, 0 broken", answer.stdout)


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("scan.py", "from napari_anomaly import findings", "Data flows one way"),
        ("findings.py", "import qtpy", "Only the plugin knows a screen"),
        ("io/nifti.py", "import torch", "Values, files and supervoxels need no torch"),
        ("plugin/layers.py", "import napari_anomaly.networks", "The plugin asks the detector"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, module, line, contract):
    shutil.copytree(
        PACKAGE, tmp_path / "src" / "napari_anomaly", ignore=shutil.ignore_patterns("*.safetensors")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "src" / "napari_anomaly" / module
    planted.write_text(planted.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    answer = run_linter(tmp_path, tmp_path / "src")
    assert answer.returncode != 0
    assert re.search(rf"^{contract}.* BROKEN", answer.stdout, flags=re.MULTILINE), answer.stdout


SCREEN = ("napari", "magicgui", "qtpy", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6")


def loaded_by(code, watched):
    """Run code in a Python of its own and tell which of the watched packages it loaded."""
    ask = f"import sys\n{code}\nprint('\\nloaded', *(name for name in {watched!r} if name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    first, *names = answer.stdout.splitlines()[-1].split()
    assert first == "loaded"
    return set(names)


@pytest.mark.parametrize("module", ["", ".plugin", ".session", ".io", ".proxy", ".evaluation.report", ".cli"])
def test_light_imports_load_no_torch(module):
    assert loaded_by(f"import napari_anomaly{module}", ("torch",)) == set()


@pytest.mark.parametrize("module", ["", ".cli", ".session", ".detector.detect", ".training.train"])
def test_imports_without_a_screen_load_no_gui(module):
    assert loaded_by(f"import napari_anomaly{module}", SCREEN) == set()


def test_a_whole_command_without_a_screen_loads_no_gui(tmp_path):
    words = ["detect", "--sample", "no-such-scan", "-o", str(tmp_path), "--device", "cpu"]
    code = f"from napari_anomaly.cli import main\nif main({words!r}) != 2:\n    raise SystemExit(1)"
    assert loaded_by(code, SCREEN) == set()


EXTRAS = (
    *("dask", "dicomanonymizer", "dicomweb_client", "distributed", "highdicom", "keyring", "libjpeg"),
    *("napari_orthogonal_views", "openjpeg", "openvino", "pydicom", "pyjpegls", "pylibjpeg", "pynetdicom"),
    *("requests", "sklearn"),
)
BARE = f"""
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize(
    "code",
    [
        "from napari_anomaly.cli import main\nassert main(['info']) == 0",
        "from napari_anomaly.cli import main\nassert main(['detect', '--sample', 'none', '-o', 'x']) == 2",
        "import napari_anomaly.pacs, napari_anomaly.io, napari_anomaly.detector.detect",
        "import napari_anomaly.training.train, napari_anomaly.evaluation.protocol",
    ],
)
def test_without_any_extra_it_starts(code):
    # requests and dask may come with other packages; whoever installs this one alone must not need them
    answer = subprocess.run([sys.executable, "-c", BARE + code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_the_watch_itself_works():
    assert "qtpy" in loaded_by("import qtpy", SCREEN)
