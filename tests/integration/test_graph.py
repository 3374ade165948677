"""A graph is a graph: every dependency is kept, and what is independent overlaps in time."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from fanfold.asl.stages import Branches, FanOut, Segment, Stage, cut, extra_waits, steps_of
from fanfold.dag.model import Dag, Place, Step
from fanfold.run.events import RunEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import DagRunner, run_file

PLACE = Place("main.yaml", 1, 1)


def graph(text: str) -> Dag:
    """``a b<a F<a,b`` → a DAG; a name in capitals calls a child."""
    steps = []
    for word in text.split():
        name, _, depends = word.partition("<")
        calls = name.isupper()
        steps.append(
            Step(name, PLACE, run="child" if calls else None, command=() if calls else ("true",),
                 depends=tuple(depends.split(",")) if depends else ())
        )  # fmt: skip
    return Dag("main", PLACE, tuple(steps), type="graph")


def shape(stages: tuple[Stage, ...]) -> str:
    parts = []
    for stage in stages:
        if isinstance(stage, Segment):
            parts.append("[" + " ".join(step.name for step in stage.steps) + "]")
        elif isinstance(stage, FanOut):
            parts.append(stage.step.name)
        else:
            parts.append("(" + " | ".join(shape(branch) for branch in stage.branches) + ")")
    return " ".join(parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b<a c<b", "[a b c]"),
        ("a F<a b<F", "[a] F [b]"),
        ("a b<a c<a d<b,c", "[a b c d]"),
        ("F G", "[] (F | G) []"),
        ("a F<a G<a b<F,G", "[a] (F | G) [b]"),
        ("a b<a F<a c<b,F", "[a] (F | [b]) [c]"),
        ("F a<F G b<G c<a,b", "[] (F [a] | G [b]) [c]"),
        ("a b F<a c<b", "[] ([a] F | [b c]) []"),
        ("A B C<A,B D<A,B", "[] (A | B) [] (C | D) []"),
        ("F G<F H<F I<G,H J<F", "F ((G | H) I | J) []"),
    ],
)
def test_series_and_branches_are_kept_as_they_are(text: str, expected: str) -> None:
    dag = graph(text)
    assert shape(cut(dag)) == expected
    assert extra_waits(dag) == []


def test_any_other_graph_names_its_extra_waits() -> None:
    dag = graph("A B C<A D<A,B")
    assert shape(cut(dag)) == "A (B D | C) []"
    assert extra_waits(dag) == [("B", "A")]


NAMES = ["a", "B", "c", "D", "e", "F", "g", "H"]


@st.composite
def graphs(draw: st.DrawFn, most: int = 8) -> Dag:
    words = []
    for place, name in enumerate(NAMES[: draw(st.integers(1, most))]):
        chosen = draw(st.sets(st.sampled_from(NAMES[:place]), max_size=3)) if place else set()
        words.append(f"{name}<{','.join(sorted(chosen))}" if chosen else name)
    return graph(" ".join(words))


def order(stages: tuple[Stage, ...], before: set[str], found: dict[str, set[str]]) -> set[str]:
    """For each step the steps that have ended when it may start; returns all that have ended behind `stages`."""
    for stage in stages:
        if isinstance(stage, Branches):
            before = before.union(*(order(branch, before, found) for branch in stage.branches))
            continue
        steps = stage.steps if isinstance(stage, Segment) else (stage.step,)
        inside: set[str] = set()
        for step in steps:
            found[step.name] = before | inside
            inside.add(step.name)
        before = before | inside
    return before


@settings(max_examples=400, deadline=None)
@given(graphs())
def test_every_step_stands_once_and_behind_all_that_it_depends_on(dag: Dag) -> None:
    stages = cut(dag)
    found: dict[str, set[str]] = {}
    order(stages, set(), found)
    assert sorted(step.name for step in steps_of(stages)) == sorted(step.name for step in dag.steps)
    for step in dag.steps:
        assert set(step.depends) <= found[step.name]


def test_a_graph_of_two_hundred_steps_is_cut_quickly() -> None:
    words = [f"{'S' if n % 3 else 's'}{n}" for n in range(200)]
    text = " ".join(
        word.upper() if n % 3 == 0 else word.lower() + (f"<{depend(words, n)}" if n else "")
        for n, word in enumerate(words)
    )
    assert len(list(steps_of(cut(graph(text))))) == 200


def depend(words: list[str], place: int) -> str:
    before = place // 2
    return words[before].upper() if before % 3 == 0 else words[before].lower()


def yaml_of(dag: Dag, failing: set[str]) -> str:
    lines = ["type: graph", "steps:"]
    for step in dag.steps:
        fail = "exit 1" if step.name in failing else "true"
        action = (
            f"run: child, parallel: [1], params: 'FAIL={fail.replace(' ', '_')}'" if step.run else f"command: {fail}"
        )
        lines.append(f"  - {{name: {step.name}, {action}, depends: [{', '.join(step.depends)}]}}")
    child = '---\nname: child\nparams: [FAIL: ""]\nsteps:\n  - {name: s, command: \'test "$FAIL" != exit_1\'}\n'
    return "\n".join(lines) + "\n" + child


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dag=graphs(6), data=st.data())
def test_an_executed_graph_keeps_every_edge_and_skips_exactly_the_descendants(dag: Dag, data: st.DataObject) -> None:
    failing = data.draw(st.sets(st.sampled_from([step.name for step in dag.steps]), max_size=2))
    events: list[RunEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "main.yaml")
        path.write_text(yaml_of(dag, failing))
        record = run_file(path, home=Path(folder), observer=events.append)
    started = {
        event.step: place for place, event in enumerate(events) if event.kind == "step-started" and not event.depth
    }
    ended = {
        event.step: place for place, event in enumerate(events) if event.kind == "step-finished" and not event.depth
    }
    expected: dict[str, str] = {}
    for step in dag.steps:
        blocked = any(expected[name] != "success" for name in step.depends)
        expected[step.name] = "cancelled" if blocked else "failed" if step.name in failing else "success"
        if not blocked:
            assert all(ended[name] < started[step.name] for name in step.depends)
    assert {name: step["status"] for name, step in record["steps"].items()} == expected
    assert len([event for event in events if event.kind == "step-finished" and not event.depth]) == len(dag.steps)


def test_branches_behind_branches_keep_what_the_first_gave_back(run_dag: DagRunner) -> None:
    record = run_dag(yaml_of(graph("A B C<A,B D<A,B e<C,D"), {"B"}))
    assert {name: step["status"] for name, step in record["steps"].items()} == {
        "A": "success", "B": "failed", "C": "cancelled", "D": "cancelled", "e": "cancelled",
    }  # fmt: skip


def test_independent_fan_outs_overlap_and_both_documents_are_read(run_dag: DagRunner) -> None:
    running, peak, lock = set[str | None](), [0], threading.Lock()

    def observe(event: RunEvent) -> None:
        with lock:
            if event.kind == "step-started" and event.depth == 0:
                running.add(event.step)
            elif event.kind == "step-finished" and event.depth == 0:
                running.discard(event.step)
            peak[0] = max(peak[0], len(running))

    run_dag.observer = observe
    record = run_dag(
        """
        type: graph
        steps:
          - {name: list, command: seq 2, output: L}
          - {name: one, run: child, parallel: '${L}', depends: list, output: R1}
          - {name: two, run: child, parallel: '${L}', depends: list, output: R2}
          - {name: beside, command: sleep 0.5; echo beside, depends: list, output: B}
          - name: sum
            command: echo "${R1.summary.total}${R2.outputs[1].S} $B $L"
            depends: [one, two, beside]
            output: SUM
        ---
        name: child
        steps:
          - {name: s, command: 'sleep 0.5; echo "s$1"', output: S}
        """
    )
    assert record["steps"]["sum"]["output"] == {"SUM": "2s2 beside 1\n2"}
    assert peak[0] == 3


def test_large_values_of_many_branches_stay_within_a_state(run_dag: DagRunner) -> None:
    count = 12
    steps = "".join(
        f"  - {{name: f{n}, run: child, params: '{n}', output: R{n}}}\n"
        f"  - {{name: s{n}, command: 'echo \"${{R{n}.outputs.S}}\" | wc -c', depends: f{n}, output: O{n}}}\n"
        for n in range(count)
    )
    total = " + ".join(f"O{n}" for n in range(count))
    depends = ", ".join(f"s{n}" for n in range(count))
    record = run_dag(
        f"type: graph\nsteps:\n{steps}"
        f"  - {{name: all, command: 'echo $(({total}))', depends: [{depends}], output: T}}\n"
        "---\nname: child\nsteps:\n  - {name: s, command: head -c 30000 /dev/zero | tr '\\0' x, output: S}\n"
    )
    assert record["steps"]["all"]["output"] == {"T": str(30001 * count)}


def test_a_child_dag_may_have_branches_too(run_dag: DagRunner) -> None:
    record: dict[str, Any] = run_dag(
        """
        steps:
          - {name: outer, run: middle, parallel: [a, b], output: R}
          - {name: read, command: 'echo "${R.outputs[1].X.outputs.S} ${R.outputs[0].Y.outputs.S}"', output: READ}
        ---
        name: middle
        type: graph
        steps:
          - {name: x, run: leaf, params: '"$1x"', output: X}
          - {name: y, run: leaf, params: '"$1y"', output: Y}
        ---
        name: leaf
        steps:
          - {name: s, command: 'echo "<$1>"', output: S}
        """
    )
    assert record["steps"]["read"]["output"] == {"READ": "<bx> <ay>"}
