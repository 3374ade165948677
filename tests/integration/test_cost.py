"""What a run comes to, counted in real histories."""

from __future__ import annotations

from pathlib import Path

import pytest
from fanfold.cli.cost import price
from fanfold.cli.files import read_from_disk
from fanfold.local.counting import Counts, count_run

THREE_STEPS = """
steps:
  - {name: list, command: "touch ran; seq 9", output: L}
  - {name: fan, run: child, parallel: '${L}'}
  - {name: sum, command: touch ran}
---
name: child
steps:
  - {name: a, command: touch ran}
  - {name: b, command: touch ran}
  - {name: c, command: touch ran}
"""
NESTED = """
steps:
  - {name: fan, run: middle, parallel: [a, b]}
  - {name: once, run: leaf}
---
name: middle
steps:
  - {name: inner, run: leaf, parallel: [a, b]}
---
name: leaf
steps:
  - {name: s, command: echo}
"""


@pytest.fixture
def dag(tmp_path: Path) -> Path:
    return tmp_path / "dag.yaml"


def counted(dag: Path, text: str, items: int) -> Counts:
    dag.write_text(text)
    return count_run(read_from_disk(dag), items)


def test_an_item_with_a_child_of_shell_steps_is_one_transition_and_one_call(dag: Path) -> None:
    few, many = counted(dag, THREE_STEPS, 10), counted(dag, THREE_STEPS, 110)
    assert many.transitions - few.transitions == many.runner_calls - few.runner_calls == 100
    assert few.transitions == 10 + 7
    assert many.control_calls == 2
    assert not (dag.parent / "ran").exists()


def test_a_child_that_fans_out_is_an_execution_of_its_own(dag: Path) -> None:
    counts = counted(dag, NESTED, 3)
    assert counts.executions == 1 + 3
    assert counts.runner_calls == 3 * 3 + 1


def test_containers_are_counted(dag: Path) -> None:
    text = THREE_STEPS.replace("name: child", "name: child\nx-fanfold: {compute: ecs}")
    assert counted(dag, text, 5).containers == 5


def test_the_bill_is_the_counts_times_list_prices() -> None:
    lines = price(Counts(1007, 1002, 2, 0, 1, 7030), 1.0, 1024, "arm64", (512, 1024))
    assert [(what, amount) for what, amount, _ in lines] == [
        ("state transitions", "1,007"), ("Lambda calls", "1,004"), ("Lambda GB-seconds", "1,002.1"),
    ]  # fmt: skip
    assert sum(dollars for _, _, dollars in lines) == pytest.approx(0.0387, abs=0.0001)
