"""The application: its addresses, its templates, and what it answers when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fanfold import __version__
from fanfold.dag.values import as_text
from fanfold.history.run_store import NoSuchRun, RunFault
from fanfold.web.actions import Actions
from fanfold.web.addresses import RunPlace, dag_address
from fanfold.web.dag_pages import DagPages
from fanfold.web.live import LiveRuns
from fanfold.web.run_pages import RunPages
from fanfold.web.security import Gate, Guard, csrf_token
from fanfold.web.site import CannotStart, NoSuchDag, Site
from fanfold.web.views import CODES, in_words

_HERE = Path(__file__).parent
Render = Callable[..., HTMLResponse]


def create_app(site: Site, guard: Guard, *, streams: bool = True) -> Starlette:
    """The page for `site`, for whom `guard` lets in.

    Where an answer cannot be sent bit by bit (API Gateway), `streams` is false: live views then ask again and again.
    """
    live = LiveRuns(site)
    render = partial(_render, _templates(site), site)
    dags, runs, actions = DagPages(site, render), RunPages(site, live, render, streams=streams), Actions(site, live)
    routes = [
        Route("/", dags.index),
        Route("/dags/{dag}", dags.dag),
        Route("/dags/{dag}/ticks", dags.ticks),
        Route("/dags/{dag}/definition", dags.definition),
        Route("/dags/{dag}/cost", dags.cost),
        Route("/dags/{dag}/start", actions.start, methods=["POST"]),
        Route("/runs", dags.runs),
        Route("/runs/{run}/stop", actions.stop, methods=["POST"]),
        Route("/runs/{run}/retry", actions.retry, methods=["POST"]),
        Route("/runs/{run}", runs.answer),
        Route("/runs/{run}/{rest:path}", runs.answer),
        Mount("/static", _Static(directory=_HERE / "static"), name="static"),
    ]
    told = partial(_explain, render)
    handlers: Any = {
        404: partial(told, 404),
        405: partial(told, 405),
        NoSuchRun: partial(told, 404),
        NoSuchDag: partial(told, 404),
        RunFault: partial(told, 409),
        CannotStart: partial(told, 409),
        BotoCoreError: partial(told, 502),
        ClientError: partial(told, 502),
    }
    middleware = [Middleware(Gate, guard=guard), Middleware(GZipMiddleware, minimum_size=1000)]
    return Starlette(routes=routes, exception_handlers=handlers, middleware=middleware)


class _Static(StaticFiles):
    """Files that a browser may keep: their addresses hold the version."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers["cache-control"] = "private, max-age=3600"
        return response


def _templates(site: Site) -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {
        "site": site, "version": __version__, "codes": CODES, "dag_address": dag_address, "RunPlace": RunPlace,
    }  # fmt: skip
    templates.filters |= {"words": in_words, "moment": _moment, "text": as_text, "pretty": _pretty, "commas": _commas}
    return templates


def _moment(seconds: float) -> str:
    """A time in UTC, which the script of the page shows as the clock of who looks."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _commas(number: int) -> str:
    return f"{number:,}"


def _render(
    templates: Environment, site: Site, request: Request, template: str, code: int = 200, **values: Any
) -> HTMLResponse:
    """The answer that a template makes."""
    text = templates.get_template(template).render(
        values | {"csrf": csrf_token(request), "path": request.url.path, "site": site}
    )
    return HTMLResponse(text, code)


_WORDS = {
    404: "There is no such page",
    405: "This cannot be asked for so",
    409: "This cannot be done",
    502: "AWS says no",
}


def _explain(render: Render, code: int, request: Request, fault: Exception) -> Response:
    """A page that says what is wrong."""
    reason = "" if code in (405,) or type(fault).__name__ == "HTTPException" else str(fault)
    return render(request, "fault.html", code, title=_WORDS[code], reason=reason)
