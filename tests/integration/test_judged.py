"""What AWS would not take of a definition is an error at its step, before anything is made of it."""

from __future__ import annotations

import re
from pathlib import Path

from aws import embedded
from click.testing import CliRunner
from fanfold.cli.app import app

TEXT = (
    "steps:\n"
    + "".join(
        f"  - {{name: s{number}, run: leaf, parallel: [a], retryPolicy: {{limit: 1}}}}\n" for number in range(300)
    )
    + "---\nname: leaf\nsteps: [{name: s, command: echo}]\n"
)
"""A definition with more than a megabyte."""
MESSAGE = r"the state machine of 'dag': the definition has 1,\d{3},\d{3} bytes; Step Functions takes 1,048,576"


def test_by_the_parser() -> None:
    with embedded() as aws:
        report = aws.put("dag.yaml", TEXT)
        assert report["status"] == "refused"
        (problem,) = (found for found in report["problems"] if "bytes" in found["message"])
        assert re.fullmatch(MESSAGE, problem["message"])
        assert (problem["place"]["line"], problem["hint"]) == (1, "move some of the steps to child DAGs")
        assert aws.machines() == {}


def test_by_compile(tmp_path: Path) -> None:
    (tmp_path / "dag.yaml").write_text(TEXT)
    shown = CliRunner().invoke(app, ["compile", str(tmp_path / "dag.yaml"), "-o", str(tmp_path / "out")])
    assert shown.exit_code == 2
    assert re.search(f"dag.yaml:1:1: {MESSAGE}", shown.output.replace("\n", " "))
    assert not (tmp_path / "out").exists()
