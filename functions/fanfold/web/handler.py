"""The page as a Lambda function behind an HTTP API, whose authoriser says who may see it (``infra/web.yaml``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mangum import Mangum
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.deploy.clients import Clients
from fanfold.deploy.stack import Stack
from fanfold.deploy.target import prefix_of, words
from fanfold.web.app import create_app
from fanfold.web.cloud import CloudSite
from fanfold.web.security import Guard

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MOST_BYTES = 6 * 1024 * 1024 - 64 * 1024
"""Of an answer's body as it stands in the function's JSON, beside its headers (Lambda, *Quotas*)."""


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """An event of an HTTP API (payload 2.0) → the answer to it."""
    adapter = Mangum(_application(), lifespan="off")  # it costs nothing, and gives a thread without a loop its own
    return adapter(_with_quoted_path(event), context)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _application() -> Fitting:
    """What every call of this process shares: views of runs are kept between two looks."""
    site = CloudSite(stack_of_environment(os.environ, Clients()))
    return Fitting(create_app(site, Guard(token=None, hosts=None, is_secure=True), streams=False))


def stack_of_environment(environ: Mapping[str, str], clients: Clients) -> Stack:
    """The stack as its template tells the function, which need not be allowed to ask CloudFormation."""
    name = environ["FANFOLD_STACK"]
    return Stack(
        name,
        clients,
        environ["FANFOLD_DAG_BUCKET"],
        environ["FANFOLD_RUN_BUCKET"],
        environ["FANFOLD_MACHINE_ARNS"] + prefix_of(name),
        parser_function="",  # whose log the page does not show
        log_groups=tuple(words(environ.get("FANFOLD_LOG_GROUPS", ""))),
        zone=environ.get("FANFOLD_SCHEDULE_ZONE") or "UTC",
        runner_variables=frozenset(words(environ.get("FANFOLD_RUNNER_VARIABLES", ""))),
    )


def _with_quoted_path(event: dict[str, Any]) -> dict[str, Any]:
    """The event with its path as it was asked for: an HTTP API decodes it, and Mangum decodes it once more."""
    about = event["requestContext"]
    http = about["http"] | {"path": quote(about["http"]["path"])}
    return event | {"requestContext": about | {"http": http}}


class _TooLarge(Exception):
    """An answer does not fit."""


class Fitting:
    """An application whose answers fit into that of a Lambda function; instead of a larger one it says so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []
        size = 0

        async def hold(message: Message) -> None:
            nonlocal size
            held.append(message)
            size += _size(message.get("body", b""), Headers(raw=held[0]["headers"]))
            if size > MOST_BYTES:
                raise _TooLarge

        try:
            await self._app(scope, receive, hold)
        except Exception:
            if size <= MOST_BYTES:
                raise
            told = "this is larger than a Lambda function may answer (6 MB); to see it: fanfold ui --stack STACK\n"
            await PlainTextResponse(told, 413)(scope, receive, send)
            return
        for message in held:
            await send(message)


def _size(body: bytes, headers: Headers) -> int:
    """The bytes that a part of a body takes at most: as base64, or as text in JSON (see Mangum)."""
    is_text = headers.get("content-type", "").startswith(("text/", "application/json"))
    if is_text and "content-encoding" not in headers:
        return len(json.dumps(body.decode("utf-8", "replace")))
    return -(-len(body) // 3) * 4
