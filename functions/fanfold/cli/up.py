"""``fanfold up``: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import socket
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from fanfold.local.session import data_folder
from fanfold.local.up import stack_up
from fanfold.run.events import RunEvent

_NEEDED = ("flask", "flask_cors", "samtranslator")


def run_stack(name: str, port: int, home: Path | None) -> int:
    """Bring the stack up, say how to reach it, and tell of deployments and runs until a signal ends it."""
    console = Console(highlight=False)
    hindrance = _hindrance(port)
    if hindrance is not None:
        Console(stderr=True, highlight=False).print(Text(hindrance, "red"), soft_wrap=True)
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def told(_bucket: str, report: dict[str, Any]) -> None:
        text = f"{report['file']}: {report['status']}"
        for start in report.get("schedules", []):
            text += f"; schedule {start['what']} {start['change']}".replace("  ", " ")
        console.print(Text(text), soft_wrap=True)

    def observe(event: RunEvent) -> None:
        if event.depth == 0 and event.kind in ("run-started", "run-finished"):
            ended = f": {event.status}" if event.status else " started"
            console.print(Text(f"run {event.run} of {event.dag}{ended}"), soft_wrap=True)

    with stack_up(name, port, (home or data_folder()).resolve(), observe, told) as up:
        for line in (
            f"The stack {name!r} is up. Nothing of it is kept when it ends; schedules are stored, but do not fire.",
            "",
            "  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1",
            f"  export AWS_ENDPOINT_URL={up.url}",
            "",
            f"  fanfold push FILE --stack {name} --endpoint-url {up.url}",
            f"  aws --endpoint-url {up.url} s3 cp FILE s3://{up.stack.dag_bucket}/dags/",
            f"  aws --endpoint-url {up.url} stepfunctions list-state-machines",
            "",
            "Ctrl-C ends it.",
        ):
            console.print(Text(line), soft_wrap=True)
        stop.wait()
    return 0


def _hindrance(port: int) -> str | None:
    """Why the stack cannot come up; None when nothing is in its way."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        return f"fanfold up needs {', '.join(missing)}, which is not installed. Run: pip install 'fanfold[up]'"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as fault:
            return f"port {port}: {getattr(fault, 'strerror', None) or fault}; choose another one with --port"
    return None
