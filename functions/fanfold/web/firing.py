"""When a schedule fires next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fanfold.dag.cron import Cron

_DAYS = 366 * 8 + 2
"""Days looked through: a 29th of February may be eight years away."""


def next_firing(cron: Cron, after: datetime, zone: str = "UTC") -> datetime | None:
    """The first time after `after` at which the schedule fires, in its own zone, else in `zone`.

    A time that the clocks leave out is left out; one that they show twice fires once (EventBridge Scheduler, *Daylight
    saving time*). None if there is none in eight years.
    """
    clock = ZoneInfo(cron.zone or zone)
    start = after.astimezone(clock)
    day = start.date()
    for _ in range(_DAYS):
        if day.month in cron.months and _is_firing_day(cron, day.day, day.isoweekday() % 7):
            for hour in sorted(cron.hours):
                for minute in sorted(cron.minutes):
                    fires = datetime(day.year, day.month, day.day, hour, minute, tzinfo=clock)
                    is_real = fires.astimezone(UTC).astimezone(clock).hour == hour
                    if is_real and fires.astimezone(UTC) > after.astimezone(UTC):
                        return fires
        day += timedelta(days=1)
    return None


def _is_firing_day(cron: Cron, day: int, weekday: int) -> bool:
    """Cron's rule: where both fields are restricted, either will do."""
    fits = [value in allowed for value, allowed in ((day, cron.days), (weekday, cron.weekdays)) if allowed is not None]
    return any(fits) if fits else True
