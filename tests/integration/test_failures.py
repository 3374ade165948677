"""How failures travel: continueOn, retryPolicy, preconditions, depends, handlers (semantics, *Failure*)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fanfold.local.session import Session
from fanfold.run.events import RunEvent
from fanfold.run.outcome import exit_code_of_run
from support import DagRunner


def statuses(record: dict[str, Any]) -> dict[str, str]:
    return {name: step["status"] for name, step in record["steps"].items()}


FAN = """
steps:
  - name: fan
    run: child
    parallel: [ok, bad]
    output: R
{more}
  - name: after
    command: echo "${{R.summary.failed}}"
    output: A
---
name: child
steps:
  - name: work
    command: |
      echo "did $1"
      if [ "$1" = bad ]; then echo "no good: $1" >&2; exit 7; fi
    output: DID
"""


def test_a_failed_item_fails_the_step_and_stops_the_chain(run_dag: DagRunner) -> None:
    record = run_dag(FAN.format(more=""))
    assert (record["status"], exit_code_of_run(record)) == ("failed", 1)
    assert statuses(record) == {"fan": "failed", "after": "cancelled"}
    row = record["steps"]["fan"]["document"]["results"][1]
    assert (row["status"], row["output"], row["exitCode"]) == ("failed", {"DID": "did bad"}, 7)
    assert row["error"] == "step work: exit code 7"
    assert Path(row["log"]).read_text() == "no good: bad\n"
    assert record["steps"]["fan"]["error"] == '1 of 2 items failed; item 1 ("bad"): step work: exit code 7'
    assert record["steps"]["after"]["error"] == "upstream failed"


@pytest.mark.parametrize(
    ("wish", "status", "exit_code", "after"),
    [
        ("failure: true", "partial", 1, "1"),
        ("failure: true\n      markSuccess: true", "success", 0, "1"),
        ("exitCode: [1]", "partial", 1, "1"),
        ("exitCode: [7]", "failed", 1, None),
        ('output: "re:did b.d"', "partial", 1, "1"),
        ("failure: false", "failed", 1, None),
    ],
)
def test_continue_on_of_a_fan_out(
    run_dag: DagRunner, wish: str, status: str, exit_code: int, after: str | None
) -> None:
    record = run_dag(FAN.format(more=f"    continueOn:\n      {wish}\n"))
    assert (record["status"], exit_code_of_run(record)) == (status, exit_code)
    assert record["steps"]["after"]["output"].get("A") == after


@pytest.mark.parametrize(
    ("codes", "tries"), [("", 3), ("exitCode: [7]", 3), ("exitCode: [1, 255]", 3), ("exitCode: [8]", 1)]
)
def test_only_failed_children_run_again(run_dag: DagRunner, codes: str, tries: int) -> None:
    record = run_dag(
        f"""
        steps:
          - name: fan
            run: child
            parallel: [ok, bad]
            retryPolicy:
              limit: 2
              intervalSec: 1
              {codes}
        ---
        name: child
        steps:
          - name: work
            command: |
              echo "$1" >> tries.txt
              [ "$1" = ok ] || exit 7
        """
    )
    assert record["status"] == "failed"
    assert (run_dag.folder / "tries.txt").read_text().split().count("bad") == tries
    assert (run_dag.folder / "tries.txt").read_text().split().count("ok") == 1
    finished = [event.status for event in run_dag.events if event.kind == "item-finished"]
    assert sorted(finished) == ["failed", "success"]


def test_a_child_that_fans_out_itself_is_retried(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: outer
            run: middle
            parallel: [a]
            retryPolicy:
              limit: 2
              intervalSec: 1
        ---
        name: middle
        steps:
          - name: inner
            run: leaf
            parallel: [x]
            output: R
        ---
        name: leaf
        steps:
          - name: work
            command: echo try >> tries.txt; test "$(wc -l < tries.txt)" -ge 2 && echo done
            output: DONE
        """
    )
    assert record["status"] == "success"
    assert (run_dag.folder / "tries.txt").read_text() == "try\ntry\n"


def test_a_plain_step_is_tried_again_for_its_codes_only(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        type: graph
        steps:
          - name: comes-right
            command: echo x >> a.txt; n=$(wc -l < a.txt); echo "try $((n))"; [ $n -ge 3 ]
            retryPolicy: {limit: 3, exitCode: 1}
            output: A
          - name: other-code
            command: echo x >> b.txt; exit 2
            retryPolicy: {limit: 3, exitCode: [1, 255]}
        """
    )
    assert record["steps"]["comes-right"]["output"] == {"A": "try 3"}
    assert (run_dag.folder / "b.txt").read_text() == "x\n"


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ('{condition: "${R.summary.succeeded}", expected: "re:[1-9][0-9]*"}', True),
        ('{condition: "${R.summary.failed}", expected: "1"}', False),
        ('{condition: "x10y", expected: "re:[1-9]"}', True),
        ('{condition: "`echo yes`", expected: "yes"}', True),
        ('"test -n \\"${R.outputs[0].O}\\""', True),
        ('"false"', False),
        ('["true", {condition: a, expected: b}]', False),
    ],
)
@pytest.mark.parametrize("kind", ["command: echo ran", "run: child\n    parallel: [x]"])
def test_preconditions(run_dag: DagRunner, condition: str, runs: bool, kind: str) -> None:
    record = run_dag(
        f"""
steps:
  - name: first
    run: child
    parallel: [a]
    output: R
  - name: guarded
    {kind}
    preconditions: {condition}
  - name: dependent
    command: echo dependent
---
name: child
steps:
  - name: s
    command: echo "$1"
    output: O
"""
    )
    expected = "success" if runs else "skipped"
    assert statuses(record) == {"first": "success", "guarded": expected, "dependent": expected}
    assert (record["status"], exit_code_of_run(record)) == ("success", 0)


def test_continue_on_skipped_lets_the_next_step_run(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: guarded
            run: child
            parallel: [x]
            preconditions: "false"
            continueOn: {skipped: true}
          - name: next
            command: echo next
        ---
        name: child
        steps:
          - {name: s, command: echo}
        """
    )
    assert statuses(record) == {"guarded": "skipped", "next": "success"}


def test_a_precondition_of_the_dag_that_is_not_met_lets_nothing_run(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        preconditions: "false"
        handlerOn: {exit: {command: touch ran}}
        steps:
          - {name: a, command: touch ran}
          - {name: b, run: child, parallel: [x]}
        ---
        name: child
        steps:
          - {name: s, command: touch ran}
        """
    )
    assert (record["status"], exit_code_of_run(record)) == ("cancelled", 0)
    assert statuses(record) == {"a": "not_started", "b": "not_started"}
    assert not (run_dag.folder / "ran").exists()


def test_independent_branches_of_a_graph_still_run(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        type: graph
        steps:
          - {name: bad, command: exit 1}
          - {name: fan, run: child, parallel: [x], depends: bad}
          - {name: free, run: child, parallel: [y], output: F}
          - {name: last, command: 'echo "${F.summary.total}"', depends: [free], output: L}
        ---
        name: child
        steps:
          - {name: s, command: echo}
        """
    )
    assert statuses(record) == {"bad": "failed", "fan": "cancelled", "free": "success", "last": "success"}
    assert record["steps"]["last"]["output"] == {"L": "1"}
    assert record["status"] == "failed"


@pytest.mark.parametrize(
    ("command", "ran"), [("echo fine", ["onSuccess", "onExit"]), ("exit 4", ["onFailure", "onExit"])]
)
def test_handlers_see_the_run(run_dag: DagRunner, command: str, ran: list[str]) -> None:
    record = run_dag(
        f"""
        handlerOn:
          success: {{command: 'echo "$DAG_RUN_STATUS ${{R.summary.total}}"', output: H}}
          failure: {{command: 'echo "$DAG_RUN_STATUS ${{R.summary.total}}"', output: H}}
          exit: {{command: echo bye, output: E}}
        steps:
          - {{name: fan, run: child, parallel: [a], output: R, continueOn: {{failure: false}}}}
        ---
        name: child
        steps:
          - {{name: s, command: {command}}}
        """
    )
    assert [name for name in record["steps"] if name.startswith("on")] == ran
    word = "succeeded" if ran[0] == "onSuccess" else "failed"
    assert record["steps"][ran[0]]["output"] == {"H": f"{word} 1"}
    assert record["steps"]["onExit"]["output"] == {"E": "bye"}


def test_a_value_that_is_not_json_is_named(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - {name: out, command: echo plain, output: OUT}
          - {name: use, command: 'echo "${OUT.field}"'}
        """
    )
    assert record["steps"]["use"]["error"] == "${OUT.field}: the value of OUT is not JSON: 'plain'"


def test_a_step_that_takes_too_long_is_ended(run_dag: DagRunner) -> None:
    record = run_dag("steps:\n  - {name: slow, command: sleep 30, timeoutSec: 0.3}\n")
    assert record["steps"]["slow"]["error"] == "stopped: its timeoutSec (0.3 s) is over"


def test_a_stopped_run_does_not_wait_for_its_next_try(run_dag: DagRunner) -> None:
    path = run_dag.folder / "main.yaml"
    path.write_text(
        """
steps:
  - {name: fan, run: child, parallel: [a], retryPolicy: {limit: 3, intervalSec: 60}}
---
name: child
steps:
  - {name: work, command: exit 1}
"""
    )
    failed = threading.Event()

    def observe(event: RunEvent) -> None:
        if event.kind == "step-finished" and event.step == "work":
            failed.set()

    with Session(path, home=run_dag.home, observer=observe) as session:
        session.deploy()
        threading.Thread(target=lambda: (failed.wait(), time.sleep(0.2), session.cancel()), daemon=True).start()
        started = time.monotonic()
        record = session.run()
    assert time.monotonic() - started < 10
    assert record["status"] == "cancelled"
    assert record["steps"]["fan"]["document"]["summary"]["cancelled"] == 1


def test_more_than_forty_at_a_time_run_as_a_distributed_map(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - {name: nest, run: outer, parallel: {items: [x, y], maxConcurrent: 41}}
          - {name: list, command: seq 60, output: L}
          - {name: fan, run: child, parallel: {items: '${L}', maxConcurrent: 60}, output: R}
        ---
        name: child
        steps:
          - {name: work, command: 'test $1 != 7 && echo "did $1"', output: O, continueOn: {exitCode: 9}}
        ---
        name: outer
        steps:
          - {name: inner, run: child, params: '1'}
        """
    )
    step = record["steps"]["fan"]
    assert step["document"]["summary"] == {"total": 60, "succeeded": 59, "failed": 1, "cancelled": 0, "skipped": 0}
    assert [row["parameters"] for row in step["document"]["results"]] == [str(number) for number in range(1, 61)]
    assert step["document"]["results"][6]["error"] == "step work: exit code 1"
    assert record["steps"]["nest"]["document"]["summary"]["succeeded"] == 2
