"""*plan*: what a ``parallel`` or ``run`` step will run, decided before any child starts (docs/architecture.md)."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from fanfold.dag.expressions import template
from fanfold.dag.items import BadItems, check_count, distinct, items_of_text, parameters_of_item, shown_item
from fanfold.dag.model import Json, Step
from fanfold.dag.params import Parameters
from fanfold.dag.values import as_text
from fanfold.run.events import RunEvent
from fanfold.run.outcome import blocked, gate, judge_failure, skipped
from fanfold.run.scope import StepOutcome
from fanfold.run.shell import ShellFault
from fanfold.run.steps import RunContext, check_preconditions, tell_finished
from fanfold.run.store import plan_key, size
from fanfold.run.variables import ExpansionFault, Variables, parameters_of_call

ITEMS_BUDGET = 48 * 1024
"""Bytes of all items in a state; beyond it a state holds only where in the plan each item stands."""

RESULTS_BUDGET = 88 * 1024
"""Bytes of all items' records in a state."""

RESULT_OVERHEAD = 40
"""Bytes of the record that says that an item's result lies in the store."""


def plan_step(context: RunContext, step: Step, *, pointers: bool = False) -> dict[str, Any]:
    """``{"items": [...], "fan": {...}}`` for the Map; no items when the step must not run or cannot.

    Why it does not run is then recorded in the scope. Every item's parameters are written to the plan object; the
    state holds them too as long as they are small, unless only `pointers` are wanted.
    """
    run, started = context.scope.run, time.time()
    fan: dict[str, Any] = {
        "run": run.to_json(),
        "dag": context.dag.name,
        "step": step.name,
        "name": hashlib.sha256(f"{run.id}/{step.name}".encode()).hexdigest()[:40],
        "plan": plan_key(run.prefix, step.name),
        "budget": 0,
        "started": started,
    }
    outcome = _settled(context, step)
    entries: list[tuple[Parameters, Json]] = []
    if outcome is None:
        context.event(RunEvent("step-started", run.id, context.dag.name, run.depth, step.name))
        context.logs.note(f"step {step.name}: started")
        try:
            entries = _entries(context, step)
        except (BadItems, ExpansionFault, ShellFault) as fault:
            outcome = judge_failure(step, StepOutcome("failed", exit_code=1, error=str(fault)))
        except _Unmet as unmet:
            outcome = skipped(step, str(unmet))
    if outcome is not None:
        if outcome.status == "failed":
            outcome.log = str(context.logs.run_log)
        context.scope.record(step.name, outcome, None)
        tell_finished(context, step, outcome)
        return {"items": [], "fan": fan}
    context.event(
        RunEvent(
            "fan-out-started", run.id, context.dag.name, run.depth, step.name, total=len(entries),
            max_concurrent=step.parallel.max_concurrent if step.parallel else 1,
        )
    )  # fmt: skip
    fan["budget"] = max(RESULTS_BUDGET // len(entries), RESULT_OVERHEAD)
    return {"items": _write_plan(context, fan["plan"], entries, pointers), "fan": fan}


class _Unmet(Exception):
    """A precondition is not met."""


def _settled(context: RunContext, step: Step) -> StepOutcome | None:
    """How the step ended if it must not even look at its items."""
    if context.scope.status is not None:
        return StepOutcome("not_started", goes_on=False)
    verdict = gate(step, context.scope.steps)
    if verdict != "run":
        return blocked(verdict)
    if context.runtime.cancellation.requested:
        return StepOutcome("cancelled", goes_on=False, error="the run was stopped")
    if time.monotonic() >= context.deadline:
        return StepOutcome("cancelled", goes_on=False, error="the DAG's timeoutSec is over")
    return None


def _entries(context: RunContext, step: Step) -> list[tuple[Parameters, Json]]:
    variables = context.variables(step.name)
    for argument in step.env:
        variables.set(argument.name or "", variables.expand(argument.template))
    unmet = check_preconditions(variables, step.preconditions)
    if unmet is not None:
        raise _Unmet(unmet)
    if step.parallel is None:
        parameters = parameters_of_call(variables, step)
        return [(parameters, parameters.shown())]
    if step.parallel.source is not None:
        items = items_of_text(variables.expand(step.parallel.source))
    else:
        items = [_inline_item(variables, item) for item in step.parallel.items or ()]
    check_count(items)
    entries: list[tuple[Parameters, Json]] = []
    for item in items:
        parameters = (
            parameters_of_call(variables.for_item(as_text(item)), step) if step.params else parameters_of_item(item)
        )
        entries.append((parameters, shown_item(item, parameters, has_params=bool(step.params))))
    return distinct(entries)


def _inline_item(variables: Variables, item: Json) -> Json:
    """An item of a list in the file: the DAG's variables are filled in, all else is data (form_item_is_var)."""
    if isinstance(item, dict):
        return {name: _inline_item(variables, value) for name, value in item.items()}
    if isinstance(item, list):
        return [_inline_item(variables, value) for value in item]
    if not isinstance(item, str):
        return item
    known = variables.all()
    pieces: list[str] = []
    done = 0
    for reference in template(item).references():
        if reference.name in known:
            pieces += [item[done : reference.offset], variables.resolve(reference)]
            done = reference.offset + len(reference.text)
    return "".join([*pieces, item[done:]])


def _write_plan(context: RunContext, key: str, entries: list[tuple[Parameters, Json]], pointers: bool) -> list[Any]:
    lines = [json.dumps({"params": parameters.to_json(), "shown": shown}) + "\n" for parameters, shown in entries]
    context.runtime.store.put(key, "".join(lines))
    items: list[Any] = [parameters.to_json() for parameters, _ in entries]
    if not pointers and size(items) <= ITEMS_BUDGET:
        return items
    places: list[dict[str, Any]] = []
    offset = 0
    for line in lines:
        places.append({"at": offset, "bytes": len(line)})
        offset += len(line)
    return places
