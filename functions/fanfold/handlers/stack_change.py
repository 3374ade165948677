"""A change of the stack: what is deployed follows it, before what it calls is gone.

CloudFormation tells of it by the custom resource ``Deployments`` (template.yaml), whose properties are the values that
definitions, schedules and triggers hold.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from fanfold.deploy.deployment import Deployer
from fanfold.deploy.report import NOT_DEPLOYED
from fanfold.deploy.target import Target

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes import CloudFormationCustomResourceEvent

MAX_REASON = 2_000
"""Bytes of the reason as JSON: an answer may have 4,096 (CloudFormation, *Custom resource response objects*)."""

Deploy = Callable[[str], Mapping[str, Any]]
"""Deploys a file of the DAG folder, by its path, and gives its report."""

OpenDeployer = Callable[[str], tuple[Target, Deployer, Deploy]]
"""For a DAG bucket. Raises ValueError where the stack can't work as it is."""


def follow(event: dict[str, Any], open_deployer: OpenDeployer) -> None:
    """Do what a stack that is made, changed or deleted asks for, and tell CloudFormation how that ended.

    A change fails, and is then rolled back by CloudFormation, where it would leave a deployed DAG with what is gone.
    CloudFormation waits for an hour for an answer that does not come, so whatever is raised is one.
    """
    from aws_lambda_powertools.utilities.data_classes import CloudFormationCustomResourceEvent

    from fanfold.handlers.environment import logger

    change = CloudFormationCustomResourceEvent(event)
    try:
        hindrances = list(_hindrances(change, open_deployer))
    except Exception as fault:
        logger().exception("the stack's change")
        hindrances = [f"{type(fault).__name__}: {fault}"]
    logger().info("stack changed", extra={"request": change.request_type, "hindrances": hindrances})
    _answer(change, hindrances)


def _hindrances(change: CloudFormationCustomResourceEvent, open_deployer: OpenDeployer) -> Iterator[str]:
    """Do it; yields why the change must not be."""
    try:
        target, deployer, deploy = open_deployer(change.resource_properties["DagBucket"])
    except ValueError as fault:  # such a stack never came to be, and has nothing to remove
        if change.request_type != "Delete":
            yield str(fault)
        return
    if change.request_type == "Delete":
        deployer.remove_all()
        return
    if target.starts is not None:
        try:
            ZoneInfo(target.starts.zone)
        except (KeyError, ValueError, OSError):  # a folder of zones is no zone
            yield f"ScheduleZone: there is no time zone {target.starts.zone!r}"
            return
    if change.request_type == "Create":
        return
    for file in deployer.files():
        report = deploy(file)
        if report["status"] in NOT_DEPLOYED and not deployer.calls_what_is_there(file):
            problem = report["problems"][0]
            place = problem["place"]
            yield f"{place['file']}:{place['line']}: {problem['message']} ({problem['hint']})"


def _answer(change: CloudFormationCustomResourceEvent, hindrances: list[str]) -> None:
    reason = "; ".join(hindrances)
    if len(json.dumps(reason)) > MAX_REASON:
        while len(json.dumps(reason)) > MAX_REASON:
            reason = reason[: len(reason) * 9 // 10]
        reason = f"{reason}… ({len(hindrances)} in all; the parser's log tells them)"
    answer = {
        "Status": "FAILED" if hindrances else "SUCCESS",
        "Reason": reason,
        "PhysicalResourceId": change.physical_resource_id or f"{change.stack_id}/{change.logical_resource_id}",
        "StackId": change.stack_id,
        "RequestId": change.request_id,
        "LogicalResourceId": change.logical_resource_id,
    }
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own address
        change.response_url, json.dumps(answer).encode(), {"content-type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
