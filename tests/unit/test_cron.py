"""``schedule``: what EventBridge Scheduler is told fires when cron would."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise, takewhile

import pytest
from cronsim import CronSim
from fanfold.dag.cron import BadCron, parse_cron
from fanfold.deploy.schedules import MAX_EXPRESSION, expressions
from hypothesis import given, settings
from hypothesis import strategies as st

YEARS = timedelta(days=12 * 365)
"""How far the firing times of sparse schedules, such as that of 29 February, are looked for."""

START = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0 */6 * * *", ["cron(0 0/6 * * ? *)"]),
        ("* * * * *", ["cron(* * * * ? *)"]),
        ("30 9 * * 1-5", ["cron(30 9 ? * MON,TUE,WED,THU,FRI *)"]),
        ("0 0 1 jan *", ["cron(0 0 1 1 ? *)"]),
        ("0 9 13 * 5", ["cron(0 9 13 * ? *)", "cron(0 9 ? * FRI *)"]),
        ("0 0 * * 7", ["cron(0 0 ? * SUN *)"]),
        ("0 0 * * SUN,6", ["cron(0 0 ? * SUN,SAT *)"]),
        ("5/20 8-10,18 ? * *", ["cron(5/20 8-10,18 * * ? *)"]),
    ],
)
def test_expressions_of_eventbridge_scheduler(text: str, wanted: list[str]) -> None:
    assert expressions(parse_cron(text)) == wanted


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("0 6", "has 2 fields", "five fields"),
        ("60 * * * *", "'60' cannot stand in the minute field", "0 to 59"),
        ("0 24 * * *", "'24' cannot stand in the hour field", "0 to 23"),
        ("0 0 0 * *", "'0' cannot stand in the day field", "1 to 31"),
        ("0 0 L * *", "'L' cannot stand in the day field", "1 to 31"),
        ("0 0 * * 5#2", "'5#2' cannot stand in the weekday field", "sun to sat"),
        ("0 0 * foo *", "'foo' cannot stand in the month field", "jan to dec"),
        ("0 9-5 * * *", "runs backwards", "0 to 23"),
        ("*/0 * * * *", "step of 0", "1 or more"),
        ("0 0 31 2,4 *", "never fires", "day and month"),
        ("CRON_TZ=Mars/Base 0 0 * * *", "no time zone 'Mars/Base'", "IANA"),
        ("@daily", "has 1 fields", "five fields"),
        ("0 0 ² * *", "cannot stand in the day field", "1 to 31"),
    ],
)
def test_what_cannot_be_scheduled_says_why(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadCron) as raised:
        parse_cron(text)
    assert message in str(raised.value)
    assert hint in raised.value.hint


def test_the_time_zone_comes_before_the_fields() -> None:
    assert parse_cron("CRON_TZ=Europe/Berlin 0 9 * * *").zone == "Europe/Berlin"
    assert parse_cron("TZ=UTC 0 9 * * *").zone == "UTC"
    assert parse_cron("0 9 * * *").zone is None


@st.composite
def field(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> str:
    """One field: any, a list, ranges, steps, names."""

    def word(number: int) -> str:
        return names[number - low] if names and draw(st.booleans()) else str(number)

    def item() -> str:
        first = draw(st.integers(low, high))
        step = draw(st.integers(1, max(1, high - low)))
        forms = [word(first), f"*/{step}"]
        if first < high:  # of a range from a number to itself, libraries think differently
            last = draw(st.integers(first + 1, high))
            forms += [f"{word(first)}-{word(last)}", f"{first}-{last}/{step}"]
        return draw(st.sampled_from(forms))

    if draw(st.integers(0, 2)) == 0:
        return "*"
    return ",".join(item() for _ in range(draw(st.integers(1, 4))))


crons = st.builds(
    " ".join,
    st.tuples(
        field(0, 59), field(0, 23), field(1, 31), field(1, 12, MONTHS), field(0, 6, WEEKDAYS),
    ),
)  # fmt: skip


def fires_of_cron(text: str) -> Iterator[datetime]:
    """By a well-kept library; ``*/n`` is spelled out, since a star of any kind makes it join the two day fields."""
    fields = text.split()
    fields[2] = fields[2].replace("*/", "1-31/")
    fields[4] = fields[4].replace("*/", "0-6/")
    return CronSim(" ".join(fields), START)


def fires_of_aws(expression: str) -> Iterator[datetime]:
    """What a reader of the AWS form makes of it, day by day."""
    minutes, hours, days, months, weekdays, _ = expression.removeprefix("cron(").removesuffix(")").split(" ")
    day = START.replace(hour=0, minute=0)
    while day < START + YEARS:
        if (
            day.month in numbers(months, 1, 12)
            and (days == "?" or day.day in numbers(days, 1, 31))
            and (weekdays == "?" or day.isoweekday() % 7 in numbers(weekdays, 0, 6))
        ):
            for hour in sorted(numbers(hours, 0, 23)):
                for minute in sorted(numbers(minutes, 0, 59)):
                    fire = day.replace(hour=hour, minute=minute)
                    if fire > START:
                        yield fire
        day += timedelta(days=1)


@cache
def numbers(text: str, low: int, high: int) -> frozenset[int]:
    """A field of the AWS form (EventBridge Scheduler, *Cron-based schedules*)."""
    found: set[int] = set()
    for item in text.split(","):
        first, slash, step = item.partition("/")
        bounds = [WEEKDAYS.index(word.lower()) if word.isalpha() else word for word in first.split("-")]
        if first == "*":
            found |= set(range(low, high + 1))
        elif slash:
            found |= set(range(int(bounds[0]), high + 1, int(step)))
        else:
            found |= set(range(int(bounds[0]), int(bounds[-1]) + 1))
    return frozenset(found)


def without_repeats(fires: Iterator[datetime]) -> Iterator[datetime]:
    """Two schedules of one DAG that fire at the same time start one run."""
    last = None
    for fire in fires:
        if fire != last:
            yield fire
        last = fire


@settings(max_examples=200, deadline=None)
@given(crons)
def test_the_next_200_firing_times_are_those_of_cron(text: str) -> None:
    try:
        made = expressions(parse_cron(text))
    except BadCron:  # no such day is in these months
        return
    ours = list(islice(without_repeats(heapq.merge(*(fires_of_aws(expression) for expression in made))), 200))
    theirs = list(islice(takewhile(lambda fire: fire < START + YEARS, fires_of_cron(text)), 200))
    assert ours == theirs, made


@settings(max_examples=300, deadline=None)
@given(crons)
def test_expressions_are_short_enough_and_as_the_service_takes_them(text: str) -> None:
    try:
        made = expressions(parse_cron(text))
    except BadCron:
        return
    for expression in made:
        fields = expression.removeprefix("cron(").removesuffix(")").split(" ")
        assert len(fields) == 6
        assert [fields[2], fields[4]].count("?") == 1
        assert len(expression) <= MAX_EXPRESSION
    assert all(first != second for first, second in pairwise(made))
