"""What a handler needs of the world it runs in: storage, folders, a clock, who watches, and a way to be stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from fanfold.dag.model import Dag
from fanfold.dag.read import read_document
from fanfold.run.bundle import unpacked
from fanfold.run.events import Observer, ignore
from fanfold.run.secrets import Secrets
from fanfold.run.store import ObjectStore


class Cancellation:
    """Whether the run was stopped, and the processes that must then end."""

    GRACE_SECONDS = 2.0
    """Between SIGTERM and SIGKILL."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._processes: dict[subprocess.Popen[bytes], int] = {}
        """The processes that run, each with the signal that ends it."""

    @property
    def requested(self) -> bool:
        """Whether `request` was called."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until the run is stopped; whether it was."""
        return self._event.wait(seconds)

    def request(self) -> None:
        """Stop: no step starts any more, and the process groups of those that run are ended."""
        self._event.set()
        with self._lock:
            running = dict(self._processes)
        for process, number in running.items():
            signal_group(process, number)
        if running:
            threading.Thread(target=self._kill_later, args=(list(running),), daemon=True).start()

    def _kill_later(self, processes: list[subprocess.Popen[bytes]]) -> None:
        time.sleep(self.GRACE_SECONDS)
        for process in processes:
            signal_group(process, signal.SIGKILL)

    def watch(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
        """End `process` with this signal when the run is stopped."""
        with self._lock:
            self._processes[process] = number
        if self.requested:
            signal_group(process, number)

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """`process` has ended."""
        with self._lock:
            self._processes.pop(process, None)


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to `process` and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@dataclass(frozen=True)
class Runtime:
    """See the module. Built once per process by the handlers, or by the local session."""

    store: ObjectStore
    log_folder: Path
    """Where logs are written: ``<log folder>/<run>/<step>.out``, a child's below ``<step>/<index>/``."""
    work_folder: Path
    """The DAG folder; the steps of a DAG run in the folder of its file, below this."""
    base_env: Mapping[str, str]
    """The environment that steps start from."""
    observer: Observer = ignore
    cancellation: Cancellation = field(default_factory=Cancellation)
    remaining: Callable[[], float] = lambda: float("inf")
    """Seconds until the platform ends this call."""

    carries_files: bool = False
    """Whether the files of a run must be carried from task to task; on a laptop they are where they are."""
    files_folder: Path | None = None
    """Where a task has the files of its run, if not with its logs."""
    tell_line: Callable[[dict[str, Any]], None] | None = None
    """Is told each line that a step writes, with the run, step and item that it belongs to (`fanfold.run.steps`)."""
    log_place: str | None = None
    """Where logs can be read once the call is over; None where their files stay."""
    secrets: Secrets = field(default_factory=Secrets)
    """What ``${ssm:…}`` and ``${secret:…}`` stand for."""
    stop_poll_seconds: float | None = None
    """How often a task looks whether its run is to stop; None where that is told by `cancellation`."""
    bundle: str | None = None
    """The bundle with the files that travel with the DAG; None where they lie in the work folder."""

    def for_dag(self, digest: str) -> tuple[Runtime, Dag]:
        """The DAG of the immutable object named by its SHA-256, and the runtime with its bundle."""
        dag, bundle = _stored_dag(self.store, digest)
        return replace(self, bundle=bundle), dag

    def folder_of(self, dag: Dag) -> Path:
        """Where the steps of `dag` run: the folder of its own file."""
        below = Path(dag.place.file).parent
        if self.bundle is not None:
            return unpacked(self.store, self.bundle, self.work_folder) / below
        folder = self.work_folder / below
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@lru_cache(maxsize=256)
def _stored_dag(store: ObjectStore, digest: str) -> tuple[Dag, str | None]:
    """A DAG, and the bundle with the files of its folder."""
    stored: dict[str, Any] = store.get_json(dag_object_key(digest))
    return read_document(stored["file"], stored["name"], stored["text"]), stored.get("bundle")


def dag_object_key(digest: str) -> str:
    """Where a DAG object lies in the run-data bucket."""
    return f"dags/{digest}.json"
