"""The committed definition of every example is what the compiler makes of it now.

``FANFOLD_REGENERATE=1 pytest tests/integration/test_definitions.py`` writes them anew.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fanfold.asl.compile import compile_dag_set, machine_names
from fanfold.cli.compile import pretty
from fanfold.dag.read import read_dag_file

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GOLDEN = ROOT / "statemachine"


def fetch(path: str) -> bytes | None:
    file = EXAMPLES / path
    return file.read_bytes() if file.is_file() else None


def compiled() -> dict[str, str]:
    """The definition of every machine of every example, as text, by file name."""
    texts = {}
    for example in sorted(EXAMPLES.rglob("*.yaml")):
        dag_set = read_dag_file(str(example.relative_to(EXAMPLES)), fetch)
        names = machine_names(dag_set)
        for key, definition in compile_dag_set(dag_set).items():
            texts[f"{names[key]}.asl.json"] = pretty(definition)
    return texts


def test_committed_definitions_are_what_the_compiler_makes() -> None:
    texts = compiled()
    if os.environ.get("FANFOLD_REGENERATE"):
        shutil.rmtree(GOLDEN, ignore_errors=True)
        GOLDEN.mkdir()
        for name, text in texts.items():
            (GOLDEN / name).write_text(text, "utf-8")
    assert {path.name: path.read_text("utf-8") for path in GOLDEN.glob("*.asl.json")} == texts
