"""Executions: their names, and the end of one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


_RETRY = re.compile(r"(.+)_retry-([0-9]+)")


def execution_name(run: str, attempt: int) -> str:
    """What the execution of an attempt of a run is called."""
    return run if attempt == 1 else f"{run}_retry-{attempt}"


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
