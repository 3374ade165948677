"""The command ``fanfold`` without the second that its imports take: a process that has them forks for each call.

``python warm.py serve SOCKET`` is that process, ``python warm.py call SOCKET ARGUMENTS…`` a call. The commands run as
ever, each in a process of its own with the caller's folder, environment and streams.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WARM = (
    "fanfold.cli.app", "fanfold.cli.start", "fanfold.cli.start_remote", "fanfold.cli.push", "fanfold.cli.status",
    "fanfold.handlers.runner", "fanfold.handlers.planner", "fanfold.handlers.reducer", "fanfold.handlers.parser",
    "fanfold.local.session", "fanfold.local.counting", "fanfold.local.engine", "fanfold.history.stack",
    "moto.awslambda.models", "moto.s3.responses", "moto.stepfunctions.responses", "moto.events.models",
    "moto.scheduler.models", "moto.iam.access_control", "moto.s3.urls", "moto.stepfunctions.urls", "boto3.s3.transfer",
    "moto.stepfunctions.parser.asl.parse.asl_parser",
)  # fmt: skip
"""Modules that the commands load when they are called."""


@contextmanager
def warm_fanfold(folder: Path) -> Iterator[Path]:
    """A program to call as ``fanfold``."""
    path, program = folder / "socket", folder / "fanfold"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -S '{__file__}' call '{path}' \"$@\"\n")
    program.chmod(0o755)
    process = subprocess.Popen([sys.executable, __file__, "serve", str(path)])
    try:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield program
    finally:
        process.terminate()
        process.wait()


def serve(path: str) -> None:
    import importlib
    import signal

    for name in WARM:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path + "-")
        server.listen()
        os.rename(path + "-", path)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                answer(connection)
                os._exit(0)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run the command that was called, and tell its exit code."""
    data, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    process = os.fork()
    if process == 0:
        become(json.loads(data), streams)
    connection.sendall(bytes([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) % 256]))


def become(called: dict[str, Any], streams: list[int]) -> None:
    """Be the command; it ends the process itself."""
    from fanfold.cli import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    os.chdir(called["folder"])
    os.environ.clear()
    os.environ.update(called["environment"])
    sys.argv = ["fanfold", *called["arguments"]]
    main()


def call(path: str, arguments: list[str]) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        called = {"folder": os.getcwd(), "environment": dict(os.environ), "arguments": arguments}
        socket.send_fds(connection, [json.dumps(called).encode()], [0, 1, 2])
        code = connection.recv(1)
    return code[0] if code else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(call(sys.argv[2], sys.argv[3:]))
