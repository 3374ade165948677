"""What the handlers read from a Lambda function's environment. Built at the first call and kept."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanfold.deploy.clients import Clients
from fanfold.handlers.metrics import count_event
from fanfold.run.events import RunEvent
from fanfold.run.runtime import Runtime
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.utilities.typing import LambdaContext

STOP_POLL_SECONDS = 2.0
"""Between two looks whether a run is to stop."""
FOLDER = Path("/tmp/fanfold")  # noqa: S108 - a Lambda function may write nowhere else


@lru_cache(maxsize=1)
def logger() -> Logger:
    """Structured logs, one JSON object a line."""
    from aws_lambda_powertools import Logger

    return Logger(service="fanfold")


def runtime_of(context: LambdaContext, event: dict[str, Any]) -> Runtime:
    """The runtime of one call, of which every line of the log tells what it is for."""
    _label_logs(event, context.aws_request_id)
    return replace(base_runtime(), remaining=lambda: context.get_remaining_time_in_millis() / 1000)


def _label_logs(event: dict[str, Any], request: str) -> None:
    scope = event.get("scope") or event.get("state", {}).get("scope") or {}
    fan = event.get("fan") or scope.get("fan") or {}
    run = fan.get("run") or scope.get("run") or {}
    labels = {
        "function_request_id": request,
        "task": event.get("task"),
        "root": run.get("root") or event.get("execution"),
        "run": run.get("id") or event.get("execution"),
        "attempt": run.get("attempt", 1),
        "step": event.get("step") or fan.get("step"),
        "item": event.get("index"),
        "tries": event.get("tries"),
    }
    logger().structure_logs(append=False, **{name: value for name, value in labels.items() if value is not None})


@lru_cache(maxsize=1)
def base_runtime() -> Runtime:
    """What every call of this process shares."""
    folder = Path(os.environ.get("FANFOLD_FOLDER", FOLDER))
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return Runtime(
        store=ObjectStore(Clients().s3, os.environ["FANFOLD_RUN_BUCKET"]),
        log_folder=folder / "logs",
        work_folder=folder / "work",
        base_env=dict(os.environ),
        observer=log_event,
        carries_files=True,
        tell_line=log_line,
        log_place=_log_place(),
        stop_poll_seconds=STOP_POLL_SECONDS,
    )


def _log_place() -> str | None:
    """The log group, and the stream where that is known."""
    places = (os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME"), os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"))
    return ":".join(filter(None, places)) or os.environ.get("FANFOLD_LOG_GROUP")


def log_line(line: dict[str, Any]) -> None:
    """Write a line of a step's output as a structured one: not as the message, where JSON would be taken apart."""
    logger().info("output", extra=line)


def log_event(event: RunEvent) -> None:
    """Write an event of a run as one structured line, a failure as an error, and count it."""
    fields: dict[str, Any] = {name: value for name, value in asdict(event).items() if value not in (None, "")}
    fields.pop("parameters", None)
    if "index" in fields:
        fields["item"] = fields.pop("index")
    write = logger().error if event.status == "failed" else logger().info
    write(event.kind, extra=fields | {"root": event.run.partition("/")[0]})
    count_event(event)
