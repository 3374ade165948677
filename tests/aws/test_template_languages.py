"""The texts in other languages that the template holds, as CloudFormation makes them: JSON, patterns, metrics.

CloudFormation takes such a text as it is, and the service that gets it refuses it, or never finds what it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from deployed import deployed
from moto import mock_aws
from moto.events.models import EventPattern
from stacks import ACCOUNT, CORNERS, REGIONS, Resolved, stack, texts

REGION = REGIONS["aws"]
ALL_CORNERS = pytest.mark.parametrize("corner", CORNERS)


DAG = """
name: seen
steps:
  - name: fan
    run: child
    parallel: [1, 2]
    retryPolicy: {limit: 1, intervalSec: 0}
---
name: child
steps:
  - {name: work, command: "test $1 != 2"}
"""


@ALL_CORNERS
def test_every_text_that_is_json_can_be_read(corner: str) -> None:
    found = 0
    for part in stack(corner).all():
        for path, text in texts(part.resources):
            if text.lstrip().startswith(("{", "[")):
                found += 1
                try:
                    json.loads(text)
                except ValueError as fault:
                    raise AssertionError(f"{part.file.name}: {'.'.join(path)}: {fault}") from None
    assert found == 1 + ("WebUi" in CORNERS[corner])  # the dashboard's body, and the form of the access log


@ALL_CORNERS
def test_cloudwatch_takes_the_dashboard(corner: str) -> None:
    with mock_aws():
        client = boto3.client("cloudwatch", region_name="us-east-1")
        for properties in stack(corner).of_type("AWS::CloudWatch::Dashboard").values():
            answer = client.put_dashboard(
                DashboardName=properties["DashboardName"], DashboardBody=properties["DashboardBody"]
            )
            assert answer.get("DashboardValidationMessages", []) == []
        assert len(client.list_dashboards()["DashboardEntries"]) == 1


@ALL_CORNERS
def test_every_event_pattern_and_input_template_can_be_read(corner: str) -> None:
    for rule in stack(corner).of_type("AWS::Events::Rule").values():
        pattern: Any = EventPattern.load(json.dumps(rule["EventPattern"]))
        for condition in conditions(pattern.get_pattern()):
            assert set(condition) <= {"prefix", "anything-but", "wildcard"}
        for target in rule["Targets"]:
            transformer = target.get("InputTransformer", {"InputPathsMap": {}, "InputTemplate": "{}"})
            text, names = transformer["InputTemplate"], transformer["InputPathsMap"]
            assert set(re.findall("<([^>]+)>", text)) == set(names)
            # where a name stands within quotes, EventBridge puts the text itself
            json.loads(re.sub("<[^>]+>", "x", text) if text.startswith('"') else re.sub("<[^>]+>", '"x"', text))


def conditions(node: Any) -> Iterator[dict[str, Any]]:
    """Every condition of a pattern that is no plain value."""
    if isinstance(node, dict):
        for value in node.values():
            yield from conditions(value)
    else:
        yield from (item for item in node if isinstance(item, dict))


def test_the_parser_is_told_of_dag_files_of_its_bucket_alone() -> None:
    resolved = stack("least")
    (rule,) = (
        properties
        for properties in resolved.of_type("AWS::Events::Rule").values()
        if properties["EventPattern"]["source"] == ["aws.s3"]
    )
    pattern = EventPattern.load(json.dumps(rule["EventPattern"]))

    def told(key: str, bucket: str = resolved.outputs["DagBucket"], kind: str = "Object Created") -> bool:
        detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": 5, "sequencer": "0062E9"}}
        event: Any = {"version": "0", "detail-type": kind, "source": "aws.s3", "account": ACCOUNT, "detail": detail}
        return bool(pattern.matches_event(event))

    assert told("dags/etl.yaml")
    assert told("dags/team/a b.yml", kind="Object Deleted")
    for key in ("dags/etl.yaml.report.json", "dags/run.sh", "etl.yaml", "other/etl.yaml"):
        assert not told(key)
    assert not told("dags/etl.yaml", kind="Object Restore Completed")
    assert not told("dags/etl.yaml", resolved.outputs["RunBucket"])


@ALL_CORNERS
def test_every_graph_has_a_place_of_its_own(corner: str) -> None:
    for properties in stack(corner).of_type("AWS::CloudWatch::Dashboard").values():
        taken: set[tuple[int, int]] = set()
        for widget in json.loads(properties["DashboardBody"])["widgets"]:
            across = range(widget["x"], widget["x"] + widget["width"])
            place = {(x, y) for x in across for y in range(widget["y"], widget["y"] + widget["height"])}
            assert across.stop <= 24  # CloudWatch, *Dashboard body structure*
            assert not place & taken
            taken |= place


def status_change(machine: str, execution: str, status: str, partition: str = "aws", region: str = REGION) -> Any:
    """What Step Functions tells of an execution (*Automating Step Functions event delivery with EventBridge*)."""
    arn = f"arn:{partition}:states:{region}:{ACCOUNT}"
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": ACCOUNT,
        "time": "2026-11-25T19:42:21Z",
        "region": region,
        "resources": [f"{arn}:execution:{execution}"],
        "detail": {
            "executionArn": f"{arn}:execution:{execution}",
            "stateMachineArn": f"{arn}:stateMachine:{machine}",
            "name": execution.rpartition(":")[2],
            "status": status,
            "startDate": 1551225271984,
            "stopDate": 1551225272984,
            "input": "{}",
            "output": None,
        },
    }


class TestMailsOfFailedRuns:
    @pytest.fixture(params=REGIONS)
    def partition(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def told(self, partition: str, machine: str, execution: str, status: str = "FAILED") -> bool:
        """Whether the stack ``fanfold`` mails that an execution ended so."""
        pattern = stack("least", partition).of_type("AWS::Events::Rule")["FailedRuns"]["EventPattern"]
        event = status_change(machine, execution, status, partition, REGIONS[partition])
        fits: bool = EventPattern.load(json.dumps(pattern)).matches_event(event)
        return fits

    def test_a_run_that_did_not_succeed_is_told(self, partition: str) -> None:
        told = {
            status: self.told(partition, "fanfold_etl", "fanfold_etl:a-run", status)
            for status in ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE")
        }
        assert [status for status, is_told in told.items() if is_told] == ["FAILED", "TIMED_OUT", "ABORTED"]

    def test_what_belongs_to_a_run_is_not_told_besides(self, partition: str) -> None:
        assert not self.told(partition, "fanfold__etl_child", "fanfold__etl_child:a-run-0-0")
        # the executions of a DISTRIBUTED Map have its label behind the machine's name
        assert not self.told(partition, "fanfold_etl/2a41", "fanfold_etl/2a41:1f6c5ed8-6e9d-3f1b-8a0a-9f5d2c8d7e6b")

    def test_runs_of_other_stacks_are_not_told(self, partition: str) -> None:
        for other in ("fanfold-prod_etl", "fanfolds_etl", "my-fanfold_etl", "etl"):
            assert not self.told(partition, other, f"{other}:a-run")


class TestWhoMayReachTheTopic:
    @ALL_CORNERS
    def test_rules_may_without_a_condition_and_alarms_of_this_account_alone(self, corner: str) -> None:
        found = {}
        for properties in stack(corner).of_type("AWS::SNS::TopicPolicy").values():
            for statement in properties["PolicyDocument"]["Statement"]:
                assert (statement["Effect"], statement["Action"]) == ("Allow", "sns:Publish")
                found[statement["Principal"]["Service"]] = statement.get("Condition")
        # "You can't use Condition blocks in Amazon SNS topic policies for EventBridge" (*Amazon SNS permissions*)
        assert found == {
            "events.amazonaws.com": None,
            "cloudwatch.amazonaws.com": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }

    @ALL_CORNERS
    def test_every_topic_and_queue_lets_in_what_sends_to_it(self, corner: str) -> None:
        resolved = stack(corner)
        senders = set(senders_of(resolved))
        assert ("events.amazonaws.com", resolved.outputs["FailureQueue"].rpartition("/")[2]) in senders
        for service, name in senders:
            assert any(
                statement["Effect"] == "Allow" and statement["Principal"].get("Service") == service
                for kind in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy")
                for properties in resolved.of_type(kind).values()
                for statement in properties["PolicyDocument"]["Statement"]
                if statement["Resource"].endswith(f":{name}") and statement["Principal"] != "*"
            ), (service, name)


def senders_of(resolved: Resolved) -> Iterator[tuple[str, str]]:
    """(service, name of a topic or queue) of what a rule or an alarm sends to."""
    for properties in resolved.of_type("AWS::Events::Rule").values():
        for target in properties["Targets"]:
            for arn in (target["Arn"], target.get("DeadLetterConfig", {}).get("Arn", "")):
                if arn.split(":")[2:3] in (["sns"], ["sqs"]):
                    yield "events.amazonaws.com", arn.rpartition(":")[2]
    for properties in resolved.of_type("AWS::CloudWatch::Alarm").values():
        for arn in properties["AlarmActions"]:
            yield "cloudwatch.amazonaws.com", arn.rpartition(":")[2]


Metric = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, and dimensions with their values. CloudWatch adds nothing up over dimensions."""


@pytest.fixture(scope="module", params=["least", "image alone"])
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> set[Metric]:
    """What the functions write as metrics while files are deployed and refused, and runs go well and fail."""
    with deployed(stack(request.param), tmp_path_factory.mktemp("metrics")) as there:
        assert there.put("seen.yaml", DAG)["status"] == "deployed"
        assert there.put("broken.yaml", "steps: 5\n")["status"] == "refused"
        assert there.run("seen") == "FAILED"
    return {(space, name, frozenset(dimensions.items())) for space, name, dimensions in there.metrics()}


def alarmed(resolved: Resolved) -> Iterator[Metric]:
    """What the alarms watch."""
    for properties in resolved.of_type("AWS::CloudWatch::Alarm").values():
        dimensions = {item["Name"]: item["Value"] for item in properties["Dimensions"]}
        yield properties["Namespace"], properties["MetricName"], frozenset(dimensions.items())


def drawn(resolved: Resolved) -> Iterator[Metric]:
    """What the dashboard's graphs name."""
    for row in rows(resolved):
        space, name, *rest = (part for part in row if not isinstance(part, dict))
        yield space, name, frozenset(zip(rest[::2], rest[1::2], strict=True))


def rows(resolved: Resolved, expressions: bool = False) -> Iterator[list[Any]]:
    """The rows of the dashboard's graphs that name a metric, or those that search for some."""
    for properties in resolved.of_type("AWS::CloudWatch::Dashboard").values():
        for widget in json.loads(properties["DashboardBody"])["widgets"]:
            for row in widget["properties"]["metrics"]:
                if isinstance(row[0], dict) == expressions:
                    yield row


class TestMetrics:
    def test_every_alarm_and_graph_names_what_the_code_emits(self, emitted: set[Metric]) -> None:
        named = [metric for metric in (*alarmed(stack("most")), *drawn(stack("most"))) if metric[0] == "Fanfold"]
        assert len(named) == 3
        assert [metric for metric in named if metric not in emitted] == []

    def test_every_search_finds_what_the_code_emits(self, emitted: set[Metric]) -> None:
        searches = list(rows(stack("most"), expressions=True))
        assert len(searches) == 1
        for (row,) in searches:
            read = re.fullmatch(
                r"""SEARCH\('\{(\w+),([\w,]+)\} (\w+)="([^"]+)" MetricName=\(([^)]+)\)', 'Sum', 300\)""",
                row["expression"],
            )
            assert read is not None, row["expression"]
            space, names, key, value, metrics = read.groups()
            for metric in re.findall(r'"(\w+)"', metrics):
                assert any(
                    (space, metric) == found[:2] and set(names.split(",")) == set(dict(found[2]))
                    and dict(found[2])[key] == value
                    for found in emitted
                ), metric  # fmt: skip

    @ALL_CORNERS
    def test_what_is_watched_of_aws_is_there_and_is_this_stack_s(self, corner: str) -> None:
        resolved = stack(corner)
        there = {
            dimension: {part.value({"Ref": name}) for part in resolved.all() for name in part.resources_of(kind)}
            for dimension, kind in {"FunctionName": "AWS::Lambda::Function", "RuleName": "AWS::Events::Rule"}.items()
        }
        there["QueueName"] = {arn.rpartition(":")[2] for arn in queues(resolved)}
        for space, name, dimensions in {*alarmed(resolved), *drawn(resolved)}:
            if space != "Fanfold":
                ((dimension, value),) = dimensions
                assert dimension == METRICS_OF_AWS[space, name]
                assert value in there[dimension]


METRICS_OF_AWS = {
    ("AWS/Events", "TriggeredRules"): "RuleName",
    ("AWS/Lambda", "Duration"): "FunctionName",
    ("AWS/Lambda", "Errors"): "FunctionName",
    ("AWS/Lambda", "Invocations"): "FunctionName",
    ("AWS/Lambda", "Throttles"): "FunctionName",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
}
"""The dimension of each metric (the services' pages *Monitoring … with CloudWatch*)."""


def queues(resolved: Resolved) -> Iterator[str]:
    """The ARNs of the stack's queues."""
    for name in resolved.resources_of("AWS::SQS::Queue"):
        yield resolved.value({"Fn::GetAtt": [name, "Arn"]})
