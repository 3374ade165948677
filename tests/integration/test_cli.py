"""The command ``fanfold`` as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from fanfold.cli.app import app

ROOT = Path(__file__).parents[2]
GOOD = "name: good\nsteps:\n  - {name: a, command: echo hi, output: OUT}\n"
BAD = "steps:\n  - {name: a, comand: x}\n"
FAILING = """
name: failing
steps:
  - {name: fan, run: child, parallel: ["one", "two [red]"], output: R}
---
name: child
steps:
  - name: work
    command: |
      [ "$1" = one ] || { echo "[bold]cannot[/bold] do $1" >&2; exit 3; }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("good", GOOD), ("bad", BAD), ("failing", FAILING)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def fanfold(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"FANFOLD_HOME": str(folder / "home")} | environment
    return subprocess.run(
        [sys.executable, "-c", "from fanfold.cli import main; main()", *arguments],
        cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_start_json_prints_one_object_and_nothing_else(folder: Path) -> None:
    done = fanfold(folder, "start", "good.yaml", "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert record == {
        "dag": "good",
        "run": record["run"],
        "status": "success",
        "started": record["started"],
        "seconds": record["seconds"],
        "steps": {"a": record["steps"]["a"] | {"status": "success", "output": {"OUT": "hi"}}},
    }
    assert record["started"] <= record["steps"]["a"]["started"] <= time.time()
    assert 0 <= record["steps"]["a"]["seconds"] <= record["seconds"] < 30
    assert json.loads((folder / "home" / "runs" / record["run"] / "result.json").read_text()) == record


def test_a_failed_run_names_dag_step_item_stderr_and_log(folder: Path) -> None:
    done = fanfold(folder, "start", "failing.yaml")
    assert done.returncode == 1
    assert "DAG child, step work, item two [red]: exit code 3" in done.stdout
    assert "[bold]cannot[/bold] do two [red]" in done.stdout
    log = done.stdout.split("whole log: ")[1].splitlines()[0]
    assert Path(log).read_text() == "[bold]cannot[/bold] do two [red]\n"
    assert "fan: 2 total, 1 succeeded, 1 failed" in done.stdout


def test_piped_output_is_plain_lines(folder: Path) -> None:
    lines = fanfold(folder, "start", "good.yaml").stdout.splitlines()
    assert lines[0] == "a: started"
    assert lines[1].startswith("a: success in ")
    assert "\x1b" not in "".join(lines)


def test_parameters_follow_two_dashes(folder: Path) -> None:
    text = "params: [NAME: nobody]\nsteps:\n  - {name: a, command: 'echo \"$NAME $1 $2\"', output: OUT}\n"
    (folder / "p.yaml").write_text(text)
    done = fanfold(folder, "start", "p.yaml", "--json", "--", "NAME=Ada L", "one", "two words")
    assert json.loads(done.stdout)["steps"]["a"]["output"] == {"OUT": "Ada L one two words"}


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["start", "bad.yaml"], "did you mean 'command'?"),
        (["validate", "bad.yaml", "good.yaml"], "bad.yaml:2:15: unknown key 'comand'"),
        (["compile", "bad.yaml"], "unknown key"),
        (["start", "missing.yaml"], "No such file"),
        (["start", "good.yaml", "--home", "bad.yaml"], "choose another folder with --home"),
        (["dry", "bad.yaml"], "unknown key"),
        (["graph", "missing.yaml"], "No such file"),
        (["validate", "."], "is a folder"),
        (["compile", "missing.yaml"], "No such file"),
        (["start", "good.yaml", "--wrong"], "No such option"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_input_ends_with_2_and_no_traceback(folder: Path, arguments: list[str], shown: str) -> None:
    done = fanfold(folder, *arguments)
    assert done.returncode == 2
    assert shown in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (folder / "home").exists()


def test_validate_counts_what_is_good(folder: Path) -> None:
    done = fanfold(folder, "validate", "good.yaml", "failing.yaml")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["✓ good.yaml: 1 DAG, 1 step", "✓ failing.yaml: 2 DAGs, 2 steps"]


def test_compile_prints_or_writes_the_definitions(folder: Path) -> None:
    printed = json.loads(fanfold(folder, "compile", "failing.yaml").stdout)
    assert printed["States"]["fan"]["MaxConcurrency"] == 8
    done = fanfold(folder, "compile", "failing.yaml", "-o", "out")
    assert json.loads((folder / "out" / "failing.asl.json").read_text()) == printed
    assert done.stdout.strip() == "out/failing.asl.json"


def test_a_terminal_that_knows_only_ascii_is_no_trouble(folder: Path) -> None:
    (folder / "u.yaml").write_text("steps:\n  - {name: ünï, command: echo ✓, output: O}\n", "utf-8")
    done = fanfold(folder, "start", "u.yaml", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr


def test_ctrl_c_stops_the_run_and_keeps_what_is_finished(folder: Path) -> None:
    (folder / "slow.yaml").write_text(
        """
name: slow
handlerOn:
  cancel: {command: touch cancelled}
steps:
  - {name: fan, run: nap, parallel: {items: [quick, slow, never], maxConcurrent: 2}, output: R}
  - {name: after, command: touch after}
---
name: nap
steps:
  - name: nap
    command: |
      [ "$1" = quick ] || { touch started; sleep 61.25 & wait; }
    output: O
"""
    )
    env = os.environ | {"FANFOLD_HOME": str(folder / "home")}
    process = subprocess.Popen(
        [sys.executable, "-c", "from fanfold.cli import main; main()", "start", "slow.yaml", "--json"],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    stopped = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - stopped < 8
    assert process.returncode == 1
    assert "stopping" in err
    record = json.loads(out)
    assert record["status"] == "cancelled"
    document = record["steps"]["fan"]["document"]
    assert [row["status"] for row in document["results"]] == ["success", "cancelled", "cancelled"]
    assert document["summary"] == {"total": 3, "succeeded": 1, "failed": 0, "cancelled": 2, "skipped": 0}
    assert record["steps"]["after"]["status"] == "cancelled"
    assert (folder / "cancelled").exists()
    assert not (folder / "after").exists()
    assert subprocess.run(["pgrep", "-f", "sleep 61.25"], capture_output=True, check=False).stdout == b""


def test_every_command_and_option_is_explained_and_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, command in app.commands.items():
        assert command.help, name
        assert f"fanfold {name}" in readme
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), (name, parameter.name)
