"""Judgements: may a step run, how did it end, how did the run end. Made here only, for AWS and laptop alike.

Source: semantics, *Failure*; the corners are observed on Dagu.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fanfold.dag.model import Dag, HandlerName, RepeatPolicy, RetryPolicy, Step
from fanfold.run.scope import Status, StepOutcome

HANDLER_OF_STATUS: dict[str, HandlerName] = {
    "success": "onSuccess",
    "partial": "onSuccess",
    "failed": "onFailure",
    "cancelled": "onCancel",
}
"""Which handler runs, before ``onExit``, for a run that ended so."""

STATUS_WORD_OF_DAGU = {"success": "succeeded", "partial": "partially_succeeded", "cancelled": "aborted"}
"""What ``DAG_RUN_STATUS`` says in a handler, where the word differs from ours."""


def gate(step: Step, steps: Mapping[str, StepOutcome]) -> Literal["run", "cancelled", "skipped"]:
    """What becomes of `step` now that all it depends on has ended."""
    blocking = [steps[name] for name in step.depends if not steps[name].goes_on]
    if not blocking:
        return "run"
    return "skipped" if all(outcome.status == "skipped" for outcome in blocking) else "cancelled"


def blocked(verdict: Literal["cancelled", "skipped"]) -> StepOutcome:
    """The outcome of a step that must not run."""
    reason = "upstream failed" if verdict == "cancelled" else "upstream skipped"
    return StepOutcome(verdict, goes_on=False, error=reason)


def skipped(step: Step, reason: str) -> StepOutcome:
    """The outcome of a step whose precondition is not met."""
    return StepOutcome("skipped", goes_on=step.continue_on.skipped, error=reason)


def judge_failure(step: Step, outcome: StepOutcome, output: str = "") -> StepOutcome:
    """`outcome`, a failure, as ``continueOn`` wants it: tolerated, turned into a success, or neither.

    `output` is what the step wrote, for ``continueOn.output``.
    """
    wish = step.continue_on
    tolerated = (
        wish.failure or outcome.exit_code in wish.exit_codes or any(_matches(text, output) for text in wish.output)
    )
    outcome.goes_on = tolerated
    if tolerated and wish.mark_success:
        outcome.status = "success"
    return outcome


def _matches(pattern: str, text: str) -> bool:
    if pattern.startswith("re:"):
        return re.search(pattern[3:], text) is not None
    return pattern in text


def runs_again(policy: RepeatPolicy | None, runs: int, exit_code: int | None, holds: bool | None) -> bool:
    """Whether a step that has run `runs` times is run again; `holds`: what its repeat condition says, if it has one."""
    if policy is None or (policy.limit is not None and runs >= policy.limit):
        return False
    if policy.mode == "always":
        return exit_code == 0
    if holds is None:
        holds = exit_code in policy.exit_codes if policy.exit_codes else exit_code == 0
    return holds if policy.mode == "while" else not holds


def meets(value: str, expected: str) -> bool:
    """Whether a condition's `value` is as `expected`: the text, or ``re:`` and a pattern that occurs in it."""
    if expected.startswith("re:"):
        return re.search(expected[3:], value) is not None
    return value == expected


def should_retry(policy: RetryPolicy | None, tries: int, exit_code: int | None) -> bool:
    """Whether a step that has been tried `tries` times and ended with `exit_code` is tried again."""
    if policy is None or tries > policy.limit:
        return False
    return not policy.exit_codes or exit_code in policy.exit_codes


def should_retry_child(policy: RetryPolicy | None, tries: int, exit_code: int | None) -> bool:
    """The same for a child DAG: its own exit code counts, and 1, the code of every step whose child failed."""
    return should_retry(policy, tries, exit_code) or should_retry(policy, tries, 1)


def run_status(dag: Dag, steps: Mapping[str, StepOutcome]) -> Status:
    """How a run ended whose steps ended as `steps`."""
    outcomes = [steps[step.name] for step in dag.steps if step.name in steps]
    failures = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failures:
        any_success = any(outcome.status in ("success", "partial") for outcome in outcomes)
        tolerated = all(outcome.goes_on for outcome in failures)
        return "partial" if tolerated and any_success else "failed"
    if any(outcome.status == "cancelled" for outcome in outcomes):
        return "cancelled"
    return "partial" if any(outcome.status == "partial" for outcome in outcomes) else "success"


def step_status_of_children(statuses: Iterable[str]) -> Status:
    """How a step ended whose children ended as `statuses` (``partial`` counts as succeeded)."""
    seen = set(statuses)
    if seen <= {"success", "partial"}:
        return "partial" if "partial" in seen else "success"
    return "failed"


def exit_code_of_run(record: Mapping[str, Any]) -> int:
    """The exit code of ``fanfold start`` for a run's record.

    0 for a success, for a run that its own precondition kept from starting, and for one that is partial only through a
    child; else 1.
    """
    statuses = {step["status"] for step in record["steps"].values()}
    if record["status"] == "cancelled":
        return 0 if statuses <= {"not_started"} else 1
    return 1 if record["status"] == "failed" or "failed" in statuses else 0
