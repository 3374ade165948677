"""``fanfold history`` and ``fanfold list``: the runs there are, the latest first."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fanfold.cli.store import Place, run_store, write_json
from fanfold.cli.view import glyph, style
from fanfold.history.run_store import RunStore, RunSummary

_WIDTH = 250
"""Characters of a line where no terminal has a say."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def since_when(text: str) -> float:
    """``2h``, ``7d``, ``2026-11-24`` or ``2026-11-24T13:00`` → seconds since the epoch; raises ValueError."""
    ago = re.fullmatch(r"([0-9]+)([smhdw])", text)
    if ago is not None:
        return time.time() - int(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(f"{text!r} is neither a time such as 2026-11-24T13:00 nor an age such as 2h or 7d") from None


def show_history(
    place: Place, dag: str | None, *, statuses: tuple[str, ...], since: float | None, limit: int, as_json: bool
) -> int:
    """Print the runs that are asked for; the exit code 0."""
    with run_store(place) as store:
        runs = list(itertools.islice(_chosen(store, dag, statuses, since), limit))
        if as_json:
            write_json([run.to_json() for run in runs])
            return 0
        console = Console(highlight=False)
        if not runs:
            console.print("no such run")
            return 0
        if not console.is_terminal:
            console.width = _WIDTH
        console.print(_table(runs, console), crop=False)
    return 0


def _chosen(store: RunStore, dag: str | None, statuses: tuple[str, ...], since: float | None) -> Iterator[RunSummary]:
    for run in store.runs(dag):
        if since is not None and run.started < since:
            return
        if not statuses or run.status in statuses:
            yield run


def _table(runs: list[RunSummary], console: Console) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, width in (("", 1), ("DAG", 4), ("run", 36), ("started", 19), ("took", 6)):
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for run in runs:
        attempt = f" (attempt {run.attempt})" if run.attempt > 1 else ""
        table.add_row(
            glyph(run.status, console),
            Text(run.dag),
            Text(run.run),
            moment(run.started),
            took(run),
            Text(f"{run.status}{attempt}" + (f": {run.error}" if run.error else ""), style(run.status)),
        )
    return table


def moment(seconds: float) -> str:
    """A time as this machine's clock shows it."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def took(run: RunSummary) -> str:
    """How long a run took, or has taken so far; empty of one whose end nobody noted."""
    return duration(run.seconds if run.seconds is not None or not run.is_running else time.time() - run.started)


def duration(seconds: float | None) -> str:
    """``1h02m``, ``3m04s`` or ``5.2s``; empty when it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"
