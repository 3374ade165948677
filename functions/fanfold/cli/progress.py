"""What the terminal shows of a run, kept up to date by its events. Knows nothing of how it is drawn."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from fanfold.dag.values import as_text
from fanfold.run.events import RunEvent


@dataclass
class FanOut:
    """The counts of one ``parallel`` step (with those of its children's below it)."""

    total: int
    running: set[tuple[str, int]] = field(default_factory=set)
    succeeded: int = 0
    failed: int = 0
    other: int = 0

    @property
    def finished(self) -> int:
        """Items that have ended."""
        return self.succeeded + self.failed + self.other


@dataclass
class StepLine:
    """One line: a step of the DAG that was started, or all steps of one name among its children's fan-outs."""

    name: str
    depth: int
    started: float
    status: str = "running"
    seconds: float | None = None
    error: str | None = None
    fan_out: FanOut | None = None


@dataclass(frozen=True)
class Failure:
    """A step that failed, and in which DAG, and for which item."""

    dag: str
    step: str
    item: str | None
    error: str
    stderr_tail: str
    log: str | None


class Progress:
    """See the module. Its observer is safe to call from several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lines: dict[str, StepLine] = {}
        """By step, or for fan-outs within children by their path of step names."""
        self._failures: dict[tuple[str, str | None], RunEvent] = {}
        self._failed_items: set[str] = set()
        self._items: dict[str, str] = {}
        """How an item is called, by its child run's id."""

    def observe(self, event: RunEvent) -> None:
        """Take an event in."""
        with self.lock:
            if event.kind in ("item-started", "item-finished"):
                self._observe_item(event)
            elif event.step is not None:
                self._observe_step(event)

    def _key(self, event: RunEvent) -> str:
        """The step's path: ``<root>/each/3`` and ``inner`` → ``each/inner``."""
        parts = event.run.split("/")
        return "/".join([*parts[1::2], event.step or ""])

    def _observe_item(self, event: RunEvent) -> None:
        line = self.lines.get(self._key(event))
        if line is None or line.fan_out is None or event.index is None:
            return
        item = (event.run, event.index)
        if event.kind == "item-started":
            line.fan_out.running.add(item)
            self._items[f"{event.run}/{event.step}/{event.index}"] = as_text(event.parameters)
            return
        line.fan_out.running.discard(item)
        if event.status in ("success", "partial"):
            line.fan_out.succeeded += 1
        elif event.status == "failed":
            line.fan_out.failed += 1
            self._failed_items.add(f"{event.run}/{event.step}/{event.index}")
        else:
            line.fan_out.other += 1

    def _observe_step(self, event: RunEvent) -> None:
        key = self._key(event)
        if event.kind == "fan-out-started":
            line = self.lines.setdefault(key, StepLine(event.step or "", event.depth, time.monotonic()))
            line.fan_out = line.fan_out or FanOut(0)
            line.fan_out.total += event.total or 0
            return
        if event.kind == "step-finished" and event.status == "failed":
            self._failures[event.run, event.step] = event
        if event.depth > 0:
            return
        if event.kind == "step-started":
            self.lines[key] = StepLine(event.step or "", 0, time.monotonic())
            return
        line = self.lines.setdefault(key, StepLine(event.step or "", 0, time.monotonic()))
        line.status = event.status or ""
        line.seconds = event.seconds
        line.error = event.error

    def failures(self) -> list[Failure]:
        """What failed, a child's step before the step that called it; of these only where the fault lies."""
        with self.lock:
            events = [e for e in self._failures.values() if e.depth == 0 or e.run in self._failed_items]
            parts = [event.run.split("/") for event in events]
            callers = {"/".join(run[: end + 1]) for run in parts for end in range(1, len(run), 2)}
            return [
                Failure(
                    dag=event.dag,
                    step=event.step or "",
                    item=self._items.get(event.run),
                    error=event.error or "failed",
                    stderr_tail=event.stderr_tail,
                    log=event.log,
                )
                for event in events
                if f"{event.run}/{event.step}" not in callers
            ]
