"""The planner: what a ``parallel`` or ``run`` step calls its child DAG with, and a container's input. No shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.handlers import tasks
from fanfold.handlers.environment import runtime_of
from fanfold.run.runtime import Runtime

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


_TASKS = {"plan": tasks.plan, "handOver": tasks.hand_over}


def handle(event: dict[str, Any], context: LambdaContext, runtime: Runtime | None = None) -> dict[str, Any]:
    """``{"task": "plan", …}`` → ``{"scope", "items", "fan"}``; ``{"task": "handOver", …}`` → ``{"payload"}``."""
    return _TASKS[event["task"]](runtime or runtime_of(context, event), event)
