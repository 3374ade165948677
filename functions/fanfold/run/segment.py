"""A segment: shell steps that run in one task, side by side where ``depends`` allows (docs/architecture.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import pairwise

from fanfold.dag.model import Step
from fanfold.run.outcome import blocked, gate, judge_failure
from fanfold.run.scope import StepOutcome
from fanfold.run.steps import RunContext, run_step, tell_finished


def run_segment(context: RunContext, names: Sequence[str]) -> None:
    """Run the steps called `names` and record each one's outcome in the scope."""
    waiting = [context.dag.step(name) for name in names if name not in context.scope.steps]
    if _is_chain(waiting):
        for step in waiting:
            _finish(context, step, _settle(context, step) or run_step(context, step))
        return
    running: dict[Future[StepOutcome], Step] = {}
    with ThreadPoolExecutor(
        max_workers=context.dag.max_active_steps or max(1, len(waiting)), thread_name_prefix="step"
    ) as pool:
        while waiting or running:
            for step in [step for step in waiting if set(step.depends) <= context.scope.steps.keys()]:
                waiting.remove(step)
                settled = _settle(context, step)
                if settled is not None:
                    _finish(context, step, settled)
                else:
                    running[pool.submit(run_step, context, step)] = step
            if running:
                done, _ = wait(running, timeout=None, return_when=FIRST_COMPLETED)
                for future in done:
                    _finish(context, running.pop(future), future.result())


def lose_segment(context: RunContext, names: Sequence[str], reason: str) -> None:
    """Record the steps called `names`, whose task ended without an answer, as failed."""
    for name in names:
        if name in context.scope.steps:
            continue
        step = context.dag.step(name)
        verdict = gate(step, context.scope.steps)
        if verdict == "run":
            lost = StepOutcome("failed", exit_code=1, error=reason, log=context.place_of(context.logs.run_log))
            outcome = judge_failure(step, lost)
        else:
            outcome = blocked(verdict)
        tell_finished(context, step, outcome)
        _finish(context, step, outcome)


def _is_chain(steps: Sequence[Step]) -> bool:
    """Whether each step waits for the one before it."""
    return all(before.name in step.depends for before, step in pairwise(steps))


def _settle(context: RunContext, step: Step) -> StepOutcome | None:
    """The outcome of a step that must not run; None when it is to run."""
    verdict = gate(step, context.scope.steps)
    if verdict != "run":
        outcome = blocked(verdict)
    elif context.runtime.cancellation.requested:
        outcome = StepOutcome("cancelled", goes_on=False, error="the run was stopped")
    elif time.monotonic() >= context.deadline:
        outcome = StepOutcome("cancelled", goes_on=False, error="the DAG's timeoutSec is over")
    else:
        return None
    tell_finished(context, step, outcome)
    return outcome


def _finish(context: RunContext, step: Step, outcome: StepOutcome) -> None:
    context.record(step.name, outcome, step.output)
