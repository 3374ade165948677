"""What the page does: start, stop and retry. Each is a POST of a form of its own."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from fanfold.dag.model import Dag
from fanfold.dag.params import Parameters
from fanfold.web.addresses import RunPlace, dag_of_address
from fanfold.web.live import LiveRuns
from fanfold.web.security import is_own_form
from fanfold.web.site import CannotStart, Site

_NOT_OURS = "this form is not of this browser, or too old: go back, load the page anew and try again\n"


class Actions:
    """See the module."""

    def __init__(self, site: Site, live: LiveRuns) -> None:
        self._site, self._live = site, live

    async def start(self, request: Request) -> Response:
        """Start a run of a DAG with the parameters of the form."""
        form = await _form(request)
        if form is None:
            return PlainTextResponse(_NOT_OURS, 403)
        run = await run_in_threadpool(self._start, dag_of_address(request.path_params["dag"]), form)
        return RedirectResponse(RunPlace(run).address, 303)

    def _start(self, name: str, form: FormData) -> str:
        entry = self._site.dag(name)
        if entry.dag_set is None:
            raise CannotStart(f"{entry.file} has errors; nothing was started")
        return self._site.start(entry, parameters_of_form(entry.dag_set.root, form))

    async def stop(self, request: Request) -> Response:
        """Stop a run."""
        return await self._on_run(request, self._site.store.stop)

    async def retry(self, request: Request) -> Response:
        """Run again what did not succeed of a run."""
        return await self._on_run(request, self._site.retry)

    async def _on_run(self, request: Request, act: Callable[[str], None]) -> Response:
        if await _form(request) is None:
            return PlainTextResponse(_NOT_OURS, 403)
        run: str = request.path_params["run"]
        await run_in_threadpool(act, run)
        self._live.forget(run)
        return RedirectResponse(RunPlace(run).address, 303)


async def _form(request: Request) -> FormData | None:
    """The form of a request; None unless it is one of this page in this browser."""
    form = await request.form()
    return form if is_own_form(request, form.get("csrf")) else None


def parameters_of_form(dag: Dag, form: FormData) -> Parameters:
    """What the form gives: a field that still holds its default is none, so that the run finds the default itself.

    Raises CannotStart where that cannot be said: of positional ones, only the last can be left out.
    """
    named: dict[str, str] = {}
    positional: dict[int, str] = {}
    for place, argument in enumerate(dag.params):
        value = form.get(f"param-{place}")
        if not isinstance(value, str):
            continue
        value = value.replace("\r\n", "\n")  # as browsers send it (HTML, *Constructing the form data set*)
        if value == argument.template:
            continue
        if argument.name is not None:
            named[argument.name] = value
        else:
            positional[place] = value
    for place in range(max(positional, default=0)):
        if place not in positional and re.search("[$`]", dag.params[place].template):
            raise CannotStart(f"give ${place + 1} a value too: its default is only known in a run")
    texts = [positional.get(place, dag.params[place].template) for place in range(max(positional, default=-1) + 1)]
    return Parameters(tuple(texts), named)
