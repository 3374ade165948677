"""*plan*: what a ``parallel`` or ``run`` step will run, decided before any child starts (docs/architecture.md)."""

from __future__ import annotations

import hashlib
import json
import math
import time
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import IO, Any

from fanfold.dag.expressions import template
from fanfold.dag.items import BadItems, bounded, distinct, items_of_text, parameters_of_item, shown_item
from fanfold.dag.model import Json, Parallel, Step
from fanfold.dag.params import Parameters
from fanfold.dag.values import as_text
from fanfold.run.events import RunEvent
from fanfold.run.outcome import blocked, gate, judge_failure, skipped
from fanfold.run.scope import StepOutcome
from fanfold.run.shell import ShellFault
from fanfold.run.sources import items_in_s3
from fanfold.run.spool import spooled
from fanfold.run.steps import RunContext, check_preconditions, tell_finished
from fanfold.run.store import batches_key, maps_prefix, plan_key, size
from fanfold.run.variables import ExpansionFault, Variables, parameters_of_call

ITEMS_BUDGET = 48 * 1024
"""Bytes of all items in a state; beyond it a state holds only where in the plan each item stands."""

RESULTS_BUDGET = 88 * 1024
"""Bytes of all items' records in a state."""

TASKS_PER_PLACE = 4
"""Tasks that each of ``maxConcurrent`` places has to do, so that one with slow items does not hold up the end."""

RESULT_OVERHEAD = 40
"""Bytes of the record that says that an item's result lies in the store."""


def plan_step(context: RunContext, step: Step, *, pointers: bool = False, batch: int | None = None) -> dict[str, Any]:
    """``{"items": [...], "fan": {...}}`` for the Map; no items when the step must not run or cannot.

    Why it does not run is then recorded in the scope. Every item's parameters are written to the plan object; the
    state holds them too as long as they are small, unless only `pointers` are wanted. With `batch`, the most items of
    one task, the Map reads its items from an object: one for each task, ``{"first", "count", "at", "bytes"}``.
    """
    run, store = context.scope.run, context.runtime.store
    fan: dict[str, Any] = {
        "run": run.to_json(),
        "dag": context.dag.name,
        "step": step.name,
        "name": hashlib.sha256(f"{run.id}/{step.name}".encode()).hexdigest()[:40],
        "plan": plan_key(run.prefix, step.name),
        "budget": 0,
        "started": time.time(),
    }
    with _PlanFile() as plan:
        outcome = _settled(context, step) or _write_entries(context, step, plan)
        total = 0 if outcome is not None else len(plan)
        if outcome is not None:
            if outcome.status == "failed":
                outcome.log = str(context.logs.run_log)
            context.scope.record(step.name, outcome, None)
            tell_finished(context, step, outcome)
        else:
            store.put_file(fan["plan"], plan.file)
            most = step.parallel.max_concurrent if step.parallel else 1
            context.event(
                RunEvent(
                    "fan-out-started", run.id, context.dag.name, run.depth, step.name, total=total, max_concurrent=most
                )
            )
        fan["total"] = total
        if batch is not None:
            fan |= {"bucket": store.bucket, "batches": batches_key(run.prefix, step.name)}
            fan["maps"] = maps_prefix(run.prefix, step.name)
            with spooled() as file:
                plan.write_batches(file, total, batch_size(total, step.parallel, batch))
                store.put_file(fan["batches"], file)
            return {"fan": fan}
        if total == 0:
            return {"items": [], "fan": fan}
        fan["budget"] = max(RESULTS_BUDGET // total, RESULT_OVERHEAD)
        return {"items": plan.places() if pointers else plan.parameters or plan.places(), "fan": fan}


def batch_size(total: int, parallel: Parallel | None, most: int) -> int:
    """Items of one task: few enough that every place of ``maxConcurrent`` has several tasks to do, at most `most`."""
    concurrency = parallel.max_concurrent if parallel else 1
    return max(1, min(most, math.ceil(total / (concurrency * TASKS_PER_PLACE))))


class _PlanFile:
    """The plan in the making, a line for each item: ``{"params": {…}, "shown": …}``."""

    def __init__(self) -> None:
        self.file = spooled()
        self._ends = array("Q", [0])
        self.parameters: list[Any] | None = []
        """The items' parameters, as long as a state can hold them."""
        self._bytes = 0

    def __enter__(self) -> _PlanFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, parameters: Parameters, shown: Json) -> None:
        """Add an item."""
        given = parameters.to_json()
        line = json.dumps({"params": given, "shown": shown}).encode() + b"\n"
        self.file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        if self.parameters is not None:
            self.parameters.append(given)
            self._bytes += size(given) + 2
            if self._bytes > ITEMS_BUDGET:
                self.parameters = None

    def rewind(self) -> None:
        """All items are there."""
        self.file.seek(0)

    def places(self) -> list[dict[str, int]]:
        """Where each item's line stands."""
        return [{"at": start, "bytes": end - start} for start, end in pairwise(self._ends)]

    def write_batches(self, file: IO[bytes], total: int, count: int) -> None:
        """Write what each task runs, as one JSON array; the file is then at its start."""
        file.write(b"[")
        for first in range(0, total, count):
            last = min(first + count, total)
            start, end = self._ends[first], self._ends[last]
            batch = {"first": first, "count": last - first, "at": start, "bytes": end - start}
            file.write((b"," if first else b"") + json.dumps(batch).encode())
        file.write(b"]")
        file.seek(0)


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


def _write_entries(context: RunContext, step: Step, plan: _PlanFile) -> StepOutcome | None:
    """Write what will run into `plan`; how the step ended if that is not possible."""
    run = context.scope.run
    context.event(RunEvent("step-started", run.id, context.dag.name, run.depth, step.name))
    context.logs.note(f"step {step.name}: started")
    try:
        for parameters, shown in _entries(context, step):
            plan.add(parameters, shown)
    except (BadItems, ExpansionFault, ShellFault) as fault:
        return judge_failure(step, StepOutcome("failed", exit_code=1, error=str(fault)))
    except _Unmet as unmet:
        return skipped(step, str(unmet))
    plan.rewind()
    return None


def _entries(context: RunContext, step: Step) -> Iterator[tuple[Parameters, Json]]:
    variables = context.variables(step.name)
    for argument in step.env:
        variables.set(argument.name or "", variables.expand(argument.template))
    unmet = check_preconditions(variables, step.preconditions)
    if unmet is not None:
        raise _Unmet(unmet)
    if step.parallel is None:
        parameters = parameters_of_call(variables, step)
        yield parameters, parameters.shown()
        return
    items = bounded(_items(context, variables, step.parallel), step.parallel.max_items)
    yield from distinct(_bound(variables, step, item) for item in items)


def _items(context: RunContext, variables: Variables, parallel: Parallel) -> Iterable[Json]:
    if parallel.source is None:
        return [_inline_item(variables, item) for item in parallel.items or ()]
    text = variables.expand(parallel.source)
    return items_in_s3(context.runtime.store, text) if parallel.reads_s3 else items_of_text(text)


def _bound(variables: Variables, step: Step, item: Json) -> tuple[Parameters, Json]:
    """An item's parameters, and what the document shows."""
    has_params = bool(step.params)
    parameters = parameters_of_call(variables.for_item(as_text(item)), step) if has_params else parameters_of_item(item)
    return parameters, shown_item(item, parameters, has_params=has_params)


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
