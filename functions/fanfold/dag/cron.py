"""Cron expressions with five fields, as Dagu and crontab read them: minute, hour, day, month, weekday.

Source: semantics, *Names and values*; a day that fits either of day and weekday is a firing day when both are
restricted. ``CRON_TZ=`` (or ``TZ=``) before the fields names the time zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fanfold.dag.model import Place

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ITEM = re.compile(r"(?:(?P<any>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")
_EXAMPLE = "five fields: minute hour day month weekday, such as '0 */6 * * *'"


class BadCron(ValueError):
    """An expression that cannot be used; `hint` says what would be right."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Cron:
    """When to fire: every minute whose fields are all in these sets."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    """Days of the month; None for any."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """From 0 for Sunday to 6; None for any."""
    zone: str | None = None
    """The name of a time zone in the IANA database; None for that of the installation."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One entry of ``schedule``."""

    text: str
    cron: Cron
    place: Place


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """What may stand for the numbers from `low` on."""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


def parse_cron(text: str) -> Cron:
    """The schedule that `text` describes. Raises BadCron."""
    parts = text.split()
    zone = None
    if parts and parts[0].startswith(("CRON_TZ=", "TZ=")):
        zone = _zone(parts.pop(0).partition("=")[2])
    if len(parts) != len(_FIELDS):
        raise BadCron(f"the schedule {text!r} has {len(parts)} fields", _EXAMPLE)
    minutes, hours, days, months, weekdays = (_values(part, field) for part, field in zip(parts, _FIELDS, strict=True))
    if weekdays is not None:
        weekdays = frozenset(day % 7 for day in weekdays)
    cron = Cron(
        minutes or frozenset(range(60)),
        hours or frozenset(range(24)),
        days,
        months or frozenset(range(1, 13)),
        weekdays,
        zone,
    )
    if days is not None and weekdays is None and all(_DAYS_OF_MONTH[month - 1] < min(days) for month in cron.months):
        raise BadCron(f"the schedule {text!r} never fires: no such day is in these months", "check day and month")
    return cron


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo  # few schedules name one

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = "a name of the IANA database, such as Europe/Berlin or UTC"
        raise BadCron(f"there is no time zone {name!r}", hint) from None
    return name


def _values(part: str, field: _Field) -> frozenset[int] | None:
    """What one field allows; None for everything."""
    if any(item in ("*", "?") for item in part.split(",")):
        return None
    values: set[int] = set()
    for item in part.split(","):
        values |= _item(item, field)
    return frozenset(values)


def _item(item: str, field: _Field) -> set[int]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise BadCron(f"{item!r} cannot stand in the {field.name} field", _forms(field))
    high = 6 if field.name == "weekday" else field.high
    if match["any"]:
        first, last = field.low, high
    else:
        first = _number(match["first"], field)
        last = first if match["last"] is None else _number(match["last"], field)
        if match["last"] is None and match["step"] is not None:
            last = high
        if last < first:
            raise BadCron(f"the range {item!r} of the {field.name} field runs backwards", _forms(field))
    step = int(match["step"] or 1)
    if step == 0:
        raise BadCron(f"{item!r} has a step of 0", "a step is 1 or more")
    return set(range(first, last + 1, step))


def _number(word: str, field: _Field) -> int:
    name = word.lower()
    if name in field.names:
        return field.low + field.names.index(name)
    if not word.isascii() or not word.isdigit() or not field.low <= int(word) <= field.high:
        raise BadCron(f"{word!r} cannot stand in the {field.name} field", _forms(field))
    return int(word)


def _forms(field: _Field) -> str:
    names = f", or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return f"{field.low} to {field.high}{names}; lists (1,2), ranges (1-5) and steps (*/2) of them"
