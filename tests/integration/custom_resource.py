"""What CloudFormation hears of a custom resource."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

NESTED = """
schedule: "0 1 * * *"
x-fanfold: {on: {s3: {bucket: incoming}}}
steps: [{name: fan, run: region, parallel: [1, 2]}]
---
name: region
steps: [{name: call, run: leaf}]
---
name: leaf
steps: [{name: work, command: echo}]
"""
"""A DAG with all that a change of the stack may touch, but for containers."""
CONTAINER = "x-fanfold: {compute: ecs, image: mine}\nsteps: [{name: s, command: echo}]\n"


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address for answers, and those that came."""
    answers: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            # With a type, the signature of the address does not fit.
            self.send_response(403 if self.headers.get("content-type") else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/answer", answers
    finally:
        server.shutdown()
        server.server_close()
