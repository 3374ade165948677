"""The pages of DAGs, and the list of runs."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from fanfold.asl.compile import compile_dag_set, machine_names
from fanfold.asl.stages import cut
from fanfold.dag.diagnostics import Problem
from fanfold.drawing.svg import as_svg
from fanfold.history.run_store import RunSummary
from fanfold.web.addresses import dag_of_address, whole_number
from fanfold.web.firing import next_firing
from fanfold.web.site import DagEntry, Site

TICKS = 30
"""Runs in the strip of a DAG."""
LISTED = 50
"""Runs on a page of the list."""
MOST_LOOKED = 500
"""Runs that are looked through for those of one status: of a stack, each takes several calls."""
_STATUSES = ("running", "failed", "partial", "cancelled", "success")


@dataclass(frozen=True, slots=True)
class Tick:
    """A run in the strip of a DAG."""

    run: RunSummary
    height: float
    """From 20 to 100, by how long it took."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a DAG file, with what was found in it."""

    number: int
    text: str
    problems: list[Problem]


class DagPages:
    """See the module."""

    def __init__(self, site: Site, render: Callable[..., HTMLResponse]) -> None:
        self._site, self._render = site, render

    def index(self, request: Request) -> Response:
        """The DAGs, and what has run lately."""
        entries = sorted(self._site.dags().values(), key=lambda entry: (not entry.errors, entry.name.casefold()))
        firing = {entry.name: self._next(entry) for entry in entries}
        return self._render(request, "index.html", entries=entries, firing=firing, runs=self._latest(8))

    def _latest(self, count: int) -> list[RunSummary]:
        return list(itertools.islice(self._site.store.runs(), count))

    def _next(self, entry: DagEntry) -> float | None:
        """When the DAG's schedules fire next, in seconds since the epoch."""
        if entry.dag_set is None:
            return None
        now = datetime.now(UTC)
        times = (next_firing(schedule.cron, now, self._site.zone) for schedule in entry.dag_set.root.schedule)
        return min((fires.timestamp() for fires in times if fires is not None), default=None)

    def runs(self, request: Request) -> Response:
        """The list of runs, filtered by DAG and status."""
        dag, status = request.query_params.get("dag", ""), request.query_params.get("status", "")
        page = max(1, whole_number(request.query_params.get("page"), 1))
        latest = itertools.islice(self._site.store.runs(dag or None), page * LISTED + 1 if not status else MOST_LOOKED)
        found = (run for run in latest if status in ("", run.status))
        shown = list(itertools.islice(found, (page - 1) * LISTED, page * LISTED + 1))
        values = {"dag": dag, "status": status, "page": page, "more": len(shown) > LISTED, "statuses": _STATUSES}
        values["looked"] = MOST_LOOKED
        return self._render(request, "runs.html", runs=shown[:LISTED], **values)

    def dag(self, request: Request) -> Response:
        """A DAG: its graph, its source with what was found in it, its runs, and a form to start it."""
        entry = self._entry(request)
        dag = entry.dag_set.root if entry.dag_set is not None else None
        graph = None
        if dag is not None:
            graph = Markup(as_svg(dag, cut(dag), link=lambda step: f"#line-{step.place.line}"))  # noqa: S704 - escapes
        values: dict[str, Any] = {"graph": graph, "dag": dag, "lines": _lines(entry), "next": self._next(entry)}
        values |= {"ticks": self._ticks(entry.name), "elsewhere": _elsewhere(entry)}
        return self._render(request, "dag.html", entry=entry, **values)

    def ticks(self, request: Request) -> Response:
        """The strip of a DAG's last runs."""
        name = dag_of_address(request.path_params["dag"])
        return self._render(request, "_ticks.html", ticks=self._ticks(name), name=name)

    def _ticks(self, dag: str) -> list[Tick]:
        runs = list(itertools.islice(self._site.store.runs(dag), TICKS))
        longest = max((_seconds(run) for run in runs), default=1.0) or 1.0
        return [Tick(run, round(20 + 80 * _seconds(run) / longest, 1)) for run in reversed(runs)]

    def definition(self, request: Request) -> Response:
        """The compiled definition, or with several machines each by its name."""
        entry = self._entry(request)
        if entry.dag_set is None:
            return self._render(request, "_definition.html", definitions={})
        names = machine_names(entry.dag_set)
        definitions = {names[key]: made for key, made in compile_dag_set(entry.dag_set).items()}
        texts = {name: json.dumps(made, indent=2, ensure_ascii=False) for name, made in reversed(definitions.items())}
        return self._render(request, "_definition.html", definitions=texts)

    def cost(self, request: Request) -> Response:
        """What a run costs."""
        items = min(max(1, whole_number(request.query_params.get("items"), 1000)), 1_000_000)
        told = self._site.cost(self._entry(request), items)
        return self._render(request, "_cost.html", cost=told)

    def _entry(self, request: Request) -> DagEntry:
        return self._site.dag(dag_of_address(request.path_params["dag"]))


def _seconds(run: RunSummary) -> float:
    return run.seconds if run.seconds is not None else max(0.0, time.time() - run.started)


def _lines(entry: DagEntry) -> list[Line]:
    """The lines of the file, each with the problems that are found in it."""
    by_line: dict[int, list[Problem]] = {}
    for problem in _own(entry, (*entry.errors, *entry.warnings)):
        by_line.setdefault(problem.place.line, []).append(problem)
    return [
        Line(number, text, by_line.get(number, [])) for number, text in enumerate(entry.text.rstrip().split("\n"), 1)
    ]


def _is_own(entry: DagEntry, problem: Problem) -> bool:
    return entry.file.endswith(problem.place.file)


def _own(entry: DagEntry, problems: Iterable[Problem]) -> Iterator[Problem]:
    return (problem for problem in problems if _is_own(entry, problem))


def _elsewhere(entry: DagEntry) -> list[Problem]:
    """What was found in files of child DAGs."""
    return [problem for problem in (*entry.errors, *entry.warnings) if not _is_own(entry, problem)]
