"""An embedded AWS with a parser, for tests: events in, what is deployed out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fanfold.deploy.clients import Clients
from fanfold.deploy.stack import Stack
from fanfold.deploy.target import Starts, Target
from fanfold.handlers import parser
from fanfold.local.engine import embedded_aws
from fanfold.local.session import LOCAL

STARTS = Starts("arn:aws:iam::123456789012:role/starter", "fanfold", "arn:aws:sqs:us-east-1:123456789012:failures")
TARGET = replace(LOCAL, starts=STARTS)
Report = dict[str, Any]


class Aws:
    """The parser's handler and what it works on."""

    def __init__(self, target: Target = TARGET) -> None:
        self.clients = Clients()
        self._sequencers = itertools.count(1)
        self.told: list[Report] = []
        for bucket in ("dags", "runs"):
            self.clients.s3.create_bucket(Bucket=bucket)
        self.clients.scheduler.create_schedule_group(Name="fanfold")
        self.runtime = parser.ParserRuntime(
            self.clients, "runs", target, observer=lambda _, report: self.told.append(report)
        )
        arns = target.machine_arns + target.prefix
        self.stack = Stack("fanfold", self.clients, "dags", "runs", arns, "parser", callees=target.callees)

    def sequencer(self) -> str:
        return f"{next(self._sequencers):08X}"

    def write(self, path: str, text: str | bytes) -> None:
        """Put a file into the bucket, and tell nobody."""
        data = text if isinstance(text, bytes) else text.encode()
        self.clients.s3.put_object(Bucket="dags", Key=f"dags/{path}", Body=data)

    def erase(self, path: str) -> None:
        self.clients.s3.delete_object(Bucket="dags", Key=f"dags/{path}")

    def event(self, path: str, sequencer: str | None = None, kind: str = "Object Created") -> dict[str, Any]:
        """What EventBridge tells of a file."""
        item = {"key": f"dags/{path}", "sequencer": sequencer or self.sequencer()}
        detail = {"version": "0", "bucket": {"name": "dags"}, "object": item}
        return {"detail-type": kind, "source": "aws.s3", "detail": detail}

    def handle(self, event: dict[str, Any]) -> list[Report]:
        return parser.handle(event, None, self.runtime)["reports"]  # type: ignore[arg-type]

    def put(self, path: str, text: str | bytes, sequencer: str | None = None) -> Report:
        """Upload a file and handle its event; the file's own report."""
        self.write(path, text)
        return self.handle(self.event(path, sequencer))[0]

    def remove(self, path: str) -> Report:
        self.erase(path)
        return self.handle(self.event(path, kind="Object Deleted"))[0]

    def report(self, path: str) -> Report | None:
        try:
            got = self.clients.s3.get_object(Bucket="dags", Key=f"dags/{path}.report.json")
        except self.clients.s3.exceptions.NoSuchKey:
            return None
        report: Report = json.loads(got["Body"].read())
        return report

    def machines(self) -> dict[str, Any]:
        """The definition that is live of every machine: that of its alias, or its newest version."""
        states = self.clients.states
        found = {}
        for machine in states.list_state_machines()["stateMachines"]:
            arn = machine["stateMachineArn"]
            try:
                alias = states.describe_state_machine_alias(stateMachineAliasArn=f"{arn}:live")
                arn = alias["routingConfiguration"][0]["stateMachineVersionArn"]
            except states.exceptions.ResourceNotFound:
                pass
            found[machine["name"]] = json.loads(states.describe_state_machine(stateMachineArn=arn)["definition"])
        return found

    def schedules(self) -> dict[str, dict[str, Any]]:
        """By expression."""
        listed = self.clients.scheduler.list_schedules(GroupName="fanfold")["Schedules"]
        got = [self.clients.scheduler.get_schedule(GroupName="fanfold", Name=item["Name"]) for item in listed]
        passing = ("ResponseMetadata", "CreationDate", "LastModificationDate")
        return {
            item["ScheduleExpression"]: {key: value for key, value in item.items() if key not in passing}
            for item in got
        }

    def rules(self) -> dict[str, Any]:
        """The targets of every rule, by name."""
        events = self.clients.events
        return {
            rule["Name"]: (json.loads(rule["EventPattern"]), events.list_targets_by_rule(Rule=rule["Name"])["Targets"])
            for rule in events.list_rules()["Rules"]
        }

    def state(self) -> Any:
        """All that is deployed, to compare."""
        return json.loads(json.dumps([self.machines(), self.schedules(), self.rules()], sort_keys=True, default=str))


@contextmanager
def embedded(target: Target = TARGET, functions: dict[str, Callable[[Any, Any], Any]] | None = None) -> Iterator[Aws]:
    with embedded_aws(functions or {}):
        yield Aws(target)
