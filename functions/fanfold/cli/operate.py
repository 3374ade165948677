"""``fanfold stop``, ``retry`` and ``cleanup``: what is done to a run."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from fanfold.cli.start import run_session
from fanfold.cli.store import Place, run_store, write_json
from fanfold.history.folder import end_processes_of, remove_old_runs
from fanfold.history.run_store import RunFault, RunStore, RunSummary
from fanfold.local.session import Session
from fanfold.run.events import Observer

_LOOK_SECONDS = 0.1


def stop_run(place: Place, wanted: str | None, *, now: bool, seconds: float, as_json: bool) -> int:
    """Stop a run and wait for its end; the exit code: 0, or 1 when it has not ended after so many `seconds`."""
    with run_store(place) as store:
        run = store.find(wanted)
        store.stop(run.run, now=now)
        ended = _wait_for_end(store, run, seconds)
        if as_json:
            write_json(ended.to_json())
        elif ended.is_running:
            Console(stderr=True).print(f"the run {run.run} has not ended after {seconds:g} s", soft_wrap=True)
        else:
            Console(highlight=False).print(f"{run.dag}: {ended.status}, run {run.run}", soft_wrap=True)
        return 1 if ended.is_running else 0
    return 2


def _wait_for_end(store: RunStore, run: RunSummary, seconds: float) -> RunSummary:
    end = time.monotonic() + seconds
    while (now := store.summary(run.run)).is_running and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return now


def retry_run(place: Place, wanted: str | None, *, secrets: Path | None, as_json: bool, wait: bool) -> int:
    """Run again what did not succeed of a run; the exit code as of ``start``."""
    with run_store(place) as store:
        run = store.find(wanted)
        if run.is_running:
            raise RunFault(f"the run {run.run} goes on; to end it: fanfold stop {run.run}")
        if run.status == "success":
            raise RunFault(f"the run {run.run} has succeeded, nothing is left to run again; to run all: fanfold start")
        if place.stack is None:
            return _retry_here(place, run, secrets, as_json=as_json)
        from fanfold.cli.start_remote import retry_remote
        from fanfold.history.stack import StackRunStore

        assert isinstance(store, StackRunStore)
        return retry_remote(store, run, as_json=as_json, wait=wait)
    return 2


def _retry_here(place: Place, run: RunSummary, secrets: Path | None, *, as_json: bool) -> int:
    end_processes_of(place.folder.resolve() / "runs" / run.run)

    def session(observer: Observer) -> Session:
        return Session.again(run.run, place.folder, observer, secrets)

    return run_session(session, as_json=as_json)


def clean_up(place: Place, dag: str | None, days: float | None, *, as_json: bool) -> int:
    """Remove the runs of this machine that are older than their DAG asks for, or than so many `days`."""
    removed = remove_old_runs(place.folder.resolve() / "runs", dag, days)
    if as_json:
        write_json(removed)
    else:
        Console(highlight=False).print(f"{len(removed)} runs removed")
    return 0
