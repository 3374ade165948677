"""State machines as a DAG file wants them, against those that are there (docs/architecture.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fanfold.asl.compile import Definition, compile_dag_set, dag_object, digest, machine_names
from fanfold.dag.model import DagSet
from fanfold.run.runtime import dag_object_key
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where machines are deployed to, and what their placeholders stand for."""

    runner_arn: str
    planner_arn: str
    reducer_arn: str
    role_arn: str
    """The role that the machines take on."""
    machine_arn_prefix: str
    """``arn:aws:states:<region>:<account>:stateMachine:``."""

    def fill(self, definition: Definition) -> str:
        """A definition as JSON text with its placeholders filled in."""
        text = json.dumps(definition)
        for placeholder, value in self._substitutions().items():
            text = text.replace(f"${{{placeholder}}}", value)
        return text

    def _substitutions(self) -> Mapping[str, str]:
        return {
            "RunnerFunction": self.runner_arn,
            "PlannerFunction": self.planner_arn,
            "ReducerFunction": self.reducer_arn,
            "StateMachineArnPrefix": self.machine_arn_prefix,
        }


@dataclass(frozen=True, slots=True)
class DeployedMachine:
    """A state machine after a deployment."""

    key: str
    name: str
    arn: str
    change: Change


def deploy(dag_set: DagSet, store: ObjectStore, client: SFNClient, target: Target) -> list[DeployedMachine]:
    """Put the DAG objects and bring every machine to its definition, a child's before its parent's."""
    definitions = compile_dag_set(dag_set)
    for key in dag_set.dags:
        text = dag_object(dag_set, key)
        store.put(dag_object_key(digest(text)), text)
    names = machine_names(dag_set)
    return [_apply(client, target, key, names[key], definition) for key, definition in definitions.items()]


def _apply(client: SFNClient, target: Target, key: str, name: str, definition: Definition) -> DeployedMachine:
    arn, wanted = target.machine_arn_prefix + name, target.fill(definition)
    try:
        actual = client.describe_state_machine(stateMachineArn=arn)
    except client.exceptions.StateMachineDoesNotExist:
        client.create_state_machine(name=name, definition=wanted, roleArn=target.role_arn, type="STANDARD")
        return DeployedMachine(key, name, arn, "created")
    if json.loads(actual["definition"]) == json.loads(wanted) and actual["roleArn"] == target.role_arn:
        return DeployedMachine(key, name, arn, "unchanged")
    client.update_state_machine(stateMachineArn=arn, definition=wanted, roleArn=target.role_arn)
    return DeployedMachine(key, name, arn, "updated")
