"""The raw records of Dagu 1.30.2: matched, or listed here with the reason (see README.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fanfold.dag.diagnostics import DagFileError
from fanfold.run.outcome import exit_code_of_run
from support import run_file
from test_corpus import multiset

RECORDS = Path(__file__).parent / "dagu"

WORDS = {"succeeded": "success", "partially_succeeded": "partial", "aborted": "cancelled"}
"""Dagu's status words → ours; the others are the same."""

_OUTPUT_OF_FAILED = "a failed item carries what it did output; Dagu drops it"
_WHOLE = "a string item is $1, whole; Dagu splits it at spaces and takes K=V for a name"
_JSON = "arrays and objects are given as JSON; Dagu prints them as Go values"
_REFUSED = "refused when the file is read, with the place; Dagu fails when the step runs"
_BLANKS = "an output loses its trailing newlines only; Dagu trims blanks too"

DIFFERS = {
    "child_dag_precondition": "the specification's summary counts a cancelled child as cancelled, not as failed",
    "child_not_found": _REFUSED,
    "conc_default": "eight items at a time, as the specification says; Dagu runs ten",
    "conc_step_level": "the specification's multi-region example has maxConcurrent at the step; Dagu refuses it",
    "dir_stdout": "stdout and stderr files are made in dir; Dagu loses them",
    "env_order": "$(...) in env is evaluated like backticks",
    "fail_continue": _OUTPUT_OF_FAILED,
    "fail_no_continue": _OUTPUT_OF_FAILED,
    "form_item_is_var": _WHOLE,
    "item_mixed_array": "an array is an item, as in the specification's Mixed Parameter Types; Dagu refuses it",
    "item_string_keyval": _WHOLE,
    "item_string_with_space": _WHOLE,
    "json_path": "a missing value is empty and null is null; Dagu prints <nil>",
    "out_access": _JSON,
    "out_echo_prefixed": "a value keeps its quotes; Dagu pastes it into the shell text",
    "out_multiline_trim": _BLANKS,
    "parse_invalid_json": _WHOLE,
    "parse_newline": _BLANKS,
    "pre_parallel_summary": _OUTPUT_OF_FAILED,
    "quote_value": "a value is never evaluated; Dagu runs its backticks",
    "seed_analyze": _JSON,
    "seed_file_processor": "${#1} is the length of $1; Dagu sets no positional parameters in the shell",
    "seed_outputs_as_items": _JSON,
    "unresolved_var": _REFUSED,
}
"""Record → why Fanfold does something else."""


def records() -> list[Any]:
    return [
        pytest.param(
            path,
            id=path.stem,
            marks=pytest.mark.xfail(reason=DIFFERS[path.stem], strict=True) if path.stem in DIFFERS else (),
        )
        for path in sorted(RECORDS.glob("*.yaml"))
    ]


@pytest.mark.parametrize("path", records())
def test_record_is_matched(path: Path, tmp_path: Path) -> None:
    expected = json.loads(path.with_name(f"{path.stem}.expected.json").read_text())
    folder = tmp_path / "dag"
    beside = path.with_name(f"{path.stem}.d")
    if beside.is_dir():
        shutil.copytree(beside, folder)
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder)
    try:
        record = run_file(folder / path.name, *expected.get("args", []), home=tmp_path / "home")
    except DagFileError:
        assert expected["status"] == "build_error"
        return
    assert (word(expected["status"]), expected["exit_code"]) == (record["status"], exit_code_of_run(record))
    handlers = {name: step for name, step in expected.get("handlers", {}).items() if step["status"] != "not_started"}
    for name, step in (expected["steps"] | handlers).items():
        assert_step(step, record["steps"][name])


def word(status: str) -> str:
    return WORDS.get(status, status)


def assert_step(expected: dict[str, Any], actual: dict[str, Any]) -> None:
    assert word(expected["status"]) == actual["status"]
    if expected.get("output") and isinstance(expected["output"], str):
        assert [expected["output"]] == list(actual["output"].values())
    document = expected.get("parallel")
    if document is None:
        return
    rows = [{"status": row["status"], "output": outputs(row.get("output", {}))} for row in document["results"]]
    ours = [{"status": row["status"], "output": outputs(row["output"])} for row in actual["document"]["results"]]
    assert multiset(rows) == multiset(ours)
    if "summary" in document:
        assert document["summary"] == actual["document"]["summary"]


def outputs(output: dict[str, Any]) -> dict[str, Any]:
    """Output variables, a nested document without its times and places; empty ones do not count."""
    return {name: value for name, value in output.items() if isinstance(value, str) and value and "{" not in value}
