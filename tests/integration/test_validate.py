"""``fanfold validate`` as a linter: warnings, and forms for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fanfold.asl.lint import lint
from fanfold.cli.files import read_from_disk
from fanfold.cli.validate import validate_files

CHILD = "---\nname: child\nsteps:\n  - {name: s, command: 'echo $1', output: S}\n"
BAD = "steps:\n  - {name: 'a,b', comand: 100%}\n"

WARNINGS = {
    "unused parameter": (
        "params: [USED: 1, UNUSED: 2]\nsteps:\n  - {name: a, command: 'echo $USED'}\n",
        (1, "no step of 'main' uses the parameter UNUSED"),
    ),
    "unread output": (
        "steps:\n  - {name: fan, run: child, parallel: [1], output: R, continueOn: {failure: true}}\n"
        "  - {name: last, command: echo}\n" + CHILD,
        (2, "no step reads the output R of 'fan'"),
    ),
    "unread output of a command": (
        "steps:\n  - {name: a, command: date, output: NOW}\n  - {name: b, command: echo, output: LAST}\n",
        (2, "no step reads the output NOW of 'a'"),
    ),
    "lost results": (
        "steps:\n  - {name: fan, run: child, parallel: [1], output: R}\n"
        "  - {name: report, command: 'echo ${R.summary.total}'}\n" + CHILD,
        (2, "one failed item of 'fan' keeps 'report' from reading the results of the others"),
    ),
    "shared temporary file": (
        "steps:\n  - {name: write, command: 'echo x > /tmp/x.txt'}\n  - {name: fan, run: child, parallel: [1]}\n"
        "  - {name: read, command: cat /tmp/x.txt}\n" + CHILD,
        (4, "/tmp/x.txt is used by 'write' too, with a call of a child DAG between the two steps"),
    ),
}

FINE = {
    "positional use": "params: [FILE: x]\nsteps:\n  - {name: a, command: 'echo $1'}\n",
    "handled failure": "handlerOn: {failure: {command: 'echo ${R.summary.failed}'}}\nsteps:\n"
    "  - {name: fan, run: child, parallel: [1], output: R}\n  - {name: b, command: 'echo ${R.summary}'}\n" + CHILD,
    "one segment": "steps:\n  - {name: a, command: 'echo > /tmp/x'}\n  - {name: b, command: cat /tmp/x}\n",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "main.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_has_its_line(name: str, tmp_path: Path) -> None:
    text, expected = WARNINGS[name]
    assert [(problem.place.line, problem.message) for problem in lint(read_from_disk(write(tmp_path, text)))] == [
        expected
    ]


@pytest.mark.parametrize("name", FINE)
def test_what_is_meant_so_gives_no_warning(name: str, tmp_path: Path) -> None:
    assert lint(read_from_disk(write(tmp_path, FINE[name]))) == []


def test_warnings_are_shown_and_do_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, WARNINGS["unused parameter"][0])
    assert validate_files([path], "text") == 0
    shown = capsys.readouterr()
    assert f"{path}:1:27: no step of 'main' uses the parameter UNUSED (warning)" in shown.err
    assert "    params: [USED: 1, UNUSED: 2]" in shown.err
    assert shown.out == f"✓ {path}: 1 DAG, 1 step, 1 warning\n"


def test_json_lists_errors_and_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write(tmp_path, WARNINGS["unused parameter"][0]), tmp_path / "bad.yaml"
    bad.write_text(BAD)
    assert validate_files([good, bad, tmp_path / "missing.yaml"], "json") == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(f["severity"], Path(f["file"]).name, f["line"], f["column"]) for f in findings] == [
        ("warning", "main.yaml", 1, 27),
        ("error", "bad.yaml", 2, 5),
        ("error", "bad.yaml", 2, 19),
        ("error", "missing.yaml", 1, 1),
    ]
    assert findings[2]["hint"] == "did you mean 'command'?"


def test_github_commands_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a,b:c"
    folder.mkdir()
    path = write(folder, "steps:\n  - {name: x, command: y, depends: '100%'}\n")
    assert validate_files([path], "github") == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error file=")
    assert "a%2Cb%3Ac/main.yaml,line=2,col=36::'x' depends on '100%25', which is no step" in line


def test_sarif_names_the_tool_and_the_region(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validate_files([write(tmp_path, BAD)], "sarif")
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["tool"]["driver"]["name"] == "fanfold"
    assert [result["level"] for result in run["results"]] == ["error", "error"]
    region = run["results"][1]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 2, "startColumn": 19}
