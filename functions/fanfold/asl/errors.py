"""The names of errors that a state can end with, by what it calls, and who says so: the one table of them.

``ErrorEquals`` compares exact names, so that one that nothing raises is a retry that never happens. botocore's names
are those of the operation's ``errors`` in its service model; the table holds the ones of Lambda and ECS that the models
name, and a test compares. An integration writes its service's name before them. The names of Step Functions' own
integration come from an older SDK, in which they end with ``Exception``; AWS's page shows one without.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ALL = "States.ALL"
DATA_LIMIT, RUNTIME = "States.DataLimitExceeded", "States.Runtime"
"""What `ALL` does not match (Step Functions, *Handling errors*); the first can be caught by its own name."""

EXIT_CODE = re.compile(r"ExitCode\d+")
"""What the runner's function and its container raise for a child that failed (`fanfold.run.item`)."""

LAMBDA = "lambda:invoke"
MACHINE = "states:startExecution.sync:2"
CONTAINER = "ecs:runTask.waitForTaskToken"
MAP, DISTRIBUTED_MAP = "Map", "DISTRIBUTED Map"
READ_ITEMS, WRITE_RESULTS = "s3:getObject", "s3:putObject"

LAMBDA_THROTTLED = ("Lambda.TooManyRequestsException",)
"""The call was refused before the function ran."""
LAMBDA_FAULTS = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
)
"""Of the service or on the way to it: the function may have run."""
LAMBDA_ASLEEP = (
    "Lambda.ResourceNotReadyException",
    "Lambda.ResourceConflictException",
    "Lambda.CodeArtifactUserPendingException",
)
"""A function that was idle for weeks, or was just changed, is being made ready; it did not run."""
MACHINE_FAULTS = (
    "StepFunctions.ExecutionLimitExceeded",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.ThrottlingException",
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.SdkClientException",
)
CONTAINER_FAULTS = (
    "ECS.AmazonECSException",
    "ECS.ServerException",
    "ECS.ThrottlingException",
    "ECS.SdkClientException",
)

REFUSED = frozenset({*LAMBDA_THROTTLED, *LAMBDA_ASLEEP})
"""Errors after which it is sure that nothing has run."""

_HANDLING = "Step Functions, Handling errors in workflows"
_TASK = {
    _HANDLING: (
        ALL, DATA_LIMIT, "States.HeartbeatTimeout", "States.IntrinsicFailure",
        "States.ParameterPathFailure", "States.Permissions", "States.ResultPathMatchFailure", "States.TaskFailed",
        "States.Timeout",
    )
}  # fmt: skip

RAISED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    LAMBDA: _TASK
    | {
        "Step Functions, Handle transient Lambda service exceptions": (
            *LAMBDA_FAULTS, *LAMBDA_THROTTLED, "Lambda.Unknown",
        ),
        "Lambda, Function states; botocore, lambda, Invoke": LAMBDA_ASLEEP,
        "botocore, lambda, Invoke": (
            "Lambda.EC2ThrottledException", "Lambda.EC2UnexpectedException", "Lambda.ENILimitReachedException",
            "Lambda.ENINotReadyException", "Lambda.InvalidParameterValueException",
            "Lambda.InvalidRequestContentException", "Lambda.RequestTooLargeException",
            "Lambda.ResourceNotFoundException", "Lambda.SnapStartNotReadyException",
            "Lambda.SubnetIPAddressLimitReachedException",
        ),
    },
    MACHINE: _TASK
    | {
        "Step Functions, Start a new execution from a running execution": ("StepFunctions.ExecutionLimitExceeded",),
        "botocore, stepfunctions, StartExecution": (
            "StepFunctions.ExecutionLimitExceededException", "StepFunctions.ExecutionAlreadyExistsException",
            "StepFunctions.StateMachineDoesNotExistException", "StepFunctions.StateMachineDeletingException",
        ),
        "Step Functions API Reference, Common Errors": ("StepFunctions.ThrottlingException",),
        "AWS SDK for Java 1, its general exceptions": (
            "StepFunctions.AWSStepFunctionsException", "StepFunctions.SdkClientException",
        ),
    },
    CONTAINER: _TASK
    | {
        "botocore, ecs, RunTask": (
            "ECS.AccessDeniedException", "ECS.BlockedException", "ECS.ClientException", "ECS.ClusterNotFoundException",
            "ECS.ConflictException", "ECS.InvalidParameterException", "ECS.ServerException",
        ),
        "Amazon ECS API Reference, Common Errors": ("ECS.ThrottlingException",),
        "AWS SDK for Java 1, its general exceptions": ("ECS.AmazonECSException", "ECS.SdkClientException"),
    },
    MAP: {_HANDLING: (ALL, DATA_LIMIT, "States.ParameterPathFailure", "States.IntrinsicFailure")},
    DISTRIBUTED_MAP: {
        _HANDLING: (
            ALL, DATA_LIMIT, "States.ExceedToleratedFailureThreshold", "States.IntrinsicFailure",
            "States.ItemReaderFailed", "States.ParameterPathFailure", "States.Permissions",
            "States.ResultWriterFailed",
        )
    },
    "Parallel": {_HANDLING: (ALL, "States.BranchFailed", DATA_LIMIT)},
}  # fmt: skip
"""By integration (or kind of state): source → names."""


def unknown(kind: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that a state of this kind (a key of `RAISED`) cannot end with."""
    raised = {name for group in RAISED.get(kind, {}).values() for name in group}
    own = kind in (LAMBDA, CONTAINER)
    return [name for name in names if name not in raised and not (own and EXIT_CODE.fullmatch(name))]
