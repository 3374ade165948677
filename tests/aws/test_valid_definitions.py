"""Definitions as they are sent, those of all examples and of edge cases, before two checkers that are not ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws import TARGET
from fanfold.asl.compile import compile_machines, machine_names
from fanfold.asl.judged import problems_of_machine
from fanfold.dag.read import read_dag_file
from fanfold.deploy.target import Ecs, Target

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

EDGE_CASES = {
    "names": """
        type: graph
        steps:
          - {name: a, run: leaf, parallel: [1, 2]}
          - {name: a.item, command: echo}
          - {name: a.item failed, run: middle, depends: [a.item]}
          - {name: a.plan, command: echo, depends: [a, a.item failed]}
          - {name: a.reduce, run: leaf, depends: [a.plan]}
          - {name: a.reduce lost, command: echo, depends: [a.reduce]}
          - {name: succeeded?, run: leaf, depends: [a.reduce lost]}
          - {name: succeeded, command: echo, depends: [succeeded?]}
          - {name: failed, run: leaf, depends: [succeeded]}
          - {name: side by side, command: echo, depends: [failed]}
          - {name: LONG, run: leaf, depends: [side by side]}
          - {name: LONH, command: echo, depends: [LONG]}
          - {name: EMOJI, run: leaf, depends: [LONH]}
          - {name: EMOJJ, run: middle, depends: [EMOJI]}
    """,
    "distributed": """
        params: [LIST: '[1]']
        steps:
          - {name: express, run: quick, parallel: 's3://b/k.json', x-fanfold: {maxItems: 100000}}
          - {name: standard, run: leaf, parallel: 's3://b/k.json', x-fanfold: {maxItems: 100000}}
          - {name: alone, run: quick, parallel: '${LIST}', retryPolicy: {limit: 2, intervalSec: 1, exitCode: [7]},
             x-fanfold: {maxItems: 5000}}
          - {name: at once, run: quick, parallel: {items: '${LIST}', maxConcurrent: 900}}
          - {name: machines, run: middle, parallel: '${LIST}', x-fanfold: {maxItems: 5000}}
          - {name: boxes, run: boxed, parallel: '${LIST}', retryPolicy: {limit: 3, backoff: true, maxIntervalSec: 9},
             x-fanfold: {maxItems: 5000}}
    """,
    "retries": """
        delaySec: 2
        steps:
          - {name: none, run: leaf, retryPolicy: {limit: 0}}
          - {name: any, run: leaf, retryPolicy: {limit: 1, intervalSec: 0.5, maxIntervalSec: 0.1}}
          - {name: codes, run: leaf, parallel: [a], retryPolicy: {limit: 3, exitCode: [2, 3], backoff: 1.5}}
          - {name: machine, run: middle, retryPolicy: {limit: 3, exitCode: [7]}}
          - {name: machine of any, run: middle, retryPolicy: {limit: 3, intervalSec: 4}}
          - {name: box, command: echo, x-fanfold: {compute: ecs, cpu: 256, memory: 512}}
        handlerOn: {exit: {command: echo}}
    """,
    "branches": """
        type: graph
        steps:
          - {name: left, run: leaf}
          - {name: right, run: middle}
          - {name: lower left, run: leaf, depends: [left, right]}
          - {name: lower right, run: boxed, parallel: [a, b], depends: [left, right]}
          - {name: box, command: echo, depends: [left, right], x-fanfold: {compute: ecs}}
    """,
}
CHILDREN = """
---
name: leaf
steps: [{name: s, command: 'echo $1', output: O}]
---
name: quick
timeoutSec: 2
steps: [{name: s, command: echo}]
---
name: middle
steps: [{name: a, run: leaf, parallel: [1]}, {name: a.item, command: echo}]
---
name: boxed
x-fanfold: {compute: ecs}
steps: [{name: s, command: echo}]
"""
LONG_NAMES = {"LONG": "n" * 64, "LONH": "n" * 63 + "m", "EMOJI": '"' + "😀" * 64 + '"', "EMOJJ": '"' + "😀" * 63 + 'x"'}

ECS = Ecs("cluster", "fanfold_runner", "subnet-1,subnet-2", "sg-1")
AWS = replace(TARGET, ecs=ECS)


def in_partition(target: Target, partition: str, region: str) -> Target:
    def moved(arn: str) -> str:
        return arn.replace("arn:aws:", f"arn:{partition}:").replace("us-east-1", region)

    arns = {name: moved(getattr(target, name)) for name in ("runner_arn", "planner_arn", "reducer_arn", "role_arn")}
    return replace(target, machine_arns=moved(target.machine_arns), **arns)


TARGETS = {"aws": AWS, "gov": in_partition(AWS, "aws-us-gov", "us-gov-west-1")}


def edge_case(name: str) -> str:
    text = EDGE_CASES[name]
    for short, long in LONG_NAMES.items():
        text = text.replace(short, long)
    return text + CHILDREN


def files() -> Iterator[tuple[str, Path | str]]:
    yield from ((str(path.relative_to(EXAMPLES)), path) for path in sorted(EXAMPLES.rglob("*.yaml")))
    yield from ((f"{name}.yaml", edge_case(name)) for name in EDGE_CASES)


def fetch(path: str) -> bytes | None:
    if path.removesuffix(".yaml") in EDGE_CASES:
        return edge_case(path.removesuffix(".yaml")).encode()
    file = EXAMPLES / path
    return file.read_bytes() if file.is_file() else None


def sent(target: Target) -> dict[str, Any]:
    """The definition of every machine as a deployment to `target` sends it, by file name; each passes the judge."""
    definitions = {}
    for path, _ in files():
        dag_set = read_dag_file(path, fetch)
        names = machine_names(dag_set)
        versions = {name: f"{target.arn(name)}:7" for name in names.values()}
        for key, machine in compile_machines(dag_set, target.platform).items():
            definition = json.loads(target.fill(machine.definition, versions))
            dag, arns = dag_set.dags[key], list(versions.values())
            assert list(problems_of_machine(dag, machine, definition, arns, target.partition)) == []
            assert "${" not in json.dumps(definition)
            definitions[f"{names[key]}.json"] = definition
    return definitions


@pytest.fixture(scope="module", params=TARGETS)
def definitions(request: pytest.FixtureRequest) -> dict[str, Any]:
    return sent(TARGETS[request.param])


def test_cfn_lint_takes_them(tmp_path: Path) -> None:
    """It knows no partition but ``aws``."""
    resources = {
        f"Machine{number}": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"RoleArn": TARGET.role_arn, "Definition": definition},
        }
        for number, definition in enumerate(sent(AWS).values())
    }
    template = tmp_path / "template.json"
    text = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, ensure_ascii=False)
    template.write_text(text, "utf-8")
    linted = subprocess.run(["cfn-lint", str(template)], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def asl_validator(*files: Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("asl-validator")
    if found is None:
        pytest.skip("asl-validator is not installed")
    paths = [word for file in files for word in ("--json-path", str(file))]
    return subprocess.run([found, *paths], capture_output=True, text=True, check=False)


def test_the_asl_validator_takes_them(definitions: dict[str, Any], tmp_path: Path) -> None:
    for name, definition in definitions.items():
        (tmp_path / name).write_text(json.dumps(definition))
    checked = asl_validator(*(tmp_path / name for name in definitions))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_asl_validator_sees_a_name_that_stands_twice(definitions: dict[str, Any], tmp_path: Path) -> None:
    definition = json.loads(json.dumps(definitions["names.json"]).replace("a.item'", "a.item"))
    (tmp_path / "twice.json").write_text(json.dumps(definition))
    checked = asl_validator(tmp_path / "twice.json")
    assert checked.returncode != 0
    assert "DUPLICATE_STATE_NAMES" in checked.stdout + checked.stderr
