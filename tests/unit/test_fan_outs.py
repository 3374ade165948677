"""The compiler's choice at each bound: 40 at once, 25,000 events, 256 KiB, five minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fanfold.asl.fan_outs import (
    GRACE_SECONDS,
    PART_SECONDS,
    CallSeconds,
    FanOutChoice,
    FanOutFacts,
    choose,
    worst_seconds,
)
from fanfold.asl.states import express_retries
from fanfold.dag.model import MAX_ITEMS, RetryPolicy
from fanfold.run.batch import PART_SECONDS as PARTS_WRITTEN
from fanfold.run.plan import ITEMS_BUDGET, RESULT_OVERHEAD, RESULTS_BUDGET
from fanfold.run.runtime import Cancellation
from fanfold.run.scope import SCOPE_BUDGET
from fanfold.run.store import size

FACTS = FanOutFacts(items=1000, concurrency=8, child="function", seconds=None)


def only(facts: FanOutFacts) -> FanOutChoice:
    return choose({"fan": facts})["fan"]


@pytest.mark.parametrize(
    ("facts", "mode"),
    [
        (FACTS, "INLINE"),
        (replace(FACTS, concurrency=40), "INLINE"),
        (replace(FACTS, concurrency=41), "DISTRIBUTED"),
        (replace(FACTS, concurrency=1000, items=40), "INLINE"),
        (replace(FACTS, items=1001), "DISTRIBUTED"),
        (replace(FACTS, retry=RetryPolicy(1)), "INLINE"),
        (replace(FACTS, retry=RetryPolicy(2)), "DISTRIBUTED"),
        (replace(FACTS, retry=RetryPolicy(2), items=888), "INLINE"),
        (replace(FACTS, child="machine"), "INLINE"),
        (replace(FACTS, child="machine", retry=RetryPolicy(1)), "DISTRIBUTED"),
    ],
)
def test_inline_up_to_its_bounds(facts: FanOutFacts, mode: str) -> None:
    assert only(facts).mode == mode


def test_fan_outs_of_one_dag_share_its_history() -> None:
    half = replace(FACTS, items=500)
    two = choose({"a": half, "b": half})
    three = choose({"a": half, "b": replace(half, items=490), "c": replace(half, items=3)} | {"d": FACTS})
    assert [choice.mode for choice in two.values()] == ["INLINE", "INLINE"]
    assert {name: choice.mode for name, choice in three.items()} == {
        "a": "INLINE", "b": "INLINE", "c": "INLINE", "d": "DISTRIBUTED",
    }  # fmt: skip
    assert "63,000" in choose(dict.fromkeys("abc", FACTS))["a"].reason
    assert choose({"a": FACTS}, 3_000)["a"].mode == "INLINE"
    assert "over 20,999" in choose({"a": FACTS}, 3_001)["a"].reason


@pytest.mark.parametrize(
    ("facts", "execution", "batch"),
    [
        (replace(FACTS, items=5000), "STANDARD", 100),
        (replace(FACTS, items=5000, seconds=1.5), "EXPRESS", 100),
        (replace(FACTS, items=5000, seconds=5.0), "EXPRESS", 37),
        (replace(FACTS, items=5000, seconds=30.0), "EXPRESS", 5),
        (replace(FACTS, items=5000, seconds=106.0), "EXPRESS", 1),
        (replace(FACTS, items=5000, seconds=106.5), "STANDARD", 7),
        (replace(FACTS, items=5000, seconds=5.0, retry=RetryPolicy(1, 1)), "EXPRESS", None),
        (replace(FACTS, items=5000, seconds=5.0, retry=RetryPolicy(1, 300)), "STANDARD", None),
        (replace(FACTS, items=5000, seconds=5.0, retry=RetryPolicy(100_000_000)), "STANDARD", None),
        (replace(FACTS, items=5000, child="container", seconds=None), "STANDARD", None),
        (replace(FACTS, items=5000, child="machine"), "STANDARD", None),
        (replace(FACTS, concurrency=100, seconds=106.0), "EXPRESS", None),
        (replace(FACTS, concurrency=100, seconds=107.0), "STANDARD", None),
    ],
)
def test_express_below_five_minutes_and_several_items_a_task(
    facts: FanOutFacts, execution: str, batch: int | None
) -> None:
    choice = only(facts)
    assert (choice.mode, choice.execution, choice.batch) == ("DISTRIBUTED", execution, batch)
    assert choice.execution_reason
    assert (choice.call is not None) == (execution == "EXPRESS")


def test_the_longest_time_of_an_express_execution_counts_every_try_and_every_wait() -> None:
    once = express_retries(None, several=False)
    assert worst_seconds(CallSeconds(100, 100), once) == 10 + 2 * 100 + (2 + 6 + 18 + 30) + 1
    twice = express_retries(RetryPolicy(2, 5, backoff=2), several=False)
    assert worst_seconds(CallSeconds(30, 30), twice) == 10 + 4 * 30 + 56 + 1 + (5 + 10)
    assert worst_seconds(CallSeconds(150, 35), express_retries(None, several=True)) == 10 + 150 + 35 + 56 + 1 < 300


def test_the_times_that_are_counted_are_those_of_the_runner() -> None:
    assert (GRACE_SECONDS, PART_SECONDS) == (Cancellation.GRACE_SECONDS, PARTS_WRITTEN)


def test_what_an_inline_map_has_in_its_state_stays_below_256_kib() -> None:
    places = [{"at": 10_000_000, "bytes": 100_000}] * MAX_ITEMS
    results = [{"index": 1000, "spilled": True}] * MAX_ITEMS
    assert size(results) <= MAX_ITEMS * RESULT_OVERHEAD <= RESULTS_BUDGET
    assert max(size(places), ITEMS_BUDGET) + RESULTS_BUDGET + SCOPE_BUDGET < 0.75 * 256 * 1024
