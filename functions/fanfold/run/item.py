"""One item of a leaf child: the whole child DAG in one task (docs/architecture.md)."""

from __future__ import annotations

from functools import cache
from typing import Any

from fanfold.dag.model import Dag
from fanfold.run.lifecycle import begin, finish
from fanfold.run.runtime import Runtime
from fanfold.run.segment import run_segment
from fanfold.run.work_folder import work_folder


class ItemFailed(Exception):
    """An item's child run failed. Its outcome is in the store."""


@cache
def item_failed(exit_code: int) -> type[ItemFailed]:
    """The class of a failure with this exit code: for AWS Lambda an error's name, which ``Retry`` asks for, is that."""
    return type(f"ExitCode{exit_code}", (ItemFailed,), {})


def run_item(runtime: Runtime, dag: Dag, payload: dict[str, Any]) -> dict[str, Any]:
    """Run the child; its record, or ``{"index", "spilled": true}`` where that is over the item's budget.

    Raises ItemFailed when the child failed, so that the definition's ``Retry`` and ``Catch`` see it.
    """
    result = run_child(runtime, dag, payload)
    record: dict[str, Any] = result["record"]
    if result["status"] == "failed":
        raise item_failed(int(result.get("exitCode", 1)))(result.get("error", "failed"))
    return record


def run_child(runtime: Runtime, dag: Dag, payload: dict[str, Any]) -> dict[str, Any]:
    """Run the child; ``{"status", "error"?, "exitCode"?, "record"}`` (see `fanfold.run.lifecycle.finish`)."""
    context = begin(runtime, dag, payload, "", payload.get("dag", ""))
    with work_folder(context, is_last=True):
        if context.scope.status is None:
            run_segment(context, [step.name for step in dag.steps])
        return finish(context)
