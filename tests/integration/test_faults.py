"""What breaks while a run goes on: no item's result is lost, none counts twice, none that succeeded runs again."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from fanfold.local import moto_overrides
from fanfold.local.moto_additions import call_function
from fanfold.local.up import Up, stack_up
from moto.core.botocore_stubber import MockRawResponse
from places import Laptop, OnStack

Answer = tuple[Any, bool]
FAN = """
steps:
  - {name: list, command: "seq COUNT", output: L}
  - {name: fan, run: leaf, parallel: {items: "${L}", maxConcurrent: 8}, output: R}
  - {name: last, command: "echo ${R.summary.succeeded}", output: N}
---
name: leaf
steps:
  - {name: work, command: 'COMMAND', output: O}
"""


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stack_up("fanfold", 0, tmp_path_factory.mktemp("up")) as up:
        yield up


def broken_by(monkeypatch: pytest.MonkeyPatch, fault: Callable[[str, dict[str, Any]], Answer | None]) -> None:
    """Let `fault` answer calls of Lambda functions instead of the function, where it does."""

    def call(functions: Any, name: str, event: str) -> tuple[str, bool]:
        answer = fault(name, json.loads(event))
        return call_function(functions, name, event) if answer is None else (json.dumps(answer[0]), answer[1])

    monkeypatch.setattr(moto_overrides, "call_function", call)


def assert_all_succeeded_once(place: OnStack, run: str, count: int, *, twice: tuple[str, ...] = ()) -> None:
    result = place.store.data(run).result()
    assert result is not None
    assert (result["status"], result["steps"]["last"]["output"]) == ("success", {"N": str(count)}), result
    document = result["steps"]["fan"]["document"]
    assert document["summary"]["total"] == document["summary"]["succeeded"] == count
    assert [item["parameters"] for item in document["results"]] == [str(number) for number in range(1, count + 1)]
    assert [output["O"] for output in document["outputs"]] == [f"v{number}" for number in range(1, count + 1)]
    expected = Counter({str(number): 1 for number in range(1, count + 1)}) + Counter(twice)
    assert Counter(place.done()) == expected


def test_a_runner_that_is_killed_in_item_500_of_1000(up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = OnStack(tmp_path, up)
    command = 'echo $1 >> FOLDER/done; test $1 != 500 || test -e FOLDER/mended || kill -9 "$PPID"; echo v$1'
    code = (
        "import json, sys; from fanfold.handlers import runner; from fanfold.local.moto_additions import LocalContext;"
    )
    code += " runner.handle(json.load(sys.stdin), LocalContext('runner'))"
    env = os.environ | {
        "AWS_ENDPOINT_URL": up.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local", "FANFOLD_RUN_BUCKET": up.stack.run_bucket,
        "FANFOLD_FOLDER": str(tmp_path / "function"),
    }  # fmt: skip
    killed: list[int] = []

    def fault(name: str, event: dict[str, Any]) -> Answer | None:
        if event.get("task") != "item" or event["args"] != "500":
            return None
        process = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(event).encode(), env=env, capture_output=True, check=False
        )
        killed.append(process.returncode)
        return {"errorType": "Runtime.ExitError", "errorMessage": "Runtime exited with error: signal: killed"}, True

    broken_by(monkeypatch, fault)
    run = place.run("killed", FAN.replace("COUNT", "1000").replace("COMMAND", command))
    assert killed == [-signal.SIGKILL]
    [fan] = [step for step in place.store.data(run).steps() if step.name == "fan"]
    assert (fan.total, fan.counts) == (1000, {"failed": 1, "success": 999})
    failed = [item for item in place.store.data(run).items(fan) if item.status == "failed"]
    assert [(item.index, item.parameters) for item in failed] == [(499, "500")]
    assert "Runtime.ExitError" in str(fan.error)
    (tmp_path / "mended").touch()
    place.fanfold("retry", run)
    assert_all_succeeded_once(place, run, 1000, twice=("500",))


def test_a_reducer_that_fails_twice(up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = OnStack(tmp_path, up)
    failures = itertools.count(1)

    def fault(name: str, event: dict[str, Any]) -> Answer | None:
        if event.get("task") != "reduce" or next(failures) > 2:
            return None
        return {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 900 seconds"}, True

    broken_by(monkeypatch, fault)
    run = place.run("reduced", FAN.replace("COUNT", "20").replace("COMMAND", "echo $1 >> FOLDER/done; echo v$1"))
    assert next(failures) == 4
    assert_all_succeeded_once(place, run, 20)


def test_functions_that_are_throttled(up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = OnStack(tmp_path, up)
    calls = itertools.count(1)
    throttled: list[str] = []

    def fault(name: str, event: dict[str, Any]) -> Answer | None:
        if next(calls) % 5:
            return None
        throttled.append(name)
        return {"errorType": "Lambda.TooManyRequestsException", "errorMessage": "Rate exceeded"}, True

    broken_by(monkeypatch, fault)
    run = place.run("throttled", FAN.replace("COUNT", "100").replace("COMMAND", "echo $1 >> FOLDER/done; echo v$1"))
    assert len(throttled) >= 20
    assert_all_succeeded_once(place, run, 100)


def test_every_tenth_call_of_s3_is_refused(up: Up, tmp_path: Path) -> None:
    calls, refused = itertools.count(1), []

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if next(calls) % 10:
            return None
        refused.append(request.url)
        body = b"<Error><Code>ServiceUnavailable</Code><Message>Please try again</Message></Error>"
        return AWSResponse(request.url, 503, {}, MockRawResponse(body))

    place = OnStack(tmp_path, up)
    up.stack.clients.s3.meta.events.register_first("before-send.s3", refuse)
    run = place.run("refused", FAN.replace("COUNT", "100").replace("COMMAND", "echo $1 >> FOLDER/done; echo v$1"))
    assert len(refused) > 20
    assert_all_succeeded_once(place, run, 100)


def test_a_laptop_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    place = Laptop(tmp_path)
    command = "echo begun-$1 >> FOLDER/done; test $1 -ne 30 || test -e FOLDER/mended || sleep 100; sleep 0.1; echo v$1"
    run = place.start("killed", FAN.replace("COUNT", "60").replace("COMMAND", command))
    folder = tmp_path / "home" / "runs" / run
    end = time.monotonic() + 60
    while len(list(folder.glob("fan/*/result.json"))) < 35:
        assert time.monotonic() < end
        time.sleep(0.02)
    place.processes[0].kill()
    place.processes[0].wait()
    ended = {int(path.parent.name) + 1 for path in folder.glob("fan/*/result.json")}
    told = place.ask("status", run)
    assert (told["status"], told["error"]) == (
        "failed", f"its process ended without a result; to go on: fanfold retry {run}",
    )  # fmt: skip
    assert told["steps"][1]["items"]["success"] == len(ended)
    (tmp_path / "mended").touch()
    record = place.ask("retry", run)
    assert (record["status"], record["steps"]["last"]["output"]) == ("success", {"N": "60"})
    assert [output["O"] for output in record["steps"]["fan"]["document"]["outputs"]] == [f"v{n}" for n in range(1, 61)]
    begun = Counter(place.done())
    assert len(begun) == 60
    assert all(begun[f"begun-{number}"] == 1 for number in ended)
    assert sum(begun.values()) - 60 <= 8  # those that ran when it was killed
    assert not any("sleep\x00100" in text for text in _command_lines())


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace")
        except OSError:
            continue
