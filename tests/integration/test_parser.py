"""An S3 event in, state machines out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fanfold.deploy.clients import Clients
from fanfold.handlers import parser
from fanfold.local.engine import embedded_aws
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
def runtime() -> Iterator[parser.ParserRuntime]:
    with embedded_aws({}):
        clients = Clients()
        for bucket in ("dags", "runs"):
            clients.s3.create_bucket(Bucket=bucket)
        yield parser.ParserRuntime(clients, "runs", LOCAL)


def put(runtime: parser.ParserRuntime, path: str, text: str, event_key: str | None = None) -> list[dict[str, Any]]:
    runtime.clients.s3.put_object(Bucket="dags", Key=f"dags/{path}", Body=text.encode())
    key = event_key or f"dags/{path}"
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "dags"}, "object": {"key": key}}}
    return parser.handle({"Records": [record]}, None, runtime)["reports"]  # type: ignore[arg-type]


def machines(runtime: parser.ParserRuntime) -> dict[str, Any]:
    listed = runtime.clients.states.list_state_machines()["stateMachines"]
    return {
        machine["name"]: json.loads(
            runtime.clients.states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])["definition"]
        )
        for machine in listed
    }


def changes(reports: list[dict[str, Any]]) -> dict[str, str]:
    return {machine["key"]: machine["change"] for machine in reports[0]["machines"]}


def test_a_file_becomes_a_machine_for_each_dag_that_calls_children(runtime: parser.ParserRuntime) -> None:
    reports = put(runtime, "etl.yaml", GOOD)
    assert changes(reports) == {"#region": "created", "": "created"}
    made = machines(runtime)
    (region,) = made.keys() - {"fanfold-etl"}
    assert region.startswith("fanfold-etl-region-")
    fan = made["fanfold-etl"]["States"]["fan"]
    assert (fan["Type"], fan["MaxConcurrency"]) == ("Map", 3)
    started = fan["ItemProcessor"]["States"]["fan.item"]["Parameters"]["StateMachineArn"]
    assert started == f"arn:aws:states:us-east-1:123456789012:stateMachine:{region}:1"
    assert "${" not in json.dumps(made)


def test_only_what_changed_is_updated(runtime: parser.ParserRuntime) -> None:
    put(runtime, "etl.yaml", GOOD)
    assert changes(put(runtime, "etl.yaml", GOOD)) == {"#region": "unchanged", "": "unchanged"}
    assert changes(put(runtime, "etl.yaml", GOOD.replace("seq 3", "seq 4"))) == {"#region": "unchanged", "": "updated"}


def test_a_file_with_errors_changes_nothing_and_leaves_a_report(runtime: parser.ParserRuntime) -> None:
    put(runtime, "etl.yaml", GOOD)
    before = machines(runtime)
    (report,) = put(runtime, "etl.yaml", GOOD.replace("command: seq 3", "comand: seq 3"))
    assert machines(runtime) == before
    assert [(problem["place"]["line"], problem["message"]) for problem in report["problems"]] == [
        (4, "the step 'list' does nothing"),
        (4, "unknown key 'comand' in a step"),
    ]
    stored = json.loads(runtime.clients.s3.get_object(Bucket="dags", Key="dags/etl.yaml.report.json")["Body"].read())
    assert stored == report


def test_keys_arrive_quoted_and_name_folders(runtime: parser.ParserRuntime) -> None:
    text = "steps:\n  - {name: s, command: echo}\n"
    (report,) = put(runtime, "a b/é.yaml", text, event_key="dags/a+b/%C3%A9.yaml")
    assert report["status"] == "deployed"
    (name,) = machines(runtime)
    assert name.startswith("fanfold-a-b-")


def test_what_is_no_dag_file_is_left_alone(runtime: parser.ParserRuntime) -> None:
    assert put(runtime, "notes.txt", "x") == []
    assert machines(runtime) == {}


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
