"""Names of machines: no stack's are another's, and a run's machine is told from that of a part of it."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from aws import TARGET
from fanfold.asl.compile import machine_names
from fanfold.dag.model import Place, S3Trigger
from fanfold.dag.read import read_dag_file
from fanfold.deploy.target import Target
from fanfold.deploy.triggers import wanted_rules
from hypothesis import given
from hypothesis import strategies as st

STACKS = ("fanfold", "fanfold-prod", "fanfold-prod-2", "f")
FILES = ("etl", "prod-etl", "prod_etl", "_etl", "__etl", "team/etl", "日本", "a" * 60, "-etl", "_")
CALLER = """
steps: [{name: a, run: c, parallel: [1]}]
---
name: c
steps: [{name: b, run: d}]
---
name: d
steps: [{name: e, command: echo}]
"""


def machines(file: str, target: Target) -> dict[str, str]:
    """The machine of each key of a DAG file's, with the stack's prefix."""
    path = f"{file}.yaml"
    dag_set = read_dag_file(path, lambda asked: CALLER.encode() if asked == path else None)
    return {key: target.prefix + name for key, name in machine_names(dag_set).items()}


def targets() -> dict[str, Target]:
    return {stack: replace(TARGET, stack=stack) for stack in STACKS}


def test_what_a_stack_may_touch_is_never_another_stacks() -> None:
    names = {
        stack: {name for file in FILES for name in machines(file, target).values()}
        for stack, target in targets().items()
    }
    for stack, target in targets().items():
        for other, others in names.items():
            matched = {name for name in others if fnmatchcase(name, f"{target.prefix}*")}
            assert matched == (others if other == stack else set())


def test_two_files_have_machines_of_their_own() -> None:
    target = TARGET
    names = [name for file in FILES for name in machines(file, target).values()]
    assert len(set(names)) == len(names) == 2 * len(FILES)
    assert max(map(len, names)) <= 80


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=70))
def test_a_childs_machine_starts_with_a_mark_that_no_runs_machine_starts_with(file: str) -> None:
    found = machines(file, TARGET)
    assert not found[""].startswith("fanfold__")
    assert found["#c"].startswith("fanfold__")


@pytest.mark.parametrize("file", FILES)
def test_rules_are_named_as_machines_are(file: str) -> None:
    for target in targets().values():
        arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:{machines(file, target)['']}:live"
        rules = wanted_rules("x" * 48, arn, [S3Trigger("bucket", "", "", Place("etl.yaml", 1, 1))], target)
        assert all(name.startswith(target.prefix) and len(name) <= 64 for name in rules)
