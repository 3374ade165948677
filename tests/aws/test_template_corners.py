"""The template for each choice of its parameters: every part is there, fits, and names nothing that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from fanfold.dag.extension import FARGATE_MEMORY
from stacks import ACCOUNT, CORNERS, REGIONS, ROOT, Resolved, resolve, stack, texts

ALL_CORNERS = pytest.mark.parametrize("corner", CORNERS)
ECS = {key: value for key, value in CORNERS["most"].items() if key.startswith("Ecs")}


@pytest.mark.parametrize("corner", ["least", "most", "zip with everything"])
def test_every_resource_is_as_its_schema_says(corner: str) -> None:
    for part in stack(corner).all():
        text = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": part.resources})
        found = lint(text, config=ManualArgs(regions=[REGIONS["aws"]], ignore_checks=["W3002"]))  # a path for `package`
        assert [f"{part.file.name}: {match}" for match in found] == []


@ALL_CORNERS
def test_no_text_holds_a_name_that_nothing_stands_for(corner: str) -> None:
    for part in stack(corner).all():
        for place, text in texts(part.resources):
            assert "${" not in text, place


@ALL_CORNERS
def test_every_nested_stack_is_given_all_that_it_asks_for(corner: str) -> None:
    nested = [part for part in stack(corner).all() if part.file.name != "template.yaml"]
    assert {part.file.name for part in nested} >= {"observability.yaml"}
    for part in nested:
        assert set(part.given) == set(part.template["Parameters"])


@pytest.mark.parametrize("partition", [name for name in REGIONS if name != "aws"])
def test_a_partition_s_stack_names_no_other_partition(partition: str) -> None:
    given = {name: value.replace("arn:aws:", f"arn:{partition}:") for name, value in CORNERS["most"].items()}
    for part in resolve(given, partition).all():
        for place, text in texts([part.resources, part.outputs]):
            assert "arn:aws:" not in text, place


class TestParametersThatDoNotGoTogether:
    @ALL_CORNERS
    def test_what_goes_together_is_not_refused(self, corner: str) -> None:
        assert stack(corner).refused() == []

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"EcsSubnets": "subnet-1"}, ["EcsSubnets needs EcsImage", "EcsSubnets needs EcsSecurityGroups"]),
            ({"EcsImage": "runner:1"}, ["EcsImage and EcsSecurityGroups need EcsSubnets"]),
            ({"WebUi": "true"}, ["WebUi needs WebUiAuthorizer"]),
            (
                {"RunnerImage": "runner:1", "RunnerLayers": f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:jq:1"},
                ["RunnerImage and RunnerLayers exclude each other; put what the layers hold into the image"],
            ),
            ({"RunnerConcurrency": "0"}, ["with RunnerConcurrency 0 nothing would run; -1 reserves none"]),
            ({"ParserConcurrency": "0"}, ["with ParserConcurrency 0 nothing would be deployed; -1 reserves none"]),
        ],
    )  # fmt: skip
    def test_what_does_not_is_refused_with_a_sentence(self, given: dict[str, str], told: list[str]) -> None:
        assert resolve(given).refused() == told

    def test_sizes_of_containers_are_those_of_fargate(self) -> None:
        sizes = sorted({memory for some in FARGATE_MEMORY.values() for memory in some} | {1000, 250000})
        for cpu, right in FARGATE_MEMORY.items():
            taken = [
                memory
                for memory in sizes
                if not resolve(ECS | {"EcsCpu": str(cpu), "EcsMemory": str(memory)}).refused()
            ]
            assert taken == list(right), cpu


class TestWhoCallsFunctions:
    @ALL_CORNERS
    def test_every_rule_may_call_the_function_that_is_its_target(self, corner: str) -> None:
        resolved = stack(corner)
        grants = [
            (grant["FunctionName"], grant["Principal"], grant["SourceArn"])
            for grant in resolved.of_type("AWS::Lambda::Permission").values()
            if "SourceArn" in grant
        ]
        called = 0
        for logical, rule in resolved.of_type("AWS::Events::Rule").items():
            for target in rule["Targets"]:
                if ":lambda:" in target["Arn"]:
                    called += 1
                    name = target["Arn"].rpartition(":")[2]
                    arn = arn_of_rule(resolved, logical)
                    assert (name, "events.amazonaws.com", arn) in grants
        assert called == 1


def arn_of_rule(resolved: Resolved, logical: str) -> Any:
    (part,) = (part for part in resolved.all() if logical in part.resources)
    return part.value({"Fn::GetAtt": [logical, "Arn"]})


def test_every_template_is_looked_at() -> None:
    files = {part.file for part in stack("most").all()}
    assert files == {ROOT / "template.yaml", *(ROOT / "infra").glob("*.yaml")} - {ROOT / "infra" / "checkov.yaml"}
