"""How each fan-out of a DAG is run: INLINE or DISTRIBUTED, by which kind of execution, several items a task or one.

A pure function of what the file says (docs/architecture.md, *INLINE or DISTRIBUTED*). The bounds are Step Functions'
(its *Quotas*): 40 items at once and 25,000 events of history for INLINE, 256 KiB a state, 5 minutes for EXPRESS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fanfold.asl.computes import LAMBDA_SECONDS
from fanfold.dag.model import MAX_ITEMS, Dag, RetryPolicy, Step

INLINE_CONCURRENCY = 40
"""Items at a time that an INLINE Map reaches."""

HISTORY_EVENTS = 20_000
"""Events that all INLINE fan-outs of a DAG may take of its 25,000; the rest is for its other states."""

STATE_ITEMS = MAX_ITEMS
"""Items of which a state of 256 KiB can hold where they lie and how they ended (`fanfold.run.plan`'s budgets)."""

EXPRESS_SECONDS = 240
"""How long a task in an EXPRESS execution may take: its 5 minutes, and one to start and to say how it ended."""

MOST_IN_A_TASK = 100
"""Items of one task at most, so that what a lost task takes with it stays small."""

Child = Literal["function", "container", "machine"]
"""What runs an item: a call of the runner's function, a container, or a state machine of its own."""


@dataclass(frozen=True, slots=True)
class FanOutFacts:
    """What is known of a fan-out before it runs."""

    items: int
    """The most items that it can have."""
    concurrency: int
    retries: int
    child: Child
    seconds: float | None
    """How long an item may take with all its retries; None when nothing bounds it."""

    @property
    def events(self) -> int:
        """Events of history that the items take in an INLINE Map, at most."""
        own = 9 if self.child == "function" else 10
        return self.items * (own + self.retries * (3 if self.child == "function" else 4))


@dataclass(frozen=True, slots=True)
class FanOutChoice:
    """How a fan-out is run, and why."""

    mode: Literal["INLINE", "DISTRIBUTED"]
    reason: str
    execution: Literal["STANDARD", "EXPRESS"] = "STANDARD"
    execution_reason: str = ""
    reads_items: bool = False
    """Whether the Map reads its items from S3, rather than from the state."""
    batch: int | None = None
    """The most items of one task; None where each item is a task."""


def choose(all_facts: Mapping[str, FanOutFacts]) -> dict[str, FanOutChoice]:
    """The choice for each fan-out of one DAG, which share its history."""
    chosen = {name: _by_itself(facts) for name, facts in all_facts.items()}
    inline = {name: facts for name, facts in all_facts.items() if chosen[name].mode == "INLINE"}
    while sum(facts.events for facts in inline.values()) > HISTORY_EVENTS:
        total = sum(facts.events for facts in inline.values())
        largest = max(inline, key=lambda name: inline[name].events)
        reason = f"the DAG's inline fan-outs could take {total:,} events of history, over {HISTORY_EVENTS:,}"
        chosen[largest] = _with_execution(FanOutChoice("DISTRIBUTED", reason), inline.pop(largest))
    return chosen


def _by_itself(facts: FanOutFacts) -> FanOutChoice:
    if facts.items > STATE_ITEMS:
        reason = f"up to {facts.items:,} items do not fit into a state of 256 KiB: they are read from S3"
        return _with_execution(FanOutChoice("DISTRIBUTED", reason, reads_items=True), facts)
    at_once = min(facts.concurrency, facts.items)
    if at_once > INLINE_CONCURRENCY:
        reason = f"{at_once} items at a time; an inline Map reaches {INLINE_CONCURRENCY}"
        return _with_execution(FanOutChoice("DISTRIBUTED", reason), facts)
    items = f"{facts.items:,} item" + ("" if facts.items == 1 else "s")
    return FanOutChoice("INLINE", f"{items} at most, {at_once} at a time, {facts.events:,} events of history at most")


def _with_execution(choice: FanOutChoice, facts: FanOutFacts) -> FanOutChoice:
    batch = None
    if choice.reads_items and facts.child == "function" and not facts.retries:
        batch = MOST_IN_A_TASK
    if facts.child != "function":
        why = f"a {facts.child} cannot be awaited in an EXPRESS execution"
    elif facts.seconds is None:
        why = "nothing bounds the time of an item (timeoutSec)"
    elif facts.seconds > EXPRESS_SECONDS:
        why = f"an item may take {facts.seconds:g} s, over {EXPRESS_SECONDS}"
    else:
        if batch is not None:
            batch = max(1, min(batch, int(EXPRESS_SECONDS // facts.seconds)))
        why = f"an item takes {facts.seconds:g} s at most"
        return replace(choice, execution="EXPRESS", execution_reason=why, batch=batch)
    if batch is not None and facts.seconds is not None:
        batch = max(1, min(batch, int(LAMBDA_SECONDS // facts.seconds)))
    return replace(choice, execution_reason=why, batch=batch)


def longest_seconds(dag: Dag) -> float | None:
    """How long a run of a leaf may take; None when nothing bounds it."""
    if any(step.timeout_sec is None for step in dag.handlers.values()):
        return None
    handlers = _sum(list(dag.handlers.values()))
    steps = dag.timeout_sec if dag.timeout_sec is not None else _sum(dag.steps)
    return None if steps is None or handlers is None else steps + handlers + (dag.delay_sec or 0)


def _sum(steps: Sequence[Step]) -> float | None:
    total = 0.0
    for step in steps:
        if step.timeout_sec is None or step.repeat is not None:
            return None
        total += with_retries(step.timeout_sec, step.retry)
    return total


def with_retries(seconds: float, retry: RetryPolicy | None) -> float:
    """The time of all tries and of the waits between them."""
    if retry is None:
        return seconds
    return seconds * (retry.limit + 1) + sum(retry.interval(tries) for tries in range(1, retry.limit + 1))
