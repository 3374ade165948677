"""``compute: ecs``: the same runner in a container, answered by task token."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from fanfold.asl.compile import compile_dag_set
from fanfold.asl.computes import Platform
from fanfold.dag.read import read_dag_file
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.machines import ALIAS
from fanfold.history.run_data import RunData
from fanfold.local.up import Up, stack_up
from fanfold.run.store import ObjectStore
from support import DagRunner

STEP_IN_CONTAINER = """
steps:
  - {name: before, command: "printf 'a\\"b'", output: A}
  - name: heavy
    command: 'echo "$A $1"; env | grep -c FANFOLD_TASK || true'
    output: HEAVY
    x-fanfold: {compute: ecs, cpu: 1024}
  - {name: after, command: 'echo "${HEAVY}"', output: AFTER}
"""


def states_of(text: str, platform: Platform | None = None) -> dict[str, Any]:
    dag_set = read_dag_file("a.yaml", {"a.yaml": text.encode()}.get)
    states: dict[str, Any] = compile_dag_set(dag_set, platform)[""]["States"]
    return states


def containers(states: dict[str, Any]) -> list[str]:
    return [name for name, state in states.items() if "ecs:runTask" in state.get("Resource", "")]


class TestCompiled:
    def test_a_step_that_asks_for_a_container_is_a_task_of_its_own(self) -> None:
        states = states_of(STEP_IN_CONTAINER)
        assert containers(states) == ["heavy"]
        overrides = states["heavy"]["Parameters"]["Overrides"]
        assert (overrides["Cpu"], overrides["Memory"]) == ("1024", "2048")
        assert states["before"]["Next"] == "heavy input"

    def test_a_dag_that_asks_for_it_runs_whole_in_containers(self) -> None:
        assert containers(states_of("x-fanfold: {compute: ecs}\nsteps:\n  - {name: s, command: a}\n")) == ["s"]

    @pytest.mark.parametrize(
        ("seconds", "ecs", "wanted"), [(840, True, []), (841, True, ["s"]), (841, False, []), (3600, True, ["s"])]
    )
    def test_what_takes_longer_than_a_function_may_goes_to_a_container_by_itself(
        self, seconds: int, ecs: bool, wanted: list[str]
    ) -> None:
        text = f"steps:\n  - {{name: s, command: a, timeoutSec: {seconds}}}\n"
        assert containers(states_of(text, Platform(has_ecs=ecs))) == wanted

    def test_a_dag_that_says_lambda_stays_there(self) -> None:
        text = "x-fanfold: {compute: lambda}\nsteps:\n  - {name: s, command: a, timeoutSec: 3600}\n"
        assert containers(states_of(text)) == []

    def test_what_a_container_gets_by_its_environment_is_small(self) -> None:
        text = (
            "steps:\n  - {name: fan, run: c, parallel: ['x']}\n---\n"
            "name: c\nx-fanfold: {compute: ecs}\nsteps:\n  - {name: s, command: a}\n"
        )
        states = states_of(text)
        assert states["fan.plan"]["Parameters"]["Payload"]["pointers"] is True


class TestRun:
    def test_values_go_through_a_container_unchanged(self, run_dag: DagRunner) -> None:
        record = run_dag("params: p1\n" + STEP_IN_CONTAINER, "arg 'q'")
        assert record["status"] == "success"
        assert record["steps"]["after"]["output"] == {"AFTER": "a\"b arg 'q'\n0"}

    def test_items_of_any_size_go_through_containers(self, run_dag: DagRunner) -> None:
        record = run_dag(
            """
            steps:
              - {name: list, command: "seq 3 | sed 's/$/ $(x) \\"q\\"/'", output: L}
              - {name: fan, run: child, parallel: '${L}', output: R}
            ---
            name: child
            x-fanfold: {compute: ecs}
            steps:
              - {name: s, command: 'echo "<$1>"; head -c 20000 /dev/zero | tr "\\0" x', output: O}
            """
        )
        results = record["steps"]["fan"]["document"]["results"]
        assert [result["output"]["O"] for result in results] == [f'<{n} $(x) "q">\n' + "x" * 20000 for n in (1, 2, 3)]

    def test_a_failure_tells_its_exit_code_and_is_retried_by_it(self, run_dag: DagRunner, tmp_path: Path) -> None:
        record = run_dag(
            f"""
            steps:
              - name: fan
                run: child
                parallel: [a, b]
                retryPolicy: {{limit: 2, intervalSec: 0, exitCode: [7]}}
                output: R
            ---
            name: child
            x-fanfold: {{compute: ecs}}
            steps:
              - name: s
                command: 'echo x >> {tmp_path}/$1; [ $1 = b ] || [ $(wc -l < {tmp_path}/a) -gt 1 ] || exit 7'
            """
        )
        assert record["steps"]["fan"]["document"]["summary"]["succeeded"] == 2
        assert [len((tmp_path / name).read_text().splitlines()) for name in "ab"] == [2, 1]

    def test_a_step_that_fails_in_a_container_is_a_failed_step(self, run_dag: DagRunner) -> None:
        record = run_dag(
            """
            handlerOn: {failure: {command: echo handled, output: H}}
            steps:
              - {name: s, command: exit 9, x-fanfold: {compute: ecs}}
              - {name: t, command: echo never}
            """
        )
        assert (record["status"], record["steps"]["s"]["exitCode"]) == ("failed", 9)
        assert record["steps"]["onFailure"]["output"] == {"H": "handled"}

    def test_a_task_that_is_out_of_time_is_ended_and_says_so(self, run_dag: DagRunner) -> None:
        started = time.monotonic()
        record = run_dag("steps:\n  - {name: s, command: sleep 63, x-fanfold: {compute: ecs, timeoutSec: 6}}\n")
        assert record["steps"]["s"]["error"] == "stopped: the time of its task is over"
        assert time.monotonic() - started < 30


class TestProcess:
    """Containers as processes of their own, which can be killed."""

    @pytest.fixture
    def up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr("fanfold.asl.states.HEARTBEAT_SECONDS", 3)
        monkeypatch.setenv("FANFOLD_HEARTBEAT_SECONDS", "1")
        with stack_up("fanfold", 0, tmp_path) as made:
            yield made

    def start(self, up: Up, text: str) -> str:
        clients = up.stack.clients
        clients.s3.put_object(Bucket=up.stack.dag_bucket, Key="dags/a.yaml", Body=text.encode())
        arn = f"{up.stack.machine_of('a')}:{ALIAS}"
        return clients.states.start_execution(stateMachineArn=arn, name="run")["executionArn"]

    def record(self, up: Up, execution: str) -> dict[str, Any]:
        poll_execution(up.stack.clients.states, execution)
        data = RunData.find(ObjectStore(up.stack.clients.s3, up.stack.run_bucket), "run")
        assert data is not None
        found = data.result()
        assert found is not None
        return found

    def test_a_container_that_is_killed_is_noticed_by_its_heartbeat(self, up: Up, tmp_path: Path) -> None:
        process = tmp_path / "pid"
        text = f"""
handlerOn: {{failure: {{command: "echo $DAG_RUN_STATUS", output: H}}}}
steps:
  - {{name: s, command: "echo $PPID > {process}; sleep 63", x-fanfold: {{compute: ecs}}}}
"""
        execution = self.start(up, text)
        os.kill(_number(process), signal.SIGKILL)
        record = self.record(up, execution)
        assert record["steps"]["s"]["error"].startswith("its task ended without an answer: States.")
        assert record["steps"]["onFailure"]["output"] == {"H": "failed"}

    def test_a_container_that_is_told_to_end_says_so_at_once(self, up: Up, tmp_path: Path) -> None:
        process = tmp_path / "pid"
        text = f'steps:\n  - {{name: s, command: "echo $PPID > {process}; sleep 63", x-fanfold: {{compute: ecs}}}}\n'
        execution = self.start(up, text)
        os.kill(_number(process), signal.SIGTERM)
        assert "TaskStopped" in self.record(up, execution)["steps"]["s"]["error"]

    def test_a_run_that_is_stopped_ends_its_container(self, up: Up, tmp_path: Path) -> None:
        process = tmp_path / "pid"
        text = f'steps:\n  - {{name: s, command: "echo $PPID > {process}; sleep 63", x-fanfold: {{compute: ecs}}}}\n'
        execution = self.start(up, text)
        number = _number(process)
        up.stack.clients.states.stop_execution(executionArn=execution)
        end = time.monotonic() + 15
        while time.monotonic() < end and Path(f"/proc/{number}/cmdline").exists():
            if not Path(f"/proc/{number}/cmdline").read_bytes():
                break
            time.sleep(0.1)
        else:
            assert not Path(f"/proc/{number}/cmdline").exists()


def _number(file: Path) -> int:
    """The number of a process, as soon as the file holds it."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if file.exists() and file.read_text().strip():
            return int(file.read_text())
        time.sleep(0.05)
    raise AssertionError("the step did not start")
