"""How LocalStack runs Lambda functions here: each in a process of its own behind AWS's own runtime client, no Docker.

LocalStack loads this module into its process by an entry point (see `localstack_host`). A function's code is what was
uploaded, its environment what the template says, and nothing else is there to import but the runtime itself
(AWS Lambda, *Runtime API*).
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mends
from localstack import config
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

NAME = "process"
"""What ``LAMBDA_RUNTIME_EXECUTOR`` chooses it by."""

PYTHON, RUNTIME, VARIABLES = "FANFOLD_FUNCTIONS_PYTHON", "FANFOLD_FUNCTIONS_RUNTIME", "FANFOLD_FUNCTIONS_VARIABLES"
"""Of LocalStack's environment: the interpreter of the functions; a folder with ``awslambdaric`` and no more than it
needs; a JSON object of what every function's environment has besides."""

PROCESSES = 6
"""Of one function at a time; further calls wait, as this machine has few cores."""

MOST_BYTES = 6_291_556
"""Of an answer (Lambda quotas, *Invocation payload*, with the envelope's own)."""


class _RuntimeApi(ThreadingHTTPServer):
    """What one process asks for its calls, and gives its answers to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.calls: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.answers: queue.Queue[tuple[bytes, bool]] = queue.Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def do_GET(self) -> None:
        """``…/runtime/invocation/next``"""
        headers, payload = self.server.calls.get()
        self._reply(200, payload, headers)

    def do_POST(self) -> None:
        """``…/response`` or ``…/error`` of a call, or of the start (``…/runtime/init/error``)."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answers.put((body, self.path.endswith("/error")))
        self._reply(202, b"{}", {})

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Process:
    """An execution environment: one process of a function, for one call at a time."""

    def __init__(self, version: FunctionVersion, variables: dict[str, Any]) -> None:
        code = str(version.config.code.get_unzipped_code_location())
        self._seconds = version.config.timeout
        self._api = _RuntimeApi()
        self._folder = tempfile.TemporaryDirectory(prefix="function-")
        self._log = Path(self._folder.name, "log")
        self._read = 0
        env = {name: str(value) for name, value in (variables | json.loads(os.environ[VARIABLES])).items()} | {
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.config.runtime}",
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "FANFOLD_FOLDER": str(Path(self._folder.name, "fanfold")),  # no other environment sees it, as on Lambda
            "LAMBDA_TASK_ROOT": code,
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join((code, os.environ[RUNTIME])),
            "PYTHONUNBUFFERED": "1",  # the log is read as soon as there is an answer
        }
        # -S: what this machine has installed is not there on Lambda
        command = [os.environ[PYTHON], "-S", "-m", "awslambdaric", version.config.handler]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=code, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        threading.Thread(target=self._tell_of_its_end, daemon=True).start()

    def _tell_of_its_end(self) -> None:
        code = self._process.wait()
        self._api.answers.put((_error("Runtime.ExitError", f"Runtime exited with error: exit status {code}"), True))

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def call(self, payload: dict[str, str]) -> InvocationResult:
        request = payload["invoke-id"]
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": payload["invoked-function-arn"],
        }
        self._api.calls.put((headers, payload["payload"].encode()))
        try:
            answer, failed = self._api.answers.get(timeout=self._seconds)
        except queue.Empty:
            self.end()
            answer = _error(
                "Sandbox.Timedout", f"RequestId: {request} Error: Task timed out after {self._seconds}.00 s"
            )
            failed = True
        if len(answer) > MOST_BYTES:
            what = f"Response payload size exceeded maximum allowed payload size ({MOST_BYTES} bytes)."
            answer, failed = _error("Function.ResponseSizeTooLarge", what), True
        return InvocationResult(request, answer, failed, self._written())

    def _written(self) -> str:
        """What the process has written into its log since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += len(new)
        return new.decode("utf-8", "replace") or "\n"

    def end(self) -> None:
        """End the process with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._api.shutdown()
        self._folder.cleanup()


class _Processes:
    """Those of one version of a function."""

    def __init__(self, version: FunctionVersion) -> None:
        self._version = version
        self._free = threading.BoundedSemaphore(PROCESSES)
        self._idle: list[_Process] = []
        self._lock = threading.Lock()

    def call(self, variables: dict[str, Any], payload: dict[str, str]) -> InvocationResult:
        with self._free:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None or not process.is_alive:
                process = _Process(self._version, variables)
            try:
                return process.call(payload)
            finally:
                if process.is_alive:
                    with self._lock:
                        self._idle.append(process)

    def end(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().end()


_of_versions: dict[str, _Processes] = {}
"""By the revision of the function."""


class ProcessExecutor(RuntimeExecutor):
    """LocalStack's execution environment of a function: its processes are shared, so that few are started."""

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        function_version.config.code.prepare_for_execution()
        _of_versions[function_version.config.internal_revision] = _Processes(function_version)

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        processes = _of_versions.pop(function_version.config.internal_revision, None)
        if processes is not None:
            processes.end()

    def start(self, env_vars: dict[str, str]) -> None:
        self._variables = env_vars

    def stop(self) -> None:
        pass

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        processes = _of_versions[self.function_version.config.internal_revision]
        return processes.call(self._variables, payload)

    def get_address(self) -> str:
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}"

    def get_logs(self) -> str:
        return ""


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    name = NAME

    def load(self, *args: Any, **named: Any) -> type[RuntimeExecutor]:
        mends.apply()
        return ProcessExecutor


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
