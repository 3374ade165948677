"""``fanfold up`` as a process, and the real AWS CLI against it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_examples import CHILDREN, PARTIAL

EXAMPLES = Path(__file__).parents[2] / "examples"
FANFOLD = [sys.executable, "-m", "fanfold.cli"]


def has_aws_cli() -> bool:
    aws = shutil.which("aws")
    return aws is not None and subprocess.run([aws, "--version"], capture_output=True, check=False).returncode == 0


@dataclass
class Server:
    env: dict[str, str]
    bucket: str
    folder: Path

    def aws(self, *words: str) -> Any:
        """The AWS CLI; what it prints, as JSON where it is."""
        done = subprocess.run(["aws", *words], env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def fanfold(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*FANFOLD, words[0], "--stack", "fanfold", *words[1:]]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False, timeout=120)

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        self.aws("s3", "cp", str(self.folder / name), f"s3://{self.bucket}/dags/{name}")

    def arn(self, machine: str) -> str:
        return f"arn:aws:states:us-east-1:123456789012:stateMachine:fanfold_{machine}"

    def machines(self) -> set[str]:
        listed = self.aws("stepfunctions", "list-state-machines")["stateMachines"]
        return {machine["name"] for machine in listed}

    def run(self, machine: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start an execution and wait for its end."""
        arn, words = f"{self.arn(machine)}:live", ("--input", json.dumps(given or {}))
        name = f"run-{time.monotonic_ns()}"
        started = self.aws("stepfunctions", "start-execution", "--state-machine-arn", arn, "--name", name, *words)
        while True:
            described: dict[str, Any] = self.aws(
                "stepfunctions", "describe-execution", "--execution-arn", started["executionArn"]
            )
            if described["status"] != "RUNNING":
                return described
            time.sleep(0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("up")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    log = folder / "log"
    with log.open("wb") as out:
        command = [*FANFOLD, "up", "--port", "0", "--home", str(folder / "home")]
        process = subprocess.Popen(command, env=clean, stdout=out, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while "Ctrl-C ends it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        said = log.read_text()
        env = dict(re.findall(r"(AWS_\w+)=(\S+)", said))
        bucket = re.search(r"s3://([\w-]+)/dags/", said)
        assert bucket is not None
        yield Server(clean | env, bucket[1], folder)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


needs_aws_cli = pytest.mark.skipif(not has_aws_cli(), reason="the AWS CLI is not installed")

SCHEDULED = """
name: nightly
schedule: "CRON_TZ=Europe/Berlin 30 2 * * *"
params: [WHO: nobody]
steps:
  - {name: greet, command: 'echo "hello $WHO"', output: GREETING}
"""


@needs_aws_cli
class TestAwsCli:
    def test_a_file_that_is_copied_into_the_bucket_runs_and_one_that_is_removed_is_gone(self, server: Server) -> None:
        server.put("nightly.yaml", SCHEDULED)
        assert "fanfold_nightly" in server.machines()
        described = server.run("nightly", {"params": {"positional": [], "named": {"WHO": 'a "b" $(c)'}}})
        assert described["status"] == "SUCCEEDED"
        record = json.loads(described["output"])["record"]
        got = server.aws("s3", "cp", f"s3://{self.run_bucket(server)}/{record['object']}", "-")
        assert got["steps"]["greet"]["output"] == {"GREETING": 'hello a "b" $(c)'}
        history = server.aws("stepfunctions", "get-execution-history", "--execution-arn", described["executionArn"])
        assert [event["type"] for event in history["events"]][-1] == "ExecutionSucceeded"
        (schedule,) = server.aws("scheduler", "list-schedules", "--group-name", "fanfold")["Schedules"]
        whole = server.aws("scheduler", "get-schedule", "--group-name", "fanfold", "--name", schedule["Name"])
        assert whole["ScheduleExpression"] == "cron(30 2 * * ? *)"
        assert whole["ScheduleExpressionTimezone"] == "Europe/Berlin"
        server.aws("s3", "rm", f"s3://{server.bucket}/dags/nightly.yaml")
        assert "fanfold_nightly" not in server.machines()
        assert server.aws("scheduler", "list-schedules", "--group-name", "fanfold")["Schedules"] == []

    def run_bucket(self, server: Server) -> str:
        (stack,) = server.aws("cloudformation", "describe-stacks", "--stack-name", "fanfold")["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        assert outputs["DagBucket"] == server.bucket
        return str(outputs["RunBucket"])

    def test_an_object_put_into_a_watched_bucket_starts_a_run(self, server: Server) -> None:
        server.aws("s3", "mb", "s3://incoming")
        configuration = '{"EventBridgeConfiguration": {}}'
        server.aws("s3api", "put-bucket-notification-configuration", "--bucket", "incoming",
                   "--notification-configuration", configuration)  # fmt: skip
        server.put("watch.yaml", """
name: watch
x-fanfold: {on: {s3: {bucket: incoming, prefix: new/, suffix: .csv}}}
params: [BUCKET: none, KEY: none]
steps:
  - {name: tell, command: 'echo "$BUCKET/$KEY"', output: WHAT}
  - {name: fail, command: test -e FOLDER/mended}
""".replace("FOLDER", str(server.folder)))  # fmt: skip
        (server.folder / "data").write_text("1,2")
        for key in ("new/a 'b'.csv", "old/a.csv", "new/a.txt"):
            server.aws("s3", "cp", str(server.folder / "data"), f"s3://incoming/{key}")
        arn = server.arn("watch")
        (execution,) = server.aws("stepfunctions", "list-executions", "--state-machine-arn", arn)["executions"]
        assert len(execution["name"]) == 73  # as EventBridge calls it
        while (
            server.aws("stepfunctions", "describe-execution", "--execution-arn", execution["executionArn"])["status"]
            == "RUNNING"
        ):
            time.sleep(0.2)
        (server.folder / "mended").touch()
        retried = server.fanfold("retry", execution["name"])
        assert retried.returncode == 0, retried.stdout + retried.stderr
        record = self.record(server, f"{execution['executionArn']}_r2")
        assert (record["status"], record["attempt"]) == ("success", 2)
        assert record["steps"]["tell"]["output"] == {"WHAT": "incoming/new/a 'b'.csv"}

    def record(self, server: Server, arn: str) -> dict[str, Any]:
        while True:
            described = server.aws("stepfunctions", "describe-execution", "--execution-arn", arn)
            if described["status"] != "RUNNING":
                break
        key = json.loads(described["output"])["record"]["object"]
        record: dict[str, Any] = server.aws("s3", "cp", f"s3://{self.run_bucket(server)}/{key}", "-")
        return record

    def test_every_example_goes_through(self, server: Server) -> None:
        target = f"s3://{server.bucket}/dags/examples/"
        server.aws("s3", "cp", "--recursive", str(EXAMPLES), target, "--exclude", "*.yaml")
        server.aws("s3", "cp", "--recursive", str(EXAMPLES), target, "--exclude", "*", "--include", "*.yaml")
        made = {
            re.sub(r"^fanfold_examples-(.+)-[0-9a-f]{8}$", r"\1", name): name.removeprefix("fanfold_")
            for name in server.machines()
        }
        for example in sorted(EXAMPLES.glob("*.yaml")):
            if example.stem not in CHILDREN:
                described = server.run(made[example.stem])
                assert described["status"] == "SUCCEEDED", example.stem
                status = json.loads(described["output"])["status"]
                assert status == ("partial" if example.stem in PARTIAL else "success"), example.stem


class TestCommands:
    def test_push_shows_what_was_deployed_and_start_runs_it(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "hi.yaml").write_text(SCHEDULED.replace("nightly", "hi"))
        pushed = server.fanfold("push", str(tmp_path / "hi.yaml"))
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stdout.splitlines() == [
            "hi.yaml: DAG hi is deployed",
            "  fanfold_hi: created, version 1",
            "  schedule cron(30 2 * * ? *): created",
        ]
        started = server.fanfold("start", "hi", "--json", "--", "WHO=you")
        assert started.returncode == 0, started.stderr
        assert json.loads(started.stdout)["steps"]["greet"]["output"] == {"GREETING": "hello you"}

    def test_push_shows_every_problem_with_its_line(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("steps:\n  - {name: a, comand: echo}\n")
        pushed = server.fanfold("push", str(tmp_path / "bad.yaml"))
        assert pushed.returncode == 2
        assert "bad.yaml:2:15: unknown key 'comand' in a step" in pushed.stderr
        assert "did you mean 'command'?" in pushed.stderr
        assert "Traceback" not in pushed.stderr

    def test_a_folder_travels_with_its_dags(self, server: Server, tmp_path: Path) -> None:
        folder = tmp_path / "shop"
        (folder / "lib").mkdir(parents=True)
        (folder / "tool.sh").write_text('#!/bin/sh\necho "tool $(cat lib/data.txt) $1"\n')
        (folder / "lib" / "data.txt").write_text("data")
        (folder / ".env").write_text("WORD=of-a-file\n")
        (folder / ".git").mkdir()
        (folder / ".git" / "config").write_text("not for a bucket")
        (folder / "shop.yaml").write_text(
            "dotenv: [.env, none.env]\nsteps:\n  - {name: word, command: echo $WORD, output: W}\n"
            '  - {name: use, command: ./tool.sh "one two", output: O}\n'
            "  - {name: fan, run: each, parallel: [a], output: R}\n"
            "---\nname: each\nsteps:\n  - {name: s, command: ./tool.sh $1, output: O}\n"
        )
        pushed = server.fanfold("push", str(folder))
        assert pushed.returncode == 0, pushed.stderr
        started = server.fanfold("start", "shop", "--json")
        steps = json.loads(started.stdout)["steps"]
        assert steps["word"]["output"] == {"W": "of-a-file"}
        assert ".git" not in server.aws("s3", "ls", "--recursive", f"s3://{server.bucket}/dags/")
        assert steps["use"]["output"] == {"O": "tool data one two"}
        assert steps["fan"]["document"]["outputs"] == [{"O": "tool data a"}]

    def test_rollback_brings_the_version_before_back(self, server: Server, tmp_path: Path) -> None:
        for word in ("first", "second"):
            (tmp_path / "roll.yaml").write_text(f"steps:\n  - {{name: s, command: echo {word}, output: O}}\n")
            assert server.fanfold("push", str(tmp_path / "roll.yaml")).returncode == 0
        rolled = server.fanfold("rollback", "roll")
        assert "roll: version 1 is live again, in place of 2" in rolled.stdout
        started = server.fanfold("start", "roll", "--json")
        assert json.loads(started.stdout)["steps"]["s"]["output"] == {"O": "first"}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("start", "nothing"), "the stack 'fanfold' has no DAG 'nothing'"),
            (("rollback", "nothing"), "the stack 'fanfold' has no DAG 'nothing'"),
            (("push", "nothing.yaml"), "nothing.yaml: No such file or directory"),
        ],
    )
    def test_what_is_not_there_is_said(self, server: Server, words: tuple[str, ...], said: str) -> None:
        done = server.fanfold(*words)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert said in done.stderr

    def test_a_stack_that_is_not_there_is_said(self, server: Server) -> None:
        command = [*FANFOLD, "start", "x", "--stack", "other"]
        done = subprocess.run(command, env=server.env, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "there is no stack 'other' in this account and region" in done.stderr


@pytest.mark.parametrize("port", ["taken", "70000"])
def test_a_port_that_cannot_be_had_is_said(port: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1]) if port == "taken" else port
        done = subprocess.run(
            [*FANFOLD, "up", "--port", number], capture_output=True, text=True, check=False, timeout=30
        )
    assert done.returncode == 2
    assert f"port {number}: " in done.stderr
    assert "--port" in done.stderr
