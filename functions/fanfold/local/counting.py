"""What a run of a DAG comes to, counted in the histories of a real execution whose tasks do nothing.

No command of the DAG runs: the functions here only answer as the real ones would, for a number of items that is given.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from typing import Any

from fanfold.asl.compile import compile_dag_set, dag_object, digest, fan_out_choices, machine_names
from fanfold.asl.fan_outs import MOST_IN_A_TASK, FanOutChoice
from fanfold.dag.model import DagSet, Parallel
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import poll_execution
from fanfold.local.session import LOCAL, RUN_BUCKET
from fanfold.run.plan import batch_size
from fanfold.run.store import ObjectStore

COUNTED_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run comes to."""

    transitions: int
    """State transitions, of all executions; Step Functions charges each (its pricing page)."""
    runner_calls: int
    runs: int
    """What the runner runs in these calls: a segment, or a child DAG; some calls run several."""
    control_calls: int
    """Calls that plan or fold a fan-out."""
    containers: int
    express: int
    """EXPRESS executions, which are charged by their number and time."""
    executions: int
    """STANDARD executions, but those of DISTRIBUTED Maps."""
    longest_history: int
    """Events of the execution with the most; 25,000 is the limit."""


def count_run(dag_set: DagSet, items: int) -> Counts:
    """What a run comes to with `items` items at each ``parallel`` step, every task succeeding at once.

    Up to `COUNTED_ITEMS` the DAG's machines are executed. For more, they are executed with fewer: what a run comes to
    is a polynomial of the number of items, of the degree to which fan-outs are nested.
    """
    if items <= COUNTED_ITEMS:
        return _count(dag_set, items, items)
    is_large = any(step.parallel.is_large for dag in dag_set.dags.values() for step in dag.steps if step.parallel)
    few = MOST_IN_A_TASK if is_large else 5
    points = [few * (place + 1) for place in range(nesting(dag_set) + 1)]
    counted = [_count(dag_set, point, items) for point in points]
    lines = zip(*(astuple(counts) for counts in counted), strict=True)
    return Counts(*(round(_polynomial(points, values, items)) for values in lines))


def nesting(dag_set: DagSet, key: str = "") -> int:
    """How deep fan-outs are nested."""
    return max(
        ((step.parallel is not None) + nesting(dag_set, dag_set.children[key][step.run or ""])
         for step in dag_set.dags[key].steps if step.calls_child),
        default=0,
    )  # fmt: skip


def _polynomial(points: Sequence[int], values: Sequence[int], at: int) -> Fraction:
    """The value `at` some place of the polynomial through these points (Lagrange)."""
    total = Fraction(0)
    for place, value in zip(points, values, strict=True):
        others = [other for other in points if other != place]
        total += value * math.prod((Fraction(at - other, place - other) for other in others), start=Fraction(1))
    return total


def _count(dag_set: DagSet, items: int, planned: int) -> Counts:
    """Execute with so many `items`, several of them in a task as if there were `planned`."""
    from fanfold.local.engine import embedded_aws

    calls: Counter[str] = Counter()
    clients = Clients()
    fan_outs = {
        (digest(dag_object(dag_set, key)), step.name): (step.parallel, choices[step.name])
        for key, dag in dag_set.dags.items()
        for choices in [fan_out_choices(dag_set, key, LOCAL.platform)]
        for step in dag.steps
        if step.calls_child
    }
    functions = {
        f"fanfold_{name}": _Answers(name, items, planned, fan_outs, calls, clients).answer
        for name in ("runner", "planner", "reducer")
    }

    def launch(environ: dict[str, str]) -> None:
        calls["container"] += 1
        token, given = environ["FANFOLD_TASK_TOKEN"], json.loads(environ["FANFOLD_TASK_INPUT"])
        calls.update(given.get("fan", {}).get("charge", {}))
        output = json.dumps({"index": given["index"]} if "index" in given else _SCOPE)
        clients.states.send_task_success(taskToken=token, output=output)

    with embedded_aws(functions, launch=launch):
        clients.s3.create_bucket(Bucket=RUN_BUCKET)
        names = machine_names(dag_set)
        for key, definition in compile_dag_set(dag_set, LOCAL.platform).items():
            text = LOCAL.fill(_without_waiting(definition), {name: LOCAL.arn(name) for name in names.values()})
            clients.states.create_state_machine(name=LOCAL.prefix + names[key], definition=text, roleArn=LOCAL.role_arn)
        arn = LOCAL.arn(names[""])
        poll_execution(
            clients.states, clients.states.start_execution(stateMachineArn=arn, name="count")["executionArn"]
        )
        pages = clients.states.get_paginator("list_executions")
        histories = [
            clients.states.get_execution_history(executionArn=execution["executionArn"])["events"]
            for name in names.values()
            for page in pages.paginate(stateMachineArn=LOCAL.arn(name))
            for execution in page["executions"]
        ]
    return Counts(
        transitions=calls["transitions"]
        + sum(event["type"].endswith("StateEntered") for history in histories for event in history),
        runner_calls=calls["runner"],
        runs=calls["runner"] + calls["further items"],
        control_calls=calls["planner"] + calls["reducer"],
        containers=calls["container"],
        express=calls["express"],
        executions=len(histories),
        longest_history=max(map(len, histories)),
    )


_runs = itertools.count()
_SCOPE: dict[str, Any] = {"status": "success", "record": {"index": 0}}


class _Answers:
    """Answers the payloads of `fanfold.asl.compile` without doing anything."""

    def __init__(
        self,
        function: str,
        items: int,
        planned: int,
        fan_outs: Mapping[tuple[str, str], tuple[Parallel | None, FanOutChoice]],
        calls: Counter[str],
        clients: Clients,
    ) -> None:
        self._planned = planned
        self._function = function
        self._clients = clients
        self._items = items
        self._fan_outs = fan_outs
        self._calls = calls

    def answer(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        self._calls["planner" if event["task"] == "plan" else self._function] += 1
        called_with = event["scope"] if event.get("begin") else event
        self._calls.update(called_with.get("fan", {}).get("charge", {}))
        if event["task"] == "plan":
            return self._plan(event)
        if event["task"] == "item":
            return {"index": event["index"]}
        if event["task"] == "batch":
            self._calls["further items"] += event["args"] - 1
            return {"left": False}
        if event["task"] == "handOver":
            return {"payload": {}}
        return _SCOPE

    def _plan(self, event: dict[str, Any]) -> dict[str, Any]:
        parallel, choice = self._fan_outs[event["dag"], event["step"]]
        items = self._items if parallel else 1
        name = f"{event['step']}-{next(_runs)}"
        fan: dict[str, Any] = {"name": name, "charge": _charge(choice)}
        if "batch" not in event:
            return {"scope": {}, "items": list(range(items)), "fan": fan}
        most = batch_size(self._planned, parallel, event["batch"])
        tasks = [min(most, items - first) for first in range(0, items, most)]
        ObjectStore(self._clients.s3, RUN_BUCKET).put_json(name, tasks)
        return {"scope": {}, "fan": fan | {"bucket": RUN_BUCKET, "batches": name, "maps": "maps"}}


def _charge(choice: FanOutChoice) -> dict[str, int]:
    """What the execution of a task in a DISTRIBUTED Map is charged as; moto has no history of it."""
    if choice.mode == "INLINE":
        return {}
    states = 1 if choice.batch is None else 3
    return {"express": 1} if choice.execution == "EXPRESS" else {"transitions": 1 + states}


def _without_waiting(definition: dict[str, Any]) -> dict[str, Any]:
    for state in definition["States"].values():
        if state["Type"] == "Wait":
            state["Seconds"] = 0
    return definition
