"""Cases recorded from a real Dagu, through the whole local path (see README.md)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fanfold.dag.diagnostics import DagFileError
from fanfold.run.outcome import exit_code_of_run
from support import run_file

CASES = Path(__file__).parent / "cases"

CANNOT_PASS_YET: dict[str, str] = {}
"""Case → reason. Strict: a case that passes must leave this table."""


def cases() -> list[Any]:
    return [
        pytest.param(
            path,
            id=path.stem,
            marks=pytest.mark.xfail(reason=CANNOT_PASS_YET[path.stem], strict=True)
            if path.stem in CANNOT_PASS_YET
            else (),
        )
        for path in sorted(CASES.glob("*.yaml"))
    ]


@pytest.mark.parametrize("path", cases())
def test_case_ends_as_recorded(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = json.loads(path.with_name(f"{path.stem}.expected.json").read_text())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("CASE_TMP", str(scratch))
    folder = tmp_path / "dag"
    folder.mkdir()
    shutil.copy(path, folder)
    try:
        record = run_file(folder / path.name, home=tmp_path / "home")
    except DagFileError:
        assert (expected["status"], expected["exit"]) == (None, 1)
        return
    assert (record["status"], exit_code_of_run(record)) == (expected["status"], expected["exit"])
    assert shown_steps(record["steps"], expected["steps"]) == expected_steps(expected["steps"])


def shown_steps(steps: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Our steps, in the shape of the recorded ones."""
    shown = {}
    for name, step in steps.items():
        entry: dict[str, Any] = {"status": step["status"], "output": step["output"]}
        if "document" in expected.get(name, {}):
            entry["document"] = comparable(step["document"], expected[name]["document"])
        shown[name] = entry
    return shown


def expected_steps(steps: dict[str, Any]) -> dict[str, Any]:
    """The recorded steps, results and outputs as multisets."""
    shown = {}
    for name, step in steps.items():
        entry: dict[str, Any] = {"status": step["status"], "output": step.get("output", {})}
        if "document" in step:
            entry["document"] = comparable(step["document"], step["document"])
        shown[name] = entry
    return shown


def comparable(document: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """A document with its lists as multisets, and no more of it than `like` has."""
    rows = [{key: row.get(key, {}) for key in ("parameters", "status", "output")} for row in document["results"]]
    return {
        "summary": {key: document["summary"][key] for key in like["summary"]},
        "results": multiset(rows),
        "outputs": multiset(document["outputs"]),
    }


def multiset(values: list[Any]) -> Counter[str]:
    return Counter(json.dumps(value, sort_keys=True) for value in values)
