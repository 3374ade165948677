"""Dag → state machine definitions in Amazon States Language (docs/architecture.md).

Functions, machines and the cluster are named by placeholders, which a deployment fills in: ``${Partition}``,
``${RunnerFunction}``, ``${PlannerFunction}``, ``${ReducerFunction}``, ``${StateMachineArnPrefix}``, and for containers
``${EcsCluster}``, ``${RunnerTaskDefinition}``, ``${EcsSubnets}``, ``${EcsSecurityGroups}``, ``${EcsAssignPublicIp}``,
``${StackPrefix}``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fanfold.asl.computes import Platform, compute_of_leaf, compute_of_segment
from fanfold.asl.fan_outs import (
    FAN_OUT_EVENTS,
    OTHER_EVENTS,
    PARALLEL_EVENTS,
    SEGMENT_EVENTS,
    FanOutChoice,
    FanOutFacts,
    choose,
    longest_seconds,
)
from fanfold.asl.judge import MapFacts
from fanfold.asl.names import StateNames, child_machine_name, machine_name
from fanfold.asl.stages import Branches, FanOut, Segment, Stage, cut, segments_of, steps_of
from fanfold.asl.states import (
    ITEM_FAILED,
    Definition,
    caught,
    container_task,
    distributed,
    express_retries,
    function_task,
    items_from_s3,
    machine_task,
    retries,
    retry_limits,
    retry_marks,
    several_items,
)
from fanfold.dag.expressions import template
from fanfold.dag.model import Argument, Compute, Dag, DagSet, Precondition, Step
from fanfold.dag.read import without_suffix

Bundles = Mapping[str, str]
"""For a DAG file: the digest of the bundle with the files of its folder."""


def dag_object(dag_set: DagSet, key: str, bundles: Bundles | None = None) -> str:
    """The immutable object of a DAG, which the runner reads: ``{"file", "name", "text", "bundle"?}`` as JSON."""
    dag = dag_set.dags[key]
    data = {"file": dag.place.file, "name": dag.name, "text": dag_set.texts[key]}
    bundle = (bundles or {}).get(dag.place.file)
    return json.dumps(data | ({"bundle": bundle} if bundle else {}), sort_keys=True)


def digest(text: str) -> str:
    """The name of an immutable object: the SHA-256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()


def machine_names(dag_set: DagSet) -> dict[str, str]:
    """The machine's name, behind the stack's prefix, of every DAG that has one: the root, and each child but leaves.

    A child's machine is its root's own, also where the child has a file of its own: what another file does never
    changes it. Its name is made of the root's path and of its key (see `DagSet`).
    """
    root = without_suffix(dag_set.root.place.file)
    return {
        key: child_machine_name(root + key if key.startswith("#") else f"{root}>{key}") if key else machine_name(root)
        for key, dag in dag_set.dags.items()
        if key == "" or not dag.is_leaf
    }


@dataclass(frozen=True, slots=True)
class Compiled:
    """A state machine, and what its definition does not tell."""

    definition: Definition
    steps: Mapping[str, str]
    """The step that a state belongs to, by the state's name; not all have one."""
    maps: Mapping[str, MapFacts]
    """By the Map's name."""


def compile_machines(
    dag_set: DagSet, platform: Platform | None = None, bundles: Bundles | None = None
) -> dict[str, Compiled]:
    """The machine of every DAG that has one, by key; children before those that call them."""
    names = machine_names(dag_set)
    ordered = sorted(names, key=lambda key: (_height(dag_set, key), key))
    objects = {key: digest(dag_object(dag_set, key, bundles)) for key in dag_set.dags}
    return {key: _Compiler(dag_set, key, names, objects, platform or Platform()).compiled() for key in ordered}


def compile_dag_set(
    dag_set: DagSet, platform: Platform | None = None, bundles: Bundles | None = None
) -> dict[str, Definition]:
    """The definition of every machine, as `compile_machines` gives them."""
    return {key: machine.definition for key, machine in compile_machines(dag_set, platform, bundles).items()}


def fan_out_choices(dag_set: DagSet, key: str, platform: Platform) -> dict[str, FanOutChoice]:
    """How each fan-out of a DAG is run, by the step's name."""
    children = dag_set.children.get(key, {})
    facts = {
        step.name: _facts(step, dag_set.dags[children[step.run or ""]], platform)
        for step in dag_set.dags[key].steps
        if step.calls_child
    }
    return choose(facts, OTHER_EVENTS + _events(cut(dag_set.dags[key])))


def _events(stages: Sequence[Stage]) -> int:
    """Events of history that the states of stages take besides the items of fan-outs."""
    events = 0
    for stage in stages:
        if isinstance(stage, Branches):
            events += PARALLEL_EVENTS + sum(SEGMENT_EVENTS + _events(branch) for branch in stage.branches)
        else:
            events += SEGMENT_EVENTS if isinstance(stage, Segment) else FAN_OUT_EVENTS
    return events


def _facts(step: Step, child: Dag, platform: Platform) -> FanOutFacts:
    seconds = None
    if not child.is_leaf:
        kind: Literal["function", "container", "machine"] = "machine"
    elif compute_of_leaf(child, platform) is not None:
        kind = "container"
    else:
        kind = "function"
        seconds = longest_seconds(child)
    return FanOutFacts(
        items=_most_items(step),
        concurrency=step.parallel.max_concurrent if step.parallel else 1,
        child=kind,
        seconds=seconds,
        retry=step.retry,
    )


def _most_items(step: Step) -> int:
    if step.parallel is None:
        return 1
    return step.parallel.max_items if step.parallel.items is None else len(step.parallel.items)


def containers(dag_set: DagSet, platform: Platform) -> Iterator[Compute]:
    """Every container that a task of these DAGs asks for."""
    for key, dag in dag_set.dags.items():
        segments = [Segment(dag.steps)] if key and dag.is_leaf else segments_of(cut(dag))
        for segment in segments:
            compute = compute_of_segment(dag, segment, platform)
            if compute is not None:
                yield compute


def _height(dag_set: DagSet, key: str) -> int:
    children = dag_set.children.get(key, {}).values()
    return 1 + max((_height(dag_set, child) for child in children), default=0)


class _Compiler:
    """The definition of one DAG."""

    def __init__(
        self, dag_set: DagSet, key: str, machines: Mapping[str, str], objects: Mapping[str, str], platform: Platform
    ) -> None:
        self._dag = dag_set.dags[key]
        self._dags = dag_set.dags
        self._children = dag_set.children.get(key, {})
        self._machines = machines
        self._objects = objects
        self._digest = objects[key]
        self._platform = platform
        self._choices = fan_out_choices(dag_set, key, platform)
        self._starts_in_container = False

    def compiled(self) -> Compiled:
        fan_outs = [step for step in self._dag.steps if step.calls_child]
        names = StateNames(fan_outs)
        definition = self._definition(names)
        facts = {names.of_map(step): MapFacts(_most_items(step), self._choices[step.name].call) for step in fan_outs}
        return Compiled(definition, names.steps, facts)

    def _definition(self, names: StateNames) -> Definition:
        stages = cut(self._dag)
        first = stages[0]
        self._starts_in_container = isinstance(first, Segment) and self._compute_of(first) is not None
        chain: dict[str, Definition] = {}
        if self._dag.delay_sec is not None:
            chain[names.unique("delay")] = {"Type": "Wait", "Seconds": math.ceil(self._dag.delay_sec)}
        chain |= self._chain(stages, names, {"begin": True, "execution.$": "$$.Execution.Name"}, {"final": True})
        test, succeeded, failed = (names.unique(name) for name in ("succeeded?", "succeeded", "failed"))
        states = _linked(chain, test)
        endings: Definition = {
            test: {
                "Type": "Choice",
                "Choices": [{"Variable": "$.status", "StringEquals": "failed", "Next": failed}],
                "Default": succeeded,
            },
            succeeded: {"Type": "Succeed"},
            failed: {"Type": "Fail", "ErrorPath": "$.status", "CausePath": "$.error"},
        }
        comment = self._dag.description or f"DAG {self._dag.name}"
        return {"Comment": comment, "StartAt": next(iter(chain)), "States": states | endings}

    def _chain(
        self, stages: Sequence[Stage], names: StateNames, first: Definition, last: Definition
    ) -> dict[str, Definition]:
        """The states of stages that follow each other; the first and the last task are told so by these marks."""
        chain: dict[str, Definition] = {}
        for place, stage in enumerate(stages):
            opening = first if place == 0 else {}
            closing = last if place == len(stages) - 1 else {}
            if isinstance(stage, Segment):
                chain |= self._segment(stage, names, opening | closing)
            elif isinstance(stage, FanOut):
                chain |= self._fan_out(stage.step, names, opening, closing)
            else:
                chain[names.unique("side by side")] = self._branches(stage, names)
        return chain

    def _branches(self, stage: Branches, names: StateNames) -> Definition:
        """Each branch gets the scope and gives back what its own steps added to it."""
        count = len(stage.branches)
        branches: list[Definition] = []
        for branch in stage.branches:
            ended = (*branch, Segment(())) if isinstance(branch[-1], Branches) else branch
            added = {"branch": {"steps": [step.name for step in steps_of(branch)], "of": count}}
            chain = self._chain(ended, names, {}, added)
            branches.append({"StartAt": next(iter(chain)), "States": _linked(chain, None)})
        return {"Type": "Parallel", "Branches": branches, "ResultPath": "$.branches"}

    def _segment(self, segment: Segment, names: StateNames, marks: Definition) -> dict[str, Definition]:
        """The task of a segment, and the one that says so where that ended without an answer."""
        task = {"dag": self._digest, "steps": [step.name for step in segment.steps]}
        payload = {"task": "segment", **task, "scope.$": "$"} | marks
        title, owner = _segment_name(segment), segment.steps[0] if segment.steps else None
        name, lost = names.unique(title, owner), names.unique(f"{title} lost", owner)
        states: dict[str, Definition] = {}
        compute = self._compute_of(segment)
        if compute is None:
            states[name] = function_task("Runner", payload)
        else:
            over = {"task": "handOver", "execution.$": "$$.Execution.Name", "payload": payload}
            states[names.unique(f"{title} input", owner)] = function_task("Planner", over)
            states[name] = container_task(compute, {"task": "segment"})
        states[name]["Catch"] = caught(lost)
        states[lost] = function_task("Runner", {"task": "lost", **task, "scope.$": "$"} | marks)
        return states

    def _compute_of(self, segment: Segment) -> Compute | None:
        return compute_of_segment(self._dag, segment, self._platform)

    def _fan_out(
        self, step: Step, names: StateNames, opening: Definition, closing: Definition
    ) -> dict[str, Definition]:
        reads = step.parallel is not None and step.parallel.reads_s3  # with the rights of the DAG's commands
        shell = reads or _needs_shell(step) or self._is_first_in_function(step, opening)
        choice = self._choices[step.name]
        plan: Definition = {"task": "plan", "dag": self._digest, "step": step.name, "scope.$": "$"}
        fold = {"task": "reduce", "dag": self._digest, "step": step.name, "state.$": "$"}
        if self._container_of_child(step) is not None:
            plan["pointers"] = True
        if choice.reads_items:
            plan["batch"] = choice.batch or 1
        reduce = names.unique(f"{step.name}.reduce", step)
        return {
            names.unique(f"{step.name}.plan", step): function_task("Runner" if shell else "Planner", plan | opening),
            names.of_map(step): self._map(step, names) | {"Catch": caught(reduce)},
            reduce: function_task("Reducer", fold | closing),
        }

    def _is_first_in_function(self, step: Step, opening: Definition) -> bool:
        """Whether the items may be the first to call the runner's function, which may have been idle for weeks.

        They do not wait for it; their plan does. The first task of a machine calls it, unless that is a container's.
        """
        if "begin" in opening:
            return True
        child_calls_it = self._dags[self._children[step.run or ""]].is_leaf and self._container_of_child(step) is None
        return self._starts_in_container and child_calls_it

    def _container_of_child(self, step: Step) -> Compute | None:
        child = self._dags[self._children[step.run or ""]]
        return compute_of_leaf(child, self._platform) if child.is_leaf else None

    def _map(self, step: Step, names: StateNames) -> Definition:
        choice = self._choices[step.name]
        item, failed = names.unique(f"{step.name}.item", step), names.unique(f"{step.name}.item failed", step)
        selected: Definition = {"index.$": "$$.Map.Item.Index", "args.$": "$$.Map.Item.Value", "fan.$": "$.fan"}
        if choice.batch is None:
            states = {item: self._item(step) | {"End": True}}
        else:
            more, done = names.unique(f"{step.name}.item more?", step), names.unique(f"{step.name}.item done", step)
            states = several_items(item, more, done, self._objects[self._children[step.run or ""]])
            selected["from"] = 0
        states[item]["Catch"] = caught(failed)
        if choice.execution == "EXPRESS":
            states[item]["Retry"] = express_retries(step.retry, several=choice.batch is not None)
        map_state: Definition = {
            "Type": "Map",
            "ItemsPath": "$.items",
            "MaxConcurrency": step.parallel.max_concurrent if step.parallel else 1,
            "ItemSelector": selected,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": item,
                "States": states | {failed: dict(ITEM_FAILED)},
            },
            "ResultPath": "$.results",
        }
        if choice.mode == "DISTRIBUTED":
            map_state = distributed(map_state, choice.execution)
        return items_from_s3(map_state) if choice.reads_items else map_state

    def _item(self, step: Step) -> Definition:
        key = self._children[step.run or ""]
        given = {"index.$": "$.index", "args.$": "$.args", "fan.$": "$.fan"}
        task = {"task": "item", "dag": self._objects[key]}
        compute = self._container_of_child(step)
        if compute is not None:
            state = container_task(compute, task | retry_limits(step.retry), tries=step.retry is not None)
        elif self._dags[key].is_leaf:
            state = function_task("Runner", task | given | retry_marks(step.retry), of_item=True)
        else:
            started_by = {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id"}
            state = machine_task(self._machines[key], given | started_by | retry_marks(step.retry))
        state["Retry"] += retries(step.retry, coded=self._dags[key].is_leaf)
        return state


def _linked(chain: dict[str, Definition], end: str | None) -> dict[str, Definition]:
    """Let each state lead to the next and the last to `end`, or let it be the end.

    What a task's ``Catch`` names is a second way to the task's own successor.
    """
    tasks = {name: state for name, state in chain.items() if state["Type"] == "Task"}
    caught = {catch["Next"]: name for name, state in tasks.items() for catch in state.get("Catch", [])}
    main = [name for name in chain if name not in caught]
    for name, following in pairwise([*main, end]):
        chain[name or ""] |= {"End": True} if following is None else {"Next": following}
    for name, guarded in caught.items():
        chain[name] |= {key: chain[guarded][key] for key in ("Next", "End") if key in chain[guarded]}
    return chain


def _segment_name(segment: Segment) -> str:
    if not segment.steps:
        return "runner"
    first, last = segment.steps[0].name, segment.steps[-1].name
    return first if first == last else f"{first} … {last}"


def _needs_shell(step: Step) -> bool:
    texts = [*_templates(step.params), *_templates(step.env)]
    if step.parallel is not None and step.parallel.source is not None:
        texts.append(step.parallel.source)
    return _any_shell(texts, step.preconditions)


def _templates(arguments: tuple[Argument, ...]) -> list[str]:
    return [argument.template for argument in arguments]


def _any_shell(texts: list[str], preconditions: tuple[Precondition, ...]) -> bool:
    for precondition in preconditions:
        if precondition.expected is None:
            return True
        texts += [precondition.condition, precondition.expected]
    return any(template(text).needs_shell for text in texts)
