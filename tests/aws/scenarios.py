"""What a stack is used for: enough that every call of every role is made."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from deployed import Call, Deployed
from fanfold.deploy import machines
from fanfold.deploy.executions import execution_name
from fanfold.run.keys import prefix_of_run, result_key
from fanfold.web import handler
from http_api import Browser
from places import OnStack

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))

ONE = "steps:\n  - {name: s, command: echo one}\n"
CONTAINER = "x-fanfold: {compute: ecs}\n"
FAN = """
histRetentionDays: 3
schedule: '0 1 * * *'
x-fanfold: {on: {s3: {bucket: b}}MORE}
steps:
  - {name: list, command: "seq 3; cat beside.txt", output: L}
  - {name: fan, run: child, parallel: '${L}', output: R, continueOn: {failure: true}}
  - {name: sum, command: 'echo "${R.summary.total}"; echo > $FANFOLD_WORK_DIR/left'}
  - {name: last, command: "ls $FANFOLD_WORK_DIR"}
  - {name: other, run: grown, parallel: [1, 2]}
---
name: child
params: [N: '0']
steps:
  - {name: work, command: "test $N != 2"}
---
name: grown
steps:
  - {name: inner, run: child, parallel: [1, 2]}
"""
LARGE = """
name: large
steps:
  - {name: list, command: "seq 3", output: L}
  - {name: fan, run: child, parallel: {items: '${L}', maxConcurrent: 20}, x-fanfold: {maxItems: 2000}}
---
name: child
steps:
  - {name: work, command: "true"}
"""
HEAVY = """
name: heavy
steps:
  - {name: own, command: "true", x-fanfold: {compute: ecs, image: 'mine:1'}}
  - {name: fan, run: child, parallel: [1, 2], continueOn: {failure: true}}
---
name: child
x-fanfold: {compute: ecs}
steps:
  - {name: work, command: "sleep 0.3; test $1 != 2"}
"""


def life_of_dags(there: Deployed) -> None:
    """Files are put, changed, refused and removed; a schedule is changed by somebody else."""
    text = "schedule: '0 1 * * *'\nx-fanfold: {on: {s3: {bucket: b}}}\n" + ONE
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(machines, "KEPT_VERSIONS", 1)
        for changed in (
            text,
            text.replace("one", "two").replace("'0 1", "'0 2"),
            text.replace("bucket: b", "bucket: c"),
        ):
            assert there.put("life.yaml", changed)["status"] == "deployed"
    scheduler = there.someone.scheduler
    (schedule,) = scheduler.list_schedules(GroupName=there.resolved.name)["Schedules"]
    scheduler.update_schedule(
        Name=schedule["Name"], GroupName=there.resolved.name, ScheduleExpression="cron(0 0 1 1 ? *)",
        FlexibleTimeWindow={"Mode": "OFF"}, Target={"Arn": "arn:aws:x", "RoleArn": "arn:aws:iam::123456789012:role/x"},
    )  # fmt: skip
    assert there.put("life.yaml", text.replace("bucket: b", "bucket: c") + "# again\n")["status"] == "deployed"
    assert there.put("life.yaml", "steps: 5\n")["status"] == "refused"
    there.remove("life.yaml")


def changes_of_the_stack(there: Deployed) -> None:
    """CloudFormation tells that the stack was made, has changed, and is deleted."""
    path = Path(__file__).parents[1] / "events" / "custom_resource_update.json"
    event = json.loads(path.read_text("utf-8"))
    event["ResourceProperties"]["DagBucket"] = there.resolved.outputs["DagBucket"]
    image = "x-fanfold: {compute: ecs, image: 'mine:1'}\n" if there.has_containers else ""
    with patch.object(urllib.request, "urlopen", lambda *_, **__: io.BytesIO()):
        there.tell_parser(event | {"RequestType": "Create"})
        assert there.put("kept.yaml", image + ONE)["status"] == "deployed"
        there.tell_parser(event)
        there.tell_parser(event | {"RequestType": "Delete"})
    assert definitions(there) == {}


def a_file_that_waits(there: Deployed) -> None:
    """A file comes back while runs of what it was before go on."""
    there.put("back.yaml", ONE)
    there.is_deleting = True
    assert there.put("back.yaml", ONE + "# again\n")["status"] == "waiting"
    there.is_deleting = False


def runs(there: Deployed) -> None:
    """Runs of every kind of state, with what each kind of task leaves and finds."""
    files = {"folded/folded.yaml": FAN.replace("MORE", ""), "large.yaml": LARGE}
    if there.has_containers:
        files |= {"heavy.yaml": HEAVY, "boxed/boxed.yaml": FAN.replace("MORE", ", compute: ecs")}
    for folder in ("folded", "boxed"):
        there.upload(f"{folder}/beside.txt", b"4")
    for path, text in files.items():
        assert there.put(path, text)["status"] == "deployed", path
    scheduled = {"schedule": "0 1 * * *", "time": "2026-11-25T01:00:00Z"}
    for name in (Path(path).stem for path in files):
        assert there.run(name, f"{name}-1") == "SUCCEEDED", name
        there.run(name, f"{name}-2", trigger=scheduled)
        there.run(name, execution_name(f"{name}-1", 2), attempt={"of": f"{name}-1", "number": 2})


def page(there: Deployed) -> None:
    """Look at everything, and press every button."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in there.environment("Function").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(handler, "Clients", lambda: there.clients(there.role_of("Function")))
        handler._application.cache_clear()
        _use_of_the_page(there.place, Browser())
        handler._application.cache_clear()


def examples(there: Deployed) -> None:
    """Every example is deployed."""
    for path in EXAMPLES:
        there.put(f"examples/{path.name}", path.read_text("utf-8"))


SCENARIOS: list[Callable[[Deployed], None]] = [changes_of_the_stack, life_of_dags, a_file_that_waits, runs, examples]
"""One more kind of use is one more function here."""


def calls_of(there: Deployed, made: list[Call]) -> list[Call]:
    """Every call that the roles of a stack make, of which `made` is told."""
    for scenario in [*SCENARIOS, *([page] if there.has_page else [])]:
        scenario(there)
    return made


def definitions(there: Deployed) -> dict[str, tuple[str, Any]]:
    """The role and the definition of every machine that is deployed, by name."""
    states = there.someone.states
    found = {}
    for page_of_machines in states.get_paginator("list_state_machines").paginate():
        for machine in page_of_machines["stateMachines"]:
            described = states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
            found[machine["name"]] = described["roleArn"], json.loads(described["definition"])
    return found


def targets(there: Deployed) -> list[dict[str, Any]]:
    """The target of every schedule and of every rule that starts runs."""
    scheduler, events = there.someone.scheduler, there.someone.events
    found: list[Any] = [
        scheduler.get_schedule(GroupName=there.resolved.name, Name=item["Name"])["Target"]
        for item in scheduler.list_schedules(GroupName=there.resolved.name)["Schedules"]
    ]
    for rule in events.list_rules(NamePrefix=there.stack.name + "_")["Rules"]:
        found += events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    return found


def _use_of_the_page(stack: OnStack, browser: Browser) -> None:
    child = "---\nname: child\nparams: [N: '0']\nsteps:\n  - {name: count, command: 'test $N != 2'}\n"
    fan = (
        "name: fan\nhistRetentionDays: 3\nsteps:\n"
        "  - {name: each, run: child, parallel: {items: [1, 2]}, output: DOC, continueOn: {failure: true}}\n"
    )
    greet = "steps:\n  - {name: greet, command: echo hello}\n  - {name: last, command: sleep 2, depends: greet}\n"
    fails = "steps:\n  - {name: fails, command: exit 1}\n"
    kept = "histRetentionDays: 3\n"
    files = {"fan": fan + child, "greet": greet, "kept-greet": kept + greet, "fails": fails, "kept-fails": kept + fails}
    for name, text in (files | {"broken": "steps:\n  - {name: a}\n"}).items():
        stack.put(name, text)
    for address in ("/", "/runs", "/dags/fan", "/dags/broken", "/dags/fan/ticks", "/dags/fan/definition"):
        assert browser.get(address).status == 200, address
    for dag in ("greet", "kept-greet"):
        started = browser.submit(f"/dags/{dag}", f"/dags/{dag}/start").headers["location"]
        assert browser.submit(f"/dags/{dag}", f"{started}/stop").status == 303
        stack.wait(started.removeprefix("/runs/"))
    run = browser.submit("/dags/fan", "/dags/fan/start").headers["location"]
    stack.wait(run.removeprefix("/runs/"))
    assert browser.get("/dags/fan/ticks").status == browser.get("/runs?dag=fan").status == 200
    for word in ("", "/events", "/failures"):
        assert browser.get(run + word).status == 200, word
    words = ("", "/grid", "/lanes", "/document", "/document.json", "/items/1", "/items/1/log", "/items/1/log.txt")
    for word in words:
        assert browser.get(f"{run}/steps/each{word}").status == 200, word
    assert browser.submit("/dags/fan", f"{run}/retry").status == 303
    stack.wait(run.removeprefix("/runs/"))
    for dag in ("fails", "kept-fails"):
        run = browser.submit(f"/dags/{dag}", f"/dags/{dag}/start").headers["location"]
        stack.wait(run.removeprefix("/runs/"))
        store = stack.stack.run_data  # as after a run that was broken off
        for days in (None, 3):
            store.remove(result_key(prefix_of_run(run.removeprefix("/runs/"), days)))
        assert browser.submit(f"/dags/{dag}", f"{run}/retry").status == 303
