"""The committed definition of every example: up to date, and valid by two independent checkers.

``FANFOLD_REGENERATE=1 pytest tests/integration/test_definitions.py`` writes them anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fanfold.asl.compile import compile_dag_set, machine_names
from fanfold.cli.compile import pretty
from fanfold.dag.read import read_dag_file

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GOLDEN = ROOT / "statemachine"


def fetch(path: str) -> bytes | None:
    file = EXAMPLES / path
    return file.read_bytes() if file.is_file() else None


def compiled() -> dict[str, str]:
    """The definition of every machine of every example, as text, by file name."""
    texts = {}
    for example in sorted(EXAMPLES.rglob("*.yaml")):
        dag_set = read_dag_file(str(example.relative_to(EXAMPLES)), fetch)
        names = machine_names(dag_set)
        for key, definition in compile_dag_set(dag_set).items():
            texts[f"{names[key]}.asl.json"] = pretty(definition)
    return texts


def test_committed_definitions_are_what_the_compiler_makes() -> None:
    texts = compiled()
    if os.environ.get("FANFOLD_REGENERATE"):
        shutil.rmtree(GOLDEN, ignore_errors=True)
        GOLDEN.mkdir()
        for name, text in texts.items():
            (GOLDEN / name).write_text(text, "utf-8")
    assert {path.name: path.read_text("utf-8") for path in GOLDEN.glob("*.asl.json")} == texts


def test_every_state_can_be_reached_and_goes_somewhere() -> None:
    for text in compiled().values():
        assert_connected(json.loads(text))


def assert_connected(machine: dict[str, Any]) -> None:
    states = machine["States"]
    reached, waiting = set(), [machine["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        state = states[name]
        waiting += [state["Next"]] if "Next" in state else []
        waiting += [choice["Next"] for choice in state.get("Choices", [])]
        waiting += [state["Default"]] if "Default" in state else []
        waiting += [catch["Next"] for catch in state.get("Catch", [])]
        if state["Type"] == "Map":
            assert_connected(state["ItemProcessor"])
        ends = state.get("End") or state["Type"] in ("Succeed", "Fail", "Choice")
        assert ends or "Next" in state
    assert reached == set(states)


def test_definitions_pass_cfn_lint(tmp_path: Path) -> None:
    resources = {
        f"Machine{number}": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "RoleArn": "arn:aws:iam::123456789012:role/fanfold_states",
                "Definition": json.loads(text),
                "DefinitionSubstitutions": {
                    "RunnerFunction": "arn:aws:lambda:us-east-1:123456789012:function:runner",
                    "PlannerFunction": "arn:aws:lambda:us-east-1:123456789012:function:planner",
                    "ReducerFunction": "arn:aws:lambda:us-east-1:123456789012:function:reducer",
                    "StateMachineArnPrefix": "arn:aws:states:us-east-1:123456789012:stateMachine:",
                },
            },
        }
        for number, text in enumerate(compiled().values())
    }
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    linted = subprocess.run(["cfn-lint", str(template)], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_definitions_pass_the_asl_validator(tmp_path: Path) -> None:
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is not installed")
    files = []
    for name, text in compiled().items():
        (tmp_path / name).write_text(text)
        files += ["--json-path", str(tmp_path / name)]
    checked = subprocess.run([npx, "--yes", "asl-validator@4.0.0", *files], capture_output=True, text=True, check=False)
    said = checked.stdout + checked.stderr
    if "State machine definition" not in said:
        pytest.skip("asl-validator cannot be fetched")
    assert checked.returncode == 0, said
