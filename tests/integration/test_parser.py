"""An S3 event in, state machines out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aws import Aws, embedded
from fanfold.local.session import LOCAL

GOOD = """
name: etl
steps:
  - {name: list, command: seq 3, output: L}
  - {name: fan, run: region, parallel: '${L}', maxConcurrent: 3}
---
name: region
steps:
  - {name: inner, run: leaf, parallel: [a]}
---
name: leaf
steps:
  - {name: s, command: echo}
"""


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded(LOCAL) as made:
        yield made


def put(aws: Aws, path: str, text: str, event_key: str | None = None) -> list[dict[str, Any]]:
    """Upload a file and handle what S3 itself tells of it."""
    aws.write(path, text)
    item = {"key": event_key or f"dags/{path}"}
    return aws.handle(
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "dags"}, "object": item}}]}
    )


def changes(reports: list[dict[str, Any]]) -> dict[str, str]:
    return {machine["key"]: machine["change"] for machine in reports[0]["machines"]}


def test_a_file_becomes_a_machine_for_each_dag_that_calls_children(aws: Aws) -> None:
    reports = put(aws, "etl.yaml", GOOD)
    assert changes(reports) == {"#region": "created", "": "created"}
    made = aws.machines()
    (region,) = made.keys() - {"fanfold_etl"}
    assert region.startswith("fanfold__etl-region-")
    fan = made["fanfold_etl"]["States"]["fan"]
    assert (fan["Type"], fan["MaxConcurrency"]) == ("Map", 3)
    started = fan["ItemProcessor"]["States"]["fan.item"]["Parameters"]["StateMachineArn"]
    assert started == f"arn:aws:states:us-east-1:123456789012:stateMachine:{region}:1"
    assert "${" not in json.dumps(made)


def test_only_what_changed_is_updated(aws: Aws) -> None:
    put(aws, "etl.yaml", GOOD)
    assert changes(put(aws, "etl.yaml", GOOD)) == {"#region": "unchanged", "": "unchanged"}
    assert changes(put(aws, "etl.yaml", GOOD.replace("seq 3", "seq 4"))) == {"#region": "unchanged", "": "updated"}


def test_a_file_with_errors_changes_nothing_and_leaves_a_report(aws: Aws) -> None:
    put(aws, "etl.yaml", GOOD)
    before = aws.machines()
    (report,) = put(aws, "etl.yaml", GOOD.replace("command: seq 3", "comand: seq 3"))
    assert aws.machines() == before
    assert [(problem["place"]["line"], problem["message"]) for problem in report["problems"]] == [
        (4, "the step 'list' does nothing"),
        (4, "unknown key 'comand' in a step"),
    ]
    assert aws.report("etl.yaml") == report


def test_keys_arrive_quoted_and_name_folders(aws: Aws) -> None:
    text = "steps:\n  - {name: s, command: echo}\n"
    (report,) = put(aws, "a b/é.yaml", text, event_key="dags/a+b/%C3%A9.yaml")
    assert report["status"] == "deployed"
    (name,) = aws.machines()
    assert name.startswith("fanfold_a-b-")


def test_what_is_no_dag_file_is_left_alone(aws: Aws) -> None:
    assert put(aws, "notes.txt", "x") == []
    assert aws.machines() == {}


@pytest.mark.parametrize("name", ["parser", "planner", "reducer", "runner"])
def test_a_handler_needs_none_of_the_extras(name: str) -> None:
    code = f"""
import sys
for extra in ("moto", "rich", "click", "jsonpath_ng"):
    sys.modules[extra] = None
from fanfold.handlers import environment, {name}
environment.logger()
assert callable({name}.handle)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
