"""The runs of this machine: a folder for each below ``<data folder>/runs``, written as the run goes on.

A run's folder holds the objects of its run (`fanfold.run.keys`), the logs of its steps (`fanfold.run.logs`), the DAG
files as they were, and a note for other processes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fanfold.dag.diagnostics import DagFileError
from fanfold.dag.model import Dag
from fanfold.dag.read import read_dag_file
from fanfold.history.folder_store import FolderStore
from fanfold.history.run_data import RunData
from fanfold.history.run_store import LogLine, LogReader, NoSuchRun, RunFault, RunStore, RunSummary
from fanfold.run.keys import folder_of_step, prefix_of_run, stop_key
from fanfold.run.runtime import Cancellation

NOTE = "run.json"
"""The note in a run's folder: the DAG file, the arguments, the process, the number of the attempt."""
SOURCES = "source"
"""The folder, in a run's folder, with the DAG files as they were."""

LOST = "its process ended without a result; to go on: fanfold retry {run}"

_STREAMS = {".out": "stdout", ".err": "stderr"}


def read_note(folder: Path) -> dict[str, Any] | None:
    """The note of the run with this folder; None where there is none."""
    try:
        note: dict[str, Any] = json.loads((folder / NOTE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return note


def remove_old_runs(folder: Path, dag: str | None = None, days: float | None = None) -> list[str]:
    """Remove the runs (of this DAG) that ended more than `days` days ago; their ids.

    Where `days` is None, what each run's DAG asked for counts (``histRetentionDays``).
    """
    removed = []
    for path in folder.glob(f"*/{NOTE}"):
        note = read_note(path.parent)
        if note is None or (dag is not None and note["dag"] != dag):
            continue
        keep = note.get("keepDays") if days is None else days
        oldest = time.time() - (keep or 0) * 24 * 3600
        if keep is not None and _last_change(path.parent) < oldest and not _is_alive(note):
            with suppress(OSError):
                shutil.rmtree(path.parent)
                removed.append(note["run"])
    return removed


def _last_change(folder: Path) -> float:
    paths = (folder / "result.json", folder / NOTE)
    return next((path.stat().st_mtime for path in paths if path.is_file()), time.time())


def _is_alive(note: dict[str, Any]) -> bool:
    """Whether the process of a run is there: one that began after the run has only inherited its number."""
    import psutil

    try:
        return bool(psutil.Process(note["pid"]).create_time() <= note["started"] + 1)
    except psutil.Error:
        return False


class LocalRunStore(RunStore):
    """See the module; `home` is the data folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home.resolve() / "runs"

    def runs(self, dag: str | None = None) -> Iterator[RunSummary]:
        notes = [note for path in self._folder.glob(f"*/{NOTE}") if (note := read_note(path.parent)) is not None]
        for note in sorted(notes, key=lambda note: note["started"], reverse=True):
            if dag is None or note["dag"] == dag:
                yield self._summary(note)

    def summary(self, run: str) -> RunSummary:
        return self._summary(self._note(run))

    def _note(self, run: str) -> dict[str, Any]:
        note = read_note(self._folder / run) if run and "/" not in run else None
        if note is None:
            raise NoSuchRun(f"there is no run {run!r} in {self._folder}")
        return note

    def _summary(self, note: dict[str, Any]) -> RunSummary:
        run = note["run"]
        data = self._data(run)
        begun, result = data.begun() or {}, data.result()
        started = begun.get("started", note["started"])
        about = {"attempt": note["attempt"], "params": begun.get("params")}
        if result is not None and result.get("attempt", 1) == note["attempt"]:
            seconds, error = result.get("seconds"), result.get("error")
            return RunSummary(run, note["dag"], result["status"], started, seconds, error=error, **about)
        if _is_alive(note):
            return RunSummary(run, note["dag"], "running", started, **about)
        return RunSummary(run, note["dag"], "failed", started, error=LOST.format(run=run), **about)

    def data(self, run: str) -> RunData:
        self._note(run)
        return self._data(run)

    def _data(self, run: str) -> RunData:
        return RunData(self._store(run), prefix_of_run(run))

    def _store(self, run: str) -> FolderStore:
        return FolderStore(None, "", run, self._folder / run)

    def log(
        self, run: str, step: str | None = None, index: int | None = None, above: Sequence[tuple[str, int]] = ()
    ) -> LogReader:
        self._note(run)
        folder = self._folder / run
        for caller, place in above:
            folder = folder / folder_of_step(caller) / str(place)
        return _FileLogReader(folder, step, index)

    def dag(self, run: str, begun: Mapping[str, Any]) -> Dag | None:
        sources = self._folder / run / SOURCES

        def fetch(path: str) -> bytes | None:
            return (sources / path).read_bytes() if (sources / path).is_file() else None

        try:
            dags = read_dag_file(Path(self._note(run)["file"]).name, fetch, os.environ).dags.values()
        except (DagFileError, OSError):
            return None
        return next((dag for dag in dags if (dag.name, dag.place.file) == (begun["dag"], begun["file"])), None)

    def stop(self, run: str, *, now: bool = False) -> None:
        note = self._note(run)
        if self.summary(run).is_running and not now:
            self._store(run).put(stop_key(prefix_of_run(run), note["attempt"]), "")
            return
        is_running = self.summary(run).is_running
        if is_running:
            os.kill(note["pid"], signal.SIGKILL)
        if not end_processes_of(self._folder / run) and not is_running:
            raise RunFault(f"the run {run} has ended: {self.summary(run).status}")


def _processes_of(folder: Path) -> list[Any]:
    """The processes that steps of this run started, by the variables that they were given."""
    import psutil

    mark = f"{folder}{os.sep}"
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("FANFOLD_WORK_DIR", "").startswith(mark):
                found.append(process)
    return found


def end_processes_of(folder: Path) -> int:
    """End what is left of a run whose own process is gone; how many processes that were."""
    import psutil

    processes = _processes_of(folder)
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=Cancellation.GRACE_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    return len(processes)


class _FileLogReader(LogReader):
    """Reads the log files on from where it stopped."""

    def __init__(self, folder: Path, step: str | None, index: int | None) -> None:
        self._folder, self._step, self._index = folder, step, index
        self._read: dict[Path, int] = {}

    def read(self, *, last: bool) -> Iterator[LogLine]:
        for path, step, index in self._files():
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not last and not line.endswith(b"\n"):
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    text = line.removesuffix(b"\n").decode("utf-8", "replace")
                    yield LogLine(step, index, _STREAMS[path.suffix], text)

    def _files(self) -> Iterator[tuple[Path, str, int | None]]:
        """Each log file with the step and the item that wrote it."""
        if self._index is None:
            for path in _logs_in(self._folder):
                if self._step in (None, unquote(path.stem)):
                    yield path, unquote(path.stem), None
            return
        item = self._folder / folder_of_step(self._step or "") / str(self._index)
        for path in sorted(item.rglob("*"), key=_by_age):
            if path.suffix in _STREAMS:
                yield path, unquote(path.stem), self._index


def _logs_in(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.*") if path.suffix in _STREAMS), key=_by_age)


def _by_age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name
