"""``x-fanfold``: what Fanfold knows beyond Dagu's format, under one key so that the file stays valid elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from fanfold.dag.cron import BadCron, Schedule, parse_cron
from fanfold.dag.diagnostics import Problems, nearest
from fanfold.dag.fields import Fields, read_text
from fanfold.dag.model import (
    LARGEST_CONCURRENCY,
    LARGEST_FAN_OUT,
    MAX_ITEMS,
    Compute,
    Parallel,
    S3Trigger,
    Tolerance,
)
from fanfold.dag.yaml_source import Mapping, Scalar, Sequence

COMPUTE_KEYS = {"compute", "cpu", "memory", "image", "timeoutSec"}
EXTENSION_KEYS = COMPUTE_KEYS | {"on"}
FAN_OUT_KEYS = {"maxItems", "tolerateFailed"}
_AT_STEP = dict.fromkeys(FAN_OUT_KEYS, "set it at the step with 'parallel'")

_TOLERANCE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(%?)")

FARGATE_MEMORY: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4097, 1024)),
    1024: tuple(range(2048, 8193, 1024)),
    2048: tuple(range(4096, 16385, 1024)),
    4096: tuple(range(8192, 30721, 1024)),
    8192: tuple(range(16384, 61441, 4096)),
    16384: tuple(range(32768, 122881, 8192)),
}
"""MiB of memory that a Fargate task may have, by its CPU units (Amazon ECS, *Task size*)."""


def read_extension(fields: Fields, problems: Problems) -> tuple[Compute | None, tuple[S3Trigger, ...]]:
    """``x-fanfold`` of a DAG: where its tasks run, and what starts it."""
    node = fields.child("x-fanfold", "such as x-fanfold: {compute: ecs}")
    if node is None:
        return None, ()
    inner = Fields(node, "'x-fanfold'", EXTENSION_KEYS, problems, _AT_STEP)
    return _compute(inner, problems), _triggers(inner, problems)


@dataclass(frozen=True, slots=True)
class StepExtension:
    """``x-fanfold`` of a step."""

    compute: Compute | None = None
    """Where it runs, as a task of its own."""
    max_items: int = MAX_ITEMS
    tolerance: Tolerance | None = None

    @property
    def most_concurrent(self) -> int:
        """What ``maxConcurrent`` may be."""
        return MAX_ITEMS if self.max_items <= MAX_ITEMS else LARGEST_CONCURRENCY

    def extend(self, parallel: Parallel | None) -> Parallel | None:
        """``parallel`` with what stands here."""
        if parallel is None:
            return None
        return replace(parallel, max_items=self.max_items, tolerance=self.tolerance)


def read_step_extension(fields: Fields, problems: Problems, *, is_handler: bool) -> StepExtension:
    """``x-fanfold`` of a step."""
    node = fields.child("x-fanfold", "such as x-fanfold: {compute: ecs}")
    if node is None:
        return StepExtension()
    known = COMPUTE_KEYS | FAN_OUT_KEYS
    inner = Fields(node, "'x-fanfold'", known, problems, {"on": "a trigger belongs to the DAG"})
    if is_handler:
        problems.add(node.place, "'x-fanfold' at a handler", "a handler runs in the last task of its DAG")
    for key in sorted(known):
        if key in COMPUTE_KEYS and fields.node_of("run") is not None and inner.node_of(key) is not None:
            problems.add(inner.place_of(key), f"{key!r} at a step with 'run'", "set it in the child DAG")
        if key in FAN_OUT_KEYS and fields.node_of("parallel") is None and inner.node_of(key) is not None:
            problems.add(inner.place_of(key), f"{key!r} without 'parallel'", "it says how a fan-out is run")
    most = inner.number("maxItems", least=1, whole=True, most=LARGEST_FAN_OUT)
    return StepExtension(_compute(inner, problems), int(most or MAX_ITEMS), _tolerance(inner, problems))


def _tolerance(fields: Fields, problems: Problems) -> Tolerance | None:
    """``tolerateFailed``: a count, or a percentage such as ``5%``."""
    node = fields.node_of("tolerateFailed")
    if node is None:
        return None
    match = _TOLERANCE.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
    if match is None or (match[2] and float(match[1]) > 100) or ("." in match[1] and not match[2]):
        problems.add(node.place, "'tolerateFailed' is no count of items", "give a count such as 10, or a part: 5%")
        return None
    return Tolerance(percent=float(match[1])) if match[2] else Tolerance(count=int(match[1]))


def _compute(fields: Fields, problems: Problems) -> Compute | None:
    if not any(fields.node_of(key) is not None for key in COMPUTE_KEYS):
        return None
    kind = fields.text("compute")
    if kind not in ("lambda", "ecs"):
        hint = (nearest(kind, ("lambda", "ecs")) if kind else "") or "give 'compute: lambda' or 'compute: ecs'"
        message = "'x-fanfold' does not say where to run" if kind is None else f"'compute' is {kind!r}"
        problems.add(fields.place_of("compute"), message, hint)
        return None
    if kind == "lambda":
        for key in ("cpu", "memory", "image"):
            if fields.node_of(key) is not None:
                hint = "the stack's parameters say what the Lambda function has; or use 'compute: ecs'"
                problems.add(fields.place_of(key), f"{key!r} with 'compute: lambda'", hint)
    most = 840 if kind == "lambda" else None
    timeout = fields.number("timeoutSec", least=1, whole=False, most=most)
    cpu, memory = _size(fields, problems) if kind == "ecs" else (None, None)
    return Compute("ecs" if kind == "ecs" else "lambda", fields.node.place, cpu, memory, fields.text("image"), timeout)


def _size(fields: Fields, problems: Problems) -> tuple[int | None, int | None]:
    """CPU units and MiB that go together on Fargate; what is not given follows from what is."""
    given_cpu = fields.number("cpu", least=256, whole=True)
    given_memory = fields.number("memory", least=512, whole=True)
    if given_cpu is None and given_memory is None:
        return None, None
    if given_cpu is not None and int(given_cpu) not in FARGATE_MEMORY:
        sizes = ", ".join(str(size) for size in FARGATE_MEMORY)
        problems.add(fields.place_of("cpu"), f"'cpu' is {given_cpu:g}", f"Fargate has {sizes} units (1,024 are a vCPU)")
        return None, None
    if given_memory is None:
        assert given_cpu is not None
        return int(given_cpu), FARGATE_MEMORY[int(given_cpu)][0]
    memory = int(given_memory)
    cpus = [cpu for cpu, sizes in FARGATE_MEMORY.items() if memory in sizes]
    cpu = int(given_cpu) if given_cpu is not None else cpus[0] if cpus else None
    if cpu not in cpus:
        sizes = (
            "0.5 GB and more, in steps of 1 GB (512, 1024, 2048, 3072 …)"
            if cpu is None
            else f"with 'cpu: {cpu}' one of {', '.join(str(size) for size in FARGATE_MEMORY[cpu])}"
        )
        problems.add(fields.place_of("memory"), f"'memory' is {memory} MiB", f"Fargate has {sizes}")
        return None, None
    return cpu, memory


def _triggers(fields: Fields, problems: Problems) -> tuple[S3Trigger, ...]:
    node = fields.child("on", "such as on: {s3: {bucket: incoming, suffix: .csv}}")
    if node is None:
        return ()
    source = Fields(node, "'on'", {"s3"}, problems, {"schedule": "write 'schedule:' at the DAG"})
    below = source.node_of("s3")
    found: list[S3Trigger] = []
    for item in below.items if isinstance(below, Sequence) else [below] if below is not None else []:
        if not isinstance(item, Mapping):
            problems.add(item.place, "'s3' must be a mapping", "such as s3: {bucket: incoming, prefix: orders/}")
            continue
        inner = Fields(item, "'s3'", {"bucket", "prefix", "suffix"}, problems)
        bucket = inner.text("bucket")
        if not bucket:
            problems.add(item.place, "the trigger has no 'bucket'", "name the bucket whose objects start the DAG")
            continue
        found.append(S3Trigger(bucket, inner.text("prefix") or "", inner.text("suffix") or "", item.place))
    return tuple(found)


def read_schedule(fields: Fields, problems: Problems) -> tuple[Schedule, ...]:
    """``schedule``: an expression, a list of them, or either below ``start``."""
    node, key = fields.node_of("schedule"), "schedule"
    if isinstance(node, Mapping):
        unsupported = dict.fromkeys(("stop", "restart"), "only 'start' can be scheduled")
        inner = Fields(node, "'schedule'", {"start"}, problems, unsupported)
        node, key = inner.node_of("start"), "start"
    if node is None:
        return ()
    found: list[Schedule] = []
    for item in node.items if isinstance(node, Sequence) else [node]:
        text = read_text(item, key, problems, "quote the expression: '0 */6 * * *'")
        if text is None:
            continue
        try:
            found.append(Schedule(text, parse_cron(text), item.place))
        except BadCron as fault:
            problems.add(item.place, str(fault), fault.hint)
    return tuple(found)
