"""What AWS refuses at a deployment is told with its place in the report; nothing of it is only a dead letter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from aws import STARTS, TARGET, Aws, embedded
from botocore.exceptions import ClientError
from fanfold.deploy.target import Ecs

FILE = """\
schedule: "0 1 * * *"
x-fanfold:
  on: {s3: {bucket: incoming}}
  compute: ecs
  image: mine
steps:
  - {name: fan, run: region, parallel: [1]}
  - {name: last, command: echo}
---
name: region
steps:
  - {name: call, run: leaf}
---
name: leaf
steps:
  - {name: work, command: echo}
"""
ECS = Ecs("cluster", "fanfold_runner", "subnet-1", "sg-1")
TARGET_WITH_PARSER = replace(TARGET, ecs=ECS, starts=replace(STARTS, parser_arn="arn:aws:lambda:::function:parser"))
PARSER_EVENT = {"detail": {"bucket": {"name": "dags"}, "object": {"key": "dags/etl.yaml"}}}


@contextmanager
def with_containers() -> Iterator[Aws]:
    with embedded(TARGET_WITH_PARSER) as aws:
        container: Any = {"name": "runner", "image": "stock", "memory": 512}
        aws.clients.ecs.register_task_definition(family="fanfold_runner", containerDefinitions=[container])
        yield aws


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    """What is deployed where AWS refuses nothing."""
    with with_containers() as aws:
        aws.put("etl.yaml", FILE)
        return aws.state()


@pytest.fixture
def aws(undisturbed: Any) -> Iterator[Aws]:
    with with_containers() as aws:
        yield aws


@contextmanager
def refusing(aws: Aws, operation: str, code: str, status: int = 400, about: str = "") -> Iterator[None]:
    """AWS answers calls of an operation with an error, where their parameters hold `about`."""

    def refuse(model: Any, params: Any, **_: Any) -> None:
        if model.name == operation and about in str(params["body"]) + str(params["url"]):
            error = {"Error": {"Code": code, "Message": "no."}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise getattr(client.exceptions, code, ClientError)(error, operation)

    clients = (aws.clients.states, aws.clients.scheduler, aws.clients.events, aws.clients.ecs)
    [client] = [client for client in clients if operation in client.meta.service_model.operation_names]
    client.meta.events.register_first("before-call", refuse)
    try:
        yield
    finally:
        client.meta.events.unregister("before-call", refuse)


REFUSALS = [
    ("CreateStateMachine", "InvalidDefinition", "fanfold__", 10, "the state machine fanfold__etl-region-"),
    ("CreateStateMachine", "InvalidDefinition", "fanfold_etl", 1, "the state machine fanfold_etl"),
    ("CreateStateMachine", "AccessDeniedException", "fanfold_etl", 1, "the state machine fanfold_etl"),
    ("CreateStateMachine", "StateMachineLimitExceeded", "fanfold_etl", 1, "the state machine fanfold_etl"),
    ("DescribeStateMachine", "AccessDeniedException", "fanfold__", 10, "to show the state machine fanfold__etl-"),
    ("CreateStateMachineAlias", "ServiceQuotaExceededException", "", 1, "the alias live of the state machine"),
    ("CreateSchedule", "ValidationException", "", 1, "the schedule cron(0 1 * * ? *)"),
    ("CreateSchedule", "AccessDeniedException", "", 1, "the schedule cron(0 1 * * ? *)"),
    ("GetSchedule", "AccessDeniedException", "", 1, "to show the schedule"),
    ("PutRule", "LimitExceededException", "", 3, "the trigger's rule fanfold_etl-"),
    ("PutTargets", "AccessDeniedException", "", 3, "the trigger's rule fanfold_etl-"),
    ("RegisterTaskDefinition", "ClientException", "", 3, "the task definition of the image mine"),
    ("RegisterTaskDefinition", "AccessDeniedException", "", 3, "the task definition of the image mine"),
]


@pytest.mark.parametrize(("operation", "code", "about", "line", "what"), REFUSALS)
def test_what_aws_refuses_is_told_with_its_place(
    aws: Aws, undisturbed: Any, operation: str, code: str, about: str, line: int, what: str
) -> None:
    with refusing(aws, operation, code, about=about):
        report = aws.put("etl.yaml", FILE)
    assert aws.report("etl.yaml")["status"] == report["status"] == "failed"  # type: ignore[index]
    [problem] = report["problems"]
    assert (problem["place"]["file"], problem["place"]["line"]) == ("etl.yaml", line)
    assert problem["message"].startswith(f"AWS refused {what}")
    assert problem["message"].endswith(f": {code}: no.")
    assert problem["hint"].endswith("; then upload the file again")
    assert aws.put("etl.yaml", FILE)["status"] == "deployed"
    assert aws.state() == undisturbed


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("CreateStateMachine", "ThrottlingException", 400),
        ("CreateStateMachine", "ConflictException", 400),
        ("PutRule", "ConcurrentModificationException", 400),
        ("CreateSchedule", "InternalServerException", 500),
        ("DescribeStateMachine", "ServiceUnavailable", 503),
    ],
)
def test_what_another_try_gets_past_is_tried_again(aws: Aws, operation: str, code: str, status: int) -> None:
    with refusing(aws, operation, code, status), pytest.raises(ClientError):
        aws.put("etl.yaml", FILE)
    aws.handle(aws.event("etl.yaml", "00000001"))
    assert aws.report("etl.yaml")["status"] == "deployed"  # type: ignore[index]


class TestAFileThatComesBackWhileRunsGoOn:
    """AWS keeps a deleted machine until its last run has ended, and takes no other of its name meanwhile."""

    @pytest.fixture
    def deleting(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Machines are shown as ``DELETING`` from when they are deleted until what this gives is called."""
        states = aws.clients.states
        kept: dict[str, Any] = {}

        def keep(params: Any, model: Any, **_: Any) -> Any:
            arn = json.loads(params["body"]).get("stateMachineArn", "")
            if model.name == "DeleteStateMachine":
                kept[arn] = states.list_tags_for_resource(resourceArn=arn)["tags"]

        describe, tags = states.describe_state_machine, states.list_tags_for_resource

        def described(stateMachineArn: str) -> Any:  # noqa: N803 - as boto calls it
            if stateMachineArn in kept:
                return {"status": "DELETING", "definition": "{}", "roleArn": TARGET.role_arn}
            return describe(stateMachineArn=stateMachineArn)

        def tagged(resourceArn: str) -> Any:  # noqa: N803
            return {"tags": kept[resourceArn]} if resourceArn in kept else tags(resourceArn=resourceArn)

        states.meta.events.register("before-call", keep)
        monkeypatch.setattr(states, "describe_state_machine", described)
        monkeypatch.setattr(states, "list_tags_for_resource", tagged)
        return kept.clear

    def test_it_says_so_and_is_deployed_later(self, aws: Aws, deleting: Callable[[], None]) -> None:
        aws.put("etl.yaml", FILE)
        aws.remove("etl.yaml")
        report = aws.put("etl.yaml", FILE)
        assert report["status"] == "waiting"
        [problem] = report["problems"]
        assert problem["message"].startswith("the state machine fanfold__etl-region-")
        assert problem["message"].endswith(" is still being deleted, as runs of an earlier file go on")
        assert aws.machines() == {}
        [again] = aws.schedules().values()
        assert again["ScheduleExpression"].startswith("at(")
        assert (again["ActionAfterCompletion"], again["Target"]["Arn"]) == ("DELETE", STARTS_PARSER)
        event = json.loads(again["Target"]["Input"])
        assert event == PARSER_EVENT
        assert aws.handle(event)[0]["status"] == "waiting"
        assert len(aws.schedules()) == 1
        deleting()
        assert aws.handle(event)[0]["status"] == "deployed"
        assert "fanfold_etl" in aws.machines()

    def test_it_may_be_removed_again(self, aws: Aws, deleting: Callable[[], None]) -> None:
        aws.put("etl.yaml", FILE)
        aws.remove("etl.yaml")
        aws.put("etl.yaml", FILE)
        assert aws.remove("etl.yaml")["status"] in ("removed", "absent")
        assert aws.report("etl.yaml") is None

    def test_a_machine_that_is_deleted_in_between_is_no_dead_letter(self, aws: Aws) -> None:
        with refusing(aws, "CreateStateMachine", "StateMachineDeleting"):
            assert aws.put("etl.yaml", FILE)["status"] == "waiting"
        assert aws.put("etl.yaml", FILE)["status"] == "deployed"


STARTS_PARSER = "arn:aws:lambda:::function:parser"


def test_blanks_in_the_lists_of_parameters_are_no_part_of_their_words() -> None:
    from fanfold.handlers.parser import ignore, runtime_from

    names = ("STACK", "RUN_BUCKET", "RUNNER_ARN", "PLANNER_ARN", "REDUCER_ARN", "STATES_ROLE_ARN", "MACHINE_ARNS")
    env = {f"FANFOLD_{name}": "x" for name in names} | {
        "FANFOLD_ECS_CLUSTER": "c", "FANFOLD_ECS_TASK_DEFINITION": "t", "FANFOLD_ECS_ASSIGN_PUBLIC_IP": "DISABLED",
        "FANFOLD_ECS_SUBNETS": " subnet-1, subnet-2 ,,subnet-3", "FANFOLD_ECS_SECURITY_GROUPS": "sg-1 , sg-2",
        "FANFOLD_RUNNER_VARIABLES": "A, B  C",
    }  # fmt: skip
    runtime = runtime_from(env, None, ignore)  # type: ignore[arg-type]
    assert runtime.target.ecs is not None
    assert runtime.target.ecs.subnets == "subnet-1,subnet-2,subnet-3"
    assert runtime.target.ecs.security_groups == "sg-1,sg-2"
    assert runtime.environment == {"A", "B", "C"}
