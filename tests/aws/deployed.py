"""A resolved stack on an embedded AWS: the real handlers in the template's environments, under the template's names.

Who calls what is noted by role, as each function and container of a stack has one.
"""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.stack import Stack
from fanfold.handlers import container, environment, parser, planner, reducer, runner
from fanfold.local.engine import embedded_aws
from fanfold.local.up import Up
from fanfold.run.store import ObjectStore
from fanfold.web.handler import stack_of_environment
from places import OnStack
from stacks import Resolved


@dataclass(frozen=True)
class Call:
    """A call of AWS by a function or a container of the stack."""

    role: str
    """The ARN of the role."""
    service: str
    operation: str
    params: dict[str, Any]
    error: str = ""
    """The code of the error that it ended with."""


Note = Callable[[Call], None]

FUNCTIONS = {"Planner": planner, "Reducer": reducer, "Runner": runner, "RunnerImage": runner}


@dataclass
class Deployed:
    """See the module."""

    resolved: Resolved
    folder: Path
    note: Note
    functions: dict[str, Any] = field(default_factory=dict)
    """The handlers by the names of the functions."""
    is_deleting: bool = False
    """Whether executions keep every machine from being gone."""
    printed: io.StringIO = field(default_factory=io.StringIO)
    """What the functions wrote."""

    def clients(self, role: str) -> Clients:
        """Clients whose calls are noted as those of a role."""
        note, answered = self.note, self._answered

        class Noted(Clients):
            def _make(self, service: str) -> Any:
                client = super()._make(service)
                called = client._make_api_call

                def call(operation: str, params: dict[str, Any]) -> Any:
                    error = ""
                    try:
                        return answered(called, operation, params)
                    except ClientError as fault:
                        error = fault.response["Error"]["Code"]
                        raise
                    finally:
                        note(Call(role, service, operation, params, error))

                client._make_api_call = call
                return client

        return Noted()

    def _answered(self, called: Callable[..., Any], operation: str, params: dict[str, Any]) -> Any:
        """The answer to a call, with what moto lacks of Step Functions.

        An execution that was broken off can be redriven, and a machine is still there while it is deleted.
        """
        if operation == "RedriveExecution":
            return {}
        answer = called(operation, params)
        if operation == "DescribeExecution" and answer["status"] in ("FAILED", "TIMED_OUT", "ABORTED"):
            answer.setdefault("redriveStatus", "REDRIVABLE")
        if operation == "DescribeStateMachine" and self.is_deleting:
            answer["status"] = "DELETING"
        return answer

    @property
    def has_containers(self) -> bool:
        return bool(self.resolved.of_type("AWS::ECS::TaskDefinition"))

    @property
    def has_page(self) -> bool:
        return "Web" in self.resolved.nested

    @property
    def someone(self) -> Clients:
        """Clients of somebody who works with the stack, and whose rights are not the stack's."""
        return Clients()

    def environment(self, function: str) -> dict[str, str]:
        """What the template gives a function."""
        properties = self.resolved.of_type("AWS::Lambda::Function")[function]
        return {name: str(value) for name, value in properties["Environment"]["Variables"].items()}

    def role_of(self, function: str) -> str:
        return str(self.resolved.of_type("AWS::Lambda::Function")[function]["Role"])

    def put(self, path: str, text: str) -> dict[str, Any]:
        """Upload a file of the DAG folder; its report."""
        self.upload(path, text.encode())
        store = ObjectStore(self.someone.s3, self.resolved.outputs["DagBucket"])
        report: dict[str, Any] = store.get_json(f"dags/{path}.report.json")
        return report

    def upload(self, path: str, data: bytes) -> None:
        """Put a file into the DAG folder."""
        self.someone.s3.put_object(Bucket=self.resolved.outputs["DagBucket"], Key=f"dags/{path}", Body=data)

    def tell_parser(self, event: dict[str, Any]) -> None:
        """Call the parser, as CloudFormation does."""
        self.functions[self.resolved.value({"Ref": "ParserFunction"})](event, None)

    def remove(self, path: str) -> None:
        self.someone.s3.delete_object(Bucket=self.resolved.outputs["DagBucket"], Key=f"dags/{path}")

    def run(self, dag: str, run: str = "run", **given: Any) -> str:
        """Run a DAG to its end; the execution's status."""
        states = self.someone.states
        arn = f"{self.stack.machine_of(dag)}:live"
        started = states.start_execution(stateMachineArn=arn, name=run, input=json.dumps(given))
        return str(poll_execution(states, started["executionArn"])["status"])

    @property
    def environment_of_page(self) -> dict[str, str]:
        """As the page's function would have it, if there is one or not."""
        outputs = self.resolved.outputs
        return {
            "FANFOLD_STACK": self.resolved.name,
            "FANFOLD_DAG_BUCKET": outputs["DagBucket"],
            "FANFOLD_RUN_BUCKET": outputs["RunBucket"],
            "FANFOLD_MACHINE_ARNS": self.environment("ParserFunction")["FANFOLD_MACHINE_ARNS"],
            "FANFOLD_LOG_GROUPS": outputs["RunnerLogs"],
        }

    @property
    def stack(self) -> Stack:
        """The stack as the commands find it."""
        return stack_of_environment(self.environment_of_page, self.someone)

    @property
    def place(self) -> OnStack:
        return OnStack(self.folder, Up("", self.stack))

    def metrics(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """The namespace, the name and the dimensions of each metric that was written (embedded metric format)."""
        for line in self.printed.getvalue().splitlines():
            entry = json.loads(line)
            for directive in entry.get("_aws", {}).get("CloudWatchMetrics", []):
                for names in directive["Dimensions"]:
                    for metric in directive["Metrics"]:
                        yield directive["Namespace"], metric["Name"], {name: entry[name] for name in names}


@contextmanager
def deployed(resolved: Resolved, folder: Path, note: Note = lambda _: None) -> Iterator[Deployed]:
    """Bring the stack up, and take it down again."""
    there = Deployed(resolved, folder, note)
    with embedded_aws(there.functions, launch=partial(_launch, there)), redirect_stdout(there.printed):
        settings = {name: value for name in functions_of(resolved) for name, value in there.environment(name).items()}
        with patch.dict(os.environ, settings | {"FANFOLD_FOLDER": str(folder)}), _fresh():
            there.functions |= _functions(there)
            _make_resources(there)
            yield there


def functions_of(resolved: Resolved) -> list[str]:
    """The logical names of the functions that tasks call, and the parser's."""
    known = ["ParserFunction", *(f"{name}Function" for name in FUNCTIONS)]
    return [name for name in known if name in resolved.resources]


@contextmanager
def _fresh() -> Iterator[None]:
    """What a process keeps between calls is made anew, and again afterwards."""
    caches = (environment.logger, environment.base_runtime)
    with (
        patch.dict(logging.getLogger("fanfold").__dict__, handlers=[]) as kept,
        patch.object(container, "HEARTBEAT_SECONDS", 0.1),
    ):
        for mark in ("init", "powertools_handler"):
            kept.pop(mark, None)
        for cache in caches:
            cache.cache_clear()
        yield
    for cache in caches:
        cache.cache_clear()


def _functions(there: Deployed) -> dict[str, Any]:
    """The handlers by the names of the functions, each with clients of its role."""
    resolved, made = there.resolved, dict[str, Any]()
    for logical in functions_of(resolved):
        name = resolved.value({"Ref": logical})
        clients = there.clients(there.role_of(logical))
        if logical == "ParserFunction":
            runtime: Any = parser.runtime_from(there.environment(logical), clients, parser._Teller(clients))
            made[name] = partial(_call, parser.handle, runtime, threading.RLock())
        else:
            runtime = _runtime(clients)
            made[name] = partial(_call, FUNCTIONS[logical.removesuffix("Function")].handle, runtime, None)
    return made


def _runtime(clients: Clients) -> Any:
    runtime = environment.base_runtime()
    return replace(runtime, store=ObjectStore(clients.s3, os.environ["FANFOLD_RUN_BUCKET"]))


def _call(handle: Any, runtime: Any, lock: Any, event: Any, context: Any) -> Any:
    if lock is None:
        return handle(event, context, runtime=runtime)
    with lock:
        return handle(event, context, runtime=runtime)


def _launch(there: Deployed, environ: dict[str, str]) -> None:
    """A container: what `container.main` does, with clients of the task's role."""
    (task,) = there.resolved.of_type("AWS::ECS::TaskDefinition").values()
    clients = there.clients(task["TaskRoleArn"])
    container.run_container(environ, _runtime(clients), clients.states)


def _make_resources(there: Deployed) -> None:
    """What functions find of the stack, under the names of the template."""
    clients, resolved = there.someone, there.resolved
    for logical, properties in resolved.of_type("AWS::S3::Bucket").items():
        bucket = resolved.value({"Ref": logical})
        clients.s3.create_bucket(Bucket=bucket)
        if "NotificationConfiguration" in properties:
            clients.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            clients.s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
            )
    for properties in resolved.of_type("AWS::Scheduler::ScheduleGroup").values():
        clients.scheduler.create_schedule_group(Name=properties["Name"])
    for group in resolved.outputs["RunnerLogs"].split(","):
        clients.logs.create_log_group(logGroupName=group)
    for properties in resolved.of_type("AWS::ECS::TaskDefinition").values():
        clients.ecs.register_task_definition(
            family=properties["Family"], taskRoleArn=properties["TaskRoleArn"],
            executionRoleArn=properties["ExecutionRoleArn"],
            containerDefinitions=[{"name": "runner", "image": "stock", "memory": 512}],
        )  # fmt: skip
    (rule,) = (
        item["Properties"] for item in resolved.resources.values()
        if item["Type"] == "AWS::Events::Rule" and item["Properties"]["EventPattern"]["source"] == ["aws.s3"]
    )  # fmt: skip
    clients.events.put_rule(Name="uploads", EventPattern=json.dumps(rule["EventPattern"]), State="ENABLED")
    targets: Any = [{"Id": target["Id"], "Arn": target["Arn"]} for target in rule["Targets"]]
    clients.events.put_targets(Rule="uploads", Targets=targets)
