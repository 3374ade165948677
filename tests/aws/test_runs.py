"""Runs on AWS Lambda's own runtime: every example and conformance case makes the laptop's documents.

The parser, the planner, the runner and the reducer are what ``sam build`` made, behind ``awslambdaric``, with the
environments that the template gives them. The parser deploys the file, and the definitions that it made run on
``aws-local-stepfunctions``; telling cases, and what that package cannot run, run on moto too.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cloud import Cloud, Interpreter
from documents import Result, comparable
from laptop import empty, run_here
from support import ROOT

EXAMPLES = ROOT / "examples"
FOLDERS = (EXAMPLES, ROOT / "tests/conformance/cases", ROOT / "tests/conformance/dagu", ROOT / "tests/aws/dags")
FILES = [path for folder in FOLDERS for path in folder.glob("*.yaml")]
LEFT_OUT = {"dagu/conc_default": "counts how many of its items ran at once, which is a matter of speed"}
ONLY_MOTO = {"dags/many-items": "aws-local-stepfunctions ignores ItemReader and ResultWriter without a word"}
MOTO_TOO = {
    "examples/multi-stage-pipeline", "examples/nested-parallel", "examples/retry-policies", "cases/graph-diamond",
    "cases/handler-on-failure", "cases/child-inner-continue-on", "dags/retried-by-exit-code", "dags/machines-retried",
    "dags/characters", "dags/large-values",
}  # fmt: skip


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def files(wanted: Callable[[str], bool]) -> list[Any]:
    skipped = {name: pytest.mark.skip(reason) for name, reason in LEFT_OUT.items()}
    return [
        pytest.param(path, id=name_of(path), marks=skipped.get(name_of(path), ()))
        for path in sorted(FILES, key=name_of)
        if wanted(name_of(path))
    ]


def arguments(path: Path) -> tuple[str, ...]:
    expected = path.with_name(f"{path.stem}.expected.json")
    return tuple(json.loads(expected.read_text()).get("args", ())) if expected.exists() else ()


def folder_of(path: Path, folder: Path) -> Path:
    """The folder of a DAG file, alone with what belongs to it."""
    beside = path.with_name(f"{path.stem}.d")
    if path.parent == EXAMPLES:
        return shutil.copytree(EXAMPLES, folder)
    if beside.is_dir():
        shutil.copytree(beside, folder)
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def on_laptop(
    laptop: ProcessPoolExecutor, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, Future[Result]]:
    """What the laptop makes of each file that is asked for, ahead of the tests and beside them."""
    here = [item for item in request.session.items if item.path == Path(__file__) and "path" in item.fixturenames]
    asked = [item.callspec.params["path"] for item in here]
    results = {}
    for path in dict.fromkeys(asked):
        folder = tmp_path_factory.mktemp("laptop")
        file = folder_of(path, folder / "dag") / path.name
        results[path] = laptop.submit(run_here, file, arguments(path), folder)
    return results


@pytest.fixture(scope="module")
def examples(cloud: Cloud) -> dict[str, Result]:
    return cloud.deploy(EXAMPLES, "examples")


@pytest.fixture
def report(path: Path, cloud: Cloud, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Result]:
    """The report of a file that is deployed."""
    if path.parent == EXAMPLES:
        yield request.getfixturevalue("examples")[path.name]
        return
    reports = cloud.deploy(folder_of(path, tmp_path / "dag"), name_of(path))
    yield reports[path.name]
    cloud.remove(reports.values())


@pytest.fixture
def expected(path: Path, on_laptop: dict[Path, Future[Result]], scratch: Path) -> Result:
    """What the laptop makes of it. It is done with the file by then: some leave notes at a place that they name."""
    empty(scratch)
    return on_laptop[path].result()


@pytest.mark.parametrize("path", files(lambda name: name not in ONLY_MOTO))
def test_another_interpreter_makes_the_laptops_documents(
    path: Path, cloud: Cloud, interpreter: Interpreter, expected: Result, report: Result
) -> None:
    if report["status"] == "refused":
        assert [problem["message"] for problem in report["problems"]] == expected["problems"]
    else:
        record = cloud.run_on(interpreter, report, arguments(path))
        assert comparable(record) == comparable(expected["record"])


@pytest.mark.parametrize("path", files(lambda name: name in ONLY_MOTO or name in MOTO_TOO))
def test_moto_makes_the_laptops_documents(path: Path, cloud: Cloud, expected: Result, report: Result) -> None:
    record = cloud.run_on_moto(report, arguments(path))
    assert comparable(record) == comparable(expected["record"])


RUNNER = "fanfold.handlers.runner.handle"
LOST = """
name: lost
handlerOn: {failure: {command: 'echo "$DAG_RUN_STATUS"', output: TOLD}}
steps:
  - {name: boom, command: "COMMAND"}
  - {name: behind, command: echo 3}
  - {name: fan, run: child, parallel: [a], output: R}
---
name: child
steps:
  - {name: say, command: echo}
"""


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("trap '' TERM; sleep 60 & wait; sleep 60", "stopped: the time of its task is over"),
        ("kill -9 $PPID; sleep 60", "its task ended without an answer: Runtime.ExitError: "),
    ],
)
def test_a_step_that_takes_its_function_with_it_has_failed_and_the_run_goes_on(
    command: str, error: str, cloud: Cloud, interpreter: Interpreter, tmp_path: Path
) -> None:
    (tmp_path / "lost.yaml").write_text(LOST.replace("COMMAND", command))
    reports = cloud.deploy(tmp_path, "lost")
    with cloud.functions.changed(cloud.functions.name_of(RUNNER), seconds=8):
        record = cloud.run_on(interpreter, reports["lost.yaml"])
    cloud.remove(reports.values())
    steps = record["steps"]
    assert steps["boom"]["error"].startswith(error)
    assert {name: step["status"] for name, step in steps.items()} == {
        "boom": "failed", "behind": "cancelled", "fan": "cancelled", "onFailure": "success",
    }  # fmt: skip
    assert steps["onFailure"]["output"] == {"TOLD": "failed"}


COUNTED = """
name: counted
steps:
  - {name: fan, run: child, parallel: [again, never], retryPolicy: {limit: 2, intervalSec: 1, exitCode: [7]}}
---
name: child
steps:
  - {name: try, command: 'test $1 = again || exit 3; test -e $CASE_TMP/$1 || { touch $CASE_TMP/$1; exit 7; }'}
"""


def test_events_and_metrics_tell_what_the_definition_retries(
    cloud: Cloud, interpreter: Interpreter, scratch: Path, tmp_path: Path
) -> None:
    empty(scratch)
    (tmp_path / "counted.yaml").write_text(COUNTED)
    reports = cloud.deploy(tmp_path, "counted")
    run = cloud.run_on(interpreter, reports["counted.yaml"])["run"]
    cloud.remove(reports.values())
    lines = cloud.functions.lines(cloud.functions.name_of(RUNNER))
    told = Counter(line["message"] for line in lines if line.get("root") == run and "step" in line)
    assert {kind: told[kind] for kind in ("item-started", "item-retried", "item-finished")} == {
        "item-started": 2, "item-retried": 1, "item-finished": 2,
    }  # fmt: skip
    sums: Counter[str] = Counter()
    for line in lines:
        if "_aws" in line and line["dag"] == "counted":
            sums.update({name: sum(line[name]) for name in ("Items", "ItemFailures", "Retries") if name in line})
    assert sums == {"Items": 2, "ItemFailures": 1, "Retries": 1}
