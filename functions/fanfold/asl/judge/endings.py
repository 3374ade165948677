"""How states can end: error names that exist, retries within their bounds, nothing that ends a run by itself.

Bounds of ``Retry``: Step Functions, *Handling errors in workflows*, "Retrying after an error".
"""

from __future__ import annotations

from collections.abc import Iterator

from fanfold.asl import errors
from fanfold.asl.fan_outs import waits
from fanfold.asl.judge.walk import Finding, Visited, is_distributed, walk
from fanfold.asl.states import Definition

MOST_SECONDS = 99_999_999
"""Of IntervalSeconds, HeartbeatSeconds and Wait; the same number bounds MaxAttempts."""

MOST_DELAY = 31_622_399
"""Of MaxDelaySeconds."""


LONGEST_WAKING = 240
"""Seconds that a function which was idle may take until it can be called."""


def judge_endings(definition: Definition) -> Iterator[Finding]:
    """Faults of ``Retry``, ``Catch``, ``HeartbeatSeconds`` and of tolerated failures."""
    for visited in walk(definition):
        yield from _error_names(visited)
        for retrier in visited.state.get("Retry", []):
            yield from _retrier(visited.name, retrier)
        yield from _uncaught(visited)
        yield from _asleep(visited, definition)
        yield from _heartbeat(visited)
        yield from _tolerance(visited)


def _error_names(visited: Visited) -> Iterator[Finding]:
    name = visited.name
    for field in ("Retry", "Catch"):
        handlers = [handler["ErrorEquals"] for handler in visited.state.get(field, [])]
        for place, equals in enumerate(handlers):
            if errors.ALL in equals and (len(equals) > 1 or place < len(handlers) - 1):
                yield Finding(name, f"States.ALL is not alone and last in the {field} of {name!r}", "make it the last")
            for wrong in errors.unknown(visited.kind, equals):
                hint = f"the names that {visited.kind} ends with stand in fanfold.asl.errors"
                yield Finding(name, f"{name!r} never ends with {wrong}, which its {field} waits for", hint)


def _retrier(name: str, retrier: Definition) -> Iterator[Finding]:
    interval, attempts = retrier.get("IntervalSeconds", 1), retrier.get("MaxAttempts", 3)
    delay = retrier.get("MaxDelaySeconds")
    bounds = [
        (1 <= interval <= MOST_SECONDS, f"IntervalSeconds is {interval}", f"1 to {MOST_SECONDS}"),
        (0 <= attempts <= MOST_SECONDS, f"MaxAttempts is {attempts}", f"0 to {MOST_SECONDS}"),
        (retrier.get("BackoffRate", 2) >= 1, f"BackoffRate is {retrier.get('BackoffRate')}", "1 or more"),
        (
            delay is None or interval < delay <= MOST_DELAY,
            f"MaxDelaySeconds is {delay}, IntervalSeconds {interval}",
            f"more than IntervalSeconds, at most {MOST_DELAY}",
        ),
        (retrier.get("JitterStrategy", "NONE") in ("NONE", "FULL"), "JitterStrategy is no strategy", "NONE or FULL"),
    ]
    for kept, message, hint in bounds:
        if not kept:
            yield Finding(name, f"{message} in a Retry of {name!r}", hint)


def _uncaught(visited: Visited) -> Iterator[Finding]:
    """Errors that would end a run without its reducer, its handlers and its record."""
    name, state = visited.name, visited.state
    is_item = bool(visited.maps) and state["Type"] == "Task"
    if "Catch" not in state:
        if state["Type"] == "Map" or is_item:
            yield Finding(name, f"an error of {name!r} ends the run before it is judged", "catch it")
        return
    caught = [error for catch in state["Catch"] for error in catch["ErrorEquals"]]
    if errors.ALL not in caught:
        yield Finding(name, f"the Catch of {name!r} does not have States.ALL", "add it, as the last")
    elif errors.DATA_LIMIT not in caught:
        message = f"States.ALL in the Catch of {name!r} does not match States.DataLimitExceeded"
        yield Finding(name, message, "catch that by its own name before")
    if errors.RUNTIME in caught:
        yield Finding(name, f"{name!r} catches States.Runtime, which nothing catches", "leave it out")


def _asleep(visited: Visited, definition: Definition) -> Iterator[Finding]:
    """A function that was idle refuses calls for minutes: a task waits for it, or comes behind one that does."""
    if visited.kind != errors.LAMBDA:
        return
    name, function = visited.name, visited.state["Parameters"]["FunctionName"]
    if not visited.maps:
        for retrier in visited.state.get("Retry", []):
            if set(errors.LAMBDA_ASLEEP) <= set(retrier["ErrorEquals"]) and waits(retrier) >= LONGEST_WAKING:
                return
        yield Finding(name, f"{name!r} does not wait for a function that is being made ready", "retry for minutes")
        return
    outermost = visited.maps[0][0]
    before = [other.state for other in walk(definition) if other.state.get("Next") == outermost]
    before.append(_first_task(definition))
    if function not in [state.get("Parameters", {}).get("FunctionName") for state in before]:
        message = f"{name!r} may be the first to call a function that was idle, and does not wait for it"
        yield Finding(name, message, "let the first task of the machine, or the one before the Map, call it")


def _first_task(definition: Definition) -> Definition:
    state: Definition = definition["States"][definition["StartAt"]]
    return definition["States"][state["Next"]] if state["Type"] == "Wait" else state


def _heartbeat(visited: Visited) -> Iterator[Finding]:
    name, state = visited.name, visited.state
    seconds = state.get("HeartbeatSeconds")
    if seconds is not None and not 1 <= seconds <= min(MOST_SECONDS, state.get("TimeoutSeconds", MOST_SECONDS)):
        yield Finding(name, f"HeartbeatSeconds of {name!r} is {seconds}", "1 or more, and less than TimeoutSeconds")
    if visited.kind.endswith(".waitForTaskToken") and seconds is None:
        message = f"{name!r} waits for an answer, for a year if need be"
        yield Finding(name, message, "give it HeartbeatSeconds")
    if state["Type"] == "Wait" and not 0 <= state.get("Seconds", 0) <= MOST_SECONDS:
        yield Finding(name, f"{name!r} waits for {state['Seconds']:,} s", f"{MOST_SECONDS:,} at most: delaySec")


def _tolerance(visited: Visited) -> Iterator[Finding]:
    name, state = visited.name, visited.state
    if is_distributed(state) and state.get("ToleratedFailurePercentage") != 100:
        message = f"one lost execution of the Map {name!r} ends the others and the run"
        yield Finding(name, message, "ToleratedFailurePercentage: 100.0; the reducer judges failures")
