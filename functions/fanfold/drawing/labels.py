"""What both forms of a drawing share: the labels of steps and the colours of outcomes."""

from __future__ import annotations

from typing import Any

from fanfold.dag.model import Step

Record = dict[str, Any]

COLOURS = {
    "success": "#2da44e",
    "failed": "#cf222e",
    "partial": "#bf8700",
    "skipped": "#8c959f",
    "cancelled": "#8c959f",
    "not_started": "#d0d7de",
}
"""By status."""


def status_of(step: Step, record: Record | None) -> str | None:
    """How a step ended in a run, if there was one."""
    entry = (record or {}).get("steps", {}).get(step.name)
    return None if entry is None else str(entry["status"])


def detail_of(step: Step, record: Record | None) -> str:
    """The second line of a step that calls a child DAG: which, how many at a time, and how many succeeded."""
    if step.run is None:
        return ""
    text = step.run if step.parallel is None else f"{step.run} ×{step.parallel.max_concurrent} at a time"
    document = (record or {}).get("steps", {}).get(step.name, {}).get("document", {})
    if "summary" in document:
        text += f", {document['summary']['succeeded']} of {document['summary']['total']} succeeded"
    return text
