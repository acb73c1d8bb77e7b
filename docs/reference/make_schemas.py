"""Write the JSON schemas of reviews and journals; a test sees to it that they are those of the code.

python docs/reference/make_schemas.py
"""

import json
from pathlib import Path

from pydantic import BaseModel

from napari_anomaly.journal import Header
from napari_anomaly.review import Entry, Review

HERE = Path(__file__).parent
SCHEMAS: dict[str, type[BaseModel]] = {"review": Review, "journal-header": Header, "journal-entry": Entry}


def main() -> None:
    """Write one file for each."""
    for name, model in SCHEMAS.items():
        text = json.dumps(schema(model), indent=1, ensure_ascii=False) + "\n"
        (HERE / f"{name}.schema.json").write_text(text, encoding="utf-8")


def schema(model: type[BaseModel]) -> dict[str, object]:
    """Give the schema of what a file holds; steps for undo never cross one."""
    found = model.model_json_schema()
    for hidden in ("past", "future"):
        found["properties"].pop(hidden, None)
    used = json.dumps({key: value for key, value in found.items() if key != "$defs"})
    definitions = found.get("$defs", {})
    keep: set[str] = set()
    while True:
        more = {name for name in definitions if f"#/$defs/{name}" in used} - keep
        if not more:
            break
        keep |= more
        used += json.dumps([definitions[name] for name in more])
    if definitions:
        found["$defs"] = {name: definitions[name] for name in definitions if name in keep}
    return found


if __name__ == "__main__":
    main()
