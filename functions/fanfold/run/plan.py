"""*plan*: what a ``parallel`` or ``run`` step will run, decided before any child starts (docs/architecture.md)."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from fanfold.dag.expressions import template
from fanfold.dag.items import BadItems, bounded, distinct, items_of_text, parameters_of_item, shown_item
from fanfold.dag.model import Json, Parallel, Step
from fanfold.dag.params import Parameters
from fanfold.dag.values import as_text
from fanfold.run.events import RunEvent
from fanfold.run.keys import again_key, batches_key, maps_prefix, plan_key
from fanfold.run.outcome import blocked, gate, judge_failure, skipped
from fanfold.run.records import SUCCEEDED, collect
from fanfold.run.scope import RunIdentity, StepOutcome
from fanfold.run.shell import ShellFault
from fanfold.run.sources import items_in_s3
from fanfold.run.spool import spooled
from fanfold.run.steps import RunContext, check_preconditions, note_running, tell_finished, tell_started
from fanfold.run.store import ObjectStore, size
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
        "name": _name(run, step),
        "plan": plan_key(run.prefix, step.name),
        "budget": 0,
        "started": time.time(),
    }
    with _PlanFile() as plan:
        resumes = step.name in context.scope.resumed and _settled(context, step) is None
        resumed = resumes and plan.load(store, fan["plan"])
        if resumed:
            tell_started(context, step, fan["started"])
            fan["resumed"] = True
        is_planned = resumed or _plan(context, step, plan)
        fan["total"] = len(plan) if is_planned else 0
        left: Sequence[int] = range(fan["total"])
        if resumed:
            left = _not_succeeded(store, fan, in_parts=batch is not None)
            store.put_json(again_key(run.prefix, step.name), left)
        elif is_planned:
            store.put_file(fan["plan"], plan.file)
        if is_planned:
            _tell_fan_out(context, step, len(left), fan)
        if batch is not None:
            fan |= {"bucket": store.bucket, "batches": batches_key(run.prefix, step.name)}
            fan["maps"] = maps_prefix(run.prefix, step.name)
            with spooled() as file:
                plan.write_batches(file, left, batch_size(len(left), step.parallel, batch))
                store.put_for_states(fan["batches"], file)
            return {"fan": fan}
        fan["budget"] = max(RESULTS_BUDGET // max(1, len(left)), RESULT_OVERHEAD)
        whole = None if pointers or resumed else plan.parameters
        return {"items": plan.places(left) if whole is None else whole, "fan": fan}


def _name(run: RunIdentity, step: Step) -> str:
    """What the names of the children's executions start with, where a child has a machine of its own."""
    attempt = f"/{run.attempt}" if run.attempt > 1 else ""
    return hashlib.sha256(f"{run.id}/{step.name}{attempt}".encode()).hexdigest()[:40]


def _plan(context: RunContext, step: Step, plan: _PlanFile) -> bool:
    """Write what will run into `plan`; where the step must not run or cannot, record why, and return False."""
    if step.name in context.scope.steps:
        return False
    outcome = _settled(context, step) or _write_entries(context, step, plan)
    if outcome is None:
        return True
    if outcome.status == "failed":
        outcome.log = context.place_of(context.logs.run_log)
    tell_finished(context, step, outcome)
    context.record(step.name, outcome, None)
    plan.clear()
    return False


def _not_succeeded(store: ObjectStore, fan: dict[str, Any], *, in_parts: bool) -> list[int]:
    """The indexes of the items that no attempt before has ended well."""
    records = collect(store, fan, None if in_parts else [], fan["total"])
    return [index for index, record in enumerate(records) if record["status"] not in SUCCEEDED]


def _tell_fan_out(context: RunContext, step: Step, total: int, fan: dict[str, Any]) -> None:
    run, most = context.scope.run, step.parallel.max_concurrent if step.parallel else 1
    context.event(
        RunEvent("fan-out-started", run.id, context.dag.name, run.depth, step.name, total=total, max_concurrent=most)
    )
    oldest = 1 if fan.get("resumed") else run.attempt
    note_running(context, step, fan["started"], {"total": fan["total"], "maxConcurrent": most, "oldest": oldest})


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

    def clear(self) -> None:
        """There are none after all."""
        del self._ends[1:]

    def load(self, store: ObjectStore, key: str) -> bool:
        """Take the plan of an earlier attempt, if it made one."""
        try:
            store.get_file(key, self.file)
        except KeyError:
            return False
        self.file.seek(0)
        self._ends.extend(itertools.accumulate(map(len, self.file)))
        return True

    def places(self, indexes: Iterable[int]) -> list[dict[str, int]]:
        """Where the lines of these items stand."""
        return [
            {"at": self._ends[index], "bytes": self._ends[index + 1] - self._ends[index], "first": index}
            for index in indexes
        ]

    def write_batches(self, file: IO[bytes], indexes: Sequence[int], count: int) -> None:
        """Write what each task runs, at most `count` of these items, as one JSON array; the file is then at its start.

        The items of a task follow each other.
        """
        file.write(b"[")
        separator = b""
        for first, last in _stretches(indexes, count):
            start, end = self._ends[first], self._ends[last]
            batch = {"first": first, "count": last - first, "at": start, "bytes": end - start}
            file.write(separator + json.dumps(batch).encode())
            separator = b","
        file.write(b"]")
        file.seek(0)


def _stretches(indexes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Ascending `indexes` as stretches without a gap: the first of each, and the one behind its last."""
    if not indexes:
        return
    first = end = indexes[0]
    for index in indexes:
        if index != end or end - first == most:
            yield first, end
            first = index
        end = index + 1
    yield first, end


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
    started = time.time()
    tell_started(context, step, started)
    try:
        for parameters, shown in _entries(context, step):
            plan.add(parameters, shown)
    except (BadItems, ExpansionFault, ShellFault) as fault:
        error = context.runtime.secrets.mask(str(fault))
        failed = StepOutcome("failed", exit_code=1, error=error, started=started, seconds=time.time() - started)
        return judge_failure(step, failed)
    except _Unmet as unmet:
        return skipped(step, str(unmet))
    plan.rewind()
    return None


def _entries(context: RunContext, step: Step) -> Iterator[tuple[Parameters, Json]]:
    variables = context.variables(step.name)
    variables.set_env(step.env)
    unmet = check_preconditions(variables, step.preconditions)
    if unmet is not None:
        raise _Unmet(unmet)
    if step.parallel is None:
        parameters = parameters_of_call(variables, step)
        yield parameters, parameters.shown()
        return
    items = bounded(_items(context, variables, step.parallel), step.parallel.max_items)
    for parameters, shown in distinct(_bound(variables, step, item) for item in items):
        for text in (*parameters.positional, *parameters.named.values()):
            variables.unsecret(text, "an item")
        yield parameters, shown


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
