"""The compiler's choice at each bound: 40 at once, 25,000 events, 256 KiB, five minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fanfold.asl.fan_outs import EXPRESS_SECONDS, HISTORY_EVENTS, FanOutChoice, FanOutFacts, choose
from fanfold.dag.model import MAX_ITEMS
from fanfold.run.plan import ITEMS_BUDGET, RESULT_OVERHEAD, RESULTS_BUDGET
from fanfold.run.scope import SCOPE_BUDGET
from fanfold.run.store import size

FACTS = FanOutFacts(items=1000, concurrency=8, retries=0, child="function", seconds=None)


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
        (replace(FACTS, retries=3), "INLINE"),
        (replace(FACTS, retries=4), "DISTRIBUTED"),
        (replace(FACTS, retries=4, items=950), "INLINE"),
        (replace(FACTS, child="machine", retries=2), "INLINE"),
        (replace(FACTS, child="machine", retries=3), "DISTRIBUTED"),
    ],
)
def test_inline_up_to_its_bounds(facts: FanOutFacts, mode: str) -> None:
    assert only(facts).mode == mode


def test_fan_outs_of_one_dag_share_its_history() -> None:
    two = choose({"a": FACTS, "b": FACTS})
    three = choose({"a": FACTS, "b": replace(FACTS, items=990), "c": replace(FACTS, items=3)} | {"d": FACTS})
    assert [choice.mode for choice in two.values()] == ["INLINE", "INLINE"]
    assert {name: choice.mode for name, choice in three.items()} == {
        "a": "DISTRIBUTED", "b": "INLINE", "c": "INLINE", "d": "INLINE",
    }  # fmt: skip
    assert "27,000" in choose(dict.fromkeys("abc", FACTS))["a"].reason


def test_the_events_are_those_of_a_real_history() -> None:
    assert FACTS.events <= HISTORY_EVENTS
    assert FACTS.events >= 7 * FACTS.items


@pytest.mark.parametrize(
    ("facts", "execution", "batch"),
    [
        (replace(FACTS, items=5000), "STANDARD", 100),
        (replace(FACTS, items=5000, seconds=2.0), "EXPRESS", 100),
        (replace(FACTS, items=5000, seconds=30.0), "EXPRESS", 8),
        (replace(FACTS, items=5000, seconds=240.0), "EXPRESS", 1),
        (replace(FACTS, items=5000, seconds=241.0), "STANDARD", 3),
        (replace(FACTS, items=5000, seconds=2.0, retries=1), "EXPRESS", None),
        (replace(FACTS, items=5000, child="container", seconds=None), "STANDARD", None),
        (replace(FACTS, items=5000, child="machine"), "STANDARD", None),
        (replace(FACTS, concurrency=100, seconds=EXPRESS_SECONDS), "EXPRESS", None),
        (replace(FACTS, concurrency=100, seconds=EXPRESS_SECONDS + 1), "STANDARD", None),
    ],
)
def test_express_below_five_minutes_and_several_items_a_task(
    facts: FanOutFacts, execution: str, batch: int | None
) -> None:
    choice = only(facts)
    assert (choice.mode, choice.execution, choice.batch) == ("DISTRIBUTED", execution, batch)
    assert choice.execution_reason


def test_what_an_inline_map_has_in_its_state_stays_below_256_kib() -> None:
    places = [{"at": 10_000_000, "bytes": 100_000}] * MAX_ITEMS
    results = [{"index": 1000, "spilled": True}] * MAX_ITEMS
    assert size(results) <= MAX_ITEMS * RESULT_OVERHEAD <= RESULTS_BUDGET
    assert max(size(places), ITEMS_BUDGET) + RESULTS_BUDGET + SCOPE_BUDGET < 0.75 * 256 * 1024
