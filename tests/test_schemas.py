"""The published schemas are those of the code."""

import importlib.util
import json
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def script():
    spec = importlib.util.spec_from_file_location("make_schemas", REFERENCE / "make_schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["review", "journal-header", "journal-entry"])
def test_a_published_schema_is_that_of_the_code(name: str) -> None:
    made = script()
    published = json.loads((REFERENCE / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(made.schema(made.SCHEMAS[name])))
    assert "past" not in published["properties"]
