"""The policies of a stack's roles, and what they allow by an evaluator that is not ours."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from needs import Need
from stacks import Resolved

Document = dict[str, Any]


@dataclass(frozen=True)
class Policy:
    """A policy of a stack, with the roles that have it."""

    name: str
    document: Document
    roles: frozenset[str]
    is_aws_s: bool = False
    """Whether AWS keeps it; then it is had or not, but not written here."""


def policies_of(resolved: Resolved) -> list[Policy]:
    """Every policy of every role, but those that a parameter names."""
    roles = {
        part.value({"Fn::GetAtt": [name, "Arn"]}): part.resources[name]["Properties"] | {"logical": name}
        for part in resolved.all()
        for name in part.resources_of("AWS::IAM::Role")
    }
    found = [
        Policy(f"{properties['logical']}/{policy['PolicyName']}", policy["PolicyDocument"], frozenset([arn]))
        for arn, properties in roles.items()
        for policy in properties.get("Policies", ())
    ]
    own = {
        part.value({"Ref": name}): (name, part.resources[name]["Properties"]["PolicyDocument"])
        for part in resolved.all()
        for name in part.resources_of("AWS::IAM::ManagedPolicy")
    }
    given = set(resolved.parameters["RunnerPolicies"])
    for policy in {arn for properties in roles.values() for arn in properties.get("ManagedPolicyArns", ())} - given:
        having = frozenset(
            arn for arn, properties in roles.items() if policy in properties.get("ManagedPolicyArns", ())
        )
        if policy in own:
            found.append(Policy(*own[policy], having))
        else:
            found.append(Policy(policy.rpartition("/")[2], policy_of_aws(policy), having, is_aws_s=True))
    return sorted(found, key=lambda policy: policy.name)


@cache
def policy_of_aws(arn: str) -> Document:
    """A policy that AWS keeps."""
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        iam = boto3.client("iam", region_name="us-east-1")
        named = f"arn:aws:{arn.split(':', 2)[2]}"
        version = iam.get_policy(PolicyArn=named)["Policy"]["DefaultVersionId"]
        document: Document = iam.get_policy_version(PolicyArn=named, VersionId=version)["PolicyVersion"]["Document"]
    return document


@dataclass(frozen=True)
class Change:
    """The policies of a stack, one of which was changed."""

    name: str
    """Says what was changed."""
    policies: list[Policy]
    roles: frozenset[str]
    """Those that had the changed policy."""
    actions: frozenset[str]
    """Those of the changed statement."""

    def concerns(self, need: Need) -> bool:
        return need.role in self.roles and (not self.actions or need.action in self.actions)


def taken_away(policies: Sequence[Policy]) -> Iterator[Change]:
    """Each statement taken away, each action and each resource of one; and each policy that AWS keeps."""
    for policy in policies:
        others = [other for other in policies if other is not policy]
        if policy.is_aws_s:
            yield Change(policy.name, others, policy.roles, frozenset())
            continue
        for place, statement in enumerate(policy.document["Statement"]):
            name, actions = f"{policy.name}: {statement.get('Sid', place)}", frozenset(listed(statement["Action"]))
            yield Change(name, [*others, _with(policy, place)], policy.roles, actions)
            for key in ("Action", "Resource"):
                parts = listed(statement[key])
                for part in parts if len(parts) > 1 else ():
                    less = statement | {key: [other for other in parts if other != part]}
                    yield Change(f"{name}: {part}", [*others, _with(policy, place, less)], policy.roles, actions)


def unconditioned(policies: Sequence[Policy]) -> Iterator[Change]:
    """Each condition of a statement taken away."""
    for policy in policies:
        others = [other for other in policies if other is not policy]
        for place, statement in enumerate(policy.document["Statement"]):
            if "Condition" in statement and not policy.is_aws_s:
                looser = {key: value for key, value in statement.items() if key != "Condition"}
                name, actions = f"{policy.name}: {statement.get('Sid', place)}", frozenset(listed(statement["Action"]))
                yield Change(name, [*others, _with(policy, place, looser)], policy.roles, actions)


def _with(policy: Policy, place: int, *statements: Document) -> Policy:
    """A policy with other statements in the place of one."""
    document = copy.deepcopy(policy.document)
    document["Statement"][place : place + 1] = statements
    return Policy(policy.name, document, policy.roles)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


Answer = bool | str
"""Whether it is allowed, or what is wrong with the question."""


def asked(groups: Sequence[tuple[Sequence[Policy], Sequence[Need]]]) -> list[list[Answer]]:
    """What policies say to needs, for each group up to the first no; skips the test without the evaluator."""
    documents: dict[str, int] = {}

    def number(policy: Policy) -> int:
        return documents.setdefault(json.dumps(policy.document), len(documents))

    questions = [
        [
            {
                "policies": [number(policy) for policy in policies if need.role in policy.roles],
                "principal": need.role,
                "action": need.action,
                "resource": need.resource,
                "context": dict(need.context),
            }
            for need in needs
        ]
        for policies, needs in groups
    ]
    given = {"policies": [json.loads(document) for document in documents], "groups": questions}
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    command = ["node", str(Path(__file__).with_name("simulate.cjs"))]
    done = subprocess.run(command, input=json.dumps(given), text=True, capture_output=True, check=False)
    if "Cannot find module" in done.stderr:
        pytest.skip("@cloud-copilot/iam-simulate is not installed")
    assert done.returncode == 0, done.stderr
    answers: list[list[Answer]] = json.loads(done.stdout)
    return answers


def allowed(policies: Sequence[Policy], needs: Sequence[Need]) -> list[Answer]:
    """What policies say to each need."""
    return [answer for (answer,) in asked([(policies, [need]) for need in needs])]
