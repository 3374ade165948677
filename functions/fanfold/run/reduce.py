"""*reduce*: the items' records folded into the document ``{"summary", "results", "outputs"}``, in item order.

Source: specification, *Capturing Output*; semantics, *Document*. Records and document go through in a stream, so that
memory holds a few of them only.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from fanfold.dag.model import Json, Step
from fanfold.dag.params import Parameters
from fanfold.run.document import DocumentWriter, failure_of
from fanfold.run.keys import document_key
from fanfold.run.lifecycle import parse_plan_line
from fanfold.run.outcome import judge_failure, step_status_of_children
from fanfold.run.records import SUCCEEDED, Record, collect
from fanfold.run.scope import StepOutcome
from fanfold.run.spool import spooled
from fanfold.run.steps import RunContext, tell_finished
from fanfold.run.store import Stored

_PlanLine = dict[str, Any]


def reduce_step(context: RunContext, step: Step, state: dict[str, Any], ended: str | None = None) -> None:
    """Record how `step` ended and its document; `state` holds ``fan`` and the Map's ``results``.

    A Map that failed as a whole has none; what `ended` it is then told of each item that left no record.
    """
    if step.name in context.scope.steps:
        return
    fan, store = state["fan"], context.runtime.store
    results = None if "batches" in fan else state.get("results", [])
    records = collect(store, fan, results, fan["total"], ended)
    with spooled() as plan:
        store.get_file(fan["plan"], plan)
        plan.seek(0)
        seen = _Seen(step)
        items = seen.watch((parse_plan_line(line.decode()) for line in plan), records)
        value = _document(context, step, items)
    outcome = _judge(context, step, seen, value)
    outcome.started, outcome.seconds = fan["started"], time.time() - fan["started"]
    tell_finished(context, step, outcome)
    context.record(step.name, outcome, step.output)


def _document(context: RunContext, step: Step, items: Iterable[tuple[_PlanLine, Record]]) -> Stored:
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

    def watch(self, plan: Iterable[_PlanLine], records: Iterable[Record]) -> Iterator[tuple[_PlanLine, Record]]:
        """Each line of the plan with its record, noted."""
        for index, (line, record) in enumerate(zip(plan, records, strict=True)):
            self.statuses[record["status"]] += 1
            if record["status"] not in SUCCEEDED and not self._first_bad:
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
        return sum(count for status, count in self.statuses.items() if status not in SUCCEEDED)

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


def _call_document(context: RunContext, step: Step, plan: _PlanLine, record: Record) -> dict[str, Json]:
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
