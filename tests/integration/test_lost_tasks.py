"""A task that ends without an answer, as a Lambda function out of time or memory does."""

from __future__ import annotations

import pytest
from fanfold.handlers import tasks
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
