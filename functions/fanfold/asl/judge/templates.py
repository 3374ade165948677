"""What states give to what they call: payload templates, ARNs, names of executions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fanfold.asl import errors
from fanfold.asl.judge.walk import Finding, Surroundings, Visited, walk
from fanfold.asl.states import Definition
from fanfold.dag.model import LARGEST_FAN_OUT

MAX_EXECUTION_NAME = 80

_PATH = re.compile(r"\$(\.[A-Za-z_]\w*)*")
_CONTEXT = (
    "Execution.Id", "Execution.Input", "Execution.Name", "Execution.RoleArn", "Execution.StartTime",
    "Execution.RedriveCount", "State.EnteredTime", "State.Name", "State.RetryCount", "StateMachine.Id",
    "StateMachine.Name", "Task.Token", "Map.Item.Index", "Map.Item.Value",
)  # fmt: skip
"""What is always in the context object (Step Functions, *Accessing execution data from the Context object*)."""

_INTRINSICS = {"States.Format", "States.StringSplit", "States.JsonToString"}
"""The intrinsic functions that definitions of ours call."""
_CALL = re.compile(r"(States\.\w+)\((.*)\)")
_ARGUMENT = re.compile(r"\s*(?:'((?:[^'\\]|\\.)*)'|(\$\$?[\w.]*))\s*(?:,|$)")

_ARN_FIELDS = ("Resource", "FunctionName", "StateMachineArn", "Cluster", "TaskDefinition")
_TEMPLATES = ("Parameters", "ItemSelector", "ResultSelector")

_LONGEST = {
    "$.fan.name": 40,
    "$.index": len(str(LARGEST_FAN_OUT)),
    "$$.Execution.RedriveCount": 4,
    "$$.State.RetryCount": 8,
}
"""Characters that these may have in an execution's name; 1,000 redrives and 99,999,999 retries are the most."""


def judge_templates(definition: Definition, around: Surroundings) -> Iterator[Finding]:
    """Faults of what states give to what they call."""
    for visited in walk(definition):
        yield from _arns(visited, around.partition)
        for field in _TEMPLATES:
            yield from _template(visited, visited.state.get(field, {}), field)
        for field in ("ItemReader", "ResultWriter"):
            yield from _template(visited, visited.state.get(field, {}).get("Parameters", {}), field)
        if visited.kind == errors.MACHINE:
            yield from _started(visited, around)


def _arns(visited: Visited, partition: str) -> Iterator[Finding]:
    given = visited.state.get("Parameters", {})
    named = [visited.state, visited.state.get("ItemReader", {}), visited.state.get("ResultWriter", {}), given]
    for text in (holder[field] for holder in named for field in _ARN_FIELDS if field in holder):
        if text.startswith("arn:") and not text.startswith(f"arn:{partition}:"):
            message = f"{visited.name!r} names {text}, which is not of this partition"
            yield Finding(visited.name, message, f"an ARN here starts with arn:{partition}:")
    if visited.state["Type"] == "Task" and visited.kind not in errors.RAISED:
        message = f"{visited.name!r} calls {visited.state['Resource']}, of which nothing is known"
        yield Finding(visited.name, message, "what it can end with belongs into fanfold.asl.errors")


def _template(visited: Visited, value: Any, field: str) -> Iterator[Finding]:
    """A template's keys that end with ``.$`` hold paths or intrinsic functions."""
    if isinstance(value, list):
        for inner in value:
            yield from _template(visited, inner, field)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if not key.endswith(".$"):
            yield from _template(visited, inner, field)
            continue
        if key[:-2] in value:
            yield Finding(visited.name, f"{field} of {visited.name!r} has {key[:-2]!r} twice", "keep one of the two")
        fault = _fault(inner, visited, field)
        if fault:
            yield Finding(visited.name, f"{field} of {visited.name!r}: {key!r} {fault}", "a path such as $.fan.name")


def _fault(value: Any, visited: Visited, field: str) -> str:
    """What is wrong with the path or the intrinsic function; empty when nothing is."""
    if not isinstance(value, str):
        return "is no text"
    call = _CALL.fullmatch(value)
    if call is None:
        return _path_fault(value, visited, field)
    read = _arguments(call[2])
    if call[1] not in _INTRINSICS or read is None:
        return f"calls {value}, which cannot be read"
    form, paths = read
    if call[1] == "States.Format" and form.count("{}") != len(paths):
        return f"does not give each {{}} of {value} a value"
    return next((fault for path in paths if (fault := _path_fault(path, visited, field))), "")


def _arguments(text: str) -> tuple[str, list[str]] | None:
    """The texts, joined, and the paths that an intrinsic function is given; None where they cannot be read."""
    form, paths, at = "", list[str](), 0
    while at < len(text):
        argument = _ARGUMENT.match(text, at)
        if argument is None:
            return None
        if argument[2] is None:
            form += argument[1]
        else:
            paths.append(argument[2])
        at = argument.end()
    return form, paths


def _path_fault(path: str, visited: Visited, field: str) -> str:
    if not path.startswith("$$"):
        return "" if _PATH.fullmatch(path) else f"is {path}, which is no path"
    name = path[3:]
    if name not in _CONTEXT:
        return f"names {path}, which the context object does not have"
    if name.startswith("Map.") and field != "ItemSelector":
        return f"names {path}, which only an ItemSelector sees"
    if name == "Task.Token" and not visited.kind.endswith(".waitForTaskToken"):
        return f"names {path}, which only a task that waits for it has"
    return ""


def _started(visited: Visited, around: Surroundings) -> Iterator[Finding]:
    """The machine that a state starts, and the name of its execution."""
    given = visited.state["Parameters"]
    if given.get("StateMachineArn") not in around.machines:
        message = f"{visited.name!r} starts {given.get('StateMachineArn')}, which is no machine of this DAG"
        yield Finding(visited.name, message, "name a machine of the file")
    call = _CALL.fullmatch(given.get("Name.$", ""))
    form, paths = (_arguments(call[2]) if call else None) or ("", [])
    pieces = form.replace("{}", "")
    length = len(pieces) + sum(_LONGEST.get(path, MAX_EXECUTION_NAME) for path in paths)
    if not paths or length > MAX_EXECUTION_NAME or re.search(r"[^A-Za-z0-9_-]", pieces):
        message = f"the name of the execution that {visited.name!r} starts may have {length} characters"
        yield Finding(visited.name, message, f"at most {MAX_EXECUTION_NAME}, of A-Z, a-z, 0-9, - and _")
    for count in ("$$.Execution.RedriveCount", "$$.State.RetryCount", "$.index"):
        if count not in paths:
            message = f"the name of the execution that {visited.name!r} starts does not hold {count}"
            yield Finding(visited.name, message, "a name stays taken for 90 days, so that each try needs its own")
