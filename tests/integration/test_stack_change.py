"""What is deployed follows a change of the stack: CloudFormation's event in, machines that call what is there out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aws import STARTS, TARGET, Aws, embedded
from botocore.exceptions import ClientError
from custom_resource import CONTAINER, NESTED, listening
from fanfold.deploy.machines import called_by
from fanfold.deploy.stack import NoSuchThing
from fanfold.deploy.target import Ecs, Target
from fanfold.handlers import parser

EVENT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "events" / "custom_resource_update.json").read_text())
ECS = Ecs("cluster", "fanfold_runner", "subnet-1", "sg-1")
BEFORE = replace(TARGET, ecs=ECS)
WITHOUT_CONTAINERS = replace(TARGET, ecs=None)
RUNNER = "arn:aws:lambda:us-east-1:123456789012:function:fanfold_runner-image"
AFTER = replace(BEFORE, runner_arn=RUNNER)
STEP = "steps: [{name: s, command: echo}]\n"


@dataclass
class CloudFormation:
    """Sends events to the parser, and takes its answers over HTTP."""

    aws: Aws
    url: str
    answers: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, target: Target, kind: str = "Update", **more: Any) -> dict[str, Any]:
        """The answer to the event that the stack has become what `target` says."""
        self.aws.runtime = replace(self.aws.runtime, target=target)
        event = EVENT | {"ResponseURL": self.url, "RequestType": kind} | more
        if kind == "Create":
            del event["PhysicalResourceId"]
        parser.handle(event, None, self.aws.runtime)  # type: ignore[arg-type]
        answer = self.answers.pop()
        assert {name: answer[name] for name in ("StackId", "RequestId", "LogicalResourceId", "PhysicalResourceId")} == {
            name: EVENT[name] for name in ("StackId", "RequestId", "LogicalResourceId", "PhysicalResourceId")
        }
        assert len(json.dumps(answer)) <= 4096
        return answer


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    with embedded(BEFORE) as aws, listening() as (url, answers):
        container: Any = {"name": "runner", "image": "stock", "memory": 512}
        aws.clients.ecs.register_task_definition(family="fanfold_runner", containerDefinitions=[container])
        yield CloudFormation(aws, url, answers)


def called(aws: Aws) -> set[str]:
    """The functions, clusters and networks that every live machine names."""
    return called_by(aws.machines(), "FunctionName", "Cluster", "Subnets.$", "SecurityGroups.$")


def held(aws: Aws) -> str:
    """All that is deployed, with the machines' roles."""
    states = aws.clients.states
    arns = [machine["stateMachineArn"] for machine in states.list_state_machines()["stateMachines"]]
    return json.dumps([aws.state(), [states.describe_state_machine(stateMachineArn=arn)["roleArn"] for arn in arns]])


def test_every_machine_calls_what_is_there_now(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    for name, text in {"fan": NESTED, "step": STEP, "container": CONTAINER}.items():
        assert aws.put(f"{name}.yaml", text)["status"] == "deployed"
    assert BEFORE.runner_arn in called(aws)
    answer = cloudformation.tell(AFTER)
    assert (answer["Status"], answer["Reason"]) == ("SUCCESS", "")
    assert called(aws) == AFTER.callees
    assert {report["status"] for report in aws.told} == {"deployed"}
    before = aws.state()
    assert cloudformation.tell(AFTER)["Status"] == "SUCCESS"
    assert aws.state() == before


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (replace(BEFORE, ecs=replace(ECS, subnets="subnet-2")), "subnet-2"),
        (replace(BEFORE, ecs=replace(ECS, security_groups="sg-2")), "sg-2"),
        (replace(BEFORE, ecs=replace(ECS, cluster="other")), "other"),
        (replace(BEFORE, planner_arn="arn:aws:lambda:us-east-1:123456789012:function:plan"), "function:plan"),
        (replace(BEFORE, reducer_arn="arn:aws:lambda:us-east-1:123456789012:function:fold"), "function:fold"),
        (replace(BEFORE, role_arn="arn:aws:iam::123456789012:role/other"), "role/other"),
        (replace(BEFORE, starts=replace(STARTS, zone="Asia/Tokyo")), "Asia/Tokyo"),
        (replace(BEFORE, starts=replace(STARTS, window_minutes=7)), '"MaximumWindowInMinutes": 7'),
        (replace(BEFORE, starts=replace(STARTS, role_arn="arn:aws:iam::123456789012:role/begin")), "role/begin"),
        (replace(BEFORE, starts=replace(STARTS, dead_letter_arn="arn:aws:sqs:us-east-1:123456789012:q")), "012:q"),
    ],
)
def test_whatever_deployments_hold_follows(cloudformation: CloudFormation, change: Target, shown: str) -> None:
    aws = cloudformation.aws
    aws.put("fan.yaml", NESTED)
    aws.put("container.yaml", CONTAINER)
    assert shown not in held(aws)
    assert cloudformation.tell(change)["Status"] == "SUCCESS"
    assert shown in held(aws)


def test_the_task_definition_of_an_image_follows_the_runners(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.put("container.yaml", CONTAINER)
    container: Any = {"name": "runner", "image": "stock", "memory": 2048}
    aws.clients.ecs.register_task_definition(family="fanfold_runner", containerDefinitions=[container])
    assert cloudformation.tell(BEFORE)["Status"] == "SUCCESS"
    family = aws.machines()["fanfold_container"]["States"]["s"]["Parameters"]["TaskDefinition"]
    described = aws.clients.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    assert [(item["image"], item["memory"]) for item in described["containerDefinitions"]] == [("mine", 2048)]


def test_a_file_that_was_refused_for_what_the_stack_lacked_is_deployed(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.runtime = replace(aws.runtime, target=WITHOUT_CONTAINERS)
    assert aws.put("container.yaml", CONTAINER)["status"] == "refused"
    assert cloudformation.tell(BEFORE)["Status"] == "SUCCESS"
    assert list(aws.machines()) == ["fanfold_container"]


def test_a_change_that_would_leave_a_dag_with_what_is_gone_is_refused(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.put("container.yaml", CONTAINER)
    answer = cloudformation.tell(WITHOUT_CONTAINERS)
    assert (answer["Status"], answer["Reason"]) == (
        "FAILED",
        "container.yaml:1: 'compute: ecs', but this stack has no containers (deploy the stack with its parameter "
        "EcsSubnets, or remove 'compute: ecs')",
    )
    assert cloudformation.tell(BEFORE)["Status"] == "SUCCESS"  # CloudFormation goes back to what was there


def test_a_file_with_errors_hinders_only_where_its_machines_would_be_lost(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.put("step.yaml", STEP)
    assert aws.put("step.yaml", "steps: [{name: s, comand: echo}]\n")["status"] == "refused"
    assert cloudformation.tell(replace(BEFORE, starts=replace(STARTS, window_minutes=7)))["Status"] == "SUCCESS"
    answer = cloudformation.tell(AFTER)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("step.yaml:1: the step 's' does nothing")


def test_many_hindrances_fit_into_an_answer(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    for number in range(30):
        aws.put(f"container-{number}.yaml", CONTAINER)
    reason = cloudformation.tell(WITHOUT_CONTAINERS)["Reason"]
    assert "container-0.yaml:1: 'compute: ecs'" in reason
    assert reason.endswith("… (30 in all; the parser's log tells them)")


def test_hindrances_fit_in_any_language(cloudformation: CloudFormation) -> None:
    for number in range(4):
        cloudformation.aws.put("日次👋" * 100 + f"{number}.yaml", CONTAINER)
    assert cloudformation.tell(WITHOUT_CONTAINERS)["Status"] == "FAILED"  # and the answer is small enough


@pytest.mark.parametrize("change", [WITHOUT_CONTAINERS, replace(BEFORE, ecs=replace(ECS, subnets="subnet-2")), AFTER])
def test_a_dag_that_was_rolled_back_follows_too(cloudformation: CloudFormation, change: Target) -> None:
    aws = cloudformation.aws
    aws.put("etl.yaml", "x-fanfold: {compute: ecs}\n" + STEP)
    aws.put("etl.yaml", STEP)
    aws.stack.roll_back("etl")
    assert called(aws) >= {ECS.cluster}
    assert cloudformation.tell(change)["Status"] == "SUCCESS"
    assert called(aws) == {change.runner_arn}


def test_nothing_is_rolled_back_to_what_is_gone(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.put("etl.yaml", "x-fanfold: {compute: ecs}\n" + STEP)
    aws.put("etl.yaml", NESTED)
    aws.put("etl.yaml", STEP)  # whose machine alone is left
    with pytest.raises(NoSuchThing, match=r"version 2 of the DAG 'etl' calls .* no longer has: .*fanfold__etl-region-"):
        aws.stack.roll_back("etl")
    assert cloudformation.tell(replace(BEFORE, ecs=replace(ECS, subnets="subnet-2")))["Status"] == "SUCCESS"
    aws.stack = replace(aws.stack, callees=aws.runtime.target.callees)
    with pytest.raises(NoSuchThing, match=r"version 1 .* no longer has: States.StringSplit\('subnet-1', ','\)"):
        aws.stack.roll_back("etl", 1)


def test_a_rolled_back_dag_with_errors_hinders_what_it_needs(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.put("etl.yaml", "x-fanfold: {compute: ecs}\n" + STEP)
    aws.put("etl.yaml", STEP)
    aws.stack.roll_back("etl")
    aws.put("etl.yaml", "steps: 7\n")
    assert cloudformation.tell(WITHOUT_CONTAINERS)["Status"] == "FAILED"
    assert cloudformation.tell(replace(BEFORE, ecs=replace(ECS, subnets="subnet-2")))["Status"] == "FAILED"
    assert cloudformation.tell(BEFORE)["Status"] == "SUCCESS"


def test_a_fault_is_an_answer(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    aws.put("step.yaml", STEP)

    def fail(model: Any, **_: Any) -> None:
        if model.name == "DescribeStateMachine":
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, model.name)

    aws.clients.states.meta.events.register("before-call", fail)
    answer = cloudformation.tell(AFTER)
    assert answer["Status"] == "FAILED"
    assert "ThrottlingException" in answer["Reason"]


def test_a_stack_that_is_deleted_leaves_nothing(cloudformation: CloudFormation) -> None:
    aws = cloudformation.aws
    empty = aws.state()
    for name, text in {"fan": NESTED, "step": STEP, "container": CONTAINER}.items():
        aws.put(f"{name}.yaml", text)
    assert cloudformation.tell(BEFORE, "Delete")["Status"] == "SUCCESS"
    assert aws.state() == empty
    families = aws.clients.ecs.list_task_definitions()["taskDefinitionArns"]
    assert [arn.rpartition("/")[2] for arn in families] == ["fanfold_runner:1"]


def test_a_stack_whose_run_bucket_is_gone_can_be_deleted(cloudformation: CloudFormation) -> None:
    cloudformation.aws.clients.s3.delete_bucket(Bucket="runs")
    assert cloudformation.tell(BEFORE, "Delete")["Status"] == "SUCCESS"


def test_a_stack_that_could_not_work_is_not_made(cloudformation: CloudFormation) -> None:
    assert cloudformation.tell(BEFORE, "Create")["Status"] == "SUCCESS"
    for zone in ("Europe/Berln", "Europe", "../UTC"):
        answer = cloudformation.tell(replace(BEFORE, starts=replace(STARTS, zone=zone)), "Create")
        assert (answer["Status"], answer["Reason"]) == ("FAILED", f"ScheduleZone: there is no time zone {zone!r}")


def test_a_stack_with_too_long_a_name_is_not_made(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runtime() -> parser.ParserRuntime:
        return replace(cloudformation.aws.runtime, target=replace(BEFORE, stack="a" * 32))

    monkeypatch.setattr(parser, "_runtime", runtime)
    parser.handle(EVENT | {"ResponseURL": cloudformation.url, "RequestType": "Create"}, None)  # type: ignore[arg-type]
    answer = cloudformation.answers.pop()
    assert answer["Status"] == "FAILED"
    assert "is longer than 31 characters" in answer["Reason"]
    parser.handle(EVENT | {"ResponseURL": cloudformation.url, "RequestType": "Delete"}, None)  # type: ignore[arg-type]
    assert cloudformation.answers.pop()["Status"] == "SUCCESS"  # what could not be made can be taken away
