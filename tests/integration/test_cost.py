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


def test_more_executions_than_a_page_lists_are_counted(dag: Path) -> None:
    text = NESTED.replace("run: leaf, parallel: [a, b]", "run: leaf")
    few, many = counted(dag, text, 10), counted(dag, text, 110)
    assert many.executions == 1 + 110
    assert many.transitions - few.transitions == 100 * 7


def test_containers_are_counted(dag: Path) -> None:
    text = THREE_STEPS.replace("name: child", "name: child\nx-fanfold: {compute: ecs}")
    assert counted(dag, text, 5).containers == 5


def test_containers_cost_what_their_architecture_does() -> None:
    counts = Counts(0, 0, 0, 0, 60, 0, 1, 0)
    arm, x86 = (price(counts, 60, 1024, architecture, (1024, 2048))[0][2] for architecture in ("arm64", "x86_64"))
    assert arm == pytest.approx(0.03238 + 2 * 0.00356)
    assert x86 == pytest.approx(0.04048 + 2 * 0.004445)


def test_the_bill_is_the_counts_times_list_prices() -> None:
    lines = price(Counts(1007, 1002, 1002, 2, 0, 0, 1, 7030), 1.0, 1024, "arm64", (512, 1024))
    assert [(what, amount) for what, amount, _ in lines] == [
        ("state transitions", "1,007"), ("Lambda calls", "1,004"), ("Lambda GB-seconds", "1,002.1"),
    ]  # fmt: skip
    assert sum(dollars for _, _, dollars in lines) == pytest.approx(0.0387, abs=0.0001)


def test_a_large_fan_out_is_a_start_and_three_states_for_each_task_of_several_items(dag: Path) -> None:
    text = THREE_STEPS.replace(
        "parallel: '${L}'", "parallel: {items: '${L}', maxConcurrent: 100}, x-fanfold: {maxItems: 1000000}"
    )
    few, many = counted(dag, text, 40_000), counted(dag, text, 1_000_000)
    assert (few.runner_calls, many.runner_calls) == (400 + 2, 10_000 + 2)
    assert many.transitions - few.transitions == 4 * (10_000 - 400)
    assert many.runs == 1_000_000 + 2
    assert many.longest_history < 100


def test_many_items_are_worked_out_from_few(dag: Path) -> None:
    assert counted(dag, THREE_STEPS, 5000).transitions == 5000 + 7
    assert counted(dag, NESTED, 2000).executions == 1 + 2000
    assert counted(dag, NESTED, 2000).runner_calls == 2000 * 2000 + 1
