"""What moto lacks and Fanfold adds: that it works, and that moto still lacks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from fanfold.deploy.executions import poll_execution
from fanfold.local.constants import FUNCTION_ARNS
from fanfold.local.engine import embedded_aws
from moto import mock_aws
from moto.cloudformation.models import Stack as CloudFormationStack
from moto.stepfunctions.responses import StepFunctionResponse

ROLE = "arn:aws:iam::123456789012:role/states"
EVENTS: list[Any] = []


def passing(value: str) -> str:
    return json.dumps({"StartAt": "a", "States": {"a": {"Type": "Pass", "Result": {"v": value}, "End": True}}})


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def aws() -> Iterator[None]:
    EVENTS.clear()
    with embedded_aws({"note": lambda event, context: EVENTS.append(event)}):
        yield


def machine() -> tuple[Any, str]:
    """A machine with two versions, of which the alias stands for the first."""
    client = boto3.client("stepfunctions")
    made = client.create_state_machine(name="m", definition=passing("one"), roleArn=ROLE, publish=True)
    arn = made["stateMachineArn"]
    routing: Any = [{"stateMachineVersionArn": f"{arn}:1", "weight": 100}]
    client.create_state_machine_alias(name="live", routingConfiguration=routing)
    client.update_state_machine(stateMachineArn=arn, definition=passing("two"), publish=True)
    return client, arn


def output(client: Any, arn: str, name: str) -> Any:
    started = client.start_execution(stateMachineArn=arn, name=name)
    return json.loads(poll_execution(client, started["executionArn"])["output"])["v"]


@pytest.mark.usefixtures("aws")
def test_executions_start_by_version_and_by_alias() -> None:
    client, arn = machine()
    assert [output(client, f"{arn}{suffix}", f"n{suffix[1:]}") for suffix in ("", ":1", ":2", ":live")] == [
        "two", "one", "two", "one",
    ]  # fmt: skip


def test_moto_still_starts_by_neither() -> None:
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client, arn = machine()
        with pytest.raises(client.exceptions.ClientError):
            client.start_execution(stateMachineArn=f"{arn}:live", name="x")


@pytest.mark.usefixtures("aws")
def test_versions_are_published_once_listed_and_deleted() -> None:
    client, arn = machine()
    assert client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"] == f"{arn}:2"
    client.delete_state_machine_version(stateMachineVersionArn=f"{arn}:1")
    listed = client.list_state_machine_versions(stateMachineArn=arn)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in listed] == [f"{arn}:2"]


def test_moto_still_has_no_such_calls() -> None:
    for name in ("publish_state_machine_version", "list_state_machine_versions", "delete_state_machine_version"):
        assert not hasattr(StepFunctionResponse, name)


def bucket_with_a_rule(target: str) -> Any:
    s3, events = boto3.client("s3"), boto3.client("events")
    s3.create_bucket(Bucket="incoming")
    s3.put_bucket_versioning(Bucket="incoming", VersioningConfiguration={"Status": "Enabled"})
    configuration: Any = {"EventBridgeConfiguration": {}}
    s3.put_bucket_notification_configuration(Bucket="incoming", NotificationConfiguration=configuration)
    kinds = ["Object Created", "Object Deleted"]
    pattern = {"source": ["aws.s3"], "detail-type": kinds, "detail": {"object": {"key": [{"wildcard": "in/*.csv"}]}}}
    events.put_rule(Name="r", EventPattern=json.dumps(pattern))
    transformer = {"InputPathsMap": {"key": "$.detail.object.key"}, "InputTemplate": '{"k": <key>}'}
    events.put_targets(Rule="r", Targets=[{"Id": "t", "Arn": target, "InputTransformer": transformer}])
    return s3


@pytest.mark.usefixtures("aws")
def test_the_events_of_a_bucket_reach_functions_in_order() -> None:
    s3 = bucket_with_a_rule(FUNCTION_ARNS + "note")
    for key in ("in/a.csv", "out/a.csv", "in/a.csv"):
        s3.put_object(Bucket="incoming", Key=key, Body=b"")
    s3.delete_object(Bucket="incoming", Key="in/a.csv")
    assert [(event["detail-type"], event["detail"]["object"]["key"]) for event in EVENTS] == [
        ("Object Created", "in/a.csv"), ("Object Created", "in/a.csv"), ("Object Deleted", "in/a.csv"),
    ]  # fmt: skip
    sequencers = [event["detail"]["object"]["sequencer"] for event in EVENTS]
    assert sequencers == sorted(sequencers)
    assert len(set(sequencers)) == 3


@pytest.mark.usefixtures("aws")
def test_the_events_of_a_bucket_start_executions_with_what_the_rule_makes_of_them() -> None:
    client, arn = machine()
    s3 = bucket_with_a_rule(f"{arn}:live")
    s3.put_object(Bucket="incoming", Key='in/a "quoted".csv', Body=b"")
    (execution,) = client.list_executions(stateMachineArn=arn)["executions"]
    described = poll_execution(client, execution["executionArn"])
    assert json.loads(described["input"]) == {"k": 'in/a "quoted".csv'}
    assert json.loads(described["output"]) == {"v": "one"}


def test_moto_still_tells_functions_nothing() -> None:
    with mock_aws():
        s3 = bucket_with_a_rule(FUNCTION_ARNS + "note")
        EVENTS.clear()
        s3.put_object(Bucket="incoming", Key="in/a.csv", Body=b"")
        assert EVENTS == []


def test_moto_still_gives_no_outputs_of_nested_stacks() -> None:
    assert not hasattr(CloudFormationStack, "get_cfn_attribute")


CONTEXT = json.dumps(
    {"StartAt": "a", "States": {"a": {"Type": "Pass", "Parameters": {"v.$": "$$.Execution.RedriveCount"}, "End": True}}}
)


def machine_of_context() -> tuple[Any, str]:
    client = boto3.client("stepfunctions")
    return client, client.create_state_machine(name="c", definition=CONTEXT, roleArn=ROLE)["stateMachineArn"]


@pytest.mark.usefixtures("aws")
def test_the_context_of_an_execution_tells_how_often_it_was_redriven() -> None:
    assert output(*machine_of_context(), "x") == 0


def test_moto_still_does_not_tell_it() -> None:
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client, arn = machine_of_context()
        ended = poll_execution(client, client.start_execution(stateMachineArn=arn, name="x")["executionArn"])
    assert ended["status"] == "FAILED"
