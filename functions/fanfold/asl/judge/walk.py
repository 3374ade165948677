"""What the checks share: findings, what they are told, and the way through a definition."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fanfold.asl import errors
from fanfold.asl.fan_outs import CallSeconds
from fanfold.asl.states import Definition


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that AWS would not take, or not do as it is meant."""

    state: str
    """Its name; empty for the definition as a whole."""
    message: str
    hint: str
    """What would be right."""


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What a definition does not tell of one of its Maps."""

    items: int
    """The most that it can have."""
    call: CallSeconds | None = None
    """How long its task's calls may take; None where nothing bounds them."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a definition does not tell of itself."""

    machines: Collection[str] = ()
    """What may stand as ``StateMachineArn``."""
    maps: Mapping[str, MapFacts] = field(default_factory=dict)
    """By the Map's name."""
    partition: str = "${Partition}"


@dataclass(frozen=True, slots=True)
class Visited:
    """A state and where it stands."""

    name: str
    state: Definition
    maps: tuple[tuple[str, Definition], ...]
    """The Maps that it is inside of, from the outermost: name and state."""

    @property
    def kind(self) -> str:
        """What it can end with is told by this key of `errors.RAISED`."""
        if self.state["Type"] == "Task":
            return integration(self.state["Resource"])
        return errors.DISTRIBUTED_MAP if is_distributed(self.state) else str(self.state["Type"])

    @property
    def execution(self) -> str:
        """The type of the execution that the state runs in."""
        for _, around in reversed(self.maps):
            if is_distributed(around):
                return str(around["ItemProcessor"]["ProcessorConfig"].get("ExecutionType", ""))
        return "STANDARD"


def walk(definition: Definition, maps: tuple[tuple[str, Definition], ...] = ()) -> Iterator[Visited]:
    """Every state, those inside of Maps and branches too."""
    for name, state in definition["States"].items():
        yield Visited(name, state, maps)
        within = (*maps, (name, state)) if state["Type"] == "Map" else maps
        for inner in scopes(state):
            yield from walk(inner, within)


def scopes(state: Definition) -> list[Definition]:
    """The state machines inside of a state."""
    inner: list[Definition] = [state["ItemProcessor"]] if state["Type"] == "Map" else state.get("Branches", [])
    return inner


def integration(resource: str) -> str:
    """``lambda:invoke`` of ``arn:aws:states:::lambda:invoke``."""
    return resource.partition(":states:::")[2]


def is_distributed(state: Definition) -> bool:
    """Whether the state is a Map whose items are executions of their own."""
    config: Any = state.get("ItemProcessor", {}).get("ProcessorConfig", {})
    return bool(config.get("Mode") == "DISTRIBUTED")
