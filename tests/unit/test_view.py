"""What the terminal shows of a run, from its events."""

from __future__ import annotations

import io

from fanfold.cli.progress import Progress
from fanfold.cli.view import LiveView, PlainView
from fanfold.run.events import RunEvent
from rich.console import Console

ROOT = "run"


def fan_out_events(items: int, failed: set[int], finished: int) -> list[RunEvent]:
    events = [
        RunEvent("step-started", ROOT, "top", 0, "fan"),
        RunEvent("fan-out-started", ROOT, "top", 0, "fan", total=items, max_concurrent=8),
    ]
    for index in range(items):
        child = f"{ROOT}/fan/{index}"
        events.append(RunEvent("item-started", ROOT, "top", 0, "fan", index=index, parameters=f"item-{index}"))
        if index >= finished:
            continue
        status = "failed" if index in failed else "success"
        events.append(
            RunEvent(
                "step-finished",
                child,
                "kid",
                1,
                "work",
                status=status,
                error="exit code 3" if index in failed else None,
            )
        )
        events.append(RunEvent("item-finished", ROOT, "top", 0, "fan", index=index, status=status))
    return events


def console() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=False)


def text_of(screen: Console, renderable: object) -> str:
    screen.print(renderable)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_a_fan_out_is_one_line_with_its_counts() -> None:
    progress, screen = Progress(), console()
    view = LiveView(screen, progress)
    for event in fan_out_events(1000, {3, 5}, finished=990):
        view.observe(event)
    shown = text_of(screen, view.render())
    assert len(shown.splitlines()) == 1
    assert "988 succeeded" in shown
    assert "2 failed" in shown
    assert "10 running" in shown
    assert "of 1000" in shown


def test_fan_outs_of_children_are_summed_below_their_step() -> None:
    progress, screen = Progress(), console()
    view = LiveView(screen, progress)
    for event in fan_out_events(2, set(), finished=0):
        view.observe(event)
    for outer in range(2):
        child = f"{ROOT}/fan/{outer}"
        view.observe(RunEvent("fan-out-started", child, "kid", 1, "inner", total=3, max_concurrent=8))
        view.observe(RunEvent("item-started", child, "kid", 1, "inner", index=0, parameters="x"))
        view.observe(RunEvent("item-finished", child, "kid", 1, "inner", index=0, status="success"))
    lines = text_of(screen, view.render()).splitlines()
    assert len(lines) == 2
    assert "inner" in lines[1]
    assert "2 succeeded" in lines[1]
    assert "of 6" in lines[1]


def test_failures_name_what_lies_at_the_bottom_and_not_what_was_retried() -> None:
    progress = Progress()
    for event in fan_out_events(4, {1}, finished=4):
        progress.observe(event)
    progress.observe(
        RunEvent("step-finished", f"{ROOT}/fan/2", "kid", 1, "flaky", status="failed", error="exit code 1")
    )
    progress.observe(RunEvent("step-finished", ROOT, "top", 0, "fan", status="failed", error="1 of 4 items failed"))
    progress.observe(RunEvent("step-finished", ROOT, "top", 0, "plain", status="failed", error="exit code 9"))
    assert [(failure.dag, failure.step, failure.item, failure.error) for failure in progress.failures()] == [
        ("kid", "work", "item-1", "exit code 3"),
        ("top", "plain", None, "exit code 9"),
    ]


def test_plain_lines_show_markup_as_it_is() -> None:
    screen = console()
    view = PlainView(screen, Progress())
    view.observe(RunEvent("step-started", ROOT, "top", 0, "a [red]b"))
    view.observe(
        RunEvent("item-finished", ROOT, "top", 0, "fan", index=1, parameters=["x"], status="failed", error="[bold]e")
    )
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue().splitlines() == ["a [red]b: started", '  fan[1] failed: ["x"]: [bold]e']
