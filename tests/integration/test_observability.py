"""What the functions write on AWS: structured lines that say where they belong, and metrics."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aws import Aws, embedded
from fanfold.deploy.executions import poll_execution
from fanfold.handlers import environment, planner, reducer, runner

DAG = """
name: seen
steps:
  - {name: list, command: "echo '[1,2,3]'; echo note >&2", output: L}
  - name: fan
    run: child
    parallel: {items: "${L}"}
    retryPolicy: {limit: 1, intervalSec: 0}
---
name: child
steps:
  - {name: work, command: "echo works on $1; test $1 != 2"}
"""


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """What the functions wrote during a run of `DAG`."""
    functions = {
        "fanfold_runner": runner.handle, "fanfold_planner": planner.handle, "fanfold_reducer": reducer.handle,
    }  # fmt: skip
    settings = {
        "FANFOLD_RUN_BUCKET": "runs", "FANFOLD_FOLDER": str(tmp_path), "FANFOLD_STACK": "mine",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/group", "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    written_before = logging.getLogger("fanfold")  # Powertools keep its stream, which may be another test's
    monkeypatch.setattr(written_before, "handlers", [])
    for mark in ("init", "powertools_handler"):
        monkeypatch.delattr(written_before, mark, raising=False)
    environment.logger.cache_clear()
    environment.base_runtime.cache_clear()
    with embedded(functions=functions) as aws:  # type: ignore[arg-type]
        _run(aws)
    environment.base_runtime.cache_clear()
    environment.logger.cache_clear()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _run(aws: Aws) -> None:
    assert aws.put("seen.yaml", DAG)["status"] == "deployed"
    states = aws.clients.states
    arn = states.start_execution(
        stateMachineArn=f"{aws.stack.machine_of('seen')}:live",
        name="the-run", input="{}",
    )["executionArn"]  # fmt: skip
    assert poll_execution(states, arn)["status"] == "FAILED"
    record = json.loads(aws.clients.s3.get_object(Bucket="runs", Key="runs/the-run/result.json")["Body"].read())
    assert record["steps"]["fan"]["log"] == "/group:stream"


def test_each_line_says_where_it_belongs(lines: list[Any]) -> None:
    logged = [line for line in lines if "_aws" not in line]
    assert logged
    for line in logged:
        assert line["root"] == "the-run"
        assert line["attempt"] == 1
    said = [line for line in logged if "stream" in line]
    assert [(line["stream"], line["text"]) for line in said if line["step"] == "list"] == [
        ("stdout", "[1,2,3]"), ("stderr", "note"),
    ]  # fmt: skip
    of_items = Counter((line["item"], line["tries"], line["text"]) for line in said if line["step"] == "work")
    assert of_items == {
        (0, 0, "works on 1"): 1, (1, 0, "works on 2"): 1, (1, 1, "works on 2"): 1, (2, 0, "works on 3"): 1,
    }  # fmt: skip
    failed = [line for line in logged if line["level"] == "ERROR" and line["message"] == "item-finished"]
    assert [(line["step"], line["item"]) for line in failed] == [("fan", 1)]


def test_runs_items_failures_and_retries_are_metrics_by_dag(lines: list[Any]) -> None:
    sums: Counter[str] = Counter()
    for line in lines:
        if "_aws" in line:
            [directive] = line["_aws"]["CloudWatchMetrics"]
            assert (directive["Namespace"], line["stack"], line["dag"]) == ("Fanfold", "mine", "seen")
            for metric in directive["Metrics"]:
                sums[metric["Name"]] += sum(line[metric["Name"]])
    assert sums.pop("RunSeconds") > 0
    assert sums.pop("ItemSeconds") > 0
    assert sums == {"Items": 3, "ItemFailures": 1, "Retries": 1, "Runs": 1, "RunFailures": 1}
