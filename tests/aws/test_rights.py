"""The rights of every role: all that is needed, and nothing besides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from deployed import Call, deployed
from needs import LAMBDA, Need, Needs
from policies import Policy, allowed, asked, listed, policies_of, taken_away, unconditioned
from scenarios import calls_of, definitions, targets
from stacks import ACCOUNT, REGIONS, Resolved, stack


@dataclass
class Used:
    """A stack that was used."""

    resolved: Resolved
    policies: list[Policy]
    needs: list[Need]


@pytest.fixture(scope="module", params=["least", "most"])
def used(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Used:
    resolved = stack(request.param)
    needs, calls = Needs(resolved), list[Call]()
    with deployed(resolved, tmp_path_factory.mktemp("used"), calls.append) as there:
        found = {*needs.of_calls(calls_of(there, calls)), *needs.of_template()}
        for machine, (role, definition) in definitions(there).items():
            found.update(needs.of_machine(machine, role, definition))
        for target in targets(there):
            found.update(needs.of_target(target))
    return Used(resolved, policies_of(resolved), sorted(found))


_RUNNER = f"StatesRole/run: CallFunctions: arn:aws:lambda:{REGIONS['aws']}:{ACCOUNT}:function:fanfold_runner"
NOT_USED = {
    _RUNNER: "runs that began before there was an image, and versions that are rolled back to, call it",
    f"{_RUNNER}-image": "the same, of a stack that has no image any more",
    "AWSXrayWriteOnlyAccess": "AWS SAM gives it to the role of each function that has Tracing, whatever that is",
}
"""What may be taken away and nobody misses it, with the reason why it is there."""

ON_EVERYTHING = {
    "ecs:DeregisterTaskDefinition": "it knows no resources, nor do the two below",
    "ecs:DescribeTaskDefinition": "",
    "ecs:ListTaskDefinitions": "",
    "ecs:RegisterTaskDefinition": "it knew no resources for years; whether it does now, AWS's pages say differently",
    "logs:GetQueryResults": "it names a query alone; whether a log group is looked at, AWS's pages say differently",
    "states:SendTaskFailure": "the token itself is the right to answer, as for the two below",
    "states:SendTaskHeartbeat": "",
    "states:SendTaskSuccess": "",
}
"""What is allowed on every resource, with the reason."""

BY_AWS = {"logs:CreateLogStream", "logs:PutLogEvents"}
"""What a policy that AWS keeps (AWSLambdaBasicExecutionRole) allows wider than it is needed."""


def test_nothing_is_missing(used: Used) -> None:
    answers = zip(used.needs, allowed(used.policies, used.needs), strict=True)
    assert [(need, said) for need, said in answers if said is not True] == []


def test_whatever_is_taken_away_is_missed(used: Used) -> None:
    changes = list(taken_away(used.policies))
    groups = [(change.policies, [need for need in used.needs if change.concerns(need)]) for change in changes]
    answers = zip(changes, asked(groups), strict=True)
    assert {change.name for change, said in answers if all(answer is True for answer in said)} <= set(NOT_USED)
    assert len(changes) > 80


def test_another_stack_s_resources_are_out_of_reach(used: Used) -> None:
    mine = used.resolved.name
    for other in (f"{mine}-prod", f"{mine}s", f"my-{mine}"):
        theirs = [
            replace(need, resource=need.resource.replace(mine, other, 1))
            for need in used.needs
            if mine in need.resource and need.action not in BY_AWS
        ]
        assert len(theirs) > 100
        answers = zip(theirs, allowed(used.policies, theirs), strict=True)
        assert [(need, said) for need, said in answers if said is not False] == []


def test_nothing_is_allowed_under_other_conditions(used: Used) -> None:
    others = [other for need in used.needs for other in otherwise(need)]
    answers = zip(others, allowed(used.policies, others), strict=True)
    assert [(need, said) for need, said in answers if said is not False] == []


def test_whatever_condition_is_taken_away_lets_in_more(used: Used) -> None:
    others = [other for need in used.needs for other in otherwise(need)]
    changes = list(unconditioned(used.policies))
    pairs = [(change, need) for change in changes for need in others if change.concerns(need)]
    answers = zip(pairs, asked([(change.policies, [need]) for change, need in pairs]), strict=True)
    assert {change.name for (change, _), said in answers if said == [True]} == {change.name for change in changes}
    assert len(changes) >= 3


def otherwise(need: Need) -> Iterator[Need]:
    """The need under each condition but the one that it has."""
    for place, (key, value) in enumerate(need.context):
        other = (*value, "another") if isinstance(value, tuple) else f"{value}-of-another"
        context = (*need.context[:place], (key, other), *need.context[place + 1 :])
        yield replace(need, context=context)


def test_nothing_is_allowed_on_everything_but_for_a_reason(used: Used) -> None:
    everywhere = {
        action
        for policy in used.policies
        if not policy.is_aws_s
        for statement in policy.document["Statement"]
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    assert everywhere <= set(ON_EVERYTHING)
    assert not used.resolved.of_type("AWS::ECS::Cluster") or everywhere == set(ON_EVERYTHING)


def test_each_role_is_taken_on_by_whom_it_is_made_for_alone(used: Used) -> None:
    wanted: dict[str, set[str]] = {}
    for need in used.needs:
        if need.action == "iam:PassRole":
            wanted.setdefault(need.resource, set()).add(str(dict(need.context)["iam:PassedToService"]))
    for function in used.resolved.of_type("AWS::Lambda::Function").values():
        wanted.setdefault(function["Role"], set()).add(LAMBDA)
    roles = {
        part.value({"Fn::GetAtt": [name, "Arn"]}): part.resources[name]["Properties"]
        for part in used.resolved.all()
        for name in part.resources_of("AWS::IAM::Role")
    }
    found = {
        arn: {
            service
            for statement in properties["AssumeRolePolicyDocument"]["Statement"]
            for service in listed(statement["Principal"]["Service"])
        }
        for arn, properties in roles.items()
    }
    assert found == wanted
