"""How a run begins and ends: parameters bound, ``env`` told, handlers run, the outcome written."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fanfold.dag.model import Dag, HandlerName, Json, RetryPolicy, Step
from fanfold.dag.params import Parameters, bind
from fanfold.run.document import read_stored_path
from fanfold.run.events import EventKind, RunEvent
from fanfold.run.keys import begun_key, result_key, start_key
from fanfold.run.logs import RunLogs
from fanfold.run.outcome import HANDLER_OF_STATUS, STATUS_WORD_OF_DAGU, run_status, should_retry_child
from fanfold.run.runtime import Cancellation, Runtime
from fanfold.run.scope import RunIdentity, Scope, Status, StepOutcome, fit_error
from fanfold.run.shell import ShellFault
from fanfold.run.steps import RunContext, check_preconditions, run_step
from fanfold.run.store import ObjectStore, Stored, size
from fanfold.run.takeover import take_over
from fanfold.run.variables import ExpansionFault, Variables

SHOWN_DOCUMENT = 32 * 1024 * 1024
"""Bytes of a document up to which the record of a run holds it whole."""


def open_context(runtime: Runtime, dag: Dag, scope: Scope) -> RunContext:
    """What the steps of a run share, for a run that has begun."""
    deadline = float("inf")
    if dag.timeout_sec is not None:
        deadline = time.monotonic() + scope.started + dag.timeout_sec - time.time()
    return RunContext(dag, scope, runtime, RunLogs(runtime, scope.run), deadline)


def begin(runtime: Runtime, dag: Dag, start: dict[str, Any], name: str, digest: str) -> RunContext:
    """Begin a run: `start` is the execution's input, `name` the execution's name, `digest` names the DAG's object.

    ``{"params"?: {"positional": […], "named": {…}}, "trigger"?: {"time"?}}`` starts a root, with ``"attempt": {"of":
    RUN, "number": n}`` a retry of one, and ``{"fan", "index", "args"}`` an item's child.
    """
    if "fan" in start:
        fan, index = start["fan"], start["index"]
        if isinstance(start["args"], dict) and "first" in start["args"]:
            index = start["args"]["first"]
        run = RunIdentity.from_json(fan["run"]).child(fan["step"], index)
        given = Parameters.from_json(load_arguments(runtime, fan, start["args"]))
        caller = {
            "fan": {key: fan[key] for key in ("run", "dag", "step", "budget", "resumed") if key in fan},
            "index": index,
        }
        caller |= {key: start[key] for key in ("tries", "retry", "batched") if key in start}
    else:
        run, caller = root_identity(dag, start, name), None
        given = Parameters.from_json(start.get("params") or {})
    scope = Scope(run, given, caller=caller, started=time.time())
    if caller is not None:
        _tell_item(runtime, scope, "item-retried" if start.get("tries") else "item-started")
    runtime.observer(RunEvent("run-started", run.id, dag.name, run.depth))
    context = open_context(runtime, dag, scope)
    context.logs.note(
        f"DAG {dag.name}: run {run.id} started" + (f" again, attempt {run.attempt}" if run.attempt > 1 else "")
    )
    try:
        other = _other_start(context, start.get("trigger") or {})
        if other is not None:
            scope.status, scope.error = "cancelled", other
            return context
        if not take_over(context):
            _note_beginning(context, given, digest)
            _bind(context, given)
            _read_dotenv(context)
        _note_beginning(context, given, digest, bound=True)
        unmet = check_preconditions(context.variables(""), dag.preconditions)
        if unmet is not None:
            scope.status, scope.error = "cancelled", fit_error(unmet)
        elif "onInit" in dag.handlers:
            _run_init(context, dag.handlers["onInit"])
    except (ExpansionFault, ShellFault) as fault:
        scope.status, scope.error = "failed", fit_error(runtime.secrets.mask(str(fault)))
    return context


def root_identity(dag: Dag, start: dict[str, Any], name: str) -> RunIdentity:
    """The identity of a root run: `start` is the execution's input, `name` the execution's name."""
    attempt = start.get("attempt", {"of": name, "number": 1})
    return RunIdentity.of_root(attempt["of"], dag.retention_days, attempt["number"])


def _note_beginning(context: RunContext, given: Parameters, digest: str, *, bound: bool = False) -> None:
    """Note with what the run began: for who looks, and for a retry."""
    if not context.notes_steps:
        return
    scope, dag = context.scope, context.dag
    begun: dict[str, Any] = {
        "run": scope.run.id,
        "dag": dag.name,
        "file": dag.place.file,
        "definition": digest,
        "params": given.to_json(),
        "started": scope.began,
        "attempt": scope.run.attempt,
        "steps": {step.name: step.run for step in dag.steps},
    }
    if bound:
        begun["bound"] = {"params": scope.params.to_json(), "env": scope.env}
    context.runtime.store.put_json(begun_key(scope.run.prefix), begun)


def _other_start(context: RunContext, trigger: dict[str, Any]) -> str | None:
    """Why a scheduled run must not go on: two schedules of one DAG may fire at the same time, and one run is meant."""
    if "time" not in trigger:
        return None
    time_of_start = str(trigger["time"])
    key = start_key(hashlib.sha256(f"{context.dag.place.file} {time_of_start}".encode()).hexdigest())
    first = context.runtime.store.put_once(key, context.scope.run.id)
    return None if first == context.scope.run.id else f"the run {first} was started for {time_of_start} too"


def load_arguments(runtime: Runtime, fan: dict[str, Any], arguments: Any) -> Json:
    """An item's parameters: as they travel in the state, or from the plan where they were too large for it."""
    if not isinstance(arguments, dict) or "at" not in arguments:
        inline: Json = arguments
        return inline
    line = runtime.store.get_range(fan["plan"], arguments["at"], arguments["bytes"])
    stored: Json = parse_plan_line(line)["params"]
    return stored


def parse_plan_line(line: str) -> dict[str, Any]:
    """One line of a plan: ``{"params": {…}, "shown": …}``."""
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def _bind(context: RunContext, given: Parameters) -> None:
    """Bind the parameters and tell ``env``, whose entries may refer to parameters and parameters to them."""
    dag, scope = context.dag, context.scope
    env_names = {argument.name for argument in dag.env}
    late = [a for a in dag.params if any(name in a.template for name in env_names if name)]
    declared: dict[int, tuple[str | None, str]] = {}

    def tell(variables: Variables, arguments: list[int]) -> None:
        for place in arguments:
            argument = dag.params[place]
            given_here = argument.name in given.named if argument.name else place < len(given.positional)
            default = "" if given_here else variables.expand(argument.template)
            declared[place] = (argument.name, variables.unsecret(default, "a parameter"))
            known = [declared.get(other, (None, "")) for other in range(max(declared) + 1)]
            scope.params = bind(known, given)

    early = [place for place, argument in enumerate(dag.params) if argument not in late]
    tell(context.variables(""), early)
    for argument in dag.env:
        scope.env[argument.name or ""] = context.variables("").expand_env(argument.template)
    tell(context.variables(""), [place for place, argument in enumerate(dag.params) if argument in late])


def _read_dotenv(context: RunContext) -> None:
    """Read the files of ``dotenv``, later ones over earlier; one that is not there is left out, as in Dagu."""
    for template in context.dag.dotenv:
        path = context.folder / Path(context.variables("").expand(template)).expanduser()
        if not path.is_file():
            context.logs.note(f"dotenv: there is no {path}")
            continue
        from dotenv import dotenv_values

        values = dotenv_values(path, interpolate=False, encoding="utf-8")
        context.scope.env.update({name: value for name, value in values.items() if value is not None})


def _run_init(context: RunContext, handler: Step) -> None:
    """Run ``handlerOn.init``; where it fails no step starts."""
    outcome = run_step(context, handler)
    context.record("onInit", outcome, handler.output)
    if outcome.status != "success":
        context.scope.status, context.scope.error = "failed", f"handler onInit: {outcome.error}"


def finish(context: RunContext) -> dict[str, Any]:
    """End a run: handlers, the outcome in the store, what the definition's last state gives back.

    ``{"status", "error"?, "record"}``; a child's record is what its parent's reducer reads, within the item's budget,
    or ``{"index", "spilled": true}``.
    """
    dag, scope = context.dag, context.scope
    for step in dag.steps:
        scope.steps.setdefault(step.name, StepOutcome("not_started", goes_on=False))
    ended = scope.status
    status, error = _status(context)
    if ended != "cancelled":
        status, error = _run_handlers(context, status, error)
    seconds = time.time() - scope.started
    context.logs.note(f"DAG {dag.name}: {status}" + (f", {error}" if error else ""))
    context.event(
        RunEvent("run-finished", scope.run.id, dag.name, scope.run.depth, status=status, error=error, seconds=seconds)
    )
    result: dict[str, Any] = {"status": status, "record": _record(context, status, error)}
    if error is not None or status == "failed":
        result["error"] = error or "failed"
    failed = first_failed(dag, scope)
    if status == "failed" and failed is not None and failed.exit_code:
        result["exitCode"] = failed.exit_code
    return result


def _status(context: RunContext) -> tuple[Status, str | None]:
    scope, dag = context.scope, context.dag
    if scope.status is not None:
        return scope.status, scope.error
    status = run_status(dag, scope.steps)
    cancelled = any(outcome.status == "cancelled" for outcome in scope.steps.values())
    if context.runtime.cancellation.requested and (cancelled or status != "success"):
        return "cancelled", "the run was stopped"
    if time.monotonic() >= context.deadline and cancelled:
        return "failed", f"the timeoutSec of the DAG ({dag.timeout_sec:g} s) is over"
    for step in dag.steps:
        outcome = scope.steps[step.name]
        if status == "failed" and outcome.status == "failed":
            return status, f"step {step.name}: {outcome.error}"
    return status, None


def _run_handlers(context: RunContext, status: Status, error: str | None) -> tuple[Status, str | None]:
    word = STATUS_WORD_OF_DAGU.get(status, status)
    names: tuple[HandlerName, ...] = (HANDLER_OF_STATUS[status], "onExit")
    for name in names:
        handler = context.dag.handlers.get(name)
        if handler is None:
            continue
        outcome = run_step(_uncancelled(context), handler, {"DAG_RUN_STATUS": word})
        context.record(name, outcome, handler.output)
        if outcome.status == "failed" and status in ("success", "partial"):
            status, error = "failed", f"handler {name}: {outcome.error}"
    return status, error


def _uncancelled(context: RunContext) -> RunContext:
    """The context for handlers, which run although the run was stopped or is out of time."""
    return replace(context, runtime=replace(context.runtime, cancellation=Cancellation()), deadline=float("inf"))


def _record(context: RunContext, status: Status, error: str | None) -> dict[str, Any]:
    """Write the run's outcome into the store, and return what travels in the state."""
    scope, store = context.scope, context.runtime.store
    if scope.caller is None:
        record = root_record(context, status, error)
        store.put_json(result_key(scope.run.prefix), record)
        return {"dag": context.dag.name, "run": scope.run.id, "status": status, "object": result_key(scope.run.prefix)}
    record = _item_record(context, status, error)
    scope_steps = {name: _told(outcome) for name, outcome in scope.steps.items()}
    if not _will_be_retried(scope.caller, record):
        _tell_item(context.runtime, scope, "item-finished", record)
    if scope.caller.get("batched"):
        return record
    store.put_json(result_key(scope.run.prefix), record | {"steps": scope_steps})
    failed = status not in ("success", "partial")
    if not failed and size(record) <= scope.caller["fan"]["budget"]:
        return record
    return {"index": record["index"], "spilled": True}


def _will_be_retried(caller: dict[str, Any], record: dict[str, Any]) -> bool:
    if record["status"] != "failed" or "retry" not in caller:
        return False
    policy = RetryPolicy(caller["retry"]["limit"], exit_codes=tuple(caller["retry"]["exitCodes"]))
    return should_retry_child(policy, caller["tries"] + 1, record["exitCode"])


def root_record(context: RunContext, status: Status, error: str | None) -> dict[str, Any]:
    """The outcome of a root run: ``{"dag", "run", "status", "steps": {NAME: {…}}}``."""
    steps: dict[str, Any] = {}
    for name, outcome in context.scope.steps.items():
        entry: dict[str, Any] = {"status": outcome.status, "output": {}}
        step = _step(context.dag, name)
        if outcome.value is not None:
            if step.calls_child:
                entry["document"] = _shown_document(context.runtime.store, outcome.value)
            elif step.output is not None:
                entry["output"] = {step.output: context.runtime.store.load(outcome.value)}
        steps[name] = entry | _told(outcome)
    record: dict[str, Any] = {"dag": context.dag.name, "run": context.scope.run.id, "status": status}
    record |= {"started": context.scope.began, "seconds": round(time.time() - context.scope.started, 3)}
    if context.scope.run.attempt > 1:
        record["attempt"] = context.scope.run.attempt
    if error is not None:
        record["error"] = error
    return record | {"steps": _in_file_order(context.dag, steps)}


def _told(outcome: StepOutcome) -> dict[str, Json]:
    """What a record says of a step."""
    told: dict[str, Json | None] = {
        "status": outcome.status,
        "error": outcome.error,
        "log": outcome.log,
        "exitCode": outcome.exit_code or None,
        "started": outcome.started,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 3),
    }
    return {key: value for key, value in told.items() if value is not None}


def _shown_document(store: ObjectStore, value: Stored) -> Json:
    """The document; of a very large one its summary and where it lies."""
    if isinstance(value, dict) and value["bytes"] > SHOWN_DOCUMENT and "outline" in value:
        summary = read_stored_path(store, value, ("summary",))
        return {"summary": json.loads(summary or "null"), "object": value["$s3"], "bytes": value["bytes"]}
    document: Json = json.loads(store.load(value))
    return document


def _step(dag: Dag, name: str) -> Step:
    """The step or handler called `name`."""
    handlers: dict[str, Step] = {str(key): handler for key, handler in dag.handlers.items()}
    return handlers.get(name) or dag.step(name)


def _in_file_order(dag: Dag, steps: dict[str, Any]) -> dict[str, Any]:
    names = [step.name for step in dag.steps]
    return {name: steps[name] for name in [*names, *(name for name in steps if name not in names)]}


def _item_record(context: RunContext, status: Status, error: str | None) -> dict[str, Any]:
    scope, store = context.scope, context.runtime.store
    assert scope.caller is not None
    output = {name: store.load(value) for name in scope.vars if (value := scope.output(name)) is not None}
    record: dict[str, Any] = {
        "index": scope.caller["index"],
        "status": status,
        "output": output,
        "started": round(scope.started, 3),
        "seconds": round(time.time() - scope.started, 3),
    }
    if scope.run.attempt > 1:
        record["attempt"] = scope.run.attempt
    if scope.caller.get("tries"):
        record["tries"] = scope.caller["tries"] + 1
    if status in ("success", "partial"):
        return record
    failed = first_failed(context.dag, scope)
    record["error"] = error or "failed"
    record["exitCode"] = (failed.exit_code if failed else None) or 1
    record["log"] = (failed.log if failed else None) or context.place_of(context.logs.run_log)
    return record


def first_failed(dag: Dag, scope: Scope) -> StepOutcome | None:
    """The outcome of the first failed step that was not tolerated, else of the first failed one."""
    failures = [scope.steps[step.name] for step in dag.steps if scope.steps[step.name].status == "failed"]
    return next((outcome for outcome in failures if not outcome.goes_on), failures[0] if failures else None)


def _tell_item(runtime: Runtime, scope: Scope, kind: EventKind, record: dict[str, Any] | None = None) -> None:
    assert scope.caller is not None
    fan = scope.caller["fan"]
    parent = RunIdentity.from_json(fan["run"])
    record = record or {}
    runtime.observer(
        RunEvent(
            kind,
            parent.id,
            fan["dag"],
            parent.depth,
            fan["step"],
            index=scope.caller["index"],
            parameters=scope.params.shown(),
            status=record.get("status"),
            error=record.get("error"),
            exit_code=record.get("exitCode"),
            log=record.get("log"),
            seconds=time.time() - scope.started if record else None,
        )
    )
