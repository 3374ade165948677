"""How each fan-out of a DAG is run: INLINE or DISTRIBUTED, by which kind of execution, several items a task or one.

A pure function of what the file says (docs/architecture.md, *INLINE or DISTRIBUTED*). The bounds are Step Functions'
(its *Quotas*): 40 items at once and 25,000 events of history for INLINE, 256 KiB a state, 5 minutes for EXPRESS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fanfold.asl.computes import LAMBDA_SECONDS
from fanfold.asl.errors import REFUSED
from fanfold.asl.states import ASLEEP_TRIES, FAULT_TRIES, OWN_TRIES, Definition, express_retries
from fanfold.dag.expressions import template
from fanfold.dag.model import MAX_ITEMS, Argument, Dag, Precondition, RetryPolicy, Step

INLINE_CONCURRENCY = 40
"""Items at a time that an INLINE Map reaches."""

HISTORY_EVENTS = 24_000
"""Events that an execution is planned to take of its 25,000, with every retry there can be; a redrive adds some."""

REFUSED_EVENTS = 3
"""Of a try that the called service refuses: scheduled, started, failed."""

TRY_EVENTS = {"function": 3, "container": 4, "machine": 4}
"""Of any other try: the same, and that it was submitted where something else answers."""

ITEM_EVENTS = 6
"""Of an item besides: it and its state entered and left, and the state that takes a failure."""

_TASK_EVENTS = 2 + 3 * (1 + FAULT_TRIES + ASLEEP_TRIES)
SEGMENT_EVENTS = 3 * _TASK_EVENTS + 3 * OWN_TRIES + 1
"""Of a segment: its task, the one that hands its input over to a container, the one for a task that is lost."""
PARALLEL_EVENTS = 4
"""Of branches side by side, besides their states."""
FAN_OUT_EVENTS = 2 * (_TASK_EVENTS + 3 * OWN_TRIES) + 6
"""Of a fan-out besides its items: plan, reduce, and the Map itself."""
OTHER_EVENTS = 10
"""Of an execution: its start and end, and a wait before the first step."""

STATE_ITEMS = MAX_ITEMS
"""Items of which a state of 256 KiB can hold where they lie and how they ended (`fanfold.run.plan`'s budgets)."""

EXPRESS_SECONDS = 300
"""How long an EXPRESS execution may take, with all tries of its task and the waits between them."""

START_SECONDS = 10
"""Of an EXPRESS execution: until its task is called, and from the task's answer to its end."""

CALL_SECONDS = 10
"""Of a call of the runner's function besides its items: a cold start, and a bundle to fetch and unpack."""

ITEM_SECONDS = 1.0
"""Of an item besides its steps: shells started, records and logs written (0.4 s measured)."""

GRACE_SECONDS = 2.0
"""Between SIGTERM at the end of a time limit and SIGKILL."""

PART_SECONDS = 20
"""How often a task with several items writes their records: what it did since then is done again when it dies."""

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
    child: Child
    seconds: float | None
    """How long one try of an item may take; None when nothing bounds it."""
    retry: RetryPolicy | None = None

    @property
    def item_events(self) -> int:
        """Events of history that an item takes in an INLINE Map, at most: with every retry there can be."""
        tries = 1 + (self.retry.limit if self.retry else 0)
        return ITEM_EVENTS + FAULT_TRIES * REFUSED_EVENTS + tries * TRY_EVENTS[self.child]

    @property
    def events(self) -> int:
        """Events of history that the items take in an INLINE Map, at most."""
        return self.items * self.item_events


@dataclass(frozen=True, slots=True)
class CallSeconds:
    """How long a call of the runner's function in an EXPRESS execution may take."""

    first: float
    again: float
    """A call after one that ended without an answer."""


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
    call: CallSeconds | None = None
    """Of an EXPRESS execution's task."""


def choose(all_facts: Mapping[str, FanOutFacts], others: int = 0) -> dict[str, FanOutChoice]:
    """The choice for each fan-out of one DAG, which share its history with `others`: events of its other states."""
    chosen = {name: _by_itself(facts) for name, facts in all_facts.items()}
    inline = {name: facts for name, facts in all_facts.items() if chosen[name].mode == "INLINE"}
    while inline and others + sum(facts.events for facts in inline.values()) > HISTORY_EVENTS:
        total = sum(facts.events for facts in inline.values())
        largest = max(inline, key=lambda name: inline[name].events)
        reason = f"the DAG's inline fan-outs could take {total:,} events of history, over {HISTORY_EVENTS - others:,}"
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
    several = choice.reads_items and facts.child == "function" and not (facts.retry and facts.retry.limit)
    if facts.child != "function":
        return replace(choice, execution_reason=f"a {facts.child} cannot be awaited in an EXPRESS execution")
    if facts.seconds is None:
        why = "nothing bounds the time of an item (timeoutSec)"
        return replace(choice, execution_reason=why, batch=MOST_IN_A_TASK if several else None)
    for items in range(MOST_IN_A_TASK if several else 1, 0, -1):
        call = _call(facts.seconds, items, several=several)
        if worst_seconds(call, express_retries(facts.retry, several=several)) < EXPRESS_SECONDS:
            return replace(
                choice,
                execution="EXPRESS",
                execution_reason=f"an item takes {facts.seconds:g} s at most",
                batch=items if several else None,
                call=call,
            )
    alone = worst_seconds(_call(facts.seconds, 1, several=several), express_retries(facts.retry, several=several))
    why = f"an item may take {facts.seconds:g} s, and its execution {alone:g} s with retries, over {EXPRESS_SECONDS}"
    batch = max(1, min(MOST_IN_A_TASK, int(LAMBDA_SECONDS // facts.seconds))) if several else None
    return replace(choice, execution_reason=why, batch=batch)


def _call(seconds: float, items: int, *, several: bool) -> CallSeconds:
    first = CALL_SECONDS + items * seconds
    return CallSeconds(first, min(first, CALL_SECONDS + PART_SECONDS + seconds) if several else first)


def worst_seconds(call: CallSeconds, retriers: Iterable[Definition]) -> float:
    """How long an EXPRESS execution may take whose task is tried again as often as its ``Retry`` says."""
    total = START_SECONDS + call.first
    for retrier in retriers:
        total += waits(retrier)
        if not REFUSED.issuperset(retrier["ErrorEquals"]):
            total += retrier["MaxAttempts"] * call.again
    return total


def waits(retrier: Definition) -> float:
    """All waits before further tries at their longest (Step Functions, *Retrying after an error*)."""
    most = retrier.get("MaxDelaySeconds", float("inf"))
    return _sum_of_waits(retrier["IntervalSeconds"], retrier["BackoffRate"], most, retrier["MaxAttempts"])


def _sum_of_waits(wait: float, backoff: float, most: float, tries: int) -> float:
    total = 0.0
    for done in range(tries):
        if wait == 0 or backoff == 1 or wait >= most:
            return total + (tries - done) * min(wait, most)
        if total > EXPRESS_SECONDS:
            return float("inf")
        total += wait
        wait *= backoff
    return total


def longest_seconds(dag: Dag) -> float | None:
    """How long a run of a leaf may take, all in; None when nothing bounds it."""
    if any(_evaluates(dag)) or any(step.timeout_sec is None for step in dag.handlers.values()):
        return None
    handlers = _sum(list(dag.handlers.values()))
    steps = dag.timeout_sec + GRACE_SECONDS if dag.timeout_sec is not None else _sum(dag.steps)
    if steps is None or handlers is None:
        return None
    return steps + handlers + (dag.delay_sec or 0) + ITEM_SECONDS


def _evaluates(dag: Dag) -> Iterable[bool]:
    """Whether texts outside of steps' commands are run by a shell, which no time limit ends."""
    arguments: list[Argument] = [*dag.params, *dag.env]
    preconditions: list[Precondition] = [*dag.preconditions]
    for step in (*dag.steps, *dag.handlers.values()):
        arguments += step.env
        preconditions += step.preconditions
        yield any(template(text).needs_shell for text in (step.dir, step.stdout, step.stderr) if text)
    yield any(template(argument.template).needs_shell for argument in arguments)
    for precondition in preconditions:
        yield precondition.expected is None or template(precondition.condition).needs_shell
        yield precondition.expected is not None and template(precondition.expected).needs_shell


def _sum(steps: Sequence[Step]) -> float | None:
    total = 0.0
    for step in steps:
        if step.timeout_sec is None or step.repeat is not None:
            return None
        commands = 1 if step.script is not None else max(1, len(step.command))
        total += _with_retries(commands * (step.timeout_sec + GRACE_SECONDS), step.retry)
    return total


def _with_retries(seconds: float, retry: RetryPolicy | None) -> float:
    """The time of all tries and of the waits between them."""
    if retry is None:
        return seconds
    most = float("inf") if retry.max_interval_sec is None else retry.max_interval_sec
    return seconds * (retry.limit + 1) + _sum_of_waits(retry.interval_sec, retry.backoff, most, retry.limit)
