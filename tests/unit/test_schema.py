"""The published JSON Schema: the reader's keys, and every DAG file that the reader takes.

``FANFOLD_REGENERATE=1 pytest tests/unit/test_schema.py`` writes it anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fanfold.dag.diagnostics import DagFileError, Problems
from fanfold.dag.document import DAG_KEYS, STEP_KEYS
from fanfold.dag.read import read_dag_file
from fanfold.dag.schema import DAG_PROPERTIES, STEP_PROPERTIES, schema
from fanfold.dag.yaml_source import as_json, read_documents

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "schema" / "fanfold.schema.json"
FILES = sorted(
    path for folder in (ROOT / "examples", ROOT / "tests" / "conformance") for path in folder.rglob("*.yaml")
)


def documents(path: Path) -> list[Any]:
    return [as_json(document.root) for document in read_documents(path.name, path.read_bytes(), Problems())]


def test_the_published_schema_is_what_the_package_makes() -> None:
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("FANFOLD_REGENERATE"):
        PUBLISHED.parent.mkdir(exist_ok=True)
        PUBLISHED.write_text(text, "utf-8")
    assert PUBLISHED.read_text("utf-8") == text
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_schema_has_the_keys_of_the_reader() -> None:
    assert DAG_PROPERTIES.keys() == DAG_KEYS
    assert STEP_PROPERTIES.keys() == STEP_KEYS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_the_reader_takes_the_schema_takes(path: Path) -> None:
    def fetch(name: str) -> bytes | None:
        for folder in (path.parent, path.with_suffix(".d")):
            if (folder / name).is_file():
                return (folder / name).read_bytes()
        return None

    try:
        read_dag_file(path.name, fetch)
    except DagFileError:
        pytest.skip("the reader refuses it")
    for document in documents(path):
        jsonschema.validate(document, schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "text",
    [
        "steps: []",
        "name: x",
        "steps: [{comand: x}]",
        "steps: [{run: c, parallel: []}]",
        "steps: [{run: c, parallel: 5}]",
        "steps: [{run: c, parallel: {items: [1], maxConcurrent: 0}}]",
        "steps: [{run: c, maxConcurrent: five}]",
        "steps: [{command: x, retryPolicy: {intervalSec: 1}}]",
        "steps: [{command: x, timeoutSec: -1}]",
        "type: tree\nsteps: [{command: x}]",
        "env: [{A B: x}]\nsteps: [{command: x}]",
    ],
)
def test_what_is_wrong_in_itself_the_schema_refuses(text: str) -> None:
    (document,) = read_documents("x.yaml", text.encode(), Problems())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(as_json(document.root), schema(), jsonschema.Draft202012Validator)
