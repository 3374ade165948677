"""A deployed stack, as the commands for it find it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanfold.asl.names import machine_name
from fanfold.dag.params import Parameters
from fanfold.dag.read import without_suffix
from fanfold.deploy.clients import Clients
from fanfold.deploy.machines import ALIAS, callees_from
from fanfold.deploy.record import Records
from fanfold.deploy.target import networks, words
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


_OUTPUTS = ("DagBucket", "RunBucket", "MachineArns", "ParserFunction")
"""Of the template, without which a stack is none."""


class NoSuchThing(Exception):
    """There is no such stack, DAG or version; the message says which, and what there is."""


@dataclass(frozen=True)
class Stack:
    """See the module."""

    name: str
    clients: Clients
    dag_bucket: str
    run_bucket: str
    machine_arns: str
    """What the ARNs of its state machines start with, the stack's prefix included."""
    parser_function: str
    log_groups: tuple[str, ...] = ()
    """Where the runner's function and containers write what steps write."""
    zone: str = "UTC"
    """Of schedules that name none."""
    runner_variables: frozenset[str] = frozenset()
    """Names that the environment of steps has besides."""
    callees: frozenset[str] = frozenset()
    """What its machines may call (`fanfold.deploy.target.Target.callees`)."""

    @staticmethod
    def find(name: str, clients: Clients) -> Stack:
        """The stack called `name`, by the outputs of its template. Raises NoSuchThing."""
        cloudformation = clients.cloudformation
        try:
            described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except cloudformation.exceptions.ClientError as fault:
            if fault.response["Error"]["Code"] != "ValidationError":
                raise
            raise NoSuchThing(f"there is no stack {name!r} in this account and region") from None
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
        try:
            dags, runs, machines, parser = (outputs[key] for key in _OUTPUTS)
        except KeyError:
            raise NoSuchThing(f"the stack {name!r} is none of Fanfold's, or is not complete") from None
        logs = tuple(words(outputs.get("RunnerLogs", "")))
        given = {entry["ParameterKey"]: entry.get("ParameterValue", "") for entry in described.get("Parameters", [])}
        zone, variables = given.get("ScheduleZone") or "UTC", frozenset(words(given.get("RunnerVariables", "")))
        nets = networks(given.get("EcsSubnets", ""), given.get("EcsSecurityGroups", ""))
        callees = frozenset({*words(outputs.get("Callees", "")), *nets})
        return Stack(name, clients, dags, runs, machines, parser, logs, zone, variables, callees)

    @property
    def run_data(self) -> ObjectStore:
        """The run-data bucket."""
        return ObjectStore(self.clients.s3, self.run_bucket)

    def machines(self) -> dict[str, str]:
        """The machine of every DAG that is deployed, by the DAG's name."""
        records = Records(self.run_data).deployed()
        return {record.dag: self.machine_arns + machine_name(without_suffix(record.file)) for record in records}

    def machine_of(self, dag: str) -> str:
        """The ARN of the machine of the DAG called `dag`; its file's path will do too. Raises NoSuchThing."""
        records = Records(self.run_data)
        files = [dag, f"{dag}.yaml", f"{dag}.yml"]
        owner = records.owner(dag)
        for file in [owner, *files] if owner is not None else files:
            if records.read(file).machines:
                return self.machine_arns + machine_name(without_suffix(file))
        raise NoSuchThing(f"the stack {self.name!r} has no DAG {dag!r}; upload its file with: fanfold push")

    def start(self, dag: str, params: Parameters, run: str | None = None) -> tuple[str, str]:
        """Start a run of the DAG called `dag`; its id and its execution's ARN. Raises NoSuchThing.

        With the id `run` of a run that was started with the same parameters, nothing is started again.
        """
        run = run or str(uuid.uuid4())
        arn = f"{self.machine_of(dag)}:{ALIAS}"
        given = json.dumps({"params": params.to_json()})
        try:
            started = self.clients.states.start_execution(stateMachineArn=arn, name=run, input=given)
        except self.clients.states.exceptions.ExecutionAlreadyExists:
            raise NoSuchThing(f"there is a run {run!r} already") from None
        return run, started["executionArn"]

    def roll_back(self, dag: str, to: int | None = None) -> tuple[int, int]:
        """Let the alias ``live`` stand for the version before it, or for version `to`; (from, to).

        Raises NoSuchThing. What the DAG's schedules, triggers and starts run from now on is that version, with the
        children that it was deployed with.
        """
        client: SFNClient = self.clients.states
        arn = self.machine_of(dag)
        alias = f"{arn}:{ALIAS}"
        routed = client.describe_state_machine_alias(stateMachineAliasArn=alias)["routingConfiguration"]
        current = _number(routed[0]["stateMachineVersionArn"])
        versions = _versions(client, arn)
        wanted = to if to is not None else max((number for number in versions if number < current), default=None)
        if wanted is None or wanted not in versions:
            there = ", ".join(map(str, sorted(versions)))
            which = f"version {to}" if to is not None else f"version before {current}, which is live"
            raise NoSuchThing(f"the DAG {dag!r} has no {which}; there is: {there}")
        gone = sorted(callees_from(client, versions[wanted]) - self.callees)
        if gone:
            message = f"version {wanted} of the DAG {dag!r} calls what the stack no longer has: {', '.join(gone)}"
            raise NoSuchThing(f"{message}; upload the file as it was instead")
        routing = [{"stateMachineVersionArn": versions[wanted], "weight": 100}]
        client.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=routing)  # type: ignore[arg-type]
        return current, wanted


def _versions(client: SFNClient, arn: str) -> dict[int, str]:
    """The versions of a machine, by number."""
    versions: dict[int, str] = {}
    token = ""
    while True:
        more = {"nextToken": token} if token else {}
        page = client.list_state_machine_versions(stateMachineArn=arn, **more)  # type: ignore[arg-type]
        for version in page["stateMachineVersions"]:
            versions[_number(version["stateMachineVersionArn"])] = version["stateMachineVersionArn"]
        token = page.get("nextToken", "")
        if not token:
            return versions


def _number(version: str) -> int:
    return int(version.rpartition(":")[2])
