"""The task states that a definition is made of (Amazon States Language)."""

from __future__ import annotations

import json
import math
from typing import Any

from fanfold.asl import errors
from fanfold.asl.computes import image_name
from fanfold.dag.model import Compute, RetryPolicy

Definition = dict[str, Any]

HEARTBEAT_SECONDS = 300
"""How long a container may be silent, from the moment it is asked for: its start counts, with the image's download."""

CONTAINER = "runner"
"""The container's name in the task definition."""

FAULT_TRIES = 4
"""Further tries of a call that a service refused, or that got lost: few and far apart, as each is three events."""
ASLEEP_TRIES = 6
"""Further tries of a function that is being made ready, over nearly five minutes."""
OWN_TRIES = 3
"""Further tries of the planner and the reducer, which do the same when they are called again."""

_FAULTS: Definition = {
    "IntervalSeconds": 2,
    "MaxAttempts": FAULT_TRIES,
    "BackoffRate": 3,
    "MaxDelaySeconds": 30,
    "JitterStrategy": "FULL",
}
_LAMBDA_RETRY = {"ErrorEquals": [*errors.LAMBDA_THROTTLED, *errors.LAMBDA_FAULTS], **_FAULTS}
_ASLEEP_RETRY = {
    "ErrorEquals": list(errors.LAMBDA_ASLEEP),
    "IntervalSeconds": 15,
    "MaxAttempts": ASLEEP_TRIES,
    "BackoffRate": 2,
    "MaxDelaySeconds": 60,
}
_OWN_RETRY = {"ErrorEquals": [errors.ALL], "IntervalSeconds": 1, "MaxAttempts": OWN_TRIES, "BackoffRate": 2}
_MACHINE_RETRY = {"ErrorEquals": list(errors.MACHINE_FAULTS), **_FAULTS}
_CONTAINER_RETRY = {"ErrorEquals": list(errors.CONTAINER_FAULTS), **_FAULTS}

_EXPRESS_REFUSED = {"ErrorEquals": list(errors.LAMBDA_THROTTLED), **_FAULTS}
_EXPRESS_FAULT = {"ErrorEquals": list(errors.LAMBDA_FAULTS), "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}

ITEM_FAILED: Definition = {
    "Type": "Pass",
    "Parameters": {"index.$": "$.index", "error.$": "$.caught.Error"},
    "End": True,
}


def service(integration: str) -> str:
    """The ``Resource`` of a service integration; a partition takes only its own."""
    return "arn:${Partition}:states:::" + integration


def function_task(function: str, payload: Definition, *, of_item: bool = False) -> Definition:
    """A call of the Runner, Planner or Reducer function.

    One that runs items comes after others, so that its function is not asleep.
    """
    retry = [_LAMBDA_RETRY, *([] if of_item else [_ASLEEP_RETRY]), *([] if function == "Runner" else [_OWN_RETRY])]
    return {
        "Type": "Task",
        "Resource": service(errors.LAMBDA),
        "Parameters": {"FunctionName": f"${{{function}Function}}", "Payload": payload},
        "OutputPath": "$.Payload",
        "Retry": list(map(dict, retry)),
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
        "Resource": service(errors.CONTAINER),
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
        "Retry": [dict(_CONTAINER_RETRY)],
    }


def caught(following: str) -> list[Definition]:
    """``Catch`` for every error that can be caught, which is told to the state that follows."""
    return [
        {"ErrorEquals": [name], "ResultPath": "$.caught", "Next": following} for name in (errors.DATA_LIMIT, errors.ALL)
    ]


def several_items(item: str, more: str, done: str, child: str) -> dict[str, Definition]:
    """The states, so named, of a task that runs several items, and goes on in another where its time is over.

    A task that ends without an answer is tried again; it goes on behind what is already written.
    """
    given = {"args.$": "$.args", "fan.$": "$.fan", "index.$": "$.index", "from.$": "$.from"}
    task = function_task(
        "Runner", {"task": "batch", "dag": child, "tries.$": "$$.State.RetryCount", **given}, of_item=True
    )
    task["Retry"].append({"ErrorEquals": [errors.ALL], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 2})
    return {
        item: task | {"Next": more},
        more: {
            "Type": "Choice",
            "Choices": [{"Variable": "$.left", "BooleanEquals": True, "Next": item}],
            "Default": done,
        },
        done: {"Type": "Succeed"},
    }


def express_retries(retry: RetryPolicy | None, *, several: bool) -> list[Definition]:
    """The retries of a call that must end within an EXPRESS execution's time: fewer of those that run long again.

    A task with `several` items goes on behind what it had written, whatever ended it.
    """
    last = [_EXPRESS_FAULT | {"ErrorEquals": [errors.ALL]}] if several else [dict(_EXPRESS_FAULT), *retries(retry)]
    return [dict(_EXPRESS_REFUSED), *last]


def distributed(map_state: Definition, execution: str) -> Definition:
    """A Map whose items are executions of their own.

    None that ends badly ends the others: the reducer judges what an item without a record means for the step.
    """
    config = {"Mode": "DISTRIBUTED", "ExecutionType": execution}
    processor = map_state["ItemProcessor"] | {"ProcessorConfig": config}
    every = 100.0  # moto's grammar takes a percentage only with a point
    return map_state | {"ToleratedFailurePercentage": every, "ItemProcessor": processor}


def items_from_s3(map_state: Definition) -> Definition:
    """A DISTRIBUTED Map that reads its items from the planner's object and leaves what they give back in S3."""
    reader = {
        "Resource": service(errors.READ_ITEMS),
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket.$": "$.fan.bucket", "Key.$": "$.fan.batches"},
    }
    writer = {
        "Resource": service(errors.WRITE_RESULTS),
        "Parameters": {"Bucket.$": "$.fan.bucket", "Prefix.$": "$.fan.maps"},
    }
    others = {key: value for key, value in map_state.items() if key != "ItemsPath"}
    return others | {"ItemReader": reader, "ResultWriter": writer}


def machine_task(machine: str, child_input: Definition) -> Definition:
    """A run of another state machine, whose record is the state's output."""
    return {
        "Type": "Task",
        "Resource": service(errors.MACHINE),
        "Parameters": {
            "StateMachineArn": "${StateMachineArnPrefix}" + machine,
            # a redrive counts the tries from 0 again, and a name is not free for 90 days
            "Name.$": (
                "States.Format('{}-{}-{}-{}', $.fan.name, $.index, $$.Execution.RedriveCount, $$.State.RetryCount)"
            ),
            "Input": child_input,
        },
        "OutputPath": "$.Output.record",
        "Retry": [dict(_MACHINE_RETRY)],
    }


def retry_marks(retry: RetryPolicy | None) -> Definition:
    """What a child is told of its step's retries, so that it knows whether a failure is the last word."""
    return {} if retry is None else {"tries.$": "$$.State.RetryCount", **retry_limits(retry)}


def retry_limits(retry: RetryPolicy | None) -> Definition:
    """The part of `retry_marks` that is the same at every try."""
    return {} if retry is None else {"retry": {"limit": retry.limit, "exitCodes": list(retry.exit_codes)}}


def retries(retry: RetryPolicy | None, *, coded: bool = True) -> list[Definition]:
    """A step's ``retryPolicy`` as native retries: the name of a child's error carries its exit code.

    1 is the code of every step whose child failed, so a list with 1 matches any failure (observed:
    fail_retry_exitcode_match). The failure of a child's machine is not `coded`, so that no other code matches it.
    """
    if retry is None or retry.limit == 0:
        return []
    any_code = not retry.exit_codes or 1 in retry.exit_codes
    if not any_code and not coded:
        return []
    return [
        {
            "ErrorEquals": [errors.ALL] if any_code else [f"ExitCode{code}" for code in retry.exit_codes],
            "IntervalSeconds": max(1, math.ceil(retry.interval_sec)),
            "MaxAttempts": retry.limit,
            "BackoffRate": retry.backoff,
            **({} if retry.max_interval_sec is None else {"MaxDelaySeconds": _max_delay(retry)}),
        }
    ]


def _max_delay(retry: RetryPolicy) -> int:
    """``MaxDelaySeconds``, which must be greater than ``IntervalSeconds``."""
    return max(math.ceil(retry.max_interval_sec or 0), math.ceil(retry.interval_sec) + 1, 2)
