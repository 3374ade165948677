"""Dag → state machine definitions in Amazon States Language (docs/architecture.md).

Functions and machines are named by placeholders, which a deployment fills in: ``${RunnerFunction}``,
``${PlannerFunction}``, ``${ReducerFunction}`` and ``${StateMachineArnPrefix}``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from fanfold.asl.names import machine_name
from fanfold.asl.stages import Branches, FanOut, Segment, Stage, cut, steps_of
from fanfold.dag.expressions import template
from fanfold.dag.model import Argument, Dag, DagSet, Precondition, RetryPolicy, Step

INLINE_CONCURRENCY = 40
"""Items at a time that an INLINE Map reaches; above it the Map is DISTRIBUTED (Step Functions quotas)."""

MAX_STATE_NAME = 80
"""Characters of a state's name (Amazon States Language)."""

Definition = dict[str, Any]

_SERVICE_FAULTS = {
    "ErrorEquals": [
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    ],
    "IntervalSeconds": 1,
    "MaxAttempts": 6,
    "BackoffRate": 2,
    "MaxDelaySeconds": 30,
    "JitterStrategy": "FULL",
}

_THROTTLING = _SERVICE_FAULTS | {"ErrorEquals": ["StepFunctions.ThrottlingException", "SFN.SfnException"]}


def dag_object(dag_set: DagSet, key: str) -> str:
    """The immutable object of a DAG, which the runner reads: ``{"file", "name", "text"}`` as JSON."""
    dag = dag_set.dags[key]
    return json.dumps({"file": dag.place.file, "name": dag.name, "text": dag_set.texts[key]}, sort_keys=True)


def digest(text: str) -> str:
    """The name of an immutable object: the SHA-256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()


def key_of_machine(dag_set: DagSet, key: str) -> str:
    """A DAG's key as it is below the DAG folder: the root's is its file's path without suffix."""
    path = dag_set.root.place.file.removesuffix(".yaml").removesuffix(".yml")
    return path + key if not key or key.startswith("#") else key


def machine_names(dag_set: DagSet) -> dict[str, str]:
    """The state machine's name of every DAG that has one: the root, and each child that is no leaf."""
    return {
        key: machine_name(key_of_machine(dag_set, key))
        for key, dag in dag_set.dags.items()
        if key == "" or not dag.is_leaf
    }


def compile_dag_set(dag_set: DagSet) -> dict[str, Definition]:
    """The definition of every DAG that has a state machine, by key; children before those that call them."""
    names = machine_names(dag_set)
    ordered = sorted(names, key=lambda key: (_height(dag_set, key), key))
    return {key: _Compiler(dag_set, key, names).definition() for key in ordered}


def _height(dag_set: DagSet, key: str) -> int:
    children = dag_set.children.get(key, {}).values()
    return 1 + max((_height(dag_set, child) for child in children), default=0)


class _Compiler:
    """The definition of one DAG."""

    def __init__(self, dag_set: DagSet, key: str, names: dict[str, str]) -> None:
        self._dag = dag_set.dags[key]
        self._children = dag_set.children.get(key, {})
        self._names = names
        self._dag_set = dag_set
        self._digest = digest(dag_object(dag_set, key))

    def definition(self) -> Definition:
        stages = cut(self._dag)
        names = _Names(step.name for step in self._dag.steps if step.calls_child)
        chain: dict[str, Definition] = {}
        if self._dag.delay_sec is not None:
            chain[names.unique("delay")] = {"Type": "Wait", "Seconds": math.ceil(self._dag.delay_sec)}
        chain |= self._chain(stages, names, {"begin": True, "execution.$": "$$.Execution.Name"}, {"final": True})
        test, succeeded, failed = (names.unique(name) for name in ("succeeded?", "succeeded", "failed"))
        _link(chain, test)
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
        return {"Comment": comment, "StartAt": next(iter(chain)), "States": chain | endings}

    def _chain(
        self, stages: Sequence[Stage], names: _Names, first: Definition, last: Definition
    ) -> dict[str, Definition]:
        """The states of stages that follow each other; the first and the last task are told so by these marks."""
        chain: dict[str, Definition] = {}
        for place, stage in enumerate(stages):
            opening = first if place == 0 else {}
            closing = last if place == len(stages) - 1 else {}
            if isinstance(stage, Segment):
                chain[names.unique(_segment_name(stage))] = self._segment(stage, opening | closing)
            elif isinstance(stage, FanOut):
                chain |= self._fan_out(stage.step, names, opening, closing)
            else:
                chain[names.unique("side by side")] = self._branches(stage, names)
        return chain

    def _branches(self, stage: Branches, names: _Names) -> Definition:
        """Each branch gets the scope and gives back what its own steps added to it."""
        count = len(stage.branches)
        branches: list[Definition] = []
        for branch in stage.branches:
            ended = (*branch, Segment(())) if isinstance(branch[-1], Branches) else branch
            added = {"branch": {"steps": [step.name for step in steps_of(branch)], "of": count}}
            states = self._chain(ended, names, {}, added)
            _link(states, None)
            branches.append({"StartAt": next(iter(states)), "States": states})
        return {"Type": "Parallel", "Branches": branches, "ResultPath": "$.branches"}

    def _segment(self, segment: Segment, marks: Definition) -> Definition:
        payload = {
            "task": "segment",
            "dag": self._digest,
            "steps": [step.name for step in segment.steps],
            "scope.$": "$",
        }
        return _task("Runner", payload | marks)

    def _fan_out(self, step: Step, names: _Names, opening: Definition, closing: Definition) -> dict[str, Definition]:
        shell = _needs_shell(step) or ("begin" in opening and _begin_needs_shell(self._dag))
        plan = {"task": "plan", "dag": self._digest, "step": step.name, "scope.$": "$"}
        fold = {"task": "reduce", "dag": self._digest, "step": step.name, "state.$": "$"}
        return {
            names.unique(f"{step.name}.plan"): _task("Runner" if shell else "Planner", plan | opening),
            step.name: self._map(step),
            names.unique(f"{step.name}.reduce"): _task("Reducer", fold | closing),
        }

    def _map(self, step: Step) -> Definition:
        concurrency = step.parallel.max_concurrent if step.parallel else 1
        mode = "DISTRIBUTED" if concurrency > INLINE_CONCURRENCY else "INLINE"
        processor: Definition = {"Mode": mode}
        if mode == "DISTRIBUTED":
            processor["ExecutionType"] = "STANDARD"
        return {
            "Type": "Map",
            "ItemsPath": "$.items",
            "MaxConcurrency": concurrency,
            "ItemSelector": {
                "index.$": "$$.Map.Item.Index",
                "args.$": "$$.Map.Item.Value",
                "fan.$": "$.fan",
            },
            "ItemProcessor": {
                "ProcessorConfig": processor,
                "StartAt": f"{step.name}.item",
                "States": {f"{step.name}.item": self._item(step), f"{step.name}.item failed": dict(_ITEM_FAILED)},
            },
            "ResultPath": "$.results",
        }

    def _item(self, step: Step) -> Definition:
        key = self._children[step.run or ""]
        if self._dag_set.dags[key].is_leaf:
            state = self._leaf_item(key, step.retry)
        else:
            state = self._machine_item(key, step.retry)
        state["Catch"] = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Next": f"{step.name}.item failed"}]
        return state | {"End": True}

    def _leaf_item(self, key: str, retry: RetryPolicy | None) -> Definition:
        payload = {
            "task": "item",
            "dag": digest(dag_object(self._dag_set, key)),
            "index.$": "$.index",
            "args.$": "$.args",
            "fan.$": "$.fan",
        }
        state = _task("Runner", payload | _retry_marks(retry))
        state["Retry"] += _retries(retry)
        return state

    def _machine_item(self, key: str, retry: RetryPolicy | None) -> Definition:
        child_input = {
            "index.$": "$.index",
            "args.$": "$.args",
            "fan.$": "$.fan",
            "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id",
        }
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync:2",
            "Parameters": {
                "StateMachineArn": "${StateMachineArnPrefix}" + self._names[key],
                "Name.$": "States.Format('{}-{}-{}', $.fan.name, $.index, $$.State.RetryCount)",
                "Input": child_input | _retry_marks(retry),
            },
            "OutputPath": "$.Output.record",
            "Retry": [dict(_THROTTLING), *_retries(retry)],
        }


class _Names:
    """The names of one machine's states, each used once; a fan-out's Map has the name of its step."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def unique(self, name: str) -> str:
        """`name`, shortened to what a state's name may have, with a mark where it is taken."""
        name = name if len(name) <= MAX_STATE_NAME else f"{name[: MAX_STATE_NAME - 3]}…"
        while name in self._taken:
            name = f"{name[: MAX_STATE_NAME - 1]}'"
        self._taken.add(name)
        return name


def _link(chain: Definition, end: str | None) -> None:
    """Let each state lead to the next, and the last to `end`, or let it be the end."""
    names = list(chain)
    for name, following in pairwise(names):
        chain[name]["Next"] = following
    chain[names[-1]] |= {"End": True} if end is None else {"Next": end}


def _segment_name(segment: Segment) -> str:
    if not segment.steps:
        return "runner"
    first, last = segment.steps[0].name, segment.steps[-1].name
    return first if first == last else f"{first} … {last}"


def _task(function: str, payload: Definition) -> Definition:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"${{{function}Function}}", "Payload": payload},
        "OutputPath": "$.Payload",
        "Retry": [dict(_SERVICE_FAULTS)],
    }


def _retry_marks(retry: RetryPolicy | None) -> Definition:
    """What a child is told of its step's retries, so that it knows whether a failure is the last word."""
    if retry is None:
        return {}
    return {
        "tries.$": "$$.State.RetryCount",
        "retry": {"limit": retry.limit, "exitCodes": list(retry.exit_codes)},
    }


def _retries(retry: RetryPolicy | None) -> list[Definition]:
    """A step's ``retryPolicy`` as native retries: the name of a child's error carries its exit code.

    1 is the code of every step whose child failed, so a list with 1 matches any failure (observed:
    fail_retry_exitcode_match).
    """
    if retry is None or retry.limit == 0:
        return []
    any_code = not retry.exit_codes or 1 in retry.exit_codes
    return [
        {
            "ErrorEquals": ["States.ALL"] if any_code else [f"ExitCode{code}" for code in retry.exit_codes],
            "IntervalSeconds": max(1, math.ceil(retry.interval_sec)),
            "MaxAttempts": retry.limit,
            "BackoffRate": retry.backoff,
            **({} if retry.max_interval_sec is None else {"MaxDelaySeconds": _max_delay(retry)}),
        }
    ]


def _max_delay(retry: RetryPolicy) -> int:
    """``MaxDelaySeconds``, which must be greater than ``IntervalSeconds``."""
    return max(math.ceil(retry.max_interval_sec or 0), math.ceil(retry.interval_sec) + 1, 2)


def _needs_shell(step: Step) -> bool:
    texts = [*_templates(step.params), *_templates(step.env)]
    if step.parallel is not None and step.parallel.source is not None:
        texts.append(step.parallel.source)
    return _any_shell(texts, step.preconditions)


def _begin_needs_shell(dag: Dag) -> bool:
    texts = [*_templates(dag.params), *_templates(dag.env)]
    return bool(dag.dotenv) or _any_shell(texts, dag.preconditions)


def _templates(arguments: tuple[Argument, ...]) -> list[str]:
    return [argument.template for argument in arguments]


def _any_shell(texts: list[str], preconditions: tuple[Precondition, ...]) -> bool:
    for precondition in preconditions:
        if precondition.expected is None:
            return True
        texts += [precondition.condition, precondition.expected]
    return any(template(text).needs_shell for text in texts)


_ITEM_FAILED = {
    "Type": "Pass",
    "Parameters": {"index.$": "$.index", "error.$": "$.caught.Error"},
    "End": True,
}
