"""``x-fanfold.on`` → EventBridge rules: an object put into a bucket starts the DAG's alias ``live``.

The bucket must send its events to EventBridge. The run gets the object's bucket and key as the parameters ``BUCKET``
and ``KEY``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fanfold.dag.model import Place, S3Trigger
from fanfold.deploy.machines import Change, hash_of
from fanfold.deploy.schedules import RETRY
from fanfold.deploy.target import Target

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

_TARGET_ID = "run"
_TEMPLATE = '{"params": {"positional": [], "named": {"BUCKET": <bucket>, "KEY": <key>}}, "trigger": {"s3": <id>}}'


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule as a DAG file wants it."""

    place: Place
    rule: dict[str, Any]
    """The arguments of PutRule."""
    target: Any
    """The target of PutTargets."""

    @property
    def name(self) -> str:
        """The rule's name."""
        name: str = self.rule["Name"]
        return name


def wanted_rules(machine: str, alias: str, triggers: Sequence[S3Trigger], target: Target) -> dict[str, Wanted]:
    """The rules of a DAG, by name. `machine` is its machine's name, `alias` the ARN to start."""
    if target.starts is None:
        return {}
    wanted: dict[str, Wanted] = {}
    for trigger in triggers:
        pattern = json.dumps(event_pattern(trigger))
        name = f"{target.prefix}{machine}"[:47] + f"-{hash_of(machine + pattern)}"
        rule = {
            "Name": name,
            "EventPattern": pattern,
            "State": "ENABLED",
            "Description": f"starts the DAG of {trigger.place}"[:512],
        }
        started = {
            "Id": _TARGET_ID,
            "Arn": alias,
            "RoleArn": target.starts.role_arn,
            "InputTransformer": {
                "InputPathsMap": {"bucket": "$.detail.bucket.name", "key": "$.detail.object.key", "id": "$.id"},
                "InputTemplate": _TEMPLATE,
            },
            "RetryPolicy": RETRY,
            "DeadLetterConfig": {"Arn": target.starts.dead_letter_arn},
        }
        wanted[name] = Wanted(trigger.place, rule, started)
    return wanted


def event_pattern(trigger: S3Trigger) -> dict[str, Any]:
    """The events of S3 that the trigger means (EventBridge, *Event patterns*)."""
    detail: dict[str, Any] = {"bucket": {"name": [trigger.bucket]}}
    if trigger.prefix and trigger.suffix:
        detail["object"] = {"key": [{"wildcard": f"{_literal(trigger.prefix)}*{_literal(trigger.suffix)}"}]}
    elif trigger.prefix:
        detail["object"] = {"key": [{"prefix": trigger.prefix}]}
    elif trigger.suffix:
        detail["object"] = {"key": [{"suffix": trigger.suffix}]}
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}


def _literal(text: str) -> str:
    """`text` within a wildcard pattern, meant as it stands."""
    return text.replace("\\", "\\\\").replace("*", "\\*")


def change_of_rule(client: EventBridgeClient, wanted: Wanted) -> Change:
    """What must be done so that the rule is as `wanted`; changes nothing."""
    try:
        actual: Any = client.describe_rule(Name=wanted.name)
    except client.exceptions.ResourceNotFoundException:
        return "created"
    targets = client.list_targets_by_rule(Rule=wanted.name)["Targets"]
    same = all(actual.get(key) == value for key, value in wanted.rule.items())
    return "unchanged" if same and targets == [wanted.target] else "updated"


def apply_rule(client: EventBridgeClient, wanted: Wanted, change: Change, tags: dict[str, str]) -> None:
    """Create or update one rule with its target."""
    if change == "unchanged":
        return
    rule = dict(wanted.rule)
    if change == "created":
        rule["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    client.put_rule(**rule)
    client.put_targets(Rule=wanted.name, Targets=[wanted.target])


def remove_rule(client: EventBridgeClient, name: str) -> None:
    """Delete a rule with its target; one that is gone is no fault."""
    try:
        client.remove_targets(Rule=name, Ids=[_TARGET_ID])
        client.delete_rule(Name=name)
    except client.exceptions.ResourceNotFoundException:
        return
