"""``parallel`` in all its forms (specification, *Parallel Configuration Options* and *Parameter Passing*)."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from fanfold.run.events import RunEvent
from support import DagRunner

CHILD = """
---
name: child
params:
  - A: defA
  - B: defB
steps:
  - name: say
    command: printf '%s' "$1/${A}/${B}"
    output: SAID
"""


def fan(parallel: str, *, before: str = "", more: str = "") -> str:
    return f"{before}\nsteps:\n  - name: fan\n    run: child\n    parallel: {parallel}\n{more}{CHILD}"


def said(record: dict[str, Any]) -> list[str]:
    assert record["status"] == "success", record
    return [output["SAID"] for output in record["steps"]["fan"]["document"]["outputs"]]


@pytest.mark.parametrize(
    ("parallel", "before", "expected"),
    [
        ("[a, b]", "", ["a", "b"]),
        ("{items: [a, b]}", "", ["a", "b"]),
        ("[2, 1.50, 1e3, true, null]", "", ["2", "1.5", "1000", "true", "null"]),
        ("${L}", 'env: [{L: \'["a b", 3, [1, {"k": null}]]\'}]', ["a b", "3", '[1,{"k":null}]']),
        ("{items: '${L}', maxConcurrent: 2}", 'env: {L: "x y  z"}', ["x", "y", "z"]),
        ("$L", 'env: {L: "one,two"}', ["one", "two"]),
        ("${L.deep[1].list}", 'env: {L: \'{"deep": [0, {"list": ["p", "q q"]}]}\'}', ["p", "q q"]),
        ("one two", "", ["one", "two"]),
        ("${LIST}", 'params: {LIST: "[1,2]"}', ["1", "2"]),
        ('["${V}", "$V-$V"]', 'env: {V: "v w"}', ["v w", "v w-v w"]),
        ('"p=1 q"', "", ["p=1", "q"]),
    ],
)
def test_positional_items(run_dag: DagRunner, parallel: str, before: str, expected: list[str]) -> None:
    assert said(run_dag(fan(parallel, before=before))) == [f"{item}/defA/defB" for item in expected]


def test_lines_keep_their_blanks_inside_and_lose_those_around(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: list
            command: printf 'my file.csv\\n\\n  b.csv  \\nc,d.csv\\n'
            output: L
          - name: fan
            run: child
            parallel: ${L}
        """
        + CHILD
    )
    assert said(record) == ["my file.csv/defA/defB", "b.csv/defA/defB", "c,d.csv/defA/defB"]


def test_objects_set_named_parameters_and_keep_the_other_defaults(run_dag: DagRunner) -> None:
    record = run_dag(fan('[{A: 1, B: [1, "two"]}, {A: {k: v}}, {B: null}]'))
    assert said(record) == ['/1/[1,"two"]', '/{"k":"v"}/defB', "/defA/null"]
    assert [row["parameters"] for row in record["steps"]["fan"]["document"]["results"]] == [
        {"A": "1", "B": '[1,"two"]'},
        {"A": '{"k":"v"}'},
        {"B": "null"},
    ]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("[{A: '${ITEM}'}]", "/x y/defB"),
        ("{A: '$ITEM', B: fixed}", "/x y/fixed"),
        ("['A=${ITEM}', pos]", "pos/x y/defB"),
        ("\"A=${ITEM} B='q q'\"", "/x y/q q"),
        ('"${ITEM} second"', "x y/defA/defB"),
        ("[{A: 'pre-${ITEM}-$(printf now)-`printf too`'}]", "/pre-x y-now-too/defB"),
        ("[{A: '${ITEM%y}'}]", "/x /defB"),
    ],
)
def test_params_bring_the_item_in(run_dag: DagRunner, params: str, expected: str) -> None:
    assert said(run_dag(fan('["x y"]', more=f"    params: {params}\n"))) == [expected]


def test_fields_of_an_object_item_can_be_named(run_dag: DagRunner) -> None:
    more = "    params:\n      - A: ${ITEM.name}\n      - B: ${ITEM.tags[1]}\n"
    assert said(run_dag(fan("[{name: n, tags: [t0, t1]}]", more=more))) == ["/n/t1"]


def test_items_with_the_same_parameters_run_once(run_dag: DagRunner) -> None:
    record = run_dag(fan('["a", "b", "a"]'))
    assert record["steps"]["fan"]["document"]["summary"]["total"] == 2
    record = run_dag(fan('["a", "b"]', more="    params: A=same\n"))
    assert said(record) == ["/same/defB"]


def test_the_environment_of_the_process_counts_as_set(run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIST_FROM_OUTSIDE", "a b")
    record = run_dag(fan("${LIST_FROM_OUTSIDE}", more="    params: [{A: '${LIST_FROM_OUTSIDE}-${ITEM}'}]\n"))
    assert said(record) == ["/a b-a/defB", "/a b-b/defB"]


@pytest.mark.parametrize("source", ["''", "'[]'", "' '"])
def test_no_items_fail_the_step(run_dag: DagRunner, source: str) -> None:
    record = run_dag(fan("${L}", before=f"env: {{L: {source}}}"))
    assert record["status"] == "failed"
    assert record["steps"]["fan"]["error"] == "parallel execution requires at least one item"


def test_too_many_items_fail_before_any_child_starts(run_dag: DagRunner) -> None:
    record = run_dag(fan("${L}", before=f"env: {{L: '{json.dumps(['same'] * 1001)}'}}"))
    assert record["steps"]["fan"]["error"] == "parallel execution exceeds maximum limit: 1001 items (max: 1000)"
    assert not [event for event in run_dag.events if event.kind == "item-started"]


class Peak:
    """How many items ran at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, event: RunEvent) -> None:
        with self._lock:
            self.now += {"item-started": 1, "item-finished": -1}.get(event.kind, 0)
            self.most = max(self.most, self.now)


@pytest.mark.parametrize(
    ("step", "peak"),
    [
        ("parallel: {items: ITEMS, maxConcurrent: 1}", 1),
        ("parallel: {items: ITEMS, maxConcurrent: 3}", 3),
        ("parallel: ITEMS\n    maxConcurrent: 2", 2),
        ("parallel: ITEMS", 8),
    ],
)
def test_concurrency_is_kept(run_dag: DagRunner, step: str, peak: int) -> None:
    counter = Peak()
    run_dag.observer = counter
    items = json.dumps(list(range(10)))
    run_dag(
        f"steps:\n  - name: fan\n    run: nap\n    {step.replace('ITEMS', items)}\n"
        "---\nname: nap\nsteps:\n  - name: nap\n    command: sleep 0.3\n"
    )
    assert counter.most == peak
