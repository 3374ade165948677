"""The tasks of a run's states, shared by the functions that offer them.

Each takes the payload that `fanfold.asl.compile` writes and returns the next state's input.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from fanfold.run.batch import run_batch
from fanfold.run.item import run_item
from fanfold.run.keys import prefix_of_run
from fanfold.run.lifecycle import begin, finish, open_context, root_identity
from fanfold.run.plan import plan_step
from fanfold.run.reduce import reduce_step
from fanfold.run.runtime import Runtime
from fanfold.run.scope import RunIdentity, Scope
from fanfold.run.segment import lose_segment, run_segment
from fanfold.run.steps import RunContext
from fanfold.run.stopping import stoppable
from fanfold.run.work_folder import work_folder

Payload = dict[str, Any]
Task = Callable[[Runtime, Payload], Payload]


def _stoppable(task: Task) -> Task:
    """The task, which ends soon once its run is to stop."""

    @wraps(task)
    def with_watch(runtime: Runtime, payload: Payload) -> Payload:
        with stoppable(runtime, lambda: _run_of(runtime, payload), is_item="fan" in payload) as watched:
            return task(watched, payload)

    return with_watch


def _run_of(runtime: Runtime, payload: Payload) -> RunIdentity:
    """The run that a task belongs to, or for an item's the run of its step."""
    given = payload if "fan" in payload else payload["state"]["scope"] if "state" in payload else payload["scope"]
    if "payload" in given:  # of a container that was lost
        given = json.loads(runtime.store.load(given["payload"]))["scope"]
    if "fan" in given:
        return RunIdentity.from_json(given["fan"]["run"])
    if "run" in given:
        return RunIdentity.from_json(given["run"])
    return root_identity(runtime.for_dag(payload["dag"])[1], given, payload["execution"])


@_stoppable
def segment(runtime: Runtime, payload: Payload) -> Payload:
    """Run a stretch of shell steps."""
    context = _context(runtime, payload, payload["scope"])
    is_last = payload.get("final", False)
    with work_folder(context, is_last=is_last):
        if context.scope.status is None:
            run_segment(context, payload["steps"])
        if is_last:  # the handlers still see the folder
            return finish(context)
    return _close(context, payload)


@_stoppable
def lost(runtime: Runtime, payload: Payload) -> Payload:
    """Record the steps of a segment whose task ended without an answer: out of time or memory, or killed."""
    state = dict(payload["scope"])
    caught = state.pop("caught")
    if "payload" in state:
        state = json.loads(runtime.store.load(state["payload"]))["scope"]
    context = _context(runtime, payload, state)
    if context.scope.status is None:
        lose_segment(context, payload["steps"], f"its task ended without an answer: {_reason(caught)}")
    return _close(context, payload)


def hand_over(runtime: Runtime, payload: Payload) -> Payload:
    """Store what a container is to run: its environment is too small for it."""
    text = json.dumps(payload["payload"])
    return {"payload": runtime.store.spill(prefix_of_run(payload["execution"]), text)}


@_stoppable
def plan(runtime: Runtime, payload: Payload) -> Payload:
    """Resolve what a step's child DAG is called with."""
    context = _context(runtime, payload, payload["scope"])
    step = context.dag.step(payload["step"])
    planned = plan_step(context, step, pointers=payload.get("pointers", False), batch=payload.get("batch"))
    return {"scope": context.scope.to_json(runtime.store), **planned}


@_stoppable
def item(runtime: Runtime, payload: Payload) -> Payload:
    """Run a leaf child for one item; raises `fanfold.run.item.ItemFailed`."""
    runtime, dag = runtime.for_dag(payload["dag"])
    return run_item(runtime, dag, payload)


@_stoppable
def batch(runtime: Runtime, payload: Payload) -> Payload:
    """Run a leaf child for several items of a large fan-out; no failure of an item is one of the task."""
    runtime, dag = runtime.for_dag(payload["dag"])
    return run_batch(runtime, dag, payload) | {"index": payload["index"]}


@_stoppable
def reduce(runtime: Runtime, payload: Payload) -> Payload:
    """Fold the items' records into the step's document."""
    state = payload["state"]
    context = _context(runtime, payload, state["scope"])
    ended = _reason(state["caught"]) if "caught" in state else None
    reduce_step(context, context.dag.step(payload["step"]), state, ended)
    return _close(context, payload)


def _reason(caught: dict[str, Any]) -> str:
    """What ``Catch`` tells of an error; of a function's, its message."""
    cause = caught.get("Cause") or ""
    with suppress(ValueError, KeyError, TypeError):
        cause = json.loads(cause)["errorMessage"]
    return f"{caught['Error']}: {cause}".rstrip(": ")


def _context(runtime: Runtime, payload: Payload, scope: Payload) -> RunContext:
    runtime, dag = runtime.for_dag(payload["dag"])
    if payload.get("begin"):
        return begin(runtime, dag, scope, payload["execution"], payload["dag"])
    return open_context(runtime, dag, Scope.from_json(scope, runtime.store))


def _close(context: RunContext, payload: Payload) -> Payload:
    """What the last state of a stage gives back: the run's outcome at its end, a branch's own steps, or the scope."""
    if payload.get("final"):
        return finish(context)
    if "branch" in payload:
        branch = payload["branch"]
        return context.scope.branch_to_json(context.runtime.store, branch["steps"], branch["of"])
    return context.scope.to_json(context.runtime.store)
