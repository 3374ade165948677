"""Runs as they go on: looked at once for all who watch, and told to each as far as something has changed."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from anyio import sleep
from anyio.to_thread import run_sync

from fanfold.history.run_data import RunData
from fanfold.history.run_store import LogLine, LogReader, NoSuchRun
from fanfold.web.addresses import RunPlace
from fanfold.web.site import Site
from fanfold.web.views import RunView, view_of

KEPT = 16
"""Runs whose data are kept between two looks."""
QUIET_SECONDS = 15.0
"""After so long without news a comment is sent: a browser that is gone is noticed by it."""
MOST_LINES = 2000
"""Lines of a log that are shown at first."""
_AGAIN = "retry: 2000\n\n"
"""Milliseconds after which a browser asks again, when the stream has ended."""


class LiveRuns:
    """Views of runs, each at most so many seconds old."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._known: OrderedDict[RunPlace, _Known] = OrderedDict()

    def view(self, place: RunPlace, *, age: float = 0.0) -> RunView:
        """The run at `place` (its step does not matter), at most `age` seconds old. Raises NoSuchRun."""
        known = self._of(place.run)
        with known.lock:
            if known.view is None or time.monotonic() - known.at > age:
                known.view = self._look(place.run, known)
                known.at = time.monotonic()
            return known.view

    def data(self, place: RunPlace) -> RunData:
        """The data of the run at `place`. Raises NoSuchRun."""
        known = self._of(place.run)
        with known.lock:
            return self._data(place.run, known)

    def forget(self, root: str) -> None:
        """Something was done to this run: look at it, and at its children, anew."""
        with self._lock:
            for place in [place for place in self._known if place.root == root]:
                del self._known[place]

    def _of(self, place: RunPlace) -> _Known:
        with self._lock:
            known = self._known.setdefault(place, _Known())
            self._known.move_to_end(place)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return known

    def _data(self, place: RunPlace, known: _Known) -> RunData:
        if known.data is None:
            data = self._site.store.data(place.root)
            for step, index in place.items:
                data = data.child(step, index)
            if data.begun() is None:
                return data  # it may come to lie elsewhere (``histRetentionDays``)
            known.data = data
        return known.data

    def _look(self, place: RunPlace, known: _Known) -> RunView:
        summary = self._site.store.summary(place.root)
        return view_of(summary, self._data(place, known), place)


class _Known:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.data: RunData | None = None
        self.view: RunView | None = None
        self.at = 0.0


def event(name: str, data: object, number: int | None = None) -> str:
    """One server-sent event (HTML, *Server-sent events*)."""
    mark = "" if number is None else f"id: {number}\n"
    return f"{mark}event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def run_events(live: LiveRuns, place: RunPlace, seconds: float, *, once: bool) -> AsyncIterator[str]:
    """What has changed of a run, until it is over; with `once`, its state now, for a browser that asks again."""
    told: dict[str, Any] = {}
    quiet = 0.0
    yield _AGAIN
    while True:
        view = await run_sync(lambda: live.view(place, age=seconds / 2))
        state = view.state()
        news = _changes(told, state)
        if news:
            yield event("state", news)
            told, quiet = state, 0.0
        if not view.is_running:
            yield event("end", {})
            return
        if once:
            return
        quiet += seconds
        if quiet >= QUIET_SECONDS:
            yield ":\n\n"
            quiet = 0.0
        await sleep(seconds)


def _changes(told: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The parts of a state that are new."""
    changes: dict[str, Any] = {}
    for part, values in state.items():
        before = told.get(part, {})
        changed = {name: value for name, value in values.items() if name not in before or before[name] != value}
        if changed:
            changes[part] = values if part == "run" else changed
    return changes


async def log_events(
    live: LiveRuns, site: Site, place: RunPlace, index: int | None, seconds: float, known: int, *, once: bool
) -> AsyncIterator[str]:
    """The lines of a log behind the first `known`, as they come, until the run is over."""
    reader = await run_sync(lambda: open_log(site, place, index))
    yield _AGAIN
    count = 0
    while True:
        view = await run_sync(lambda: live.view(RunPlace(place.root), age=seconds))
        over = not view.is_running
        read, new = await run_sync(partial(read_lines, reader, last=over, skip=known - count))
        count += read
        if new:
            yield event("lines", [line_json(line) for line in new], count)
        if over:
            yield event("end", {})
            return
        if once:
            return
        await sleep(seconds)


def open_log(site: Site, place: RunPlace, index: int | None) -> LogReader:
    """The log of a step, or of one of its items. Raises NoSuchRun."""
    if place.step is None:
        raise NoSuchRun("a run has no log of its own")
    return site.store.log(place.root, place.step, index, place.items)


def read_lines(reader: LogReader, *, last: bool, skip: int = 0) -> tuple[int, list[LogLine]]:
    """How many lines have come, and of those behind the first `skip` the last that are shown."""
    kept: deque[LogLine] = deque(maxlen=MOST_LINES)
    count = 0
    for count, line in enumerate(reader.read(last=last), 1):
        if count > skip:
            kept.append(line)
    return count, list(kept)


def line_json(line: LogLine) -> dict[str, str]:
    """A line as the script of the page reads it."""
    return {"step": line.step, "stream": line.stream, "text": line.text}
