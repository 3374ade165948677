"""The stack's templates as CloudFormation makes resources of them: one for each choice of parameters."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

from samtranslator.translator.arn_generator import ArnGenerator
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"
REGIONS = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}
NO_VALUE = object()

AUTHORIZER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:sign-in"
CORNERS: dict[str, dict[str, str]] = {
    "least": {},
    "most": {
        "RunnerImage": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/runner:1",
        "RunnerPolicies": "arn:aws:iam::aws:policy/AmazonBedrockReadOnly,arn:aws:iam::aws:policy/AmazonSQSFullAccess",
        "EcsSubnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
        "EcsSecurityGroups": "sg-0123456789abcdef0",
        "EcsImage": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/runner:1",
        "WebUi": "true",
        "WebUiAuthorizer": AUTHORIZER,
        "AlarmEmail": "someone@example.com",
        "Tracing": "Active",
        "ParserConcurrency": "5",
        "RunnerConcurrency": "50",
    },
}
_ALL = CORNERS["most"]
_ECS = {key: value for key, value in _ALL.items() if key.startswith("Ecs")}
_PAGE = {key: value for key, value in _ALL.items() if key.startswith("WebUi")}
CORNERS |= {
    "zip with everything": {key: value for key, value in _ALL.items() if key != "RunnerImage"}
    | {"RunnerLayers": f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:jq:1"},
    "image alone": {"RunnerImage": _ALL["RunnerImage"]},
    "containers alone": _ECS,
    "page alone": _PAGE,
    "e-mail alone": {"AlarmEmail": _ALL["AlarmEmail"]},
    "all but containers": {key: value for key, value in _ALL.items() if key not in _ECS},
    "all but the page": {key: value for key, value in _ALL.items() if key not in _PAGE},
    "all but e-mail": {key: value for key, value in _ALL.items() if key != "AlarmEmail"},
}
"""Parameters by the choice that they stand for."""


@dataclass
class Resolved:
    """A stack: its resources without any function of CloudFormation, and its nested stacks."""

    template: dict[str, Any]
    """As CloudFormation gets it, after SAM."""
    name: str
    given: Mapping[str, str]
    partition: str = "aws"
    file: Path = field(default=ROOT / "template.yaml")

    def __post_init__(self) -> None:
        declared = self.template.get("Parameters", {})
        assert set(self.given) <= set(declared), f"{self.file.name} has no {set(self.given) - set(declared)}"
        self._within: dict[str, Resolved] = {}
        self.parameters: dict[str, Any] = {}
        for name, parameter in declared.items():
            value = self.given.get(name, parameter.get("Default"))
            assert value is not None, f"{self.file.name} is not given {name}"
            allowed, pattern = parameter.get("AllowedValues"), parameter.get("AllowedPattern")
            assert allowed is None or str(value) in map(str, allowed), f"{name} may not be {value}"
            assert pattern is None or re.fullmatch(pattern, str(value)), f"{name} may not be {value}"
            is_list = parameter["Type"].startswith(("List", "CommaDelimitedList"))
            self.parameters[name] = [part.strip() for part in str(value).split(",")] if is_list else str(value)
        self._conditions = {
            name: self.value(condition) for name, condition in self.template.get("Conditions", {}).items()
        }

    @property
    def region(self) -> str:
        return REGIONS[self.partition]

    @cached_property
    def resources(self) -> dict[str, dict[str, Any]]:
        """Type, properties and policies of every resource that there is, by logical name."""
        return {
            logical: self.value({key: value for key, value in resource.items() if key != "Condition"})
            for logical, resource in self.template["Resources"].items()
            if self._is_there(resource)
        }

    @cached_property
    def outputs(self) -> dict[str, str]:
        return {
            name: self.value(output["Value"])
            for name, output in self.template.get("Outputs", {}).items()
            if self._is_there(output)
        }

    @cached_property
    def nested(self) -> dict[str, Resolved]:
        """The stacks within this one, by logical name."""
        return {
            logical: self.within(logical)
            for logical, resource in self.template["Resources"].items()
            if resource["Type"] == "AWS::CloudFormation::Stack" and self._is_there(resource)
        }

    def all(self) -> Iterator[Resolved]:
        """This stack and all that are nested in it."""
        yield self
        for stack in self.nested.values():
            yield from stack.all()

    def resources_of(self, kind: str) -> list[str]:
        """The logical names of the resources of a type."""
        return [logical for logical, resource in self.resources.items() if resource["Type"] == kind]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of every resource of a type, also of those in nested stacks, by logical name."""
        return {
            logical: resource.get("Properties", {})
            for stack in self.all()
            for logical, resource in stack.resources.items()
            if resource["Type"] == kind
        }

    def refused(self) -> list[str]:
        """The sentences of the rules that these parameters break."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.get("Rules", {}).values()
            if self.value(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}))
            for assertion in rule["Assertions"]
            if not self.value(assertion["Assert"])
        ]

    def value(self, node: Any) -> Any:
        """What a part of the template comes to."""
        if isinstance(node, list):
            return [value for item in node if (value := self.value(item)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in ("Ref", "Condition") or name.startswith("Fn::"):
                return self._functions[name](argument)
        resolved = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    @cached_property
    def _functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": self._ref,
            "Condition": lambda name: self._condition(name),
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::If": lambda given: self.value(given[1] if self._condition(given[0]) else given[2]),
            "Fn::Equals": lambda given: len({str(self.value(item)) for item in given}) == 1,
            "Fn::Not": lambda given: not self.value(given[0]),
            "Fn::And": lambda given: all(self.value(item) for item in given),
            "Fn::Or": lambda given: any(self.value(item) for item in given),
            "Fn::Contains": lambda given: str(self.value(given[1])) in map(str, self.value(given[0])),
            "Fn::EachMemberEquals": lambda given: set(self.value(given[0])) == {self.value(given[1])},
            "Fn::Join": lambda given: given[0].join(map(str, self.value(given[1]))),
            "Fn::Split": lambda given: self.value(given[1]).split(given[0]),
            "Fn::Select": lambda given: self.value(given[1])[int(given[0])],
        }

    def _condition(self, name: str) -> bool:
        if not hasattr(self, "_conditions"):  # one condition may ask for another
            return bool(self.value(self.template["Conditions"][name]))
        return bool(self._conditions[name])

    def _is_there(self, resource: Mapping[str, Any]) -> bool:
        return "Condition" not in resource or self._condition(resource["Condition"])

    def _ref(self, name: str) -> Any:
        if name in self.parameters:
            return self.parameters[name]
        pseudo = {
            "AWS::NoValue": NO_VALUE, "AWS::StackName": self.name, "AWS::AccountId": ACCOUNT,
            "AWS::Region": self.region, "AWS::Partition": self.partition,
            "AWS::URLSuffix": "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com",
            "AWS::StackId": f"arn:{self.partition}:cloudformation:{self.region}:{ACCOUNT}:stack/{self.name}/1",
        }  # fmt: skip
        return pseudo[name] if name in pseudo else self._attribute(name, "Ref")

    def _get_att(self, given: Any) -> Any:
        logical, attribute = given if isinstance(given, list) else given.split(".", 1)
        if attribute.startswith("Outputs."):
            return self.within(logical).outputs[attribute.removeprefix("Outputs.")]
        return self._attribute(logical, attribute)

    def _sub(self, given: Any) -> str:
        text, more = (given, {}) if isinstance(given, str) else given

        def filled(found: re.Match[str]) -> str:
            name = found[1]
            if name in more:
                return str(self.value(more[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", filled, text).replace("${!", "${")

    def _attribute(self, logical: str, attribute: str) -> str:
        resource = self.template["Resources"][logical]
        assert self._is_there(resource), f"{logical} is asked for where there is none"
        places = {"p": self.partition, "r": self.region, "a": ACCOUNT, "name": self._physical_name(logical)}
        return str(_ATTRIBUTES[resource["Type"]][attribute].format_map(places))

    def _physical_name(self, logical: str) -> str:
        """The name that the template gives, or one as CloudFormation makes it."""
        resource = self.template["Resources"][logical]
        given = resource.get("Properties", {}).get(_NAMES.get(resource["Type"], ""))
        if given is not None:
            return str(self.value(given))
        made = f"{self.name}-{logical}-{sha256(f'{self.name}{logical}'.encode()).hexdigest()[:12].upper()}"
        return made.lower() if resource["Type"] == "AWS::S3::Bucket" else made

    def within(self, logical: str) -> Resolved:
        """One of the stacks within this one."""
        if logical in self._within:
            return self._within[logical]
        properties = self.template["Resources"][logical]["Properties"]
        file = ROOT / properties["TemplateURL"]
        given = self.value(properties.get("Parameters", {}))
        assert not [name for name, value in given.items() if not isinstance(value, str)], "a parameter is a text"
        name = self._physical_name(logical)
        self._within[logical] = Resolved(translated(file, self.region), name, given, self.partition, file)
        return self._within[logical]


_ARN = "arn:{p}:%s:{r}:{a}:%s"
_ATTRIBUTES: dict[str, dict[str, str]] = {
    "AWS::ApiGatewayV2::Api": {"Ref": "a1b2c3d4e5", "ApiEndpoint": "https://a1b2c3d4e5.execute-api.{r}.amazonaws.com"},
    "AWS::ApiGatewayV2::Authorizer": {"Ref": "auth01"},
    "AWS::ApiGatewayV2::Integration": {"Ref": "inte01"},
    "AWS::ECS::Cluster": {"Ref": "{name}", "Arn": _ARN % ("ecs", "cluster/{name}")},
    "AWS::ECS::TaskDefinition": {"Ref": _ARN % ("ecs", "task-definition/{name}:1")},
    "AWS::Events::Rule": {"Ref": "{name}", "Arn": _ARN % ("events", "rule/{name}")},
    "AWS::IAM::ManagedPolicy": {"Ref": "arn:{p}:iam::{a}:policy/{name}"},
    "AWS::IAM::Role": {"Ref": "{name}", "Arn": "arn:{p}:iam::{a}:role/{name}"},
    "AWS::Lambda::Function": {"Ref": "{name}", "Arn": _ARN % ("lambda", "function:{name}")},
    "AWS::Lambda::LayerVersion": {"Ref": _ARN % ("lambda", "layer:{name}:1")},
    "AWS::Logs::LogGroup": {"Ref": "{name}", "Arn": _ARN % ("logs", "log-group:{name}:*")},
    "AWS::S3::Bucket": {"Ref": "{name}", "Arn": "arn:{p}:s3:::{name}"},
    "AWS::SNS::Topic": {"Ref": _ARN % ("sns", "{name}")},
    "AWS::SQS::Queue": {
        "Ref": "https://sqs.{r}.amazonaws.com/{a}/{name}", "Arn": _ARN % ("sqs", "{name}"), "QueueName": "{name}",
    },
    "AWS::Scheduler::ScheduleGroup": {"Ref": "{name}", "Arn": _ARN % ("scheduler", "schedule-group/{name}")},
}  # fmt: skip
"""What ``Ref`` and ``GetAtt`` give (CloudFormation, *Resource and property reference*, *Return values*)."""

_NAMES = {
    "AWS::ECS::TaskDefinition": "Family",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Scheduler::ScheduleGroup": "Name",
}
"""The property that gives a resource its name."""


@cache
def translated(file: Path, region: str) -> dict[str, Any]:
    """A template as CloudFormation gets it in a region: after ``sam package`` and the transform of SAM."""
    template: dict[str, Any] = yaml_parse(file.read_text("utf-8"))
    if "Transform" not in template:
        return template
    shared = template.get("Globals", {}).get("Function", {})
    for resource in (shared, *(item["Properties"] for item in template["Resources"].values() if "Properties" in item)):
        for key in {"CodeUri", "ContentUri"} & set(resource):
            resource[key] = "s3://code/packed.zip"
    is_there = patch.object(ArnGenerator, "BOTO_SESSION_REGION_NAME", region)
    with patch.dict(os.environ, AWS_DEFAULT_REGION=region), is_there:
        return dict(transform(template, {}, _NoManagedPolicies()))


class _NoManagedPolicies:
    """The templates name managed policies by their ARNs."""

    def load(self) -> dict[str, str]:
        return {}


def resolve(given: Mapping[str, str], partition: str = "aws", name: str = "fanfold") -> Resolved:
    """The whole stack with these parameters, and the defaults of all others."""
    file = ROOT / "template.yaml"
    return Resolved(translated(file, REGIONS[partition]), name, given, partition, file)


@cache
def stack(corner: str, partition: str = "aws") -> Resolved:
    """The whole stack, with the parameters of a corner."""
    return resolve(CORNERS[corner], partition)


def texts(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a resolved template, with where it stands."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from texts(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from texts(value, (*path, str(number)))
