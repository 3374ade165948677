"""Functions behind AWS Lambda's own runtime: what reaches a state, and that the functions of a laptop answer alike."""

from __future__ import annotations

import json
import re
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fanfold.local.moto_additions import MAX_ANSWER, call_function
from lambda_runtime import FunctionSettings, Lambda

PROBE = """
import decimal, os, sys, time

class ExitCode7(Exception):
    error_name = "NotTheClass"

def handle(event, context):
    return globals()[event["do"]](event, context)

def echo(event, context):
    return event["value"]

def fail(event, context):
    raise ExitCode7(event["value"])

def fail_without_a_word(event, context):
    raise KeyError

def a_set(event, context):
    return {1, 2}

def itself(event, context):
    made = []
    made.append(made)
    return made

def half_a_character(event, context):
    return {"half": chr(0xD83D)}

def leave(event, context):
    raise SystemExit(3)

def large(event, context):
    return "x" * (event["bytes"] - 2)

def die(event, context):
    os._exit(3)

def wait(event, context):
    time.sleep(event["seconds"])
    return {"process": os.getpid(), "left": context.get_remaining_time_in_millis()}

def files(event, context):
    import boto3, fanfold.handlers.runner
    found = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return {name: file for name, file in found.items() if file}
"""
CALLS = [
    {"do": "echo", "value": None},
    {"do": "echo", "value": ["naïve", "日本語", "👋", '"\\', 1.5, True, {"": ""}]},
    {"do": "fail", "value": "why 日本語"},
    {"do": "fail_without_a_word"},
    {"do": "a_set"},
    {"do": "itself"},
    {"do": "half_a_character"},
    {"do": "leave"},
    {"do": "large", "bytes": MAX_ANSWER},
    {"do": "large", "bytes": MAX_ANSWER + 1},
]


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    code = tmp_path_factory.mktemp("code")
    (code / "probe.py").write_text(PROBE)
    with Lambda(tmp_path_factory.mktemp("lambda")) as functions:
        probe = FunctionSettings("probe", "probe.handle", code, {}, 60, execution_env="AWS_Lambda_python3.13")
        functions.create(probe)
        functions.create(replace(probe, name="short", seconds=1))
        functions.create(replace(probe, name="image", execution_env="AWS_Lambda_Image"))
        functions.create(replace(probe, name="nothing", handler="probe.nothing"))
        yield functions


def call(functions: Lambda, name: str, **event: Any) -> tuple[Any, bool]:
    body, failed = functions.invoke(name, json.dumps(event).encode())
    return json.loads(body), failed


@pytest.mark.parametrize("event", CALLS, ids=lambda event: " ".join(map(str, event.values())))
def test_a_function_of_the_laptop_answers_as_the_runtime_does(functions: Lambda, event: dict[str, Any]) -> None:
    module: dict[str, Any] = {}
    exec(PROBE, module)
    text, failed = call_function({"probe": module["handle"]}, "probe", json.dumps(event))
    answer, answer_failed = call(functions, "probe", **event)
    ours = json.loads(text)
    assert failed is answer_failed
    if not failed:
        assert ours == answer
        return
    assert ours["errorType"] == answer["errorType"]
    if answer["errorType"] != "Runtime.ExitError":  # which says no more than that the process has ended
        assert ours["errorMessage"] == answer["errorMessage"]
        assert frames(ours) == frames(answer)


def frames(error: dict[str, Any]) -> list[str]:
    """The lines and functions of a stack trace."""
    return [re.search(r"line .*", entry)[0] for entry in error.get("stackTrace", [])]  # type: ignore[index]


def test_only_some_runtimes_escape_what_is_not_ascii(functions: Lambda) -> None:
    event = json.dumps({"do": "echo", "value": "日本語👋"}).encode()
    assert functions.invoke("probe", event)[0] == '"日本語👋"'.encode()
    assert functions.invoke("image", event)[0] == rb'"\u65e5\u672c\u8a9e\ud83d\udc4b"'


def test_a_call_that_runs_out_of_time_ends_its_environment(functions: Lambda) -> None:
    process = call(functions, "short", do="wait", seconds=0)[0]["process"]
    assert call(functions, "short", do="wait", seconds=0)[0]["process"] == process
    started = time.monotonic()
    answer, failed = call(functions, "short", do="wait", seconds=30)
    assert (answer["errorType"], failed) == ("Sandbox.Timedout", True)
    assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert time.monotonic() - started < 10
    after = call(functions, "short", do="wait", seconds=0)[0]
    assert after["process"] != process
    assert after["left"] <= 1000


def test_a_process_that_ends_fails_its_call_and_no_other(functions: Lambda) -> None:
    answer, failed = call(functions, "probe", do="die")
    assert (answer["errorType"], failed) == ("Runtime.ExitError", True)
    assert answer["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert call(functions, "probe", do="echo", value=1) == (1, False)


def test_a_handler_that_is_not_there_is_an_error(functions: Lambda) -> None:
    answer, failed = call(functions, "nothing", do="echo")
    assert (answer["errorType"], failed) == ("Runtime.HandlerNotFound", True)


def test_calls_at_one_time_have_environments_of_their_own(functions: Lambda) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call, functions, "probe", do="wait", seconds=1) for _ in range(2)]
        assert len({answer.result()[0]["process"] for answer in calls}) == 2


def test_a_function_sees_nothing_but_what_was_built(built: Path, functions: Lambda, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for path in (built / "RunnerFunction").iterdir():
        (code / path.name).symlink_to(path)
    (code / "probe.py").write_text(PROBE)
    functions.create(FunctionSettings("built", "probe.handle", code, {}, 60))
    found, failed = call(functions, "built", do="files")
    assert not failed, found
    standard = Path(sysconfig.get_paths()["stdlib"])
    for name, file in found.items():
        places = [place for place in (code, functions.runtime, standard) if Path(file).is_relative_to(place)]
        assert places, (name, file)
        assert "site-packages" not in file, (name, file)
    assert Path(found["fanfold"]).resolve().is_relative_to(built / "RunnerFunction")
    assert Path(found["boto3"]).resolve().is_relative_to(built / "RunnerFunction")
