"""A stack that is changed: whatever parameter changes, every machine calls what the new stack has."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import fanfold
import pytest
from custom_resource import CONTAINER, NESTED, listening
from deployed import Deployed, deployed
from fanfold.deploy.machines import called_by
from fanfold.handlers import parser
from stacks import ACCOUNT, CORNERS, Resolved, stack

IMAGE = {"RunnerImage": CORNERS["most"]["RunnerImage"]}
ECS = CORNERS["containers alone"]

CHANGES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "an image": ({}, IMAGE),
    "no image any more": (IMAGE, {}),
    "containers": ({}, ECS),
    "no containers any more": (ECS, {}),
    "an image and containers": ({}, IMAGE | ECS),
    "other subnets": (ECS, ECS | {"EcsSubnets": "subnet-00000000000000009"}),
    "other security groups": (ECS, ECS | {"EcsSecurityGroups": "sg-00000000000000009"}),
    "public addresses": (ECS, ECS | {"EcsAssignPublicIp": "ENABLED"}),
    "another time zone": ({}, {"ScheduleZone": "Asia/Tokyo"}),
    "another window": ({}, {"ScheduleWindowMinutes": "15"}),
}
"""Parameters before and after."""


def resolved(parameters: dict[str, str]) -> Resolved:
    return replace(stack("least"), given=parameters)


def properties_of(there: Resolved) -> dict[str, str]:
    """What CloudFormation compares to know whether the parser must be told."""
    return {name: str(value) for name, value in there.resources["Deployments"]["Properties"].items()}


def change(there: Deployed, after: Resolved, url: str, without: Collection[str] = ()) -> None:
    """Change the stack as CloudFormation does, as if the custom resource had no properties `without`."""
    before, now = (
        {name: value for name, value in properties_of(one).items() if name not in without}
        for one in (there.resolved, after)
    )
    there.resolved = after
    if before == now:
        return
    role = there.role_of("ParserFunction")
    runtime = parser.runtime_from(there.environment("ParserFunction"), there.clients(role), parser.ignore)
    event = {
        "RequestType": "Update", "ResponseURL": url, "StackId": f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/s/1",
        "RequestId": "1", "LogicalResourceId": "Deployments", "PhysicalResourceId": "1",
        "ResourceType": "Custom::Deployments", "ResourceProperties": now, "OldResourceProperties": before,
    }  # fmt: skip
    parser.handle(event, None, runtime)  # type: ignore[arg-type]


def live_definitions(there: Deployed) -> Iterator[dict[str, Any]]:
    """The definition of every machine's newest version, which is live."""
    states = there.someone.states
    for machine in states.list_state_machines()["stateMachines"]:
        versions = states.list_state_machine_versions(stateMachineArn=machine["stateMachineArn"])
        newest = versions["stateMachineVersions"][0]["stateMachineVersionArn"]
        yield json.loads(states.describe_state_machine(stateMachineArn=newest)["definition"])


def held(there: Deployed) -> dict[str, Any]:
    """What is deployed and what it names, as the parser would make it now."""
    scheduler, events = there.someone.scheduler, there.someone.events
    schedules = scheduler.list_schedules(GroupName=there.resolved.name)["Schedules"]
    return {
        "definitions": sorted(json.dumps(definition) for definition in live_definitions(there)),
        "schedules": [
            {key: got[key] for key in ("ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target")}
            for item in schedules
            for got in [scheduler.get_schedule(GroupName=there.resolved.name, Name=item["Name"])]
        ],
        "rules": [events.list_targets_by_rule(Rule=rule["Name"])["Targets"] for rule in events.list_rules()["Rules"]],
    }


@contextmanager
def with_files(folder: Path, parameters: dict[str, str], files: dict[str, str]) -> Iterator[Deployed]:
    with deployed(resolved(parameters), folder) as there:
        for name, text in files.items():
            assert there.put(name, text)["status"] == "deployed"
        yield there


def files_of(*parameters: dict[str, str]) -> dict[str, str]:
    """Those that every one of these stacks can run."""
    has_containers = all("EcsSubnets" in given for given in parameters)
    return {"nested.yaml": NESTED} | ({"container.yaml": CONTAINER} if has_containers else {})


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is deployed on a stack that was made with the parameters after each change."""
    found = {}
    for name, (before, after) in CHANGES.items():
        with with_files(tmp_path_factory.mktemp("wanted"), after, files_of(before, after)) as there:
            found[name] = held(there)
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_followed(name: str, tmp_path: Path, wanted: dict[str, Any]) -> None:
    before, after = CHANGES[name]
    with with_files(tmp_path, before, files_of(before, after)) as there, listening() as (url, answers):
        change(there, resolved(after), url)
        assert [answer["Status"] for answer in answers] == ["SUCCESS"]
        functions = {there.resolved.value({"Fn::GetAtt": [name, "Arn"]}) for name in functions_of(there.resolved)}
        clusters = {there.resolved.nested["Containers"].outputs["Cluster"]} if "EcsSubnets" in after else set()
        assert called_by(list(live_definitions(there)), "FunctionName", "Cluster") <= functions | clusters
        assert _without_versions(held(there)) == _without_versions(wanted[name])


def functions_of(there: Resolved) -> list[str]:
    return there.resources_of("AWS::Lambda::Function")


def _without_versions(held: dict[str, Any]) -> Any:
    """A parent names the versions of its children, which are higher after a change."""
    return json.loads(re.sub(r"(:stateMachine:\w[\w-]*):\d+", r"\1", json.dumps(held)))


def test_every_property_of_the_custom_resource_is_needed(tmp_path: Path, wanted: dict[str, Any]) -> None:
    """Without it, CloudFormation would not tell of some change, and what is deployed would stay as it was."""
    told_by_others = {
        "ServiceToken", "ServiceTimeout", "DagBucket", "Release",
        # whose values follow from the stack's name, or from what changes with another property
        "Planner", "Reducer", "StatesRole", "StarterRole", "FailureQueue", "ScheduleGroup", "EcsCluster",
        "EcsTaskDefinition",
    }  # fmt: skip
    for name in sorted(properties_of(resolved({})).keys() - told_by_others):
        missed = []
        for kind, (before, after) in CHANGES.items():
            if properties_of(resolved(before))[name] == properties_of(resolved(after))[name] or missed:
                continue
            folder = tmp_path / f"{name} {kind}"
            folder.mkdir()
            with with_files(folder, before, files_of(before, after)) as there, listening() as (url, _):
                change(there, resolved(after), url, without=[name])
                if _without_versions(held(there)) != _without_versions(wanted[kind]):
                    missed.append(kind)
        assert missed, name


def test_the_parser_is_told_of_all_that_its_environment_holds() -> None:
    template = stack("most").template["Resources"]
    variables = template["ParserFunction"]["Properties"]["Environment"]["Variables"]
    fixed_by_the_name = {
        "FANFOLD_STACK", "FANFOLD_RUN_BUCKET", "FANFOLD_MACHINE_ARNS", "FANFOLD_SCHEDULE_GROUP", "FANFOLD_PARSER_ARN",
        "FANFOLD_ECS_TASK_DEFINITION",
        "FANFOLD_RUNNER_VARIABLES",  # which only tells what a file may refer to
    }  # fmt: skip
    told = list(template["Deployments"]["Properties"].values())
    held = {name for name in variables if name.startswith("FANFOLD_")} - fixed_by_the_name
    assert {name for name in held if variables[name] not in told} == set()


def test_another_release_is_told() -> None:
    assert properties_of(stack("least"))["Release"] == fanfold.__version__
