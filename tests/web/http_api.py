"""The page's function on a stack that is up, and a browser that reaches it as through an HTTP API."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from fanfold.deploy.clients import Clients
from fanfold.local.up import Up, stack_up
from fanfold.web import handler
from places import OnStack

EVENT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "events" / "http_api_get.json").read_text())
HOST = EVENT["headers"]["host"]


@dataclass
class Answer:
    """What the function answers, as the browser gets it."""

    status: int
    headers: Mapping[str, str]
    cookies: list[str]
    body: bytes
    raw: dict[str, Any]

    @property
    def text(self) -> str:
        return self.body.decode()


class Browser:
    """Somebody who is let in: keeps cookies, and sends forms as browsers do."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def get(self, address: str, **headers: str) -> Answer:
        return self.send("GET", address, headers=headers)

    def csrf(self, address: str) -> str:
        """The token of the first form of a page."""
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.get(address).text)
        assert found is not None
        return found[1]

    def submit(self, page: str, address: str, **fields: str) -> Answer:
        """Send a form that stands on `page`."""
        return self.post(address, {"csrf": self.csrf(page), **fields})

    def post(self, address: str, fields: Mapping[str, str], **headers: str) -> Answer:
        sent = {"content-type": "application/x-www-form-urlencoded", "origin": f"https://{HOST}"} | headers
        return self.send("POST", address, urlencode(fields), {name: value for name, value in sent.items() if value})

    def send(self, method: str, address: str, body: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """A request, as an HTTP API makes an event of it: the path is decoded, the body of a form is base64."""
        event = copy.deepcopy(EVENT)
        path, _, query = address.partition("?")
        event["rawPath"] = event["requestContext"]["http"]["path"] = unquote(path)
        event["rawQueryString"], event["requestContext"]["http"]["method"] = query, method
        event["headers"] |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if self.cookies:
            event["cookies"] = [f"{name}={value}" for name, value in self.cookies.items()]
        if body:
            event["headers"]["content-length"] = str(len(body))
            event |= {"body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}
        raw = handler.handle(event, None)  # type: ignore[arg-type]
        json.dumps(raw)  # as AWS Lambda does
        for cookie in raw.get("cookies") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        answered = base64.b64decode(raw["body"]) if raw["isBase64Encoded"] else raw["body"].encode()
        if raw["headers"].get("content-encoding") == "gzip":
            answered = gzip.decompress(answered)
        return Answer(raw["statusCode"], raw["headers"], raw.get("cookies") or [], answered, raw)


def environment(up: Up) -> dict[str, str]:
    """The function's, as `infra/web.yaml` gives it."""
    stack = up.stack
    return {
        "FANFOLD_STACK": stack.name,
        "FANFOLD_DAG_BUCKET": stack.dag_bucket,
        "FANFOLD_RUN_BUCKET": stack.run_bucket,
        "FANFOLD_MACHINE_ARNS": stack.machine_arns.removesuffix(f"{stack.name}_"),
        "FANFOLD_LOG_GROUPS": ",".join(stack.log_groups),
        "FANFOLD_SCHEDULE_ZONE": stack.zone,
        "FANFOLD_RUNNER_VARIABLES": "",
    }


@contextmanager
def page_on_stack(folder: Path, note: Callable[..., None] | None = None) -> Iterator[OnStack]:
    """A stack with the page's function, of whose calls `note` is told with their parameters."""

    class Noted(Clients):
        def _make(self, service: str) -> Any:
            client = super()._make(service)
            if note is not None:
                client.meta.events.register("provide-client-params", note)
            return client

    with stack_up("fanfold", 0, folder / "home") as up, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(up).items():
            patch.setenv(name, value)
        patch.setattr(handler, "Clients", Noted)
        handler._application.cache_clear()
        yield OnStack(folder, up)
        handler._application.cache_clear()
