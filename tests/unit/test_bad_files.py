"""What is wrong in a DAG file: every problem at once, each with its place, and what would be right."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
from fanfold.cli.files import read_from_disk
from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.read import read_dag_file
from hypothesis import given, settings
from hypothesis import strategies as st

STEP = "steps:\n  - name: a\n    command: echo\n"
FAN = "steps:\n  - name: a\n    run: c\n    parallel: [x]\n"
CHILD = "---\nname: c\nsteps: [{name: b, command: echo}]\n"


def problems(text: str | bytes, **files: str) -> list[Problem]:
    data = {"main.yaml": textwrap.dedent(text).encode() if isinstance(text, str) else text}
    data |= {f"{name}.yaml": textwrap.dedent(content).encode() for name, content in files.items()}
    try:
        read_dag_file("main.yaml", data.get)
    except DagFileError as error:
        return list(error.problems)
    return []


def only(text: str | bytes, **files: str) -> Problem:
    (problem,) = problems(text, **files)
    return problem


CASES = {
    "unknown key": ("steps:\n  - name: a\n    comand: x\n    command: y\n", "3:5", "unknown key 'comand'", "'command'"),
    "unknown DAG key": (STEP + "shedule: x\n", "4:1", "unknown key 'shedule' in a DAG", "'schedule'"),
    "key that cannot work": (STEP + "    executor: ssh\n", "4:5", "'executor' is not supported", "'command'"),
    "missing child": ("steps:\n  - {name: a, run: nowhere}\n", "2:20", "there is no DAG 'nowhere'", "nowhere.yaml"),
    "misspelt child": (
        "steps:\n  - {name: a, run: chlid}\n---\nname: child\n" + STEP,
        "2:20",
        "there is no DAG 'chlid'",
        "'child'",
    ),
    "child outside of the folder": ("steps:\n  - {name: a, run: ../x}\n", "2:20", "outside of the DAG folder", "below"),
    "cycle": (
        "type: graph\nsteps:\n  - {name: a, command: x, depends: b}\n  - {name: b, command: x, depends: a}\n",
        "3:36",
        "the steps wait for each other: a → b → a",
        "remove one",
    ),
    "duplicate step": (STEP + "  - {name: a, command: x}\n", "4:5", "two steps are called 'a'", "line 2"),
    "unknown depends": (
        STEP + "  - {name: b, command: x, depends: aa}\n",
        "4:36",
        "'b' depends on 'aa', which is no step",
        "'a'",
    ),
    "empty items": (
        "steps:\n  - {name: a, run: c, parallel: []}\n---\nname: c\n" + STEP,
        "2:33",
        "empty",
        "at least one",
    ),
    "zero at a time": (
        "steps:\n  - {name: a, run: c, parallel: {items: [1], maxConcurrent: 0}}\n---\nname: c\n" + STEP,
        "2:61",
        "'maxConcurrent' is 0",
        "from 1 to 1,000",
    ),
    "five at a time": (
        "steps:\n  - {name: a, run: c, parallel: [1], maxConcurrent: five}\n---\nname: c\n" + STEP,
        "2:53",
        "'maxConcurrent' is 'five'",
        "from 1 to 1,000",
    ),
    "two concurrencies": (
        "steps:\n  - {name: a, run: c, parallel: {items: [1], maxConcurrent: 2}, maxConcurrent: 3}\n---\nname: c\n"
        + STEP,
        "2:61",
        "'maxConcurrent' is 2 here and another at the step",
        "3 in line 2",
    ),
    "unset variable": (
        "env: {LIST: x}\nsteps:\n  - {name: a, run: c, parallel: '${LITS}'}\n---\nname: c\n" + STEP,
        "3:33",
        "${LITS} refers to LITS, which nothing sets",
        "'LIST'",
    ),
    "unset path in a command": (
        "steps:\n  - name: a\n    command: echo ${R.summary.total}\n",
        "3:14",
        "${R.summary.total} refers to R, which nothing sets",
        "output",
    ),
    "set later": (
        "steps:\n  - {name: a, run: c, parallel: '${L}'}\n  - {name: b, command: x, output: L}\n---\nname: c\n" + STEP,
        "2:33",
        "${L} is set by 'b', which runs only later",
        "depend",
    ),
    "ITEM elsewhere": (
        "steps:\n  - {name: a, run: c, parallel: [1]}\n  - {name: b, command: 'echo $ITEM'}\n---\nname: c\n" + STEP,
        "3:24",
        "$ITEM stands outside of the 'params'",
        "params:",
    ),
    "parallel without run": (STEP + "    parallel: [1]\n", "4:15", "'parallel' without 'run'", "'run:'"),
    "parallel over a number": (
        "steps:\n  - {name: a, run: c, parallel: 5}\n---\nname: c\n" + STEP,
        "2:33",
        "cannot fan out over '5'",
        "list",
    ),
    "step that does nothing": ("steps:\n  - name: a\n", "2:5", "the step 'a' does nothing", "'command'"),
    "run and command": (
        "steps:\n  - {name: a, run: c, command: x}\n---\nname: c\n" + STEP,
        "2:20",
        "both",
        "two steps",
    ),
    "no steps": ("name: x\n", "1:1", "the DAG has no steps", "steps:"),
    "local DAG without a name": (STEP + "---\n" + STEP, "5:1", "a local DAG needs a name", "'name:'"),
    "two local DAGs of one name": (
        STEP + "---\nname: c\n" + STEP + "---\nname: c\n" + STEP,
        "10:7",
        "two local DAGs are called 'c'",
        "line 5",
    ),
    "schedule in a local DAG": (
        STEP + "---\nname: child\nschedule: '0 1 * * *'\n" + STEP,
        "6:11",
        "a local DAG has a 'schedule'",
        "first document",
    ),
    "trigger in a local DAG": (
        STEP + "---\nname: child\nx-fanfold: {on: {s3: {bucket: b}}}\n" + STEP,
        "6:22",
        "a local DAG has a trigger",
        "first",
    ),
    "schedule with a stop": (
        "schedule: {start: '0 1 * * *', stop: '0 2 * * *'}\n" + STEP,
        "1:32",
        "'stop' is not",
        "start",
    ),
    "one bad schedule of several": (
        "schedule:\n  - '0 1 * * *'\n  - '0 25 * * *'\n" + STEP,
        "3:5",
        "'25' cannot stand in the hour field",
        "0 to 23",
    ),
    "x-fanfold is no mapping": ("x-fanfold: ecs\n" + STEP, "1:12", "'x-fanfold' must be a mapping", "compute: ecs"),
    "x-fanfold: unknown key": ("x-fanfold: {computes: ecs}\n" + STEP, "1:13", "unknown key 'computes'", "'compute'"),
    "compute is no such": ("x-fanfold: {compute: fargate}\n" + STEP, "1:22", "'compute' is 'fargate'", "compute: ecs"),
    "cpu without compute": ("x-fanfold: {cpu: 512}\n" + STEP, "1:12", "does not say where to run", "compute: ecs"),
    "cpu that Fargate has not": ("x-fanfold: {compute: ecs, cpu: 700}\n" + STEP, "1:32", "'cpu' is 700", "512, 1024"),
    "memory that does not fit": (
        "x-fanfold: {compute: ecs, cpu: 256, memory: 4096}\n" + STEP,
        "1:45",
        "'memory' is 4096 MiB",
        "512, 1024, 2048",
    ),
    "memory for a function": ("x-fanfold: {compute: lambda, memory: 512}\n" + STEP, "1:38", "'memory' with", "ecs"),
    "x-fanfold at a call": (
        "steps:\n  - {name: a, run: c, x-fanfold: {compute: ecs}}\n---\nname: c\n" + STEP,
        "2:44",
        "'compute' at a step with 'run'",
        "child DAG",
    ),
    "x-fanfold at a handler": (
        STEP + "handlerOn: {exit: {command: a, x-fanfold: {compute: ecs}}}\n",
        "4:43",
        "'x-fanfold' at a handler",
        "last task",
    ),
    "trigger without bucket": (
        "x-fanfold: {on: {s3: {prefix: a}}}\n" + STEP,
        "1:22",
        "has no 'bucket'",
        "name the bucket",
    ),
    "trigger by a schedule": (
        "x-fanfold: {on: {schedule: x}}\n" + STEP,
        "1:18",
        "'schedule' is not supported",
        "schedule:",
    ),
    "maxItems at the DAG": ("x-fanfold: {maxItems: 5}\n" + STEP, "1:13", "'maxItems' is not supported", "at the step"),
    "maxItems without parallel": (STEP + "    x-fanfold: {maxItems: 5}\n", "4:27", "without 'parallel'", "fan-out"),
    "too many items": (FAN + "    x-fanfold: {maxItems: 100000000}\n" + CHILD, "5:27", "'maxItems' is", "10,000,000"),
    "no tolerance": (FAN + "    x-fanfold: {tolerateFailed: some}\n" + CHILD, "5:33", "no count of items", "5%"),
    "more than all": (FAN + "    x-fanfold: {tolerateFailed: 101%}\n" + CHILD, "5:33", "no count of items", "5%"),
    "half an item": (FAN + "    x-fanfold: {tolerateFailed: 0.5}\n" + CHILD, "5:33", "no count of items", "5%"),
    "many at a time": (FAN + "    maxConcurrent: 5000\n" + CHILD, "5:20", "is 5000", "from 1 to 1,000"),
    "bad schedule": ("schedule: '0 6'\n" + STEP, "1:11", "has 2 fields", "five fields"),
    "bad regular expression": (
        STEP + "    preconditions: {condition: x, expected: 're:('}\n",
        "4:20",
        "the regular expression '(' is not valid",
        "",
    ),
    "retry for no exit code": (
        STEP + "    retryPolicy: {limit: 1, exitCode: [-1]}\n",
        "4:40",
        "'exitCode' holds exit codes",
        "0 to 255",
    ),
    "retry for too large an exit code": (
        STEP + "    retryPolicy: {limit: 1, exitCode: 256}\n",
        "4:39",
        "'exitCode' holds exit codes",
        "0 to 255",
    ),
    "retry too often": (
        STEP + "    retryPolicy: {limit: 100000000}\n",
        "4:26",
        "'limit' is '100000000'",
        "from 0 to 5,000",
    ),
    "retry after years": (
        STEP + "    retryPolicy: {limit: 1, intervalSec: 400000000}\n",
        "4:42",
        "'intervalSec' is '400000000'",
        "from 0 to 31,536,000",
    ),
    "a start after years": ("delaySec: 400000000\n" + STEP, "1:11", "'delaySec' is '400000000'", "to 31,536,000"),
    "retry without a limit": (STEP + "    retryPolicy: {intervalSec: 1}\n", "4:18", "has no 'limit'", "limit: 3"),
    "duplicate key": (STEP + "    command: again\n", "4:5", "the key 'command' stands here twice", "line 3"),
    "tab": ("steps:\n\t- name: a\n", "2:1", "not valid YAML", "spaces"),
    "unclosed quote": ('steps:\n  - name: "a\n', "3:1", "not valid YAML", ""),
    "unknown tag": ("steps: !!python/object:os.system x\n", "1:8", "tag", "without a tag"),
    "unclosed quote in params": (
        "steps:\n  - {name: a, run: c, params: 'A=\"x'}\n---\nname: c\n" + STEP,
        "2:31",
        "'params' cannot be split",
        "close",
    ),
    "a list": ("- 1\n", "1:1", "a DAG is a mapping", "steps:"),
}


@pytest.mark.parametrize("name", CASES)
def test_problem_has_its_place_its_message_and_a_hint(name: str) -> None:
    text, place, message, hint = CASES[name]
    problem = only(text)
    assert (f"{problem.place.line}:{problem.place.column}", problem.place.file) == (place, "main.yaml")
    assert message in problem.message
    assert hint in problem.hint
    if place != "1:1":
        assert problem.line_text == text.split("\n")[problem.place.line - 1].replace("\t", " ").rstrip()


def test_a_child_whose_name_no_file_can_have_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "main.yaml"
    path.write_text(f"steps:\n  - {{name: a, run: {'x' * 5000}}}\n")
    with pytest.raises(DagFileError, match="there is no DAG"):
        read_from_disk(path)


def test_all_problems_of_all_files_are_told_at_once() -> None:
    found = problems(
        """
        steps:
          - {name: a, comand: x}
          - {name: b, run: kid, parallel: []}
        ---
        name: unused
        steps: 5
        """,
        kid="steps:\n  - {name: k, command: x, retryPolicy: {limit: many}}\n",
    )
    assert [(problem.place.file, problem.place.line) for problem in found] == [
        ("kid.yaml", 2),
        ("main.yaml", 3),
        ("main.yaml", 3),
        ("main.yaml", 4),
        ("main.yaml", 7),
    ]


def test_rendered_problem_shows_the_line_and_marks_the_column() -> None:
    assert only("steps:\n  - {name: a, run: nowhere}\n").render() == (
        "main.yaml:2:20: there is no DAG 'nowhere'\n"
        "      - {name: a, run: nowhere}\n"
        "                       ^\n"
        "  hint: add it below as a local DAG (---, name: nowhere), or as nowhere.yaml"
    )


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 30)
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BOMB.encode(), "by its aliases"),
        (b"steps: &s [*s]\n", "within its own anchor"),
        (b"[" * 5000, "levels deep"),
        (b"x: y\n" * 2_000_000, "bytes, more than"),
        (bytes(range(256)) * 40, "not a text file"),
        (b"\x00\x01\x02ELF", "control character"),
        (b"\xff\xfe\x00s", "not a text file"),
        (b"", "the file holds no DAG"),
        (b"# only a comment\n---\n---\n", "the file holds no DAG"),
        (b"%YAML 9.9\n---\nx", ""),
    ],
    ids=["bomb", "self", "deep", "large", "binary", "control", "utf16", "empty", "comment", "version"],
)
def test_rubbish_is_refused_within_a_second(data: bytes, message: str) -> None:
    started = time.monotonic()
    found = problems(data)
    assert time.monotonic() - started < 1
    assert any(message in problem.message for problem in found), found


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_reading_never_fails_in_another_way(data: bytes) -> None:
    problems(data)


SNIPPETS = st.sampled_from(
    ["steps", "name", "run", "parallel", "items", "command", "depends", "params", "env", "[]", "{}", "a", "5", "${X.y}",
     "null", "- ", ": ", "\n", "\n  ", "\n    ", "---\n", "&a ", "*a", "'", '"', "#", "[", "]", "{", "}", ",", "<<"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(SNIPPETS, max_size=40).map("".join))
def test_reading_of_what_is_almost_a_dag_never_fails_in_another_way(text: str) -> None:
    problems(text.encode())


GOOD = """
name: top
params: [A: 1]
steps:
  - {name: a, command: echo, output: L}
  - {name: b, run: kid, parallel: '${L}', params: {V: '${ITEM}'}, continueOn: {failure: true}}
---
name: kid
env: [{X: '`date`'}]
steps:
  - name: s
    script: |
      echo "${V}"
"""


def test_a_stored_document_reads_back_as_the_same_dag() -> None:
    from fanfold.dag.read import read_document

    dag_set = read_dag_file("main.yaml", {"main.yaml": GOOD.encode()}.get)
    for key, dag in dag_set.dags.items():
        again = read_document("main.yaml", dag.name, dag_set.texts[key])
        assert [(step.name, step.command, step.script, step.run) for step in again.steps] == [
            (step.name, step.command, step.script, step.run) for step in dag.steps
        ]
        assert again.name == dag.name
    assert set(dag_set.dags) == {"", "#kid"}
    assert dag_set.children[""] == {"kid": "#kid"}
