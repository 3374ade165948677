"""``fanfold start``: run a DAG file here, show it, and say how it ended."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.text import Text

from fanfold.cli.files import check_readable, show_problems
from fanfold.cli.progress import Failure, Progress
from fanfold.cli.store import write_json
from fanfold.cli.view import glyph, make_view
from fanfold.dag.diagnostics import DagFileError
from fanfold.history.run_store import RunFault
from fanfold.local.folder import UnusableFile
from fanfold.local.session import RunRecord, Session
from fanfold.run.events import Observer
from fanfold.run.outcome import exit_code_of_run

SHOWN_FAILURES = 5


def start_file(
    file: Path,
    arguments: Sequence[str],
    *,
    as_json: bool,
    home: Path | None,
    buckets: Mapping[str, Path],
    secrets: Path | None,
    run_id: str | None = None,
) -> int:
    """Run `file` and return the exit code: 0 success, 1 the run failed, 2 the input is wrong."""

    def session(observer: Observer) -> Session:
        check_readable(file)
        return Session(
            file, home=home, observer=observer, buckets=buckets, arguments=arguments, secrets=secrets, run_id=run_id
        )

    return run_session(session, as_json=as_json)


def run_session(make: Callable[[Observer], Session], *, as_json: bool) -> int:
    """Run a session and show it; the exit code of `start_file`."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    progress = Progress()
    try:
        view = make_view(console, progress, silent=as_json)
        with make(view.observe) as session:
            session.deploy()
            _collect_garbage_again()
            with _stop_on_signal(session, errors), view:
                record = _run(session)
            log_folder = session.log_folder
    except (UnusableFile, RunFault) as fault:
        errors.print(Text(str(fault), "red"), soft_wrap=True)
        return 2
    except DagFileError as fault:
        show_problems(errors, session.file, fault)
        return 2
    except OSError as fault:
        errors.print(
            Text(f"{fault.filename}: {fault.strerror}; choose another folder with --home", "red"), soft_wrap=True
        )
        return 2
    if as_json:
        write_json(record)
    else:
        show_end(console, record, progress.failures(), log_folder)
    return exit_code_of_run(record)


def _collect_garbage_again() -> None:
    """After a start-up without: what was loaded meanwhile is looked through no more."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _run(session: Session) -> RunRecord:
    """Run in a thread of its own, so that a signal reaches the main thread at once."""
    outcome: list[RunRecord] = []
    fault: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(session.run())
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=run, name="run", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if fault:
        raise fault[0]
    return outcome[0]


@contextmanager
def _stop_on_signal(session: Session, errors: Console) -> Iterator[None]:
    """The first Ctrl-C stops the run, and its document is still written; the second ends this process at once."""
    seen: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(130)
        seen.append(number)
        errors.print("stopping: no further step starts, running ones are ended (again to leave at once)")
        session.cancel()

    before: dict[signal.Signals, Callable[..., Any] | int | None] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_end(console: Console, record: RunRecord, failures: Sequence[Failure], log: object) -> None:
    """Print the failures, what each fan-out came to, the outputs, and how the run ended."""
    if record["status"] in ("failed", "partial", "cancelled"):
        for failure in failures[:SHOWN_FAILURES]:
            console.print(_failure_text(failure), soft_wrap=True)
        if len(failures) > SHOWN_FAILURES:
            console.print(f"… and {len(failures) - SHOWN_FAILURES} more failures, see {log}", soft_wrap=True)
        if not failures and record.get("error"):
            console.print(Text(record["error"], "red"), soft_wrap=True)
    for name, step in record["steps"].items():
        document = step.get("document")
        if document is not None and "summary" in document:
            counts = ", ".join(f"{count} {word}" for word, count in document["summary"].items() if count)
            console.print(Text(f"{name}: {counts}"), soft_wrap=True)
        for variable, value in step["output"].items():
            console.print(Text(f"{name}: {variable}={_short(value)}", "dim"), soft_wrap=True)
    console.print(
        Text.assemble(glyph(record["status"], console), f" {record['dag']}: {record['status']}, log: {log}"),
        soft_wrap=True,
    )


def _failure_text(failure: Failure) -> Text:
    item = f", item {_short(failure.item)}" if failure.item is not None else ""
    text = Text.assemble((f"DAG {failure.dag}, step {failure.step}{item}: ", "bold"), (failure.error, "red"))
    for line in failure.stderr_tail.splitlines():
        text.append(f"\n    {line}")
    if failure.log:
        text.append(f"\n  whole log: {failure.log}", "dim")
    return text


def _short(value: str) -> str:
    lines = value.splitlines() or [""]
    more = f" … ({len(lines)} lines)" if len(lines) > 1 else ""
    first = lines[0] if len(lines[0]) <= 120 else f"{lines[0][:119]}…"
    return first + more
