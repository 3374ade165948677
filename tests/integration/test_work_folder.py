"""``$FANFOLD_WORK_DIR``: the same on a laptop, where tasks share a disk, and where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.machines import ALIAS
from fanfold.history.run_data import RunData
from fanfold.local.up import Up, stack_up
from fanfold.run.store import ObjectStore
from support import DagRunner

TEXT = """
handlerOn: {exit: {command: 'ls "$FANFOLD_WORK_DIR"', output: LEFT}}
steps:
  - {name: write, command: 'cd "$FANFOLD_WORK_DIR" && mkdir d && echo one > "d/a b" && ln -s "d/a b" link'}
  - {name: fan, run: child, parallel: [x, y], output: R}
  - {name: read, command: 'cd "$FANFOLD_WORK_DIR" && cat link && echo two >> "d/a b"', output: READ}
  - {name: heavy, command: 'cat "$FANFOLD_WORK_DIR/d/a b"', output: HEAVY, x-fanfold: {compute: ecs}}
---
name: child
steps:
  - {name: own, command: 'ls "$FANFOLD_WORK_DIR" | wc -l; touch "$FANFOLD_WORK_DIR/$1"', output: SEEN}
  - {name: same, command: 'ls "$FANFOLD_WORK_DIR"', output: MINE}
"""


def check(record: dict[str, Any]) -> None:
    steps = record["steps"]
    assert record["status"] == "success", record
    assert steps["read"]["output"] == {"READ": "one"}
    assert steps["heavy"]["output"] == {"HEAVY": "one\ntwo"}
    assert steps["onExit"]["output"] == {"LEFT": "d\nlink"}
    assert steps["fan"]["document"]["outputs"] == [{"SEEN": "0", "MINE": "x"}, {"SEEN": "0", "MINE": "y"}]


def test_steps_leave_files_for_later_ones(run_dag: DagRunner) -> None:
    check(run_dag(TEXT))
    assert list(run_dag.home.rglob("work")) == []


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with stack_up("fanfold", 0, tmp_path) as made:
        yield made


def start(up: Up, text: str) -> dict[str, Any]:
    clients = up.stack.clients
    clients.s3.put_object(Bucket=up.stack.dag_bucket, Key="dags/a.yaml", Body=text.encode())
    arn = f"{up.stack.machine_of('a')}:{ALIAS}"
    execution = clients.states.start_execution(stateMachineArn=arn, name="run")["executionArn"]
    poll_execution(clients.states, execution)
    data = RunData.find(ObjectStore(clients.s3, up.stack.run_bucket), "run")
    assert data is not None
    found = data.result()
    assert found is not None
    return found


def test_files_travel_between_tasks_that_share_no_disk(up: Up) -> None:
    check(start(up, TEXT))
    objects = up.stack.clients.s3.list_objects_v2(Bucket=up.stack.run_bucket, Prefix="runs/run/work/")["Contents"]
    assert len(objects) == 2  # what 'write' left, and what 'read' changed; 'heavy' changed nothing


def test_a_run_that_leaves_no_files_stores_none(up: Up) -> None:
    text = "steps:\n  - {name: a, command: echo}\n  - {name: b, command: echo, x-fanfold: {compute: ecs}}\n"
    assert start(up, text)["status"] == "success"
    listed = up.stack.clients.s3.list_objects_v2(Bucket=up.stack.run_bucket, Prefix="runs/run/work/")
    assert listed["KeyCount"] == 0


def test_the_data_of_a_run_are_kept_as_long_as_its_dag_says(up: Up) -> None:
    record = start(up, "histRetentionDays: 45\nsteps:\n  - {name: a, command: echo hi, output: A}\n")
    assert record["steps"]["a"]["output"] == {"A": "hi"}
    listed = up.stack.clients.s3.list_objects_v2(Bucket=up.stack.run_bucket, Prefix="kept-60/run/")
    keys = {entry["Key"].partition("run/")[2] for entry in listed["Contents"]}
    assert keys == {"begun.json", "a/outcome.json", "result.json"}
