"""The reducer: the items' records → the document ``{"summary", "results", "outputs"}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.handlers import tasks
from fanfold.handlers.environment import runtime_of
from fanfold.run.runtime import Runtime

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handle(event: dict[str, Any], context: LambdaContext, runtime: Runtime | None = None) -> dict[str, Any]:
    """``{"task": "reduce", …}`` → the scope, or at the end of a run its outcome."""
    return tasks.reduce(runtime or runtime_of(context, event), event)
