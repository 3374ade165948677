"""The keys of the format beyond the specification, each as a DAG file uses it."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fanfold.local.session import Session
from fanfold.run.events import RunEvent
from support import DagRunner


def outputs(record: dict[str, Any]) -> dict[str, str]:
    return {name: value for step in record["steps"].values() for name, value in step["output"].items()}


def test_dotenv_is_read_after_env(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        env: [{A: env}, {B: "${A}-b"}, {FILE: more.env}]
        dotenv: [.env, "${FILE}", missing.env]
        steps:
          - {name: s, command: 'echo "$A $B $C $D"', output: S}
        """,
        files={".env": "# a comment\nA=file\nexport C='two words'\n", "more.env": 'D="$(touch x) ${A}"\n'},
    )
    assert outputs(record) == {"S": "file env-b two words $(touch x) ${A}"}
    assert not (run_dag.folder / "x").exists()


def test_delay_passes_before_the_first_step(run_dag: DagRunner) -> None:
    started = time.monotonic()
    run_dag("delaySec: 1\nsteps:\n  - {name: s, command: echo}\n")
    assert time.monotonic() - started > 1


@pytest.mark.parametrize(("limit", "most"), [("", 4), ("maxActiveSteps: 2", 2), ("maxActiveSteps: 1", 1)])
def test_steps_that_run_at_a_time(run_dag: DagRunner, limit: str, most: int) -> None:
    running, peak, lock = set[str | None](), [0], threading.Lock()

    def observe(event: RunEvent) -> None:
        with lock:
            if event.kind == "step-started":
                running.add(event.step)
            elif event.kind == "step-finished":
                running.discard(event.step)
            peak[0] = max(peak[0], len(running))

    run_dag.observer = observe
    steps = "".join(f"  - {{name: s{number}, command: sleep 0.3}}\n" for number in range(4))
    run_dag(f"type: graph\n{limit}\nsteps:\n{steps}")
    assert peak[0] == most


def test_init_handler_runs_first_and_its_failure_keeps_all_from_starting(run_dag: DagRunner) -> None:
    text = """
        handlerOn:
          init: {command: INIT, output: I}
          failure: {command: echo failed, output: F}
        steps:
          - {name: fan, run: child, parallel: [a], params: 'V=${I}', output: R}
        ---
        name: child
        params: [V: none]
        steps:
          - {name: s, command: 'echo "$V"', output: S}
        """
    record = run_dag(text.replace("INIT", "echo ready"))
    assert record["steps"]["fan"]["document"]["outputs"] == [{"S": "ready"}]
    handler = record["steps"]["onInit"]
    assert (handler["status"], handler["output"]) == ("success", {"I": "ready"})
    record = run_dag(text.replace("INIT", "exit 3"))
    assert record["status"] == "failed"
    assert record["error"] == "handler onInit: exit code 3"
    assert record["steps"]["fan"]["status"] == "not_started"
    assert record["steps"]["onFailure"]["output"] == {"F": "failed"}


@pytest.mark.parametrize(
    ("policy", "runs"),
    [
        ("{repeat: true, limit: 3}", 3),
        ("{repeat: until, exitCode: [0], limit: 9}", 3),
        ("{repeat: while, exitCode: [1], limit: 9}", 3),
        ("{repeat: while, exitCode: [1], limit: 2}", 2),
        ("{repeat: until, condition: 'test -e two', limit: 9}", 2),
        ("{repeat: while, condition: '${N}', expected: 're:^[12]$', limit: 9}", 3),
        ("{repeat: until, condition: '${N}', expected: '4'}", 4),
    ],
)
def test_repeat_policy(run_dag: DagRunner, policy: str, runs: int) -> None:
    ends = "[ $n -ge 3 ]" if "exitCode" in policy else "true"
    run_dag(
        f"""
        steps:
          - name: s
            command: |
              echo x >> runs.txt
              n=$(wc -l < runs.txt); echo $((n))
              if [ $n -ge 2 ]; then touch two; fi
              {ends}
            output: N
            repeatPolicy: {policy}
        """
    )
    assert (run_dag.folder / "runs.txt").read_text() == "x\n" * runs


def test_a_step_without_output_is_repeated_until_its_condition_holds(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: s
            command: echo x >> runs.txt
            repeatPolicy: {repeat: until, condition: "test $(wc -l < runs.txt) -ge 2", limit: 5}
        """
    )
    assert record["status"] == "success"
    assert (run_dag.folder / "runs.txt").read_text() == "x\nx\n"


def test_backoff_makes_the_waits_longer_up_to_a_bound(run_dag: DagRunner) -> None:
    started = time.monotonic()
    run_dag(
        """
        steps:
          - name: s
            command: exit 1
            retryPolicy: {limit: 4, intervalSec: 0.1, backoff: 2, maxIntervalSec: 0.3}
        """
    )
    assert 0.1 + 0.2 + 0.3 + 0.3 < time.monotonic() - started < 5


@pytest.mark.parametrize(("negate", "status"), [("true", "success"), ("false", "skipped")])
def test_preconditions_can_be_negated(run_dag: DagRunner, negate: str, status: str) -> None:
    record = run_dag(
        f"""
        steps:
          - name: s
            command: echo
            preconditions:
              - {{condition: "false", negate: {negate}}}
        """
    )
    assert record["steps"]["s"]["status"] == status


def test_output_as_an_object(run_dag: DagRunner) -> None:
    assert outputs(run_dag("steps:\n  - {name: s, command: echo hi, output: {name: O}}\n")) == {"O": "hi"}


def test_a_stopped_step_gets_its_own_signal(run_dag: DagRunner) -> None:
    path = run_dag.folder / "main.yaml"
    path.write_text(
        "steps:\n  - name: s\n    signalOnStop: SIGINT\n    script: |\n"
        "      trap 'echo interrupted > signal.txt; exit 1' INT\n      touch up\n"
        "      while true; do sleep 0.1; done\n"
    )
    with Session(path, home=run_dag.home) as session:
        session.deploy()
        threading.Thread(target=lambda: (wait_for(run_dag.folder / "up"), session.cancel()), daemon=True).start()
        record = session.run()
    assert record["status"] == "cancelled"
    assert (run_dag.folder / "signal.txt").read_text() == "interrupted\n"


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_old_runs_of_the_same_dag_are_removed(run_dag: DagRunner) -> None:
    runs = run_dag.home / "runs"
    for name, dag, days in (("old", "kept-short", 9), ("young", "kept-short", 2), ("other", "another", 9)):
        (runs / name).mkdir(parents=True)
        note = {"run": name, "dag": dag, "keepDays": 7, "pid": 1, "started": 0}
        (runs / name / "run.json").write_text(json.dumps(note))
        when = time.time() - days * 24 * 3600
        os.utime(runs / name / "run.json", (when, when))
    record = run_dag("name: kept-short\nhistRetentionDays: 7\nsteps:\n  - {name: s, command: echo}\n")
    assert {path.name for path in runs.iterdir()} == {"young", "other", record["run"]}
