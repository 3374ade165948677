"""*reduce*: the items' records folded into the document ``{"summary", "results", "outputs"}``, in item order.

Source: specification, *Capturing Output*; semantics, *Document*. No record is ever dropped: one that is missing or torn
is a failed item that says so. Records and document go through in a stream, so that memory holds a few of them only.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fanfold.dag.model import Json, Step
from fanfold.dag.params import Parameters
from fanfold.run.batch import read_part
from fanfold.run.document import DocumentWriter, failure_of
from fanfold.run.lifecycle import parse_plan_line
from fanfold.run.outcome import judge_failure, step_status_of_children
from fanfold.run.scope import RunIdentity, StepOutcome
from fanfold.run.spool import spooled
from fanfold.run.steps import RunContext, tell_finished
from fanfold.run.store import ObjectStore, Stored, document_key, prefix_of_item, result_key, results_prefix

_READERS = 16
"""Results read from the store at a time."""

_SUCCEEDED = ("success", "partial")
_Record = dict[str, Any]
_PlanLine = dict[str, Any]
_T = TypeVar("_T")
_R = TypeVar("_R")


def reduce_step(context: RunContext, step: Step, state: dict[str, Any]) -> None:
    """Record how `step` ended and its document; `state` holds ``fan`` and the Map's ``results``."""
    if step.name in context.scope.steps:
        return
    fan, store = state["fan"], context.runtime.store
    run, total = RunIdentity.from_json(fan["run"]), fan["total"]
    if "batches" in fan:
        records = collect_parts(store, run, step.name, total)
    else:
        records = collect(store, run, step.name, state["results"], total)
    with spooled() as plan:
        store.get_file(fan["plan"], plan)
        plan.seek(0)
        seen = _Seen(step)
        items = seen.watch((parse_plan_line(line.decode()) for line in plan), records)
        value = _document(context, step, items)
    outcome = _judge(context, step, seen, value)
    context.scope.record(step.name, outcome, step.output)
    tell_finished(context, step, outcome, time.time() - fan["started"])


def _document(context: RunContext, step: Step, items: Iterable[tuple[_PlanLine, _Record]]) -> Stored:
    if step.parallel is None:
        plan, record = next(iter(items))
        return json.dumps(_call_document(context, step, plan, record), indent=2, ensure_ascii=False)
    with DocumentWriter() as writer:
        for plan, record in items:
            writer.add(plan["shown"], record)
        return writer.close(context.runtime.store, document_key(context.scope.run.prefix, step.name))


class _Seen:
    """What is noted of the records that pass."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.statuses: Counter[str] = Counter()
        self.log: str | None = None
        self._first_bad = ""

    def watch(self, plan: Iterable[_PlanLine], records: Iterable[_Record]) -> Iterator[tuple[_PlanLine, _Record]]:
        """Each line of the plan with its record, noted."""
        for index, (line, record) in enumerate(zip(plan, records, strict=True)):
            self.statuses[record["status"]] += 1
            if record["status"] not in _SUCCEEDED and not self._first_bad:
                name = json.dumps(line["shown"], ensure_ascii=False)
                name = name if len(name) <= 80 else f"{name[:79]}…"
                reason = record.get("error") or record["status"]
                self._first_bad = reason if self._step.parallel is None else f"item {index} ({name}): {reason}"
            self.log = self.log or record.get("log")
            yield line, record

    @property
    def total(self) -> int:
        """Items that have passed."""
        return self.statuses.total()

    @property
    def bad(self) -> int:
        """Items that did not succeed."""
        return sum(count for status, count in self.statuses.items() if status not in _SUCCEEDED)

    @property
    def error(self) -> str:
        """What went wrong, in words."""
        if self._step.parallel is None:
            return f"child DAG {self._step.run}: {self._first_bad}"
        return f"{self.bad} of {self.total} items failed; {self._first_bad}"


def _judge(context: RunContext, step: Step, seen: _Seen, value: Stored) -> StepOutcome:
    outcome = StepOutcome(step_status_of_children(seen.statuses), value=value)
    if outcome.status != "failed":
        return outcome
    outcome.exit_code, outcome.error, outcome.log = 1, seen.error, seen.log
    if context.runtime.cancellation.requested and seen.statuses["cancelled"]:
        outcome.status, outcome.goes_on = "cancelled", False
        return outcome
    tolerance = step.parallel.tolerance if step.parallel else None
    if tolerance is not None and tolerance.allows(seen.bad, seen.total):
        outcome.status, outcome.exit_code = "partial", 0
        return outcome
    return judge_failure(step, outcome, context.runtime.store.load(value) if step.continue_on.output else "")


def collect(
    store: ObjectStore, run: RunIdentity, step: str, results: Sequence[_Record], total: int
) -> Iterator[_Record]:
    """The record of each of `total` items, by index; what lies in the store is read from there."""
    by_index = {result["index"]: result for result in results}
    return _read_ahead(lambda index: _record(store, run, step, index, by_index.get(index)), range(total))


def _record(store: ObjectStore, run: RunIdentity, step: str, index: int, result: _Record | None) -> _Record:
    """The record of one item, of which the Map says `result`."""
    if result is not None and "status" in result:
        return result
    caught = None if result is None else result.get("error")
    try:
        record: _Record = store.get_json(result_key(prefix_of_item(run.prefix, step, index)))
        if "status" not in record:
            raise ValueError("no status")
    except (KeyError, ValueError, AttributeError, TypeError) as fault:
        reason = f"the task ended with {caught}" if caught else "the item left no result"
        return _lost(index, reason, torn=not isinstance(fault, KeyError))
    if caught is not None and record["status"] in _SUCCEEDED:
        return record | {"status": "failed", "error": f"the task ended with {caught}", "exitCode": 1}
    return record


def collect_parts(store: ObjectStore, run: RunIdentity, step: str, total: int) -> Iterator[_Record]:
    """The record of each of `total` items of a large fan-out: of the parts that its tasks left, else of each item."""
    prefix = results_prefix(run.prefix, step)
    keys = [key for key in store.keys(prefix) if key.endswith(".jsonl")]
    expected, torn_before = 0, False
    for torn, records in _read_ahead(lambda key: read_part(store, key), keys):
        for record in records:
            if expected <= record["index"] < total:
                indexes = range(expected, record["index"])
                yield from _missing(store, run, step, indexes, torn=torn or torn_before)
                yield record
                expected, torn_before = record["index"] + 1, False
        torn_before = torn or torn_before
    yield from _missing(store, run, step, range(expected, total), torn=torn_before)


def _missing(store: ObjectStore, run: RunIdentity, step: str, indexes: range, *, torn: bool) -> Iterator[_Record]:
    """The records that stand in no part: items that were tasks of their own, or left none."""
    if torn:
        return (_lost(index, "the item left no result", torn=True) for index in indexes)
    return _read_ahead(lambda index: _record(store, run, step, index, None), indexes)


def _lost(index: int, reason: str, *, torn: bool) -> _Record:
    error = reason + ("; its result object cannot be read" if torn else "")
    return {"index": index, "status": "failed", "output": {}, "error": error, "exitCode": 1}


def _read_ahead(read: Callable[[_T], _R], places: Iterable[_T]) -> Iterator[_R]:
    """`read` of each place, in order, a few of them ahead of the one that is asked for."""
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        ahead: deque[Future[_R]] = deque()
        for place in places:
            ahead.append(pool.submit(read, place))
            if len(ahead) > 2 * _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _call_document(context: RunContext, step: Step, plan: _PlanLine, record: _Record) -> dict[str, Json]:
    """What ``run`` without ``parallel`` captures: ``{name, dagRunId, params, outputs, status}`` (semantics)."""
    parameters = Parameters.from_json(plan["params"])
    params = " ".join([*parameters.positional, *(f"{name}={value}" for name, value in parameters.named.items())])
    document: dict[str, Json] = {
        "name": step.run,
        "dagRunId": context.scope.run.child(step.name, 0).dag_run_id,
        "params": params,
        "outputs": record["output"],
        "status": record["status"],
    }
    return document | failure_of(record)
