"""Each mend of moto: that it works, and that moto still needs it; when a `still` test fails, delete the override."""

from __future__ import annotations

import copy
import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import moto.iam.models
import pytest
from fanfold.deploy.executions import poll_execution
from fanfold.local import moto_overrides
from fanfold.local.engine import embedded_aws
from fanfold.local.moto_additions import call_function
from moto.batch import utils as batch_utils
from moto.core import base_backend
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer import result_writer_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.parse import asl_parser
from moto.stepfunctions.parser.asl.utils import json_path

ROLE = "arn:aws:iam::123456789012:role/states"


class ExitCode7(Exception):
    error_name = "NotTheClass"


def double(event: Any, context: Any) -> Any:
    if event["n"] == "bad":
        raise ExitCode7("seven")
    return {"n": event["n"] * 2}


CALLS: list[Any] = []
FUNCTIONS = {"double": double, "note": lambda event, context: CALLS.append(event)}


@pytest.fixture
def aws() -> Iterator[None]:
    CALLS.clear()
    with embedded_aws(FUNCTIONS):
        yield


def task(function: str = "double", **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"arn:aws:lambda:us-east-1:123456789012:function:{function}", "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
    } | more


def execute(states: dict[str, Any], given: Any, name: str = "one") -> dict[str, Any]:
    client = boto3.client("stepfunctions")
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    machine = client.create_state_machine(name=name, definition=definition, roleArn=ROLE)
    execution = client.start_execution(stateMachineArn=machine["stateMachineArn"], name="run", input=json.dumps(given))
    return poll_execution(client, execution["executionArn"])


def test_a_state_calls_the_function_in_this_process(aws: None) -> None:
    ended = execute({"a": task()}, {"n": 4})
    assert json.loads(ended["output"]) == {"n": 8}


def test_an_error_has_the_name_of_its_class_for_catch(aws: None) -> None:
    caught = {"ErrorEquals": ["ExitCode7"], "ResultPath": "$.caught", "Next": "b"}
    ended = execute({"a": task(Catch=[caught]), "b": {"Type": "Pass", "End": True}}, {"n": "bad"})
    error = json.loads(ended["output"])["caught"]
    assert error["Error"] == "ExitCode7"
    cause = json.loads(error["Cause"])
    assert {"errorType": "ExitCode7", "errorMessage": "seven"}.items() <= cause.items()
    assert "raise ExitCode7" in cause["stackTrace"][-1]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({1, 2}, "Runtime.MarshalError"),
        ({"half": "\ud83d"}, "Runtime.ExitError"),
        ("x" * 6 * 1024 * 1024, None),
        ("x" * (6 * 1024 * 1024 + 99), "Function.ResponseSizeTooLarge"),
    ],
)
def test_an_answer_that_lambda_would_not_take_is_an_error(answer: Any, error: str | None) -> None:
    text, failed = call_function({"f": lambda event, context: answer}, "f", "{}")
    assert (json.loads(text)["errorType"], failed) == (error, True) if error else not failed


def test_an_unknown_function_is_an_error(aws: None) -> None:
    ended = execute({"a": task("nobody")}, {})
    assert (ended["status"], ended["error"]) == ("FAILED", "Lambda.ResourceNotFoundException")


def test_an_s3_notification_calls_the_function(aws: None) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    target = {
        "LambdaFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:note",
        "Events": ["s3:ObjectCreated:*"],
    }
    client.put_bucket_notification_configuration(
        Bucket="bucket", NotificationConfiguration={"LambdaFunctionConfigurations": [target]}
    )
    client.put_object(Bucket="bucket", Key="a b.yaml", Body=b"x")
    assert [record["s3"]["object"]["key"] for event in CALLS for record in event["Records"]] == ["a+b.yaml"]


def nested(retry: bool) -> dict[str, Any]:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {
            "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:inner",
            "Name.$": "States.Format('{}-{}', $.name, $$.State.RetryCount)",
            "Input": {"n.$": "$.n"},
        },
        "OutputPath": "$.Output",
        "End": True,
    }
    return state | (
        {"Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]} if retry else {}
    )


def create_inner() -> None:
    boto3.client("stepfunctions").create_state_machine(
        name="inner", definition=json.dumps({"StartAt": "a", "States": {"a": task()}}), roleArn=ROLE
    )


def test_a_nested_execution_runs_and_its_output_comes_back(aws: None) -> None:
    create_inner()
    started = time.monotonic()
    ended = execute({"outer": nested(retry=False)}, {"name": "n", "n": 3}, name="outer")
    assert json.loads(ended["output"])["n"] == 6
    assert time.monotonic() - started < 0.45


def test_a_retried_nested_execution_is_awaited_again() -> None:
    tries: list[int] = []

    def second_time(event: Any, context: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise ExitCode7("first")
        time.sleep(0.2)
        return {"n": len(tries)}

    with embedded_aws({"double": second_time}):
        create_inner()
        ended = execute({"outer": nested(retry=True)}, {"name": "n", "n": 3}, name="outer")
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"n": 2})


def test_a_map_of_a_thousand_items_one_at_a_time_does_not_run_out_of_stack(aws: None) -> None:
    item = {"StartAt": "i", "States": {"i": {"Type": "Pass", "End": True}}}
    processor = {"ProcessorConfig": {"Mode": "INLINE"}, **item}
    state = {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 1, "ItemProcessor": processor, "End": True}
    ended = execute({"map": state}, {"items": list(range(1100))})
    assert json.loads(ended["output"]) == list(range(1100))


def test_everything_is_as_before_afterwards() -> None:
    def observed() -> tuple[Any, ...]:
        replaced = [(owner, name) for owner, name, _ in moto_overrides._replacements({}, time.sleep)]
        values = [vars(owner).get(name) for owner, name in replaced]
        return dict(os.environ), sys.getrecursionlimit(), values

    before = observed()
    with embedded_aws(FUNCTIONS):
        assert sys.getrecursionlimit() >= moto_overrides.RECURSION_LIMIT
    assert observed() == before


def test_moto_still_needs_parameters_in_botos_spelling() -> None:
    parameters = {"stateMachineArn": "x", "StateMachineArn": "y"}
    StateTaskService._normalise_parameters(object(), parameters)  # type: ignore[arg-type]
    assert parameters == {"stateMachineArn": "x", "StateMachineArn": "y"}


def test_moto_still_needs_quicker_polling_and_one_region() -> None:
    assert state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK >= 0.25
    backend = base_backend.AccountSpecificBackend("s3", "1", base_backend.BaseBackend, True, None)
    assert len(backend.regions) > 1


def test_moto_still_builds_its_parsers_anew() -> None:
    assert not hasattr(json_path.parse, "cache_info")
    text = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}})
    parse = asl_parser.AmazonStateLanguageParser.parse
    assert parse(text)[0] is not parse(text)[0]


def test_moto_still_starts_threads_and_copies_deeply() -> None:
    from moto.stepfunctions.parser.asl.component.program import program
    from moto.stepfunctions.parser.asl.component.state.exec import execute_state
    from moto.stepfunctions.parser.asl.eval import states

    assert execute_state.Thread is threading.Thread
    assert program.threading is threading
    assert states.copy is copy


def test_moto_still_sleeps_between_tries() -> None:
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl

    assert retrier_decl.time is time


def test_the_stand_in_for_batch_has_the_names_that_moto_reads() -> None:
    assert (batch_utils.JobStatus.SUCCEEDED, batch_utils.JobStatus.FAILED) == ("SUCCEEDED", "FAILED")


def test_botocore_still_looks_through_its_services_in_each_session(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def listdir(path: str) -> list[str]:
        looks.append(path)
        return []

    monkeypatch.setattr("botocore.loaders.os.listdir", listdir)
    for _ in range(2):
        botocore.session.get_session().get_component("data_loader").list_available_services("service-2")
    assert len(looks) == 2 * len(set(looks)) > 0


def test_the_stand_in_for_cryptography_has_the_names_that_moto_reads() -> None:
    lines = Path(moto.iam.models.__file__).read_text().splitlines()
    wanted = [line for line in lines if line.startswith("from cryptography")]
    assert wanted == ["from cryptography import x509", "from cryptography.hazmat.backends import default_backend"]


def test_moto_still_knows_no_express_executions_of_a_map() -> None:
    item = {"StartAt": "i", "States": {"i": {"Type": "Pass", "End": True}}}
    config = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}}
    states = {"m": {"Type": "Map", "ItemProcessor": config | item, "End": True}}
    text = json.dumps({"StartAt": "m", "States": states})
    with pytest.raises(asl_parser.ASLParserException):
        asl_parser.AmazonStateLanguageParser.parse(text)
    with embedded_aws(FUNCTIONS):
        assert asl_parser.AmazonStateLanguageParser.parse(text)


def test_moto_still_reads_the_parameters_of_a_result_writer_from_the_result() -> None:
    source = inspect.getsource(result_writer_decl.ResultWriter._eval_body)
    assert "get_input" not in source
