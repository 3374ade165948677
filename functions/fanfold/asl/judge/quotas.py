"""Quotas of executions: events of history, five minutes of EXPRESS, places of a Map (Step Functions, *Quotas*)."""

from __future__ import annotations

from collections.abc import Iterator

from fanfold.asl import errors
from fanfold.asl.fan_outs import EXPRESS_SECONDS, INLINE_CONCURRENCY, CallSeconds, worst_seconds
from fanfold.asl.judge.graph import following
from fanfold.asl.judge.walk import Finding, Surroundings, Visited, integration, is_distributed, scopes, walk
from fanfold.asl.states import Definition
from fanfold.dag.model import LARGEST_CONCURRENCY

MOST_EVENTS = 25_000

_STATE_EVENTS = {"Map": 4, "Parallel": 4}
"""Events of a state besides what it calls: entered and left, and for these started and ended."""
_MAP_RUN_EVENTS, _ITERATION_EVENTS, _EXECUTION_EVENTS = 2, 2, 2


def judge_quotas(definition: Definition, around: Surroundings) -> Iterator[Finding]:
    """What would go beyond a quota of an execution."""
    largest, events = _events(definition, around)
    if _has_cycle(definition):
        yield Finding("", "the states form a cycle, whose history nothing bounds", "let it run in an EXPRESS execution")
    elif events + _EXECUTION_EVENTS > MOST_EVENTS:
        message = f"with all retries, an execution may take {events + _EXECUTION_EVENTS:,} events of history"
        yield Finding(largest, message, f"Step Functions ends it at {MOST_EVENTS:,}; move some steps to child DAGs")
    for visited in walk(definition):
        if visited.state["Type"] == "Map":
            yield from _map(visited, around)
        if visited.execution == "EXPRESS" and visited.kind.endswith((".sync", ".sync:2", ".waitForTaskToken")):
            message = f"{visited.name!r} awaits {visited.kind}, which an EXPRESS execution cannot"
            yield Finding(visited.name, message, "ExecutionType: STANDARD")


def _events(definition: Definition, around: Surroundings) -> tuple[str, int]:
    """The state with the most events of a history, and those of all states, each entered once."""
    counted = {name: _events_of(name, state, around) for name, state in definition["States"].items()}
    return max(counted, key=lambda name: counted[name]), sum(counted.values())


def _events_of(name: str, state: Definition, around: Surroundings) -> int:
    events = _STATE_EVENTS.get(state["Type"], 2)
    if state["Type"] == "Task":
        return events + _tries(state)
    if is_distributed(state):
        return events + _MAP_RUN_EVENTS
    times = 1
    if state["Type"] == "Map":
        times = around.maps[name].items if name in around.maps else MOST_EVENTS
        events += times * _ITERATION_EVENTS
    return events + times * sum(_events(inner, around)[1] for inner in scopes(state))


def _tries(state: Definition) -> int:
    """Scheduled, started, submitted where something else answers, ended; what is refused is not submitted."""
    whole = events = 3 if integration(state["Resource"]) == errors.LAMBDA else 4
    refusals = {*errors.MACHINE_FAULTS, *errors.CONTAINER_FAULTS}
    for retrier in state.get("Retry", []):
        events += int(retrier["MaxAttempts"]) * (3 if refusals.issuperset(retrier["ErrorEquals"]) else whole)
    return events


def _has_cycle(definition: Definition) -> bool:
    """Whether states of one execution lead back to themselves."""
    states = definition["States"]
    for state in states.values():
        if not is_distributed(state) and any(_has_cycle(inner) for inner in scopes(state)):
            return True
    left = {name: set(following(state)) for name, state in states.items()}
    while ended := [name for name, ways in left.items() if not ways & left.keys()]:
        for name in ended:
            del left[name]
    return bool(left)


def _map(visited: Visited, around: Surroundings) -> Iterator[Finding]:
    name, state = visited.name, visited.state
    at_once, facts = state.get("MaxConcurrency", 0), around.maps.get(name)
    if not is_distributed(state):
        if (at_once or MOST_EVENTS) > INLINE_CONCURRENCY and (facts is None or facts.items > INLINE_CONCURRENCY):
            message = f"the Map {name!r} is to run {at_once} items at a time"
            yield Finding(name, message, f"an INLINE Map reaches {INLINE_CONCURRENCY}; Mode: DISTRIBUTED")
        if "ItemReader" in state or "ResultWriter" in state:
            yield Finding(name, f"the Map {name!r} is INLINE and cannot read or write S3", "Mode: DISTRIBUTED")
        return
    if at_once > LARGEST_CONCURRENCY:
        message = f"the Map {name!r} is to run {at_once:,} items at a time"
        yield Finding(name, message, f"a Map Run reaches {LARGEST_CONCURRENCY:,}")
    execution = state["ItemProcessor"]["ProcessorConfig"].get("ExecutionType")
    if execution not in ("STANDARD", "EXPRESS"):
        yield Finding(name, f"the Map {name!r} names no ExecutionType", "STANDARD or EXPRESS")
    if execution == "EXPRESS":
        yield from _express(name, state, facts.call if facts else None)


def _express(name: str, state: Definition, call: CallSeconds | None) -> Iterator[Finding]:
    if call is None:
        yield Finding(name, f"nothing bounds the time of an item of the Map {name!r}", "ExecutionType: STANDARD")
        return
    tasks = [inner for inner in state["ItemProcessor"]["States"].values() if inner["Type"] == "Task"]
    seconds = sum(worst_seconds(call, task.get("Retry", [])) for task in tasks)
    if seconds >= EXPRESS_SECONDS:
        message = f"with all retries, an execution of the Map {name!r} may take {seconds:g} s"
        yield Finding(name, message, f"an EXPRESS execution ends at {EXPRESS_SECONDS} s; ExecutionType: STANDARD")
