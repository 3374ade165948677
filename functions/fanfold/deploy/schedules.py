"""``schedule`` → schedules of EventBridge Scheduler, which start the DAG's alias ``live``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fanfold.dag.cron import Cron, Schedule
from fanfold.dag.model import Place
from fanfold.deploy.machines import Change, hash_of
from fanfold.deploy.target import Starts

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

MAX_EXPRESSION = 256
"""Characters of an expression (EventBridge Scheduler, *CreateSchedule*)."""

RETRY = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 20}
"""How long a start that fails is tried again, before it goes to the dead-letter queue."""

AGAIN_MINUTES = 10
"""Until a file that has to wait is looked at again."""

_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule as a DAG file wants it."""

    place: Place
    request: dict[str, Any]
    """The arguments of CreateSchedule."""

    @property
    def expression(self) -> str:
        """When it fires, as EventBridge Scheduler writes it."""
        expression: str = self.request["ScheduleExpression"]
        return expression


def expressions(cron: Cron) -> list[str]:
    """The schedule as EventBridge Scheduler writes it: ``cron(minutes hours day-of-month month day-of-week year)``.

    One of the two day fields must be ``?``, so that a schedule with both needs two expressions; a run whose time both
    hit is started once (`fanfold.run.lifecycle`).
    """
    time = f"{_field(cron.minutes, range(60))} {_field(cron.hours, range(24))}"
    months = _field(cron.months, _MONTHS)
    found = []
    if cron.days is not None or cron.weekdays is None:
        days = "*" if cron.days is None else _field(cron.days, range(1, 32))
        found.append(f"cron({time} {days} {months} ? *)")
    if cron.weekdays is not None:
        weekdays = ",".join(_WEEKDAYS[day] for day in sorted(cron.weekdays))
        found.append(f"cron({time} ? {months} {weekdays if len(cron.weekdays) < 7 else '*'} *)")
    return found


def _field(values: frozenset[int], span: range) -> str:
    """`values` as ``*``, a start and a step, or a list of numbers and ranges."""
    numbers = sorted(values)
    if numbers == list(span):
        return "*"
    if len(numbers) > 2:
        step = numbers[1] - numbers[0]
        if numbers == list(range(numbers[0], span.stop, step)):
            return f"{numbers[0]}/{step}"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def wanted_schedules(machine: str, alias: str, schedules: Sequence[Schedule], starts: Starts) -> dict[str, Wanted]:
    """The schedules of a DAG, by name. `machine` is its machine's name, `alias` the ARN to start."""
    partition = alias.split(":")[1]
    wanted: dict[str, Wanted] = {}
    for schedule in schedules:
        for expression in expressions(schedule.cron):
            zone = schedule.cron.zone or starts.zone
            start = {"schedule": schedule.text, "time": "<aws.scheduler.scheduled-time>"}
            started = {
                "StateMachineArn": alias,
                "Name": "<aws.scheduler.execution-id>",
                "Input": json.dumps({"trigger": start}),
            }
            name = f"{machine[:47]}-{hash_of(f'{machine} {expression} {zone}')}"
            request = {
                "Name": name,
                "GroupName": starts.schedule_group,
                "Description": f"schedule {schedule.text!r} of {schedule.place}"[:512],
                "ScheduleExpression": expression,
                "ScheduleExpressionTimezone": zone,
                "FlexibleTimeWindow": (
                    {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": starts.window_minutes}
                    if starts.window_minutes
                    else {"Mode": "OFF"}
                ),
                "Target": {
                    "Arn": f"arn:{partition}:scheduler:::aws-sdk:sfn:startExecution",
                    "RoleArn": starts.role_arn,
                    "Input": json.dumps(started),
                    "RetryPolicy": RETRY,
                    "DeadLetterConfig": {"Arn": starts.dead_letter_arn},
                },
                "State": "ENABLED",
            }
            wanted[name] = Wanted(schedule.place, request)
    return wanted


def change_of_schedule(client: EventBridgeSchedulerClient, wanted: Wanted) -> Change:
    """What must be done so that the schedule is as `wanted`; changes nothing."""
    try:
        actual: Any = client.get_schedule(Name=wanted.request["Name"], GroupName=wanted.request["GroupName"])
    except client.exceptions.ResourceNotFoundException:
        return "created"
    return "unchanged" if all(actual.get(key) == value for key, value in wanted.request.items()) else "updated"


def apply_schedule(client: EventBridgeSchedulerClient, wanted: Wanted, change: Change) -> None:
    """Create or update one schedule."""
    if change == "created":
        client.create_schedule(**wanted.request)
    elif change == "updated":
        client.update_schedule(**wanted.request)


def look_again(client: EventBridgeSchedulerClient, starts: Starts, event: dict[str, Any], now: datetime) -> None:
    """Let the parser be called with `event` in ten minutes, once; twice for one event is once."""
    text = json.dumps(event, sort_keys=True)
    request: Any = {
        "Name": f"again-{hash_of(text)}",
        "GroupName": starts.schedule_group,
        "Description": "a DAG file that waits",
        "ScheduleExpression": f"at({now + timedelta(minutes=AGAIN_MINUTES):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": starts.parser_arn,
            "RoleArn": starts.role_arn,
            "Input": text,
            "RetryPolicy": RETRY,
            "DeadLetterConfig": {"Arn": starts.dead_letter_arn},
        },
    }
    try:
        client.create_schedule(**request)
    except client.exceptions.ConflictException:
        client.update_schedule(**request)


def remove_schedule(client: EventBridgeSchedulerClient, group: str, name: str) -> None:
    """Delete a schedule; one that is gone is no fault."""
    try:
        client.delete_schedule(Name=name, GroupName=group)
    except client.exceptions.ResourceNotFoundException:
        return
