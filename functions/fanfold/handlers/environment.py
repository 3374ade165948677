"""What the handlers read from a Lambda function's environment. Built at the first call and kept."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.run.events import RunEvent
from fanfold.run.runtime import Runtime
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.utilities.typing import LambdaContext

FOLDER = Path("/tmp/fanfold")  # noqa: S108 - a Lambda function may write nowhere else


@lru_cache(maxsize=1)
def logger() -> Logger:
    """Structured logs, one JSON object a line."""
    from aws_lambda_powertools import Logger

    return Logger(service="fanfold")


def runtime_of(context: LambdaContext) -> Runtime:
    """The runtime of one call."""
    return replace(base_runtime(), remaining=lambda: context.get_remaining_time_in_millis() / 1000)


@lru_cache(maxsize=1)
def base_runtime() -> Runtime:
    """What every call of this process shares."""
    import boto3

    folder = Path(os.environ.get("FANFOLD_FOLDER", FOLDER))
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return Runtime(
        store=ObjectStore(boto3.client("s3"), os.environ["FANFOLD_RUN_BUCKET"]),
        log_folder=folder / "logs",
        work_folder=folder / "work",
        base_env=dict(os.environ),
        observer=log_event,
        carries_files=True,
    )


def log_event(event: RunEvent) -> None:
    """Write an event of a run as one structured line; a failure as an error."""
    fields: dict[str, Any] = {name: value for name, value in asdict(event).items() if value not in (None, "")}
    fields.pop("parameters", None)
    write = logger().error if event.status == "failed" else logger().info
    write(event.kind, extra=fields)
