"""The judge of definitions: silent about all that a DAG file can say, loud about each fault on its own."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore
import pytest
import yaml
from fanfold.asl import errors
from fanfold.asl.compile import Compiled, compile_machines, machine_names
from fanfold.asl.fan_outs import CallSeconds
from fanfold.asl.judge import MAX_DEFINITION, Surroundings, judge
from fanfold.asl.judge.walk import walk
from fanfold.asl.judged import problems_of_machine
from fanfold.dag.diagnostics import Problem
from fanfold.dag.model import DagSet
from fanfold.dag.read import read_dag_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Mutate = Callable[[dict[str, Any]], None]


def read(text: str) -> DagSet:
    return read_dag_file("dag.yaml", lambda path: text.encode() if path == "dag.yaml" else None)


def problems(text: str) -> list[Problem]:
    dag_set = read(text)
    arns = [f"${{StateMachineArnPrefix}}{name}" for name in machine_names(dag_set).values()]
    return [
        problem
        for key, machine in compile_machines(dag_set).items()
        for problem in problems_of_machine(dag_set.dags[key], machine, machine.definition, arns)
    ]


CHILDREN: list[dict[str, Any]] = [
    {"name": "leaf", "steps": [{"name": "s", "command": "echo $1", "output": "O"}]},
    {"name": "quick", "timeoutSec": 2, "steps": [{"name": "s", "command": "echo"}]},
    {"name": "slow", "timeoutSec": 120, "steps": [{"name": "s", "command": "echo"}]},
    {"name": "middle", "steps": [{"name": "a", "run": "leaf"}, {"name": "a.item", "command": "echo"}]},
    {"name": "boxed", "x-fanfold": {"compute": "ecs"}, "steps": [{"name": "s", "command": "echo"}]},
]
BASE = {
    "steps": [
        {"name": "first", "command": "seq 3", "output": "LIST"},
        {"name": "fan", "run": "leaf", "parallel": ["a", "b"], "retryPolicy": {"limit": 1, "exitCode": [7]}},
        {"name": "mid", "run": "middle", "parallel": ["a"]},
        {"name": "large", "run": "quick", "parallel": "s3://b/k.json", "x-fanfold": {"maxItems": 5000}},
        {"name": "box", "command": "echo", "x-fanfold": {"compute": "ecs"}},
    ]
}


def dump(root: dict[str, Any]) -> str:
    root = {"params": [{"LIST": "[1]"}], **root}
    text: str = yaml.safe_dump_all([root, *CHILDREN], allow_unicode=True, sort_keys=False)
    return text


def base() -> Compiled:
    return compile_machines(read(dump(BASE)))[""]


def findings(definition: dict[str, Any]) -> list[str]:
    machine = base()
    machines = ["${StateMachineArnPrefix}" + name for name in machine_names(read(dump(BASE))).values()]
    return [finding.message for finding in judge(definition, Surroundings(machines, machine.maps))]


def at(*path: str | int) -> Callable[[Any], Mutate]:
    """Set what stands at a path from ``States`` on."""

    def to(value: Any) -> Mutate:
        def mutate(definition: dict[str, Any]) -> None:
            holder: Any = definition["States"]
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value

        return mutate

    return to


def without(*path: str | int) -> Mutate:
    def mutate(definition: dict[str, Any]) -> None:
        holder: Any = definition["States"]
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]

    return mutate


FAN, LARGE = ("fan", "ItemProcessor", "States"), ("large", "ItemProcessor", "States")


def rename_item(definition: dict[str, Any], name: str) -> None:
    processor = definition["States"]["fan"]["ItemProcessor"]
    processor["States"] = {name if key == "fan.item" else key: state for key, state in processor["States"].items()}
    processor["StartAt"] = name


def duplicate(definition: dict[str, Any]) -> None:
    rename_item(definition, "fan.plan")


def too_long(definition: dict[str, Any]) -> None:
    rename_item(definition, "😀" * 41)


def unreached(definition: dict[str, Any]) -> None:
    definition["States"]["island"] = {"Type": "Succeed"}


def huge(definition: dict[str, Any]) -> None:
    definition["Comment"] = "é" * (MAX_DEFINITION // 6)


def circle(definition: dict[str, Any]) -> None:
    definition["States"]["box lost"]["Next"] = "first"


def express_of_minutes(definition: dict[str, Any]) -> None:
    definition["States"]["large"]["ItemProcessor"]["States"]["large.item"]["Retry"][-1]["MaxAttempts"] = 3


def planned_first(definition: dict[str, Any]) -> None:
    definition["States"]["first"]["Parameters"]["FunctionName"] = "${PlannerFunction}"


def many_tries(definition: dict[str, Any]) -> None:
    for retrier in definition["States"]["fan"]["ItemProcessor"]["States"]["fan.item"]["Retry"]:
        retrier["MaxAttempts"] = 3000


def awaited_in_express(definition: dict[str, Any]) -> None:
    states = definition["States"]
    item = copy.deepcopy(states["mid"]["ItemProcessor"]["States"]["mid.item"])
    del item["End"]
    large = states["large"]["ItemProcessor"]["States"]
    large["large.item"] = item | {key: large["large.item"][key] for key in ("Catch", "Next")}


CONFIG = ("ItemProcessor", "ProcessorConfig")
RETRY = (*FAN, "fan.item", "Retry")
MUTANTS: list[tuple[Mutate, str]] = [
    (duplicate, "2 states are called 'fan.plan'"),
    (too_long, "the state's name has 82 characters"),
    (unreached, "no way leads to the state 'island'"),
    (at("first", "Next")("nowhere"), "'first' leads to 'nowhere', which is no state here"),
    (at("first", "Catch", 0, "Next")("fan.item"), "'first' leads to 'fan.item', which is no state here"),
    (at("fan", "ItemProcessor", "StartAt")("first"), "StartAt names 'first'"),
    (at("succeeded?", "Default")("gone"), "'succeeded?' leads to 'gone'"),
    (without("succeeded?", "Default"), "the Choice 'succeeded?' has no Default"),
    (without("first", "Next"), "the state 'first' has 0 ways on"),
    (at("first", "End")(True), "the state 'first' has 2 ways on"),
    (at("first", "Resource")("arn:aws:states:::lambda:invoke"), "which is not of this partition"),
    (at("large", "ItemReader", "Resource")("arn:aws:states:::s3:getObject"), "which is not of this partition"),
    (at("first", "Resource")("arn:${Partition}:states:::sqs:sendMessage"), "of which nothing is known"),
    (at(*RETRY, 0, "ErrorEquals")(["SFN.SfnException"]), "'fan.item' never ends with SFN.SfnException"),
    (at(*RETRY, 0, "ErrorEquals")(["ItemFailed"]), "'fan.item' never ends with ItemFailed"),
    (at("mid", "ItemProcessor", "States", "mid.item", "Retry", 0, "ErrorEquals")(["ExitCode7"]), "with ExitCode7"),
    (at(*RETRY, 0, "ErrorEquals")(["States.ALL"]), "States.ALL is not alone and last in the Retry of 'fan.item'"),
    (at("first", "Catch", 1, "ErrorEquals")(["States.ALL", "States.Timeout"]), "not alone and last in the Catch"),
    (at("first", "Catch", 1, "ErrorEquals")(["States.Timeout"]), "the Catch of 'first' does not have States.ALL"),
    (without(*FAN, "fan.item", "Catch", 0), "does not match States.DataLimitExceeded"),
    (at(*FAN, "fan.item", "Catch", 0, "ErrorEquals")(["States.Runtime"]), "States.Runtime, which nothing catches"),
    (without(*LARGE, "large.item", "Catch"), "no way leads to the state 'large.item failed'"),
    (without("fan", "Catch"), "an error of 'fan' ends the run before it is judged"),
    (at(*RETRY, 1, "IntervalSeconds")(0), "IntervalSeconds is 0"),
    (at(*RETRY, 1, "MaxAttempts")(100_000_000), "MaxAttempts is 100000000"),
    (at(*RETRY, 1, "BackoffRate")(0.5), "BackoffRate is 0.5"),
    (at(*RETRY, 0, "MaxDelaySeconds")(2), "MaxDelaySeconds is 2, IntervalSeconds 2"),
    (at(*RETRY, 0, "MaxDelaySeconds")(31_622_400), "MaxDelaySeconds is 31622400"),
    (at(*RETRY, 0, "JitterStrategy")("SOME"), "JitterStrategy is no strategy"),
    (at("box", "HeartbeatSeconds")(0), "HeartbeatSeconds of 'box' is 0"),
    (without("box", "HeartbeatSeconds"), "'box' waits for an answer, for a year if need be"),
    (without("large", "ToleratedFailurePercentage"), "one lost execution of the Map 'large' ends the others"),
    (at("large", "ToleratedFailurePercentage")(5), "one lost execution of the Map 'large' ends the others"),
    (without("first", "Retry", 1), "'first' does not wait for a function that is being made ready"),
    (at("first", "Retry", 1, "MaxAttempts")(2), "'first' does not wait for a"),
    (planned_first, "'fan.item' may be the first to call a function that was idle"),
    (express_of_minutes, "with all retries, an execution of the Map 'large' may take 369 s"),
    (awaited_in_express, "awaits states:startExecution.sync:2, which an EXPRESS execution cannot"),
    (at("mid", *CONFIG)({"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}), "nothing bounds the time of an item"),
    (at("large", *CONFIG)({"Mode": "DISTRIBUTED"}), "names no ExecutionType"),
    (at("large", "MaxConcurrency")(10_001), "is to run 10,001 items at a time"),
    (at("large", *CONFIG)({"Mode": "INLINE"}), "is INLINE and cannot read or write S3"),
    (many_tries, "with all retries, an execution may take 36,"),
    (circle, "the states form a cycle"),
    (huge, "Step Functions takes 1,048,576"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")("fan.name"), "'x.$' is fan.name, which is no path"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")(7), "'x.$' is no text"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "args")(7), "has 'args' twice"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")("$$.Execution.RedriveDate"), "the context object does not"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")("$$.Map.Item.Index"), "which only an ItemSelector sees"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")("$$.Task.Token"), "which only a task that waits"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")("States.Format('{}-{}', $.a)"), "each {} of"),
    (at(*FAN, "fan.item", "Parameters", "Payload", "x.$")("States.UUID()"), "calls States.UUID()"),
]  # fmt: skip


def test_the_definition_that_is_changed_is_sound() -> None:
    assert findings(base().definition) == []
    kinds = {visited.kind for visited in walk(base().definition)} & errors.RAISED.keys()
    assert kinds == errors.RAISED.keys() - {"Parallel"}


@pytest.mark.parametrize(("mutate", "message"), MUTANTS, ids=[message for _, message in MUTANTS])
def test_each_fault_is_found(mutate: Mutate, message: str) -> None:
    definition = copy.deepcopy(base().definition)
    mutate(definition)
    assert any(message in found for found in findings(definition)), findings(definition)


COUNTS = "$.index, $$.Execution.RedriveCount, $$.State.RetryCount"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("States.Format('{}-{}-{}', $.fan.name, $.index, $$.State.RetryCount)", "not hold $$.Execution.RedriveCount"),
        (f"States.Format('{{}}/{{}}/{{}}/{{}}', $.fan.name, {COUNTS})", "63 characters"),
        (f"States.Format('{{}}{{}}{{}}{{}}', $.args, {COUNTS})", "100 characters"),
    ],
)
def test_names_of_child_executions(name: str, message: str) -> None:
    definition = copy.deepcopy(base().definition)
    at("mid", "ItemProcessor", "States", "mid.item", "Parameters", "Name.$")(name)(definition)
    assert any(message in found for found in findings(definition)), findings(definition)


@pytest.mark.parametrize(
    "steps",
    [
        [{"name": name, "run": "leaf", "parallel": "${LIST}"} for name in "abc"],
        [{"name": "a", "run": "leaf", "parallel": "${LIST}", "retryPolicy": {"limit": 30}}],
        [{"name": f"s{n}", "run": "leaf", "parallel": "${LIST}"} for n in range(60)],
        [{"name": "box", "command": "echo", "x-fanfold": {"compute": "ecs"}}, {"name": "a", "run": "leaf"}],
        [{"name": "box", "run": "boxed", "parallel": "${LIST}"}, {"name": "a", "run": "quick", "parallel": "${LIST}"}],
    ],
)
def test_dags_near_the_quotas_are_sound(steps: list[dict[str, Any]]) -> None:
    assert problems(dump({"steps": steps})) == []


def test_a_machine_that_is_not_there() -> None:
    definition = base().definition
    assert any("which is no machine" in finding.message for finding in judge(definition, Surroundings([], base().maps)))


def test_the_history_counts_items_and_a_call_without_a_bound_is_none() -> None:
    machine = base()
    machines = ["${StateMachineArnPrefix}" + name for name in machine_names(read(dump(BASE))).values()]
    larger = {**machine.maps, "fan": type(machine.maps["fan"])(1_100)}
    (found,) = judge(machine.definition, Surroundings(machines, larger))
    assert found.state == "fan"
    assert "events of history" in found.message
    slower = {**machine.maps, "large": type(machine.maps["large"])(5000, CallSeconds(280, 280))}
    assert [finding.state for finding in judge(machine.definition, Surroundings(machines, slower))] == ["large"]


def test_a_finding_stands_at_its_step() -> None:
    text = dump(BASE)
    dag_set = read(text)
    machine = compile_machines(dag_set)[""]
    found = list(problems_of_machine(dag_set.root, machine, machine.definition, []))
    calling = [step.place.line for step in dag_set.root.steps if step.run == "middle"]
    assert [problem.place.line for problem in found] == calling
    assert calling
    for problem in found:
        assert problem.message.startswith("the state machine of 'dag': ")
        assert problem.message.endswith(", which is no machine of this DAG")


NAMES = st.sampled_from([
    "a", "a.item", "a.plan", "a.reduce", "a.item failed", "a.item more?", "a.item done", "a lost", "a input", "a … b",
    "b", "succeeded?", "succeeded", "failed", "delay", "runner", "side by side", "States", "Next", "Payload",
    "${Partition}", "arn:aws:states:::x", "$.args", "n" * 64, "n" * 63 + "m", "😀" * 39, "😀" * 40, "😀" * 64, "é'\"\\",
]) | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=64).filter(
    lambda name: name == name.strip() and name.isprintable())  # fmt: skip

RETRIES = st.fixed_dictionaries(
    {"limit": st.integers(0, 4) | st.sampled_from([100, 5_000])},
    optional={
        "intervalSec": st.sampled_from([0, 0.5, 1, 30, 400]),
        "backoff": st.sampled_from([True, 1, 1.5]),
        "maxIntervalSec": st.sampled_from([0.5, 2, 10_000]),
        "exitCode": st.sampled_from([[7], [1, 255], []]),
    },
)
FAN_OUTS = st.one_of(
    st.lists(st.text("ab", max_size=3), min_size=1, max_size=60, unique=True),
    st.just("${LIST}"),
    st.builds(lambda most: {"items": "${LIST}", "maxConcurrent": most}, st.sampled_from([1, 40, 41, 1000])),
)
STEPS = st.fixed_dictionaries({"name": NAMES}, optional={"depends": st.lists(st.integers(0, 9), max_size=3)}).flatmap(
    lambda step: st.one_of(
        st.just(step | {"command": "echo"}),
        st.just(step | {"command": "echo", "x-fanfold": {"compute": "ecs"}}),
        st.just(step | {"command": "seq 9", "output": "LIST"}),
        st.fixed_dictionaries(
            {"run": st.sampled_from([child["name"] for child in CHILDREN])},
            optional={
                "parallel": FAN_OUTS,
                "retryPolicy": RETRIES,
                "x-fanfold": st.builds(lambda most: {"maxItems": most}, st.sampled_from([10, 5000, 10_000_000])),
            },
        ).map(lambda call: step | call),
    )
)  # fmt: skip
DAGS = st.fixed_dictionaries(
    {"type": st.sampled_from(["chain", "graph"]),
     "steps": st.lists(STEPS, min_size=1, max_size=9, unique_by=lambda step: step["name"])},
    optional={"handlerOn": st.just({"exit": {"command": "echo"}}), "delaySec": st.just(3)},
)  # fmt: skip


def with_names(dag: dict[str, Any]) -> dict[str, Any]:
    """Numbers of steps in ``depends`` become the names of earlier ones; only fan-outs have ``maxItems``."""
    steps = []
    for place, step in enumerate(dag["steps"]):
        wanted = {dag["steps"][number]["name"] for number in step.get("depends", []) if number < place}
        unfit = {"depends"} | ({"x-fanfold"} if "run" in step and "parallel" not in step else set())
        kept = {key: value for key, value in step.items() if key not in unfit}
        steps.append(kept | ({"depends": sorted(wanted)} if wanted and dag["type"] == "graph" else {}))
    return dag | {"steps": steps}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DAGS)
def test_nothing_is_found_in_what_a_dag_file_can_say(dag: dict[str, Any]) -> None:
    assert problems(dump(with_names(dag))) == []


@pytest.mark.parametrize("source", ["lambda, Invoke", "stepfunctions, StartExecution", "ecs, RunTask"])
def test_the_table_of_errors_has_the_names_of_botocore(source: str) -> None:
    service, operation = source.split(", ")
    (*_, path) = sorted((Path(botocore.__file__).parent / "data" / service).glob("*/service-2.json*"))
    data = path.read_bytes()
    model = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    modelled = {shape["shape"].removesuffix("Exception") for shape in model["operations"][operation]["errors"]}
    names = {
        name.partition(".")[2].removesuffix("Exception")
        for groups in errors.RAISED.values()
        for group, names in groups.items()
        if group.endswith(f"botocore, {source}")
        for name in names
    }
    assert names
    assert names <= modelled


def test_every_name_that_is_waited_for_has_a_source() -> None:
    for waited, kind in (
        (errors.LAMBDA_THROTTLED + errors.LAMBDA_FAULTS + errors.LAMBDA_ASLEEP, errors.LAMBDA),
        (errors.MACHINE_FAULTS, errors.MACHINE),
        (errors.CONTAINER_FAULTS, errors.CONTAINER),
    ):
        assert errors.unknown(kind, waited) == []
    assert errors.unknown(errors.LAMBDA, ["ExitCode7", "ExitCode", "States.NoSuch"]) == ["ExitCode", "States.NoSuch"]
