"""The pages of runs, of their steps and items, and what keeps them up to date."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from fanfold.asl.stages import cut
from fanfold.dag.model import Dag
from fanfold.drawing.svg import as_svg
from fanfold.history.run_data import StepState
from fanfold.history.run_store import NoSuchRun
from fanfold.web.addresses import RunPlace, parse, whole_number
from fanfold.web.live import LiveRuns, log_events, open_log, read_lines, run_events
from fanfold.web.site import Site
from fanfold.web.views import Failure, RunView, failures, grid_of, lanes, timeline

ROWS = 100
"""Entries of a document on a page."""
KEPT_DAGS = 64
"""DAGs that runs are of, kept for their graphs."""
SHOWN_JSON = 512 * 1024
"""Bytes of a document that is shown as JSON; a larger one can be downloaded."""
_CHUNK = 256 * 1024


class RunPages:
    """See the module."""

    def __init__(self, site: Site, live: LiveRuns, render: Callable[..., HTMLResponse], *, streams: bool) -> None:
        self._site, self._live, self._render, self._streams = site, live, render, streams
        self._dags: dict[str, Dag] = {}
        """By the hash of the definition: a run is of the DAG as it was, however often it is looked at."""

    def answer(self, request: Request) -> Response:
        """What is asked of a run: the word behind its address says what."""
        try:
            place, word = parse(request.path_params["run"], request.path_params.get("rest", ""))
        except ValueError:
            raise NoSuchRun("the address is none of a run, a step or an item") from None
        ways: dict[str, Callable[[Request, RunPlace], Response]] = {
            "": self._page, "events": self._events, "failures": self._failures, "grid": self._grid,
            "lanes": self._lanes, "log": self._log_events, "log.txt": self._log_text, "document": self._document,
            "document.json": self._document_json,
        }  # fmt: skip
        if word not in ways:
            raise NoSuchRun(f"nothing is known by {word!r}")
        return ways[word](request, place)

    # ---- pages ---------------------------------------------------------------------------------------------------

    def _page(self, request: Request, place: RunPlace) -> Response:
        view = self._live.view(place, age=0.2) if self._has_begun(place) else None
        if place.step is not None:
            assert view is not None
            return self._step(request, place, view)
        if place.items:
            return self._item(request, place, view)
        assert view is not None
        return self._render(request, "run.html", **self._body(view))

    def _has_begun(self, place: RunPlace) -> bool:
        """Whether there is a run with steps of its own: an item's child may run whole in one task, and notes none."""
        return not place.items or place.step is not None or self._live.data(place).begun() is not None

    def _body(self, view: RunView) -> dict[str, Any]:
        """What the template of a run needs."""
        grids = {step.name: self._grid_values({}, view, step) for step in view.fan_outs}
        return {
            "view": view,
            "graph": self._graph(view),
            "bars": {bar.name: bar for bar in timeline(view)},
            "grids": grids,
            "failures": self._failed(view),
        }

    def _graph(self, view: RunView) -> Markup | None:
        dag = self._dag(view)
        if dag is None:
            return None
        record = {"steps": {step.name: {"status": step.status} for step in view.steps}}
        place = view.place
        return Markup(as_svg(dag, cut(dag), record, lambda step: place.of_step(step.name).address))  # noqa: S704 - escapes

    def _dag(self, view: RunView) -> Dag | None:
        """The DAG that a run is of; None where that is not known (yet)."""
        begun = self._live.data(view.place).begun()
        if begun is None:
            return None
        key = begun["definition"]
        if key not in self._dags:
            dag = self._site.store.dag(view.place.root, begun)
            if dag is None:
                return None
            while len(self._dags) >= KEPT_DAGS:
                self._dags.pop(next(iter(self._dags)), None)
            self._dags[key] = dag
        return self._dags[key]

    def _failures(self, request: Request, place: RunPlace) -> Response:
        view = self._live.view(place, age=0.5)
        return self._render(request, "_failures.html", failures=self._failed(view))

    def _failed(self, view: RunView) -> list[Failure]:
        return list(failures(view, self._live.data(view.place).labels))

    def _step(self, request: Request, place: RunPlace, view: RunView) -> Response:
        step = self._known_step(view, place)
        values: dict[str, Any] = {"view": view, "step": step, "place": place}
        if step.total is not None:
            values |= self._grid_values(request.query_params, view, step)
        else:
            values["log"] = self._log(view, place, step.status)
        values["value"] = self._live.data(place).value(step.name) if step.child is None else None
        return self._render(request, "step.html", **values)

    def _item(self, request: Request, place: RunPlace, view: RunView | None) -> Response:
        """An item: with the page of its child run, if that has steps with tasks of their own."""
        caller = place.caller
        assert caller is not None
        above = self._live.view(caller, age=0.5)
        step, index = self._known_step(above, caller), place.items[-1][1]
        item = self._live.data(caller).item(step, index)
        if item is None:
            raise NoSuchRun(f"the step {step.name!r} has no item {index}")
        values: dict[str, Any] = {"above": above, "step": step, "item": item, "place": place, "caller": caller}
        values["log"] = self._log(above, caller, item.status, index)
        values |= self._body(view) if view is not None else {"view": None}
        return self._render(request, "item.html", **values)

    def _known_step(self, view: RunView, place: RunPlace) -> StepState:
        step = view.step(place.step or "")
        if step is None:
            raise NoSuchRun(f"the run has no step {place.step!r}")
        return step

    # ---- fan-outs ------------------------------------------------------------------------------------------------

    def _grid_values(self, query: Mapping[str, str], view: RunView, step: StepState) -> dict[str, Any]:
        grid = grid_of(
            view.marks[step.name],
            self._live.data(view.place).labels(step.name),
            by="item" if query.get("by") == "item" else "failed",
            query=query.get("q", "")[:200],
            status=query.get("status", ""),
            page=whole_number(query.get("page"), 1),
        )
        return {"grid": grid, "step": step, "place": view.place.of_step(step.name), "view": view}

    def _grid(self, request: Request, place: RunPlace) -> Response:
        view = self._live.view(place, age=0.5)
        return self._render(
            request, "_grid.html", **self._grid_values(request.query_params, view, self._known_step(view, place))
        )

    def _lanes(self, request: Request, place: RunPlace) -> Response:
        view = self._live.view(place, age=0.5)
        step = self._known_step(view, place)
        bars = lanes(view.marks.get(step.name, []), self._live.data(place).labels(step.name))
        return self._render(request, "_lanes.html", bars=bars, count=max((bar.lane for bar in bars), default=0) + 1)

    def _document(self, request: Request, place: RunPlace) -> Response:
        """The document as a table and as JSON."""
        view = self._live.view(place, age=0.5)
        step, data = self._known_step(view, place), self._live.data(place)
        value = data.value(step.name)
        page = max(1, whole_number(request.query_params.get("page"), 1))
        values: dict[str, Any] = {"view": view, "step": step, "place": place, "page": page, "text": None}
        values |= {"rows": [], "pages": max(1, -(-(step.total or 0) // ROWS)), "first": (page - 1) * ROWS}
        if value is not None and step.total is not None:
            values["rows"] = data.results(value, values["first"], ROWS)
            with closing(data.open(value)) as file:
                text = file.read(SHOWN_JSON + 1)
            values["text"] = text.decode("utf-8", "replace") if len(text) <= SHOWN_JSON else None
        return self._render(request, "document.html", has_document=value is not None, **values)

    def _document_json(self, _request: Request, place: RunPlace) -> Response:
        """The document as it is, for a download."""
        data = self._live.data(place)
        value = data.value(place.step or "")
        if value is None:
            raise NoSuchRun(f"the step {place.step!r} has left no document")
        name = re.sub("[^A-Za-z0-9_-]", "_", place.step or "")
        headers = {"content-disposition": f'attachment; filename="{name}-{place.root[:8]}.json"'}
        file = data.open(value)
        return StreamingResponse(iter(lambda: file.read(_CHUNK), b""), media_type="application/json", headers=headers)

    # ---- logs and events -----------------------------------------------------------------------------------------

    def _log(self, view: RunView, place: RunPlace, status: str, index: int | None = None) -> dict[str, Any]:
        """The log of a step or an item: as long as that goes on, it is told by events."""
        of_item = place.of_item(index) if index is not None else place
        follow = view.is_running and status in ("running", "waiting")
        told: dict[str, Any] = {"address": of_item.address, "follow": follow, "lines": [], "left_out": 0}
        if not follow:
            count, lines = read_lines(open_log(self._site, place, index), last=True)
            told |= {"lines": lines, "left_out": count - len(lines)}
        return told

    def _log_place(self, place: RunPlace) -> tuple[RunPlace, int | None]:
        """The step that a log is of, and of an item its index."""
        if place.step is None and place.items:
            caller = place.caller
            assert caller is not None
            return caller, place.items[-1][1]
        return place, None

    def _log_events(self, request: Request, place: RunPlace) -> Response:
        step, index = self._log_place(place)
        count = whole_number(request.headers.get("last-event-id"), 0)
        seconds = self._site.live_seconds
        open_log(self._site, step, index)  # while a fault can still be told
        stream = log_events(self._live, self._site, step, index, seconds, count, once=not self._streams)
        return _stream(stream)

    def _log_text(self, _request: Request, place: RunPlace) -> Response:
        step, index = self._log_place(place)
        lines = open_log(self._site, step, index).read(last=True)
        texts = (f"{line.step} {line.stream}: {line.text}\n" for line in lines)
        return StreamingResponse(texts, media_type="text/plain")

    def _events(self, _request: Request, place: RunPlace) -> Response:
        self._live.view(place, age=1.0)
        return _stream(run_events(self._live, place, self._site.live_seconds, once=not self._streams))


def _stream(events: Any) -> Response:
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
