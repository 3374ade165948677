"""``fanfold logs``: what the steps of a run, or of one of its items, wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from fanfold.cli.store import Place, run_store, write_json
from fanfold.dag.values import as_text
from fanfold.history.run_data import ItemState, StepState
from fanfold.history.run_store import LogLine, LogReader, NoSuchRun, RunFault, RunStore

LOOK_SECONDS = 0.5
"""Between two looks at a log that is followed."""


def show_logs(
    place: Place,
    wanted: str | None,
    step: str | None,
    *,
    item: str | None,
    failed: bool,
    follow: bool,
    as_json: bool,
) -> int:
    """Print the lines that are asked for; the exit code 0."""
    console = Console(highlight=False)
    with run_store(place) as store:
        run = store.find(wanted).run
        readers = _Readers(store, run, step, item, failed=failed)
        while True:
            ended = not follow or not store.summary(run).is_running
            for line in readers.read(last=ended):
                if as_json:
                    write_json(_line_json(run, line))
                else:
                    console.print(_line_text(line), soft_wrap=True)
            if ended:
                break
            time.sleep(LOOK_SECONDS)
        if not as_json:
            readers.say_what_is_left(console)
    return 0


def _line_json(run: str, line: LogLine) -> dict[str, str | int]:
    index = {} if line.index is None else {"index": line.index}
    return {"run": run, "step": line.step, **index, "stream": line.stream, "text": line.text}


def _line_text(line: LogLine) -> Text:
    where = line.step if line.index is None else f"[{line.index}] {line.step}"
    return Text.assemble((f"{where} ", "cyan"), (line.text, "yellow" if line.stream == "stderr" else ""))


class _Readers:
    """The readers of what was asked for, more of them as more items begin."""

    def __init__(self, store: RunStore, run: str, step: str | None, item: str | None, *, failed: bool) -> None:
        self._store, self._run, self._step, self._item, self._failed = store, run, step, item, failed
        self._readers: dict[tuple[str, int | None], LogReader] = {}
        self._data = store.data(run)
        self._fan_outs: list[StepState] = []
        self._check()

    def _check(self) -> None:
        steps = self._data.steps()
        if self._step is not None and steps and all(step.name != self._step for step in steps):
            raise RunFault(f"the run has no step {self._step!r}; there is: {', '.join(step.name for step in steps)}")
        if self._item is not None and not any(step.child for step in self._asked(steps)):
            raise RunFault("--item is for a step with children; name the step")

    def _asked(self, steps: list[StepState]) -> list[StepState]:
        return [step for step in steps if self._step in (None, step.name)]

    def read(self, *, last: bool) -> Iterator[LogLine]:
        """The lines that have come since the last call."""
        for place in self._places():
            if place not in self._readers:
                self._readers[place] = self._store.log(self._run, *place)
            yield from self._readers[place].read(last=last)

    def _places(self) -> Iterator[tuple[str, int | None]]:
        """Each step, or step and item, whose log is asked for."""
        steps = self._asked(self._data.steps())
        self._fan_outs = [step for step in steps if step.total]
        for step in steps:
            if step.total is None:
                if self._item is None and (not self._failed or step.status == "failed"):
                    yield step.name, None
            elif self._item is not None or self._failed or self._step is not None:
                for item in self._chosen(step):
                    yield step.name, item.index

    def _chosen(self, step: StepState) -> list[ItemState]:
        items = list(self._data.items(step))
        if self._failed:
            items = [item for item in items if item.status == "failed"]
        if self._item is None:
            return [item for item in items if item.status != "waiting"]
        by_key = [item for item in items if as_text(item.parameters) == self._item]
        chosen = by_key or [item for item in items if str(item.index) == self._item]
        if not chosen and items:
            raise NoSuchRun(f"step {step.name} has no item {self._item!r}; an item's value or its index will do")
        return chosen

    def say_what_is_left(self, console: Console) -> None:
        """Name the steps with items, whose logs are shown only when they are asked for."""
        if self._item is None and self._step is None and not self._failed:
            for step in self._fan_outs:
                hint = f"fanfold logs {self._run} '{step.name}', or --failed"
                console.print(Text(f"{step.name}: {step.total:,} items; their logs: {hint}", "dim"), soft_wrap=True)
