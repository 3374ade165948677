"""A task that ends without an answer, as a Lambda function out of time or memory does."""

from __future__ import annotations

from typing import Any

import pytest
from fanfold.asl import compile as compiler
from fanfold.dag.model import Dag
from fanfold.handlers import tasks
from fanfold.history.folder_store import FolderStore
from fanfold.run import batch
from fanfold.run.runtime import Runtime
from fanfold.run.segment import run_segment
from fanfold.run.steps import RunContext
from support import DagRunner

TEXT = """
handlerOn: {failure: {command: 'echo "$DAG_RUN_STATUS"', output: H}}
steps:
  - {name: one, command: echo 1, output: ONE}
  - {name: fan, run: child, parallel: [a], output: R}
  - {name: boom, command: echo 2, FIELD}
  - {name: behind, command: echo 3}
  - {name: fan2, run: child, parallel: [b], output: R2}
---
name: child
steps:
  - {name: s, command: echo, output: O}
"""


@pytest.fixture(autouse=True)
def _boom(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(context: RunContext, names: list[str]) -> None:
        if "boom" in names:
            raise MemoryError("the sandbox is gone")
        run_segment(context, names)

    monkeypatch.setattr(tasks, "run_segment", run)


def test_its_steps_have_failed_and_the_run_goes_on_to_its_handlers(run_dag: DagRunner) -> None:
    record = run_dag(TEXT.replace("FIELD", "output: B"))
    steps = record["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {
        "one": "success", "fan": "success", "boom": "failed", "behind": "cancelled", "fan2": "cancelled",
        "onFailure": "success",
    }  # fmt: skip
    assert steps["boom"]["error"] == "its task ended without an answer: MemoryError: the sandbox is gone"
    assert steps["onFailure"]["output"] == {"H": "failed"}


def test_what_may_fail_may_be_lost_too(run_dag: DagRunner) -> None:
    record = run_dag(TEXT.replace("FIELD", "continueOn: {failure: true}"))
    assert record["steps"]["behind"]["status"] == "failed"
    assert record["steps"]["boom"]["status"] == "failed"


def test_a_first_and_only_task_that_is_lost_still_leaves_a_record(run_dag: DagRunner) -> None:
    record = run_dag("params: [A: '1']\nsteps:\n  - {name: boom, command: echo 2}\n")
    assert (record["status"], record["steps"]["boom"]["status"]) == ("failed", "failed")


FAN_OUT = """
handlerOn: {exit: {command: 'echo "$DAG_RUN_STATUS"', output: H}}
steps:
  - {name: list, command: seq 1 30, output: LIST}
  - name: fan
    run: child
    parallel: {items: '${LIST}', maxConcurrent: 1}
    continueOn: {failure: true}
    FIELD
    output: R
  - {name: count, command: 'echo "${R.summary.failed} of ${R.summary.total}"', output: COUNT}
---
name: child
steps: [{name: s, command: 'echo "$1"', output: O}]
"""
LARGE = FAN_OUT.replace("FIELD", "x-fanfold: {maxItems: 5000}")


def test_an_execution_that_is_lost_loses_its_items_alone(run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(runtime: Runtime, dag: Dag, payload: dict[str, Any]) -> dict[str, Any]:
        if payload["args"]["first"] == 8:
            raise MemoryError("the sandbox is gone")
        return batch.run_batch(runtime, dag, payload)

    monkeypatch.setattr(tasks, "run_batch", run)
    monkeypatch.setattr(compiler, "ITEM_FAILED", {"Type": "Fail"})  # so that nothing is caught in the execution
    record = run_dag(LARGE)
    document = record["steps"]["fan"]["document"]
    failed = [entry for entry in document["results"] if entry["status"] == "failed"]
    assert [entry["parameters"] for entry in failed] == [str(number) for number in range(9, 17)]
    assert {entry["error"] for entry in failed} == {"the item left no result"}
    assert (record["status"], record["steps"]["count"]["output"]) == ("partial", {"COUNT": "8 of 30"})
    assert record["steps"]["onExit"]["output"] == {"H": "partially_succeeded"}


def test_a_map_whose_items_cannot_be_read_has_its_reducer(run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderStore, "put_for_states", lambda self, key, file: None)
    record = run_dag(LARGE)
    entries = record["steps"]["fan"]["document"]["results"]
    assert len(entries) == 30
    assert all(entry["error"].startswith("the item left no result, the Map ended with ") for entry in entries)
    assert (record["status"], record["steps"]["count"]["output"]) == ("partial", {"COUNT": "30 of 30"})


def test_a_map_that_one_item_ends_keeps_what_the_others_left(
    run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "ITEM_FAILED", {"Type": "Fail", "Error": "Gone"})
    record = run_dag(FAN_OUT.replace("    FIELD\n", "").replace('echo "$1"', '[ "$1" != 4 ] && echo "$1"'))
    document = record["steps"]["fan"]["document"]
    assert [entry["status"] for entry in document["results"][:4]] == ["success"] * 3 + ["failed"]
    assert document["summary"] | {"failed": 0} == {
        "total": 30, "succeeded": 3, "failed": 0, "cancelled": 0, "skipped": 0,
    }  # fmt: skip
    assert document["results"][-1]["error"] == "the item left no result, the Map ended with Gone"
    assert record["steps"]["onExit"]["output"] == {"H": "partially_succeeded"}
