"""What a run of a DAG comes to, counted in the histories of a real execution whose tasks do nothing.

No command of the DAG runs: the functions here only answer as the real ones would, for a number of items that is given.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from fanfold.asl.compile import compile_dag_set, dag_object, digest, machine_names
from fanfold.dag.model import DagSet
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import poll_execution
from fanfold.local.session import LOCAL


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run comes to."""

    transitions: int
    """State transitions, of all executions; Step Functions charges each (its pricing page)."""
    runner_calls: int
    control_calls: int
    """Calls of the planner and the reducer."""
    containers: int
    executions: int
    longest_history: int
    """Events of the execution with the most; 25,000 is the limit."""


def count_run(dag_set: DagSet, items: int) -> Counts:
    """Execute the DAG's machines with `items` items at each ``parallel`` step, every task succeeding at once."""
    from fanfold.local.engine import embedded_aws

    calls: Counter[str] = Counter()
    clients = Clients()
    fans_out = {
        (digest(dag_object(dag_set, key)), step.name)
        for key, dag in dag_set.dags.items()
        for step in dag.steps
        if step.parallel is not None
    }
    functions = {
        f"fanfold-{name}": _Answers(name, items, fans_out, calls).answer for name in ("runner", "planner", "reducer")
    }

    def launch(environ: dict[str, str]) -> None:
        calls["container"] += 1
        token, given = environ["FANFOLD_TASK_TOKEN"], json.loads(environ["FANFOLD_TASK_INPUT"])
        output = json.dumps({"index": given["index"]} if "index" in given else _SCOPE)
        clients.states.send_task_success(taskToken=token, output=output)

    with embedded_aws(functions, launch=launch):
        names = machine_names(dag_set)
        for key, definition in compile_dag_set(dag_set, LOCAL.platform).items():
            text = LOCAL.fill(_without_waiting(definition), {name: LOCAL.arn(name) for name in names.values()})
            clients.states.create_state_machine(name=LOCAL.prefix + names[key], definition=text, roleArn=LOCAL.role_arn)
        arn = LOCAL.arn(names[""])
        poll_execution(
            clients.states, clients.states.start_execution(stateMachineArn=arn, name="count")["executionArn"]
        )
        histories = [
            clients.states.get_execution_history(executionArn=execution["executionArn"])["events"]
            for name in names.values()
            for execution in clients.states.list_executions(stateMachineArn=LOCAL.arn(name))["executions"]
        ]
    return Counts(
        transitions=sum(event["type"].endswith("StateEntered") for history in histories for event in history),
        runner_calls=calls["runner"],
        control_calls=calls["planner"] + calls["reducer"],
        containers=calls["container"],
        executions=len(histories),
        longest_history=max(map(len, histories)),
    )


_runs = itertools.count()
_SCOPE: dict[str, Any] = {"status": "success", "record": {"index": 0}}


class _Answers:
    """Answers the payloads of `fanfold.asl.compile` without doing anything."""

    def __init__(self, function: str, items: int, fans_out: set[tuple[str, str]], calls: Counter[str]) -> None:
        self._function = function
        self._items = items
        self._fans_out = fans_out
        self._calls = calls

    def answer(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        self._calls[self._function] += 1
        if event["task"] == "plan":
            items = self._items if (event["dag"], event["step"]) in self._fans_out else 1
            return {"scope": {}, "items": list(range(items)), "fan": {"name": f"{event['step']}-{next(_runs)}"}}
        if event["task"] == "item":
            return {"index": event["index"]}
        if event["task"] == "handOver":
            return {"payload": {}}
        return _SCOPE


def _without_waiting(definition: dict[str, Any]) -> dict[str, Any]:
    for state in definition["States"].values():
        if state["Type"] == "Wait":
            state["Seconds"] = 0
    return definition
