"""Where a task runs: in the Lambda function of the runner, or in a container (docs/architecture.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fanfold.asl.stages import Segment
from fanfold.dag.model import Compute, Dag

LAMBDA_SECONDS = 840
"""What a step's ``timeoutSec`` may be at most in a Lambda function: its 15 minutes, and one to say how it ended."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What the compiler must know of the place that the machines run at."""

    has_ecs: bool = True
    """Whether there is a cluster for containers."""
    lambda_seconds: float = LAMBDA_SECONDS
    """How long a task in a Lambda function may take; a laptop has no such limit."""


def compute_of_segment(dag: Dag, segment: Segment, platform: Platform) -> Compute | None:
    """The container that a segment runs in; None for the Lambda function."""
    own = next((step.compute for step in segment.steps if step.compute is not None), None)
    chosen = own or dag.compute
    if chosen is not None:
        return chosen if chosen.kind == "ecs" and (segment.steps or dag.handlers) else None
    limits = [step.timeout_sec for step in segment.steps]
    if dag.is_leaf:
        limits.append(dag.timeout_sec)
    return _by_itself(dag, limits, platform)


def compute_of_leaf(dag: Dag, platform: Platform) -> Compute | None:
    """The container that a leaf child runs in, whole; None for the Lambda function."""
    return compute_of_segment(dag, Segment(dag.steps), platform)


def _by_itself(dag: Dag, limits: list[float | None], platform: Platform) -> Compute | None:
    """A container for what may take longer than a Lambda function, where there is one."""
    longest = max((limit for limit in limits if limit is not None), default=0)
    return Compute("ecs", dag.place) if platform.has_ecs and longest > platform.lambda_seconds else None


IMAGE_PREFIX = "image-"


def image_name(image: str) -> str:
    """The name of the task definition for a DAG's own image, behind the stack's prefix."""
    return IMAGE_PREFIX + hashlib.sha256(image.encode()).hexdigest()[:16]
