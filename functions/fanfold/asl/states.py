"""The task states that a definition is made of (Amazon States Language)."""

from __future__ import annotations

import json
import math
from typing import Any

from fanfold.asl.computes import image_name
from fanfold.dag.model import Compute, RetryPolicy

Definition = dict[str, Any]

HEARTBEAT_SECONDS = 300
"""How long a container may be silent, from the moment it is asked for: its start counts, with the image's download."""

CONTAINER = "runner"
"""The container's name in the task definition."""

_SERVICE_FAULTS = {
    "ErrorEquals": [
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    ],
    "IntervalSeconds": 1,
    "MaxAttempts": 6,
    "BackoffRate": 2,
    "MaxDelaySeconds": 30,
    "JitterStrategy": "FULL",
}
_OWN_FAULTS = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2}
"""Of the planner and the reducer, which do the same when they are called again."""
_STATES_FAULTS = _SERVICE_FAULTS | {"ErrorEquals": ["StepFunctions.ThrottlingException", "SFN.SfnException"]}
_ECS_FAULTS = _SERVICE_FAULTS | {"ErrorEquals": ["ECS.AmazonECSException", "ECS.EcsException", "ECS.ServerException"]}

ITEM_FAILED: Definition = {
    "Type": "Pass",
    "Parameters": {"index.$": "$.index", "error.$": "$.caught.Error"},
    "End": True,
}


def function_task(function: str, payload: Definition) -> Definition:
    """A call of the Runner, Planner or Reducer function."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"${{{function}Function}}", "Payload": payload},
        "OutputPath": "$.Payload",
        "Retry": [dict(_SERVICE_FAULTS), *([] if function == "Runner" else [dict(_OWN_FAULTS)])],
    }


def container_task(compute: Compute, task: Definition, *, tries: bool = False) -> Definition:
    """A run of the runner's container, which answers by the task's token.

    What the container runs is `task`, with the state's input; both reach it by its environment, which is limited
    to 8,192 characters, so that the input must only point to what may be large (`fanfold.handlers.container`).
    """
    size = {"Cpu": str(compute.cpu), "Memory": str(compute.memory)} if compute.cpu is not None else {}
    image = compute.image
    definition = "${RunnerTaskDefinition}" if image is None else "${StackPrefix}" + image_name(image)
    environment = [
        {"Name": "FANFOLD_TASK", "Value": json.dumps(task)},
        {"Name": "FANFOLD_TASK_INPUT", "Value.$": "States.JsonToString($)"},
        {"Name": "FANFOLD_TASK_TOKEN", "Value.$": "$$.Task.Token"},
    ]
    if tries:
        environment.append({"Name": "FANFOLD_TASK_TRIES", "Value.$": "States.Format('{}', $$.State.RetryCount)"})
    if compute.timeout_sec is not None:
        environment.append({"Name": "FANFOLD_TASK_SECONDS", "Value": f"{compute.timeout_sec:g}"})
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::ecs:runTask.waitForTaskToken",
        "HeartbeatSeconds": HEARTBEAT_SECONDS,
        "Parameters": {
            "Cluster": "${EcsCluster}",
            "TaskDefinition": definition,
            "LaunchType": "FARGATE",
            "PropagateTags": "TASK_DEFINITION",
            "NetworkConfiguration": {
                "AwsvpcConfiguration": {
                    "Subnets.$": "States.StringSplit('${EcsSubnets}', ',')",
                    "SecurityGroups.$": "States.StringSplit('${EcsSecurityGroups}', ',')",
                    "AssignPublicIp": "${EcsAssignPublicIp}",
                }
            },
            "Overrides": {**size, "ContainerOverrides": [{"Name": CONTAINER, "Environment": environment}]},
        },
        "Retry": [dict(_ECS_FAULTS)],
    }


def caught(following: str) -> Definition:
    """What ``Catch`` holds for every error of a task, which is told to the state that follows."""
    return {"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Next": following}


def several_items(step: str, child: str, failed: str) -> dict[str, Definition]:
    """The states of a task that runs several items, and goes on in another where its time is over.

    A task that ends without an answer is tried again; it goes on behind what is already written.
    """
    item, more, done = f"{step}.item", f"{step}.item more?", f"{step}.item done"
    given = {"args.$": "$.args", "fan.$": "$.fan", "index.$": "$.index", "from.$": "$.from"}
    task = function_task("Runner", {"task": "batch", "dag": child, "tries.$": "$$.State.RetryCount", **given})
    task["Retry"].append({"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 2})
    return {
        item: task | {"Catch": [caught(failed)], "Next": more},
        more: {
            "Type": "Choice",
            "Choices": [{"Variable": "$.left", "BooleanEquals": True, "Next": item}],
            "Default": done,
        },
        done: {"Type": "Succeed"},
    }


def distributed(map_state: Definition, execution: str) -> Definition:
    """A Map whose items are executions of their own."""
    config = {"Mode": "DISTRIBUTED", "ExecutionType": execution}
    return map_state | {"ItemProcessor": map_state["ItemProcessor"] | {"ProcessorConfig": config}}


def items_from_s3(map_state: Definition) -> Definition:
    """A DISTRIBUTED Map that reads its items from the planner's object and leaves what they give back in S3."""
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket.$": "$.fan.bucket", "Key.$": "$.fan.batches"},
    }
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "Parameters": {"Bucket.$": "$.fan.bucket", "Prefix.$": "$.fan.maps"},
    }
    others = {key: value for key, value in map_state.items() if key != "ItemsPath"}
    return others | {"ItemReader": reader, "ResultWriter": writer}


def machine_task(machine: str, child_input: Definition) -> Definition:
    """A run of another state machine, whose record is the state's output."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {
            "StateMachineArn": "${StateMachineArnPrefix}" + machine,
            "Name.$": "States.Format('{}-{}-{}', $.fan.name, $.index, $$.State.RetryCount)",
            "Input": child_input,
        },
        "OutputPath": "$.Output.record",
        "Retry": [dict(_STATES_FAULTS)],
    }


def retry_marks(retry: RetryPolicy | None) -> Definition:
    """What a child is told of its step's retries, so that it knows whether a failure is the last word."""
    return {} if retry is None else {"tries.$": "$$.State.RetryCount", **retry_limits(retry)}


def retry_limits(retry: RetryPolicy | None) -> Definition:
    """The part of `retry_marks` that is the same at every try."""
    return {} if retry is None else {"retry": {"limit": retry.limit, "exitCodes": list(retry.exit_codes)}}


def retries(retry: RetryPolicy | None) -> list[Definition]:
    """A step's ``retryPolicy`` as native retries: the name of a child's error carries its exit code.

    1 is the code of every step whose child failed, so a list with 1 matches any failure (observed:
    fail_retry_exitcode_match).
    """
    if retry is None or retry.limit == 0:
        return []
    any_code = not retry.exit_codes or 1 in retry.exit_codes
    return [
        {
            "ErrorEquals": ["States.ALL"] if any_code else [f"ExitCode{code}" for code in retry.exit_codes],
            "IntervalSeconds": max(1, math.ceil(retry.interval_sec)),
            "MaxAttempts": retry.limit,
            "BackoffRate": retry.backoff,
            **({} if retry.max_interval_sec is None else {"MaxDelaySeconds": _max_delay(retry)}),
        }
    ]


def _max_delay(retry: RetryPolicy) -> int:
    """``MaxDelaySeconds``, which must be greater than ``IntervalSeconds``."""
    return max(math.ceil(retry.max_interval_sec or 0), math.ceil(retry.interval_sec) + 1, 2)
