"""The runner: everything that needs a shell, whether a segment, an item's child DAG or a plan with ``$(…)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.handlers import tasks
from fanfold.handlers.environment import runtime_of
from fanfold.run.runtime import Runtime

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_TASKS = {"segment": tasks.segment, "plan": tasks.plan, "item": tasks.item, "batch": tasks.batch, "lost": tasks.lost}


def handle(event: dict[str, Any], context: LambdaContext, runtime: Runtime | None = None) -> dict[str, Any]:
    """``{"task": "segment" | "plan" | "item" | "batch" | "lost", …}`` → the next state's input."""
    return _TASKS[event["task"]](runtime or runtime_of(context, event), event)
