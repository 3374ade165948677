"""*reduce*: the items' records folded into the document ``{"summary", "results", "outputs"}``, in item order.

Source: specification, *Capturing Output*; semantics, *Document*. No record is ever dropped: one that is missing or torn
is a failed item that says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fanfold.dag.model import Json, Step
from fanfold.dag.params import Parameters
from fanfold.run.lifecycle import parse_plan_line
from fanfold.run.outcome import judge_failure, step_status_of_children
from fanfold.run.scope import RunIdentity, StepOutcome
from fanfold.run.steps import RunContext, tell_finished
from fanfold.run.store import ObjectStore, prefix_of_item, result_key

_READERS = 16
"""Results read from the store at a time."""


def reduce_step(context: RunContext, step: Step, state: dict[str, Any]) -> None:
    """Record how `step` ended and its document; `state` holds ``fan`` and the Map's ``results``."""
    if step.name in context.scope.steps:
        return
    fan = state["fan"]
    plan = [parse_plan_line(line) for line in context.runtime.store.get(fan["plan"]).split("\n") if line]
    records = collect(context.runtime.store, RunIdentity.from_json(fan["run"]), step.name, state["results"], len(plan))
    if step.parallel is None:
        document: dict[str, Json] = _call_document(context, step, plan[0], records[0])
    else:
        document = fold([entry["shown"] for entry in plan], records)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    outcome = StepOutcome(step_status_of_children(record["status"] for record in records), value=text)
    if outcome.status == "failed":
        outcome.exit_code = 1
        outcome.error = _error(step, [entry["shown"] for entry in plan], records)
        outcome.log = next((record["log"] for record in records if record.get("log")), None)
        judge_failure(step, outcome, text)
    if context.runtime.cancellation.requested and any(record["status"] == "cancelled" for record in records):
        outcome.status, outcome.goes_on = "cancelled", False
    context.scope.record(step.name, outcome, step.output)
    tell_finished(context, step, outcome, time.time() - fan["started"])


def collect(
    store: ObjectStore, run: RunIdentity, step: str, results: Sequence[dict[str, Any]], total: int
) -> list[dict[str, Any]]:
    """The record of each of `total` items, by index; what lies in the store is read from there."""
    by_index = {result["index"]: result for result in results}

    def one(index: int) -> dict[str, Any]:
        result = by_index.get(index)
        if result is not None and "status" in result:
            return result
        caught = None if result is None else result.get("error")
        try:
            record: dict[str, Any] = store.get_json(result_key(prefix_of_item(run.prefix, step, index)))
            if "status" not in record:
                raise ValueError("no status")
        except (KeyError, ValueError, AttributeError, TypeError) as fault:
            reason = f"the task ended with {caught}" if caught else "the item left no result"
            torn = "" if isinstance(fault, KeyError) else "; its result object cannot be read"
            return {"index": index, "status": "failed", "output": {}, "error": reason + torn, "exitCode": 1}
        if caught is not None and record["status"] in ("success", "partial"):
            return record | {"status": "failed", "error": f"the task ended with {caught}", "exitCode": 1}
        return record

    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        return list(pool.map(one, range(total)))


def fold(shown: Sequence[Json], records: Sequence[dict[str, Any]]) -> dict[str, Json]:
    """The document of the specification, of the items as shown and their records."""
    results: list[Json] = []
    outputs: list[Json] = []
    summary = {"total": len(records), "succeeded": 0, "failed": 0, "cancelled": 0, "skipped": 0}
    for parameters, record in zip(shown, records, strict=True):
        status = "success" if record["status"] == "partial" else record["status"]
        entry: dict[str, Json] = {"parameters": parameters, "status": status, "output": record["output"]}
        if status == "success":
            outputs.append(record["output"])
        else:
            entry |= {key: record[key] for key in ("error", "exitCode", "log") if record.get(key) is not None}
        summary["succeeded" if status == "success" else status] += 1
        results.append(entry)
    return {"summary": dict(summary), "results": results, "outputs": outputs}


def _call_document(context: RunContext, step: Step, plan: dict[str, Any], record: dict[str, Any]) -> dict[str, Json]:
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
    return document | {key: record[key] for key in ("error", "exitCode", "log") if record.get(key) is not None}


def _error(step: Step, shown: Sequence[Json], records: Sequence[dict[str, Any]]) -> str:
    bad = [index for index, record in enumerate(records) if record["status"] not in ("success", "partial")]
    first = records[bad[0]]
    reason = first.get("error") or first["status"]
    if step.parallel is None:
        return f"child DAG {step.run}: {reason}"
    name = json.dumps(shown[bad[0]], ensure_ascii=False)
    name = name if len(name) <= 80 else f"{name[:79]}…"
    return f"{len(bad)} of {len(records)} items failed; item {bad[0]} ({name}): {reason}"
