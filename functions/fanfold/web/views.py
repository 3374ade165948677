"""What the page shows of a run, as plain data: the same for the first answer and for every update of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fanfold.history.run_data import ITEM_STATUSES, RunData, StepState
from fanfold.history.run_store import RunSummary
from fanfold.web.addresses import RunPlace

CODES = {
    "failed": "f",
    "cancelled": "c",
    "running": "r",
    "waiting": "w",
    "partial": "p",
    "skipped": "k",
    "success": "s",
}
"""A letter for each status of an item: ten thousand of them are ten kilobytes."""
RATE_SECONDS = 20.0
"""The throughput is that of so many seconds."""

Mark = Mapping[str, Any]


@dataclass(frozen=True)
class RunView:
    """A run, or the child run of an item, at one moment."""

    place: RunPlace
    dag: str
    status: str
    started: float
    seconds: float | None
    attempt: int
    params: Any
    error: str | None
    file: str | None
    steps: list[StepState]
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    """For each step with children: what of each item is small."""
    now: float = field(default_factory=time.time)

    @property
    def is_running(self) -> bool:
        return self.status == "running"

    @property
    def fan_outs(self) -> list[StepState]:
        """The steps with children whose items are known."""
        return [step for step in self.steps if step.total is not None]

    def step(self, name: str) -> StepState | None:
        return next((step for step in self.steps if step.name == name), None)

    def state(self) -> dict[str, Any]:
        """What the script of the page needs to bring it up to date."""
        return {
            "run": {"status": self.status, "seconds": self.seconds, "attempt": self.attempt, "error": self.error},
            "steps": {step.name: self._step(step) for step in self.steps},
            "codes": {name: codes(marks) for name, marks in self.marks.items()},
        }

    def _step(self, step: StepState) -> dict[str, Any]:
        told: dict[str, Any] = {"status": step.status, "started": step.started, "seconds": step.seconds}
        if step.total is not None:
            told["total"], told["counts"] = step.total, dict(step.counts)
            told["speed"] = speed_in_words(step, self.marks.get(step.name, ()), self.now)
        return told


def codes(marks: Sequence[Mark]) -> str:
    """The statuses of all items, a letter each."""
    return "".join(CODES[mark["status"]] for mark in marks)


def view_of(summary: RunSummary, data: RunData, place: RunPlace) -> RunView:
    """The run `summary` is of, or a child run of it; `data` are those of the run at `place`."""
    begun, steps = data.begun() or {}, data.steps()
    if not place.items:
        status, seconds, error = summary.status, summary.seconds, summary.error
    else:
        result = data.result() or {}
        lost = "running" if summary.is_running else "failed"
        status, seconds, error = result.get("status", lost), result.get("seconds"), result.get("error")
    if status != "running":
        steps = [_ended(step) for step in steps]
    marks: dict[str, list[Mark]] = {step.name: list(data.marks(step)) for step in steps if step.total is not None}
    if status != "running":  # what was noted last may not be how it ended
        steps = [_counted(step, marks[step.name]) if step.name in marks else step for step in steps]
    return RunView(
        place,
        begun.get("dag", summary.dag),
        status,
        begun.get("started", summary.started),
        seconds,
        summary.attempt,
        begun.get("params"),
        error,
        begun.get("file"),
        steps,
        marks,
    )


def _ended(step: StepState) -> StepState:
    """A step of a run that is over: it neither runs nor waits, whatever it noted last."""
    if step.status not in ("running", "waiting"):
        return step
    return replace(step, status="failed" if step.status == "running" else "not_started")


def _counted(step: StepState, marks: Sequence[Mark]) -> StepState:
    return replace(step, counts=Counter(mark["status"] for mark in marks))


SHOWN_FAILURES = 10
"""Items of a step that are named."""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that failed."""

    index: int
    label: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed, or some of whose items did."""

    step: StepState
    place: RunPlace
    first: list[FailedItem]
    more: int
    """Items that failed besides."""


def failures(view: RunView, labels_of: Callable[[str], Sequence[str]]) -> Iterator[Failure]:
    """What failed of a run; `labels_of` tells what the items of a step are called."""
    for step in view.steps:
        marks = view.marks.get(step.name, [])
        failed = [index for index, mark in enumerate(marks) if mark["status"] == "failed"]
        if step.status != "failed" and not failed:
            continue
        labels = labels_of(step.name) if failed else ()
        first = [FailedItem(index, label_of(labels, index), marks[index].get("error"))
                 for index in failed[:SHOWN_FAILURES]]  # fmt: skip
        yield Failure(step, view.place.of_step(step.name), first, len(failed) - len(first))


def label_of(labels: Sequence[str], index: int) -> str:
    """What an item is called; empty where that is not known."""
    return labels[index] if index < len(labels) else ""


def speed_in_words(step: StepState, marks: Sequence[Mark], now: float) -> str:
    """``12.5 items/s, 40 s left``; empty of a step that does not run."""
    left = step.counts.get("running", 0) + step.counts.get("waiting", 0)
    if step.status != "running" or not left:
        return ""
    ended = [mark["started"] + mark["seconds"] for mark in marks if "seconds" in mark and "started" in mark]
    recent = [end for end in ended if end > now - RATE_SECONDS]
    span = min(RATE_SECONDS, now - (step.started or now))
    if not recent or span <= 0:
        return ""
    rate = len(recent) / span
    shown = f"{rate:.1f} items/s" if rate >= 1 else f"{rate * 60:.1f} items/min"
    return f"{shown}, about {in_words(left / rate)} left"


def in_words(seconds: float | None) -> str:
    """``1 h 02 min``, ``3 min 04 s``, ``5.2 s`` or ``40 ms``; empty when it is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


@dataclass(frozen=True, slots=True)
class Cell:
    """An item in the grid."""

    index: int
    status: str
    label: str


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a fan-out that are asked for."""

    cells: list[Cell]
    found: int
    """Items that the filter lets through."""
    page: int
    pages: int
    by: str
    query: str
    status: str

    @property
    def is_whole(self) -> bool:
        """Whether every item has its cell."""
        return self.pages <= 1 and not self.query and not self.status


PAGE_CELLS = 1000


def grid_of(
    marks: Sequence[Mark],
    labels: Sequence[str],
    *,
    by: str = "failed",
    query: str = "",
    status: str = "",
    page: int = 1,
) -> Grid:
    """The cells of a fan-out: `by` is ``failed`` (first) or ``item``; `query` is looked for in the labels of items."""
    wanted = query.casefold()
    cells = [
        Cell(index, mark["status"], label_of(labels, index))
        for index, mark in enumerate(marks)
        if status in ("", mark["status"])
        and (not wanted or wanted in label_of(labels, index).casefold() or wanted == f"#{index}")
    ]
    if by == "failed":
        cells.sort(key=lambda cell: ITEM_STATUSES.index(cell.status))
    pages = max(1, -(-len(cells) // PAGE_CELLS))
    page = min(max(1, page), pages)
    shown = cells[(page - 1) * PAGE_CELLS : page * PAGE_CELLS]
    return Grid(shown, len(cells), page, pages, by, query, status)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a timeline, in parts of its width from 0 to 100."""

    name: str
    status: str
    start: float
    width: float
    title: str
    lane: int = 0


def timeline(view: RunView) -> list[Bar]:
    """A bar for each step that has begun."""
    begun = [step for step in view.steps if step.started is not None]
    if not begun:
        return []
    first = min(step.started or 0 for step in begun)
    last = max((step.started or 0) + (_seconds(step, view.now)) for step in begun)
    return [
        _bar(step.name, step.status, step.started or 0, _seconds(step, view.now), first, last)
        for step in begun
    ]  # fmt: skip


def _seconds(step: StepState, now: float) -> float:
    if step.seconds is not None:
        return step.seconds
    return max(0.0, now - (step.started or now)) if step.status == "running" else 0.0


def _bar(name: str, status: str, started: float, seconds: float, first: float, last: float, lane: int = 0) -> Bar:
    span = max(last - first, 0.001)
    start = min(100 * (started - first) / span, 99.6)
    width = min(max(100 * seconds / span, 0.4), 100 - start)
    return Bar(name, status, round(start, 2), round(width, 2), f"{name}: {status}, {in_words(seconds)}", lane)


MOST_LANES = 40
MOST_BARS = 3000


def lanes(marks: Sequence[Mark], labels: Sequence[str]) -> list[Bar]:
    """A bar for each item that has ended, those at the same time in lanes below each other."""
    ended = sorted(
        (mark["started"], index) for index, mark in enumerate(marks) if "started" in mark and "seconds" in mark
    )[:MOST_BARS]
    if not ended:
        return []
    first = ended[0][0]
    last = max(start + marks[index]["seconds"] for start, index in ended)
    free: list[float] = []
    bars = []
    for start, index in ended:
        end = start + marks[index]["seconds"]
        lane = next((place for place, until in enumerate(free) if until <= start + 0.0005), None)
        if lane is None:
            lane = len(free) if len(free) < MOST_LANES else min(range(len(free)), key=free.__getitem__)
            free += [0.0] * (lane + 1 - len(free))
        free[lane] = end
        bars.append(
            _bar(
                f"{index} {label_of(labels, index)}"[:80], marks[index]["status"], start, end - start, first, last, lane
            )
        )
    return bars
