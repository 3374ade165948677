"""AWS Lambda on this machine: its real Python runtime (awslambdaric) in what ``sam build`` made.

A process is an execution environment: it serves one call at a time, is kept for later ones, and ends with a call that
runs out of time (AWS Lambda Developer Guide, *Using the Lambda runtime API*, *Execution environment lifecycle*).
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.parse import unquote

import psutil
from fanfold.local.moto_additions import MAX_ANSWER, TOO_LARGE

INVOCATION = "/2018-06-01/runtime/invocation/"
Answer = tuple[bytes, bool]
"""(what a function answers, whether it is an error)."""


@dataclass(frozen=True)
class FunctionSettings:
    """What AWS Lambda knows of a function."""

    name: str
    handler: str
    code: Path
    environment: Mapping[str, str]
    seconds: float
    memory: int = 512
    execution_env: str = f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}"

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:123456789012:function:{self.name}"


class _Handler(BaseHTTPRequestHandler):
    """A request of HTTP/1.1 without a line in the log."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def serve(handler: type[_Handler]) -> ThreadingHTTPServer:
    """A server on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def runtime_folder(folder: Path) -> Path:
    """A folder with awslambdaric and what it needs, and nothing else: it stands for ``/var/runtime``."""
    names, left = set[str](), ["awslambdaric"]
    while left:
        distribution = importlib.metadata.distribution(left.pop())
        names |= {str(path).split("/")[0] for path in distribution.files or () if not str(path).startswith("..")}
        needs = (need.partition(";")[0] for need in distribution.requires or () if "extra ==" not in need)
        left += [need.split(">")[0].split("=")[0].strip() for need in needs]
        for name in names:
            if not (folder / name).exists():
                (folder / name).symlink_to(distribution.locate_file(name))
    return folder


class _Environment:
    """One execution environment: a process, and the Runtime API that it asks for calls."""

    def __init__(self, settings: FunctionSettings, runtime: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._calls: Queue[tuple[str, bytes, float]] = Queue()
        self._answers: Queue[Answer] = Queue()
        self._server = serve(self._runtime_api())
        reserved = {
            "_HANDLER": settings.handler, "LAMBDA_TASK_ROOT": str(settings.code), "LAMBDA_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": str(runtime), "PATH": os.environ["PATH"], "LANG": "en_US.UTF-8", "TZ": ":UTC",
            "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "function",
            "AWS_SECRET_ACCESS_KEY": "function", "AWS_EXECUTION_ENV": settings.execution_env,
            "AWS_LAMBDA_FUNCTION_NAME": settings.name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": folder.name,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
        }  # fmt: skip
        folder.mkdir(parents=True)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-m", "awslambdaric", settings.handler],  # -S: no package but the build's
                cwd=settings.code, env={**settings.environment, **environment, **reserved}, stdout=log, stderr=log,
            )  # fmt: skip
        self.is_alive = True
        threading.Thread(target=self._tell_end, daemon=True).start()

    def call(self, event: bytes) -> Answer:
        """Serve one call; afterwards `is_alive` tells whether there can be another."""
        request, seconds = str(uuid.uuid4()), self._settings.seconds
        self._calls.put((request, event, time.time() + seconds))
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            self.end()
            told = f"RequestId: {request} Error: Task timed out after {seconds:.2f} seconds"
            return _error("Sandbox.Timedout", told)
        return answer

    def end(self) -> None:
        """End the environment with all that runs in it."""
        self.is_alive = False
        try:
            processes = [*psutil.Process(self._process.pid).children(recursive=True), self._process]
        except psutil.NoSuchProcess:
            processes = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._server.shutdown()
        self._server.server_close()

    def _tell_end(self) -> None:
        code = self._process.wait()
        told = f"signal: {-code}" if code < 0 else f"exit status {code}"
        self.is_alive = False
        self._answers.put(_error("Runtime.ExitError", f"Runtime exited with error: {told}"))

    def _runtime_api(self) -> type[_Handler]:
        environment, settings = self, self._settings

        class RuntimeApi(_Handler):
            def do_GET(self) -> None:
                request, event, deadline = environment._calls.get()
                self.reply(200, event, {
                    "Lambda-Runtime-Aws-Request-Id": request,
                    "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": settings.arn,
                })  # fmt: skip

            def do_POST(self) -> None:
                body, failed = self.body(), self.path.endswith("/error")
                if len(body) > MAX_ANSWER:
                    environment.is_alive = False  # the runtime ends when it is refused
                    environment._answers.put(_error("Function.ResponseSizeTooLarge", TOO_LARGE))
                    self.reply(413)
                else:
                    environment._answers.put((body, failed))
                    self.reply(202)

        return RuntimeApi


def _error(kind: str, message: str) -> Answer:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode(), True


class Lambda:
    """The functions of a stack, each with as many environments as calls at a time; a context manager.

    `environment` is what every environment has besides, such as where AWS is.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = dict(environment or {})
        (folder / "runtime").mkdir(parents=True)
        self.runtime = runtime_folder(folder / "runtime")
        """What stands for ``/var/runtime``."""
        self._functions: dict[str, FunctionSettings] = {}
        self._idle: dict[str, list[_Environment]] = {}
        self._all: list[_Environment] = []
        self._lock = threading.Lock()
        self._server = serve(self._invoke_api())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.calls: dict[str, int] = {}
        """How often each function was called."""

    def create(self, settings: FunctionSettings) -> None:
        """Create a function."""
        self._functions[settings.name] = settings
        self._idle[settings.name] = []

    @contextmanager
    def changed(self, name: str, **settings: Any) -> Iterator[None]:
        """A function with other settings, and environments of its own, for as long as the context lasts."""
        before, idle = self._functions[name], self._idle[name]
        self.create(replace(before, **settings))
        try:
            yield
        finally:
            self._functions[name], self._idle[name] = before, idle

    def name_of(self, handler: str) -> str:
        """The function with this handler."""
        return next(settings.name for settings in self._functions.values() if settings.handler == handler)

    def __enter__(self) -> Lambda:
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for environment in self._all:
            environment.end()

    def invoke(self, name: str, event: bytes) -> Answer:
        """Call a function by its name or ARN, and wait for its answer."""
        name = name.rpartition(":")[2]
        with self._lock:
            self.calls[name] = self.calls.get(name, 0) + 1
            idle = self._idle[name]
            while idle and not idle[-1].is_alive:
                idle.pop()
            environment = idle.pop() if idle else self._start(self._functions[name])
        answer = environment.call(event)
        with self._lock:
            self._idle[name].append(environment)
        return answer

    def _start(self, settings: FunctionSettings) -> _Environment:
        folder = self._folder / f"{settings.name}-{len(self._all)}"
        own = self._environment | {"FANFOLD_FOLDER": str(folder / "tmp")}  # each has a /tmp of its own
        environment = _Environment(settings, self.runtime, folder, own)
        self._all.append(environment)
        return environment

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The structured lines that a function wrote."""
        written = [path.read_text().splitlines() for path in sorted(self._folder.glob(f"{name}-*/log"))]
        return [json.loads(line) for lines in written for line in lines if line.startswith("{")]

    def _invoke_api(self) -> type[_Handler]:
        functions = self

        class InvokeApi(_Handler):
            """The call *Invoke* of AWS Lambda."""

            def do_POST(self) -> None:
                event, name = self.body(), unquote(self.path.split("/")[3])
                if name.rpartition(":")[2] not in functions._functions:
                    self.reply(404, headers={"X-Amzn-ErrorType": "ResourceNotFoundException"})
                elif len(event) > MAX_ANSWER:
                    self.reply(413, headers={"X-Amzn-ErrorType": "RequestTooLargeException"})
                else:
                    body, failed = functions.invoke(name, event)
                    self.reply(200, body, {"X-Amz-Function-Error": "Unhandled"} if failed else {})

        return InvokeApi
