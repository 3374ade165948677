"""What AWS would not take of a definition is an error at its step, before anything is made of it."""

from __future__ import annotations

from pathlib import Path

from aws import embedded
from click.testing import CliRunner
from fanfold.cli.app import app

TEXT = """
steps:
  - {name: one, command: echo}
  - name: fan
    run: leaf
    parallel: [a]
    retryPolicy: {limit: 100000000}
---
name: leaf
steps: [{name: s, command: echo}]
"""
MESSAGE = "the state machine of 'dag': MaxAttempts is 100000000 in a Retry of 'fan.item'"


def test_by_the_parser() -> None:
    with embedded() as aws:
        report = aws.put("dag.yaml", TEXT)
        assert report["status"] == "refused"
        (problem,) = report["problems"]
        assert (problem["place"]["line"], problem["message"], problem["hint"]) == (4, MESSAGE, "0 to 99999999")
        assert aws.machines() == {}


def test_by_compile(tmp_path: Path) -> None:
    (tmp_path / "dag.yaml").write_text(TEXT)
    shown = CliRunner().invoke(app, ["compile", str(tmp_path / "dag.yaml"), "-o", str(tmp_path / "out")])
    assert shown.exit_code == 2
    assert f"dag.yaml:4:5: {MESSAGE}" in shown.output
    assert not (tmp_path / "out").exists()
