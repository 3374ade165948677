"""Where machines are deployed to, and what the placeholders of their definitions stand for."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanfold.asl.computes import LAMBDA_SECONDS, Platform
from fanfold.asl.judge.walk import walk
from fanfold.asl.names import MAX_LENGTH
from fanfold.asl.states import Definition

MAX_PREFIX = 80 - MAX_LENGTH - 1
"""Characters of a stack's name: with it, a machine's name must fit into 80."""


def prefix_of(stack: str) -> str:
    """What the names of a stack's machines, rules and task definitions start with.

    No stack's name holds ``_`` (CloudFormation), so the names of one stack never start as those of another.
    """
    return f"{stack}_"


def words(text: str) -> list[str]:
    """What a stack's parameter lists, between commas or blanks or both."""
    return text.replace(",", " ").split()


def networks(*lists: str) -> list[str]:
    """Lists of subnets or security groups, as definitions write them."""
    return [f"States.StringSplit('{','.join(words(text))}', ',')" for text in lists]


@dataclass(frozen=True, slots=True)
class Ecs:
    """The cluster that containers run on."""

    cluster: str
    task_definition: str
    """The family of the runner's task definition, whose latest revision counts."""
    subnets: str
    """Subnet ids, separated by commas; so are the security groups."""
    security_groups: str
    assign_public_ip: str = "DISABLED"


@dataclass(frozen=True, slots=True)
class Starts:
    """What schedules and triggers need."""

    role_arn: str
    """The role that starts executions; EventBridge and EventBridge Scheduler take it on."""
    schedule_group: str
    dead_letter_arn: str
    """The queue for starts that failed for good."""
    parser_arn: str = ""
    """The parser's function, which a schedule calls for a file that has to wait."""
    zone: str = "UTC"
    """The time zone of schedules that name none."""
    window_minutes: int = 1
    """How much later than its time a schedule may fire; 0 for not at all."""


@dataclass(frozen=True, slots=True)
class Target:
    """See the module."""

    stack: str
    """Its name, and ``_``, start the name of every machine."""
    runner_arn: str
    planner_arn: str
    reducer_arn: str
    role_arn: str
    """The role that the machines take on."""
    machine_arns: str
    """``arn:aws:states:<region>:<account>:stateMachine:``."""
    starts: Starts | None = None
    """None where nothing but a command starts runs, as on a laptop."""
    ecs: Ecs | None = None
    lambda_seconds: float = LAMBDA_SECONDS

    def __post_init__(self) -> None:
        if len(self.stack) > MAX_PREFIX:
            raise ValueError(f"the stack's name {self.stack!r} is longer than {MAX_PREFIX} characters")

    @property
    def prefix(self) -> str:
        """What the names of the stack's machines, rules and task definitions start with."""
        return prefix_of(self.stack)

    @property
    def partition(self) -> str:
        """``aws``, ``aws-us-gov``, ``aws-cn``: the machines' own."""
        return self.machine_arns.split(":")[1]

    @property
    def platform(self) -> Platform:
        """What the compiler must know."""
        return Platform(has_ecs=self.ecs is not None, lambda_seconds=self.lambda_seconds)

    @property
    def callees(self) -> frozenset[str]:
        """What machines may call: the functions, the cluster, and its networks as definitions write them."""
        functions = {self.runner_arn, self.planner_arn, self.reducer_arn}
        if self.ecs is None:
            return frozenset(functions)
        return frozenset({*functions, self.ecs.cluster, *networks(self.ecs.subnets, self.ecs.security_groups)})

    def arn(self, name: str) -> str:
        """The state machine with this name behind the prefix."""
        return f"{self.machine_arns}{self.prefix}{name}"

    def fill(self, definition: Definition, versions: Mapping[str, str]) -> str:
        """A definition as JSON text; `versions` tells for each machine that it calls the ARN of the version to call."""
        values = {f"${{{placeholder}}}": value for placeholder, value in self._substitutions().items()}
        calls = {f"${{StateMachineArnPrefix}}{name}": version for name, version in versions.items()}
        filled = copy.deepcopy(definition)
        for visited in walk(filled):
            for field in visited.state.keys() & _FIELDS:
                visited.state[field] = _filled(visited.state[field], values, calls)
        return json.dumps(filled)

    def _substitutions(self) -> dict[str, str]:
        values = {
            "Partition": self.partition,
            "RunnerFunction": self.runner_arn,
            "PlannerFunction": self.planner_arn,
            "ReducerFunction": self.reducer_arn,
        }
        if self.ecs is None:
            return values
        return values | {
            "EcsCluster": self.ecs.cluster,
            "RunnerTaskDefinition": self.ecs.task_definition,
            "EcsSubnets": self.ecs.subnets,
            "EcsSecurityGroups": self.ecs.security_groups,
            "EcsAssignPublicIp": self.ecs.assign_public_ip,
            "StackPrefix": self.prefix,
        }


_FIELDS = frozenset({"Resource", "Parameters", "ItemReader", "ResultWriter"})
"""Where placeholders stand; elsewhere, and in a payload, a text that looks like one is the DAG file's own."""


def _filled(value: Any, values: Mapping[str, str], calls: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: inner if key == "Payload" else _filled(inner, values, calls) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values, calls) for inner in value]
    if not isinstance(value, str):
        return value
    for placeholder, text in values.items():
        value = value.replace(placeholder, text)
    return calls.get(value, value)
