"""What a run tells while it goes on: one event for each thing that starts or ends.

The handlers emit them: on AWS into the structured log, locally into the live view of the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fanfold.dag.model import Json

EventKind = Literal[
    "run-started",
    "step-started",
    "step-retried",
    "step-finished",
    "fan-out-started",
    "item-started",
    "item-finished",
    "item-retried",
    "run-finished",
]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that started or ended in a run."""

    kind: EventKind
    run: str
    """The run this belongs to: the root's id, or ``<root>/<step>/<index>`` for a child's."""
    dag: str
    depth: int
    """0 for the DAG that was started, 1 for its children, and so on."""
    step: str | None = None
    index: int | None = None
    """Of an item: its place, from 0, among the items that run (duplicates dropped)."""
    parameters: Json = None
    """Of an item: as in the document."""
    total: int | None = None
    """Of a fan-out: how many items will run."""
    max_concurrent: int | None = None
    status: str | None = None
    """Of what finished: success, failed, skipped, cancelled or partial."""
    error: str | None = None
    exit_code: int | None = None
    stderr_tail: str = ""
    """The last lines of a failed step's stderr."""
    log: str | None = None
    """Where the whole log lies."""
    seconds: float | None = None
    """How long it took, of what finished."""


Observer = Callable[[RunEvent], None]
"""Is called from several threads."""


def ignore(event: RunEvent) -> None:
    """The observer that looks away."""
