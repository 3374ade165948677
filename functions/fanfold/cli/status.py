"""``fanfold status``: one run as a tree of DAG, steps and items, what failed first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from fanfold.cli.history import duration, moment, took
from fanfold.cli.store import Place, run_store, write_json
from fanfold.cli.view import glyph
from fanfold.dag.model import Json
from fanfold.dag.values import as_text
from fanfold.history.run_data import ITEM_STATUSES, ItemState, RunData, StepState
from fanfold.history.run_store import RunStore, RunSummary

SHOWN_ITEMS = 10
_ENDED_WELL = ("success", "partial", "skipped")


def show_status(place: Place, wanted: str | None, *, items: int, as_json: bool) -> int:
    """Print a run; the exit code 0."""
    with run_store(place) as store:
        run = store.find(wanted)
        if as_json:
            write_json(status_json(store, run))
            return 0
        console = Console(highlight=False)
        console.print(_tree(store, run, items, console), soft_wrap=True)
        if run.status in ("failed", "partial", "cancelled"):
            console.print(Text(f"to run what did not succeed again: fanfold retry {run.run}", "dim"), soft_wrap=True)
    return 0


def status_json(store: RunStore, run: RunSummary) -> dict[str, Json]:
    """A run as ``--json`` shows it: that of the list, and ``steps``, those with children with all their ``results``."""
    data = store.data(run.run)
    steps: list[Json] = []
    for step in data.steps():
        entry = step.to_json()
        if step.total is not None:
            entry["results"] = [item.to_json() for item in data.items(step)]
        steps.append(entry)
    begun = data.begun() or {}
    return {**run.to_json(), **{key: begun[key] for key in ("file", "definition") if key in begun}, "steps": steps}


def _tree(store: RunStore, run: RunSummary, shown: int, console: Console) -> Tree:
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    lasted = f" in {took(run)}" if took(run) else ""
    title = Text.assemble(
        glyph(run.status, console), (f" {run.dag}", "bold"), f" {run.status}{lasted}{attempt}\n",
        (f"  run {run.run}, started {moment(run.started)}", "dim"),
    )  # fmt: skip
    if run.params:
        title.append(f"\n  params {json.dumps(run.params, ensure_ascii=False)}", "dim")
    if run.error:
        title.append(f"\n  {run.error}", "red")
    tree = Tree(title, guide_style="dim")
    _add_steps(tree, store.data(run.run), shown, console)
    return tree


def _add_steps(tree: Tree, data: RunData, shown: int, console: Console) -> None:
    for step in data.steps():
        branch = tree.add(_step_text(step, console))
        if step.total:
            _add_items(branch, data, step, shown, console)


def _step_text(step: StepState, console: Console) -> Text:
    seconds = step.seconds
    if seconds is None and step.status == "running" and step.started is not None:
        seconds = time.time() - step.started
    text = Text.assemble(glyph(step.status, console), f" {step.name}", (f"  {duration(seconds)}", "dim"))
    if step.child is not None:
        text.append(f"  {step.child}", "dim")
    if step.total is not None:
        text.append(f"  {counts_in_words(step)}")
    if step.status == "failed" and step.log:
        text.append(f"\n  {step.error}", "red").append(f"\n  log: {step.log}", "dim")
    elif step.error and step.status != "success":
        text.append(f"  {step.error}", "dim")
    return text


def counts_in_words(step: StepState) -> str:
    """``1,000 items: 7 failed, 993 success``."""
    counts = ", ".join(f"{step.counts[status]:,} {status}" for status in ITEM_STATUSES if step.counts.get(status))
    return f"{step.total:,} item{'s' if step.total != 1 else ''}" + (f": {counts}" if counts else "")


def failed_first(items: Iterable[ItemState]) -> list[ItemState]:
    """What failed before what runs, that before what waits, what ended well last."""
    return sorted(items, key=lambda item: (ITEM_STATUSES.index(item.status), item.index))


def _add_items(branch: Tree, data: RunData, step: StepState, shown: int, console: Console) -> None:
    """The items that did not end well and those that run, as many as are asked for; the others are counted."""
    ordered = failed_first(data.items(step))
    worth = [item for item in ordered if item.status in ("failed", "cancelled", "running")]
    some = worth[:shown] if len(ordered) > shown else ordered
    for item in some:
        leaf = branch.add(_item_text(item, console))
        if item.status == "failed" and data.child(step.name, item.index).begun() is not None:
            _add_steps(leaf, data.child(step.name, item.index), min(shown, 3), console)
    if len(ordered) > len(some):
        branch.add(Text(f"… and {len(ordered) - len(some):,} more: --items all shows them", "dim"))


def _item_text(item: ItemState, console: Console) -> Text:
    text = Text.assemble(
        glyph(item.status, console), f" [{item.index}] {_short(as_text(item.parameters))}",
        (f"  {duration(item.seconds)}", "dim"),
    )  # fmt: skip
    if item.error:
        text.append(f"  {item.error}", "red" if item.status == "failed" else "dim")
    for name in _failed_steps(item):
        text.append(f"\n  step {name}: {item.steps[name].get('error', 'failed')}", "red")
    if item.status == "failed" and item.log:
        text.append(f"\n  log: {item.log}", "dim")
    return text


def _failed_steps(item: ItemState) -> Iterator[str]:
    """The child's steps that failed, where the item's own error does not name them."""
    return (
        name
        for name, told in item.steps.items()
        if told["status"] == "failed" and not (item.error or "").startswith(f"step {name}:")
    )


def _short(text: str) -> str:
    line = " ".join(text.splitlines())
    return line if len(line) <= 80 else f"{line[:79]}…"
