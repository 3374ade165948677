"""A run on the terminal: live, a line a step and a bar for each fan-out; or as plain lines where nothing can move."""

from __future__ import annotations

import sys
import threading
import time
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fanfold.cli.progress import Progress, StepLine
from fanfold.dag.values import as_text
from fanfold.run.events import RunEvent

GLYPHS = {
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "yellow"),
    "cancelled": ("⊘", "yellow"),
    "partial": ("◐", "yellow"),
    "not_started": ("·", "dim"),
    "waiting": ("·", "dim"),
    "running": ("▶", "cyan"),
}
_ASCII = {"✓": "+", "✗": "x", "–": "-", "⊘": "o", "◐": "~", "·": ".", "▶": ">"}


class View(Protocol):
    """Shows a run while it goes on."""

    def observe(self, event: RunEvent) -> None:
        """Take an event in; called from several threads."""

    def __enter__(self) -> View: ...

    def __exit__(self, *exception: object) -> None: ...


def glyph(status: str, console: Console) -> Text:
    """The sign for a status, in ASCII where the terminal cannot show another."""
    sign, style = GLYPHS.get(status, ("?", ""))
    unicode = "utf" in (console.encoding or "").lower()
    return Text(sign if unicode else _ASCII.get(sign, "?"), style)


def style(status: str) -> str:
    """The colour of a status."""
    return GLYPHS.get(status, ("", ""))[1]


class LiveView:
    """For a terminal."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=10, transient=False)
        self._spinner = Spinner("dots", style="cyan")

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def observe(self, event: RunEvent) -> None:
        self._progress.observe(event)

    def render(self) -> RenderableType:
        """The whole picture, as it is now."""
        table = Table.grid(padding=(0, 1))
        table.add_column(width=2)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        with self._progress.lock:
            for line in self._progress.lines.values():
                table.add_row(*self._row(line))
        return Group(table)

    def _row(self, line: StepLine) -> tuple[RenderableType, ...]:
        running = line.status == "running"
        sign: RenderableType = self._spinner if running and line.depth == 0 else glyph(line.status, self._console)
        if line.depth > 0:
            done = line.fan_out is not None and line.fan_out.finished >= line.fan_out.total
            sign = (
                Text("  ")
                if not done
                else glyph("failed" if line.fan_out and line.fan_out.failed else "success", self._console)
            )
        name = Text("  " * line.depth + line.name, style="bold" if running else "")
        seconds = line.seconds if line.seconds is not None else (time.monotonic() - line.started if running else None)
        took = Text("" if seconds is None or line.depth else f"{seconds:.1f}s", "dim")
        return sign, name, self._detail(line), took

    def _detail(self, line: StepLine) -> RenderableType:
        if line.fan_out is None:
            return Text(line.error or "", "dim", overflow="ellipsis")
        fan = line.fan_out
        bar = ProgressBar(total=max(fan.total, 1), completed=fan.finished, width=24)
        counts = Text.assemble(
            (f"{fan.succeeded}", "green"), " succeeded  ",
            (f"{fan.failed}", "red" if fan.failed else "dim"), " failed  ",
            (f"{len(fan.running)}", "cyan"), " running  ",
            (f"of {fan.total}", "dim"),
        )  # fmt: skip
        grid = Table.grid(padding=(0, 1))
        grid.add_row(bar, counts)
        return grid


class PlainView:
    """For a pipe or a file: one line for each thing that starts or ends, failed items by name."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._lock = threading.Lock()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def observe(self, event: RunEvent) -> None:
        self._progress.observe(event)
        line = self._line(event)
        if line is not None:
            with self._lock:
                self._console.print(line, soft_wrap=True)

    def _line(self, event: RunEvent) -> Text | None:
        if event.kind == "item-finished" and event.status == "failed":
            item = as_text(event.parameters)
            shown = item if len(item) <= 100 else f"{item[:99]}…"
            return Text(f"  {event.step}[{event.index}] failed: {shown}: {event.error}")
        if event.depth > 0 or event.step is None:
            return None
        if event.kind == "step-started":
            return Text(f"{event.step}: started")
        if event.kind == "fan-out-started":
            items = "1 item" if event.total == 1 else f"{event.total} items"
            return Text(f"{event.step}: {items}, {event.max_concurrent} at a time")
        if event.kind == "step-finished":
            took = f" in {event.seconds:.1f}s" if event.seconds is not None else ""
            reason = f": {event.error}" if event.error else ""
            return Text(f"{event.step}: {event.status}{took}{reason}")
        return None


class SilentView(PlainView):
    """For ``--json``: keeps count, prints nothing."""

    def observe(self, event: RunEvent) -> None:
        self._progress.observe(event)


def make_view(console: Console, progress: Progress, *, silent: bool) -> LiveView | PlainView:
    """The view that fits where the output goes."""
    if silent:
        return SilentView(console, progress)
    return LiveView(console, progress) if console.is_terminal and sys.stdout.isatty() else PlainView(console, progress)
