"""What the page makes of a run's records, and when schedules fire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from fanfold.dag.cron import parse_cron
from fanfold.history.run_data import ITEM_STATUSES, StepState
from fanfold.web.addresses import RunPlace, parse
from fanfold.web.firing import next_firing
from fanfold.web.views import CODES, codes, grid_of, in_words, lanes, speed_in_words
from hypothesis import given, settings
from hypothesis import strategies as st

statuses = st.sampled_from(ITEM_STATUSES)
marks = st.lists(statuses.map(lambda status: {"status": status}), max_size=50)
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(names, st.lists(st.tuples(names, st.integers(0, 10**7)), max_size=3), st.none() | names)
def test_an_address_leads_to_the_place_that_it_was_made_of(
    root: str, items: list[tuple[str, int]], step: str | None
) -> None:
    from urllib.parse import unquote

    place = RunPlace("r" + root.replace("/", ""), tuple(items), step)
    first, _, rest = unquote(place.address.removeprefix("/runs/")).partition("/")
    assert parse(first, rest) == (place, "")
    assert parse(first, f"{rest}/log" if rest else "log") == (place, "log")


@pytest.mark.parametrize("rest", ["steps", "steps/a/items/x", "items/1", "steps/a/b/c", "x/y"])
def test_what_is_no_address_is_refused_or_a_word(rest: str) -> None:
    try:
        _, word = parse("run", rest)
    except ValueError:
        return
    assert word in rest


@given(marks)
def test_every_item_has_a_letter_and_a_cell(items: list[dict[str, str]]) -> None:
    letters = codes(items)
    assert [CODES[item["status"]] for item in items] == list(letters)
    grid = grid_of(items, [f"item {index}" for index in range(len(items))])
    assert sorted(cell.index for cell in grid.cells) == list(range(len(items)))
    ranks = [ITEM_STATUSES.index(cell.status) for cell in grid.cells]
    assert ranks == sorted(ranks)


def test_the_grid_is_filtered_and_cut_into_pages() -> None:
    items = [{"status": "failed" if index % 1000 == 7 else "success"} for index in range(2500)]
    labels = [f"Datei Ä{index}" for index in range(2500)]
    assert [(grid.page, grid.pages, len(grid.cells)) for grid in
            (grid_of(items, labels, page=page) for page in (0, 1, 3, 99))] == [
        (1, 3, 1000), (1, 3, 1000), (3, 3, 500), (3, 3, 500),
    ]  # fmt: skip
    assert [cell.index for cell in grid_of(items, labels).cells[:4]] == [7, 1007, 2007, 0]
    assert [cell.index for cell in grid_of(items, labels, by="item", query="ä12").cells[:3]] == [12, 120, 121]
    assert [cell.index for cell in grid_of(items, labels, query="#120").cells] == [120]
    assert grid_of(items, labels, status="failed").found == 3


def test_items_at_the_same_time_lie_in_lanes() -> None:
    spans = [(0, 2), (0, 1), (1.5, 1), (2, 1), (5, 1)]
    items = [{"status": "success", "started": start, "seconds": seconds} for start, seconds in spans]
    assert [(bar.lane, bar.start) for bar in lanes(items, [])] == [
        (0, 0), (1, 0), (1, 25.0), (0, 33.33), (0, 83.33),
    ]  # fmt: skip


def test_speed_and_time_left_are_told_of_what_runs() -> None:
    step = StepState("s", "running", "c", 1000.0, total=100, counts={"success": 20, "running": 8, "waiting": 72})
    items = [{"status": "success", "started": 1000.0 + index * 0.5, "seconds": 0.5} for index in range(20)]
    assert speed_in_words(step, items, 1010.0) == "2.0 items/s, about 40.0 s left"
    assert speed_in_words(step, items, 1100.0) == ""
    assert [in_words(seconds) for seconds in (None, 0.04, 5.25, 184, 3725)] == [
        "", "40 ms", "5.2 s", "3 min 04 s", "1 h 02 min",
    ]  # fmt: skip


def fires(text: str, start: datetime) -> Iterator[datetime]:
    cron, when = parse_cron(text), start
    while (found := next_firing(cron, when)) is not None:
        yield found
        when = found


numbers = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}
fields = [
    st.just("*") | st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda some: ",".join(map(str, some)))
    for low, high in numbers.values()
]


@settings(deadline=None, max_examples=60)
@given(st.tuples(*fields).map(" ".join))
def test_the_next_firing_is_that_of_cron(text: str) -> None:
    start = datetime(2026, 11, 25, 3, 4, tzinfo=UTC)
    try:
        parse_cron(text)
        theirs = list(islice(CronSim(text, start), 3))
    except (ValueError, StopIteration):
        return
    ours = list(islice(fires(text, start), 3))
    assert ours == theirs[: len(ours)]
    assert len(ours) == len(theirs) or theirs[len(ours)] - [start, *ours][-1] > timedelta(days=8 * 365)


def test_a_time_that_the_clocks_leave_out_does_not_fire() -> None:
    cron = parse_cron("CRON_TZ=Europe/Berlin 30 2 * * *")
    found = next_firing(cron, datetime(2027, 3, 27, 12, tzinfo=UTC))
    assert found == datetime(2027, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert next_firing(parse_cron("0 0 30 2 1"), datetime(2026, 1, 1, tzinfo=UTC)) is not None
    found = next_firing(parse_cron("0 0 29 2 *"), datetime(2026, 11, 25, tzinfo=UTC))
    assert found == datetime(2028, 2, 29, tzinfo=UTC)
