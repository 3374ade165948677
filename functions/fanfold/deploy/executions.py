"""The end of an execution."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def poll_execution(
    client: SFNClient, arn: str, seconds: float = 0.005, pause: Callable[[float], object] = time.sleep
) -> dict[str, Any]:
    """Wait until an execution has ended, looking every so many `seconds`; what DescribeExecution says of it."""
    while True:
        described = client.describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return dict(described)
        pause(seconds)
