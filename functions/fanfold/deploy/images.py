"""``x-fanfold.image`` → task definitions of Amazon ECS: the runner's own, with another image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanfold.asl.computes import IMAGE_PREFIX, image_name
from fanfold.asl.states import CONTAINER
from fanfold.deploy.target import Target

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

_COPIED = ("taskRoleArn", "executionRoleArn", "networkMode", "requiresCompatibilities", "cpu", "memory",
           "volumes", "runtimePlatform", "ephemeralStorage")  # fmt: skip


def register_image(client: ECSClient, target: Target, image: str) -> None:
    """Register a task definition for an image that has none yet, or whose pattern, the runner's own, has changed."""
    assert target.ecs is not None
    family = target.prefix + image_name(image)
    pattern = client.describe_task_definition(taskDefinition=target.ecs.task_definition)["taskDefinition"]
    wanted = _with_image(pattern, family, image)
    try:
        actual: Any = client.describe_task_definition(taskDefinition=family)["taskDefinition"]
    except client.exceptions.ClientException:
        actual = {}
    if any(actual.get(key) != value for key, value in wanted.items()):
        client.register_task_definition(**wanted)


def deregister_images(client: ECSClient, target: Target) -> None:
    """Deregister the task definitions of all images."""
    pages = client.get_paginator("list_task_definitions").paginate()
    for arn in [arn for page in pages for arn in page["taskDefinitionArns"]]:
        if arn.rpartition("/")[2].startswith(target.prefix + IMAGE_PREFIX):
            client.deregister_task_definition(taskDefinition=arn)


def _with_image(pattern: Any, family: str, image: str) -> dict[str, Any]:
    definitions = [
        definition | ({"image": image} if definition["name"] == CONTAINER else {})
        for definition in pattern["containerDefinitions"]
    ]
    copied = {key: pattern[key] for key in _COPIED if pattern.get(key)}
    return copied | {"family": family, "containerDefinitions": definitions}
