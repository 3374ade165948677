"""Executions: their names, and the end of one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


MAX_NAME = 80
"""Characters of an execution's name (Step Functions, *StartExecution*)."""

_RETRY = re.compile(r"(.+)_r([0-9]+)")


def execution_name(run: str, attempt: int) -> str:
    """What the execution of an attempt of a run is called.

    A run that an EventBridge rule started is called by two UUIDs, 73 characters: seven are left. Raises ValueError
    where the name would be too long.
    """
    name = run if attempt == 1 else f"{run}_r{attempt}"
    if len(name) > MAX_NAME:
        raise ValueError(f"{name!r} has {len(name)} characters; the name of an execution may have {MAX_NAME}")
    return name


def is_run_name(name: str) -> bool:
    """Whether a run may be called so: 1 to 64 letters, digits, ``-`` and ``_``, and not as a retry of another is."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is not None and not _RETRY.fullmatch(name)


def run_of_execution(name: str) -> tuple[str, int]:
    """The inverse of `execution_name`: the run and the attempt."""
    retry = _RETRY.fullmatch(name)
    return (name, 1) if retry is None else (retry[1], int(retry[2]))


def poll_execution(
    client: SFNClient, arn: str, seconds: float = 0.005, pause: Callable[[float], object] = time.sleep
) -> dict[str, Any]:
    """Wait until an execution has ended, looking every so many `seconds`; what DescribeExecution says of it."""
    while True:
        described = client.describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return dict(described)
        pause(seconds)
