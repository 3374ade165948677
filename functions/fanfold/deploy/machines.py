"""State machines, their versions and the alias ``live``: as a DAG file wants them, against those that are there.

A machine calls its children by the ARN of a version, so that a version that runs, or that `rollback` brings back, never
sees a later child (Step Functions, *Versions and aliases*).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fanfold.asl.states import Definition
from fanfold.deploy.target import Target

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

Change = Literal["created", "updated", "unchanged", "removed"]

ALIAS = "live"
"""The alias that schedules, triggers and `fanfold start` aim at."""

KEPT_VERSIONS = 100
"""Versions of a machine that are kept for a rollback."""


class Deleting(Exception):
    """The state machine with this name is being deleted, and must be gone before it can be made anew."""


class NotOurs(Exception):
    """Another file's state machine, or one that Fanfold did not make, stands where one is to be made; says which."""


@dataclass(frozen=True, slots=True)
class DeployedMachine:
    """A state machine after a deployment."""

    key: str
    name: str
    arn: str
    version: str
    """The ARN of the version that holds this definition."""
    change: Change


@dataclass(slots=True)
class PlannedMachine:
    """A state machine as it is wanted, and what must be done for it."""

    key: str
    name: str
    """Behind the stack's prefix."""
    definition: Definition
    children: tuple[str, ...]
    """The names of the machines that it calls."""
    version: str = ""
    """The ARN of the version that is already as wanted; empty when the machine must change."""
    exists: bool = False


class Machines:
    """The state machines of one DAG file."""

    def __init__(self, client: SFNClient, target: Target, file: str) -> None:
        self._client = client
        self._target = target
        self._tags = {"fanfold:stack": target.stack, "fanfold:file": tag_text(file)}

    def plan(self, machine: PlannedMachine, known: str, versions: Mapping[str, str]) -> None:
        """Find out what must be done for `machine`; changes nothing.

        `known` is the ARN of the version that the last deployment left, `versions` those of the machines that it calls
        and that need not change. Raises NotOurs and Deleting.
        """
        unchanged_children = all(versions.get(name) for name in machine.children)
        if known and unchanged_children:
            described = self._describe(known)
            if (
                described is not None
                and described.get("status") != "DELETING"
                and self._same(described, self._target.fill(machine.definition, versions))
            ):
                machine.version, machine.exists = known, True
                return
        arn = self._target.arn(machine.name)
        described = self._describe(arn)
        machine.exists = described is not None
        if described is not None:
            self._check_ours(arn)
            if described.get("status") == "DELETING":
                raise Deleting(self._target.prefix + machine.name)

    def apply(self, machine: PlannedMachine, versions: Mapping[str, str]) -> DeployedMachine:
        """Bring the machine to its definition; publishes a version where that changes anything."""
        arn, name = self._target.arn(machine.name), self._target.prefix + machine.name
        if machine.version:
            return DeployedMachine(machine.key, name, arn, machine.version, "unchanged")
        text, role = self._target.fill(machine.definition, versions), self._target.role_arn
        if not machine.exists:
            made = self._client.create_state_machine(
                name=name,
                definition=text,
                roleArn=role,
                type="STANDARD",
                publish=True,
                tags=[{"key": key, "value": value} for key, value in self._tags.items()],
            )
            return DeployedMachine(machine.key, name, arn, made["stateMachineVersionArn"], "created")
        described = self._describe(arn)
        if described is not None and self._same(described, text):
            published = self._client.publish_state_machine_version(stateMachineArn=arn)
            return DeployedMachine(machine.key, name, arn, published["stateMachineVersionArn"], "updated")
        updated = self._client.update_state_machine(stateMachineArn=arn, definition=text, roleArn=role, publish=True)
        version = updated["stateMachineVersionArn"]
        self._forget_old_version(version)
        return DeployedMachine(machine.key, name, arn, version, "updated")

    def point_alias(self, arn: str, version: str, *, move: bool) -> None:
        """Let the alias ``live`` stand for `version`; where it is there already, only if it is to `move`."""
        wanted: Any = [{"stateMachineVersionArn": version, "weight": 100}]
        actual = self._routing(arn)
        if actual is None:
            self._client.create_state_machine_alias(name=ALIAS, routingConfiguration=wanted)
        elif move and actual != wanted:
            self._client.update_state_machine_alias(stateMachineAliasArn=f"{arn}:{ALIAS}", routingConfiguration=wanted)

    def _routing(self, arn: str) -> Any:
        """What the alias ``live`` stands for; None when it is not among the aliases of the machine."""
        alias = f"{arn}:{ALIAS}"
        listed = self._client.list_state_machine_aliases(stateMachineArn=arn)["stateMachineAliases"]
        if all(found["stateMachineAliasArn"] != alias for found in listed):
            return None
        return self._client.describe_state_machine_alias(stateMachineAliasArn=alias)["routingConfiguration"]

    def remove(self, name: str) -> None:
        """Delete a machine of ours, with its alias and versions; one that is gone, or not ours, is left alone."""
        arn = self._target.arn(name)
        described = self._describe(arn)
        if described is None or described.get("status") == "DELETING":
            return
        try:
            self._check_ours(arn)
        except NotOurs:
            return
        if self._routing(arn) is not None:
            self._client.delete_state_machine_alias(stateMachineAliasArn=f"{arn}:{ALIAS}")
        self._client.delete_state_machine(stateMachineArn=arn)

    def live_version(self, name: str) -> str | None:
        """The ARN of the version that runs are started of; None where there is none."""
        arn = self._target.arn(name)
        routing = self._routing(arn) if self._describe(arn) is not None else None
        return None if routing is None else str(routing[0]["stateMachineVersionArn"])

    def calls_what_is_there(self, arn: str) -> bool:
        """Whether all that a machine or a version of one calls is there, and all that its children call.

        True where there is no such machine.
        """
        described = self._describe(arn)
        return described is None or (
            described["roleArn"] == self._target.role_arn and callees_from(self._client, arn) <= self._target.callees
        )

    def _describe(self, arn: str) -> Mapping[str, Any] | None:
        try:
            return self._client.describe_state_machine(stateMachineArn=arn)
        except (self._client.exceptions.StateMachineDoesNotExist, self._client.exceptions.ResourceNotFound):
            return None

    def _same(self, described: Mapping[str, Any], text: str) -> bool:
        same: bool = json.loads(described["definition"]) == json.loads(text)
        return same and described["roleArn"] == self._target.role_arn

    def _check_ours(self, arn: str) -> None:
        listed = self._client.list_tags_for_resource(resourceArn=arn)["tags"]
        tags = {tag["key"]: tag["value"] for tag in listed}
        if {key: tags.get(key) for key in self._tags} == self._tags:
            return
        name = arn.rpartition(":")[2]
        owner = tags.get("fanfold:file")
        if owner is not None and tags.get("fanfold:stack") == self._target.stack:
            raise NotOurs(f"the state machine {name} belongs to the file {owner}")
        raise NotOurs(f"there is a state machine {name} that this stack did not make")

    def _forget_old_version(self, version: str) -> None:
        """Delete the version that is too old to go back to; Step Functions keeps 1,000 of a machine."""
        arn, _, number = version.rpartition(":")
        if int(number) > KEPT_VERSIONS:
            old = f"{arn}:{int(number) - KEPT_VERSIONS}"
            self._client.delete_state_machine_version(stateMachineVersionArn=old)


def callees_from(client: SFNClient, arn: str) -> set[str]:
    """What a machine or a version of one calls, and what the machines do that it starts.

    These are functions, clusters and networks (`fanfold.deploy.target.Target.callees`), and the ARN of each machine
    that is gone.
    """
    try:
        definition = json.loads(client.describe_state_machine(stateMachineArn=arn)["definition"])
    except (client.exceptions.StateMachineDoesNotExist, client.exceptions.ResourceNotFound):
        return {arn}
    children = (callees_from(client, child) for child in called_by(definition, "StateMachineArn"))
    return called_by(definition, "FunctionName", "Cluster", "Subnets.$", "SecurityGroups.$").union(*children)


def called_by(definition: Any, *parameters: str) -> set[str]:
    """What the tasks of a filled definition name by these parameters, such as ``FunctionName``."""
    if isinstance(definition, list):
        return set().union(*(called_by(part, *parameters) for part in definition))
    if not isinstance(definition, dict):
        return set()
    own = {definition[key] for key in parameters if key in definition}
    return own.union(*(called_by(part, *parameters) for part in definition.values()))


def tag_text(text: str) -> str:
    """`text` as a tag may hold it: letters, digits, blanks and ``_.:/+-@``; all else as ``=XX``, at most 256."""
    kept = "".join(
        character if character.isascii() and (character.isalnum() or character in " _.:/+-@") else
        "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        for character in text
    )  # fmt: skip
    return kept if len(kept) <= 256 else f"{kept[:239]}={hash_of(text)}"


def hash_of(text: str) -> str:
    """16 hexadecimal digits that tell `text` from any other."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
