"""Fan-outs beyond 1,000 items: items from S3, several in a task, failures tolerated, nothing lost."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fanfold.cli.app import app
from fanfold.dag.model import Dag
from fanfold.run import batch, item
from fanfold.run.runtime import Runtime
from support import DagRunner, Record

LARGE = """
steps:
  - name: fan
    run: child
    parallel: {{items: '{items}', maxConcurrent: 20}}
    continueOn: {{failure: true}}
    x-fanfold: {{maxItems: 20000{more}}}
    output: RESULTS
  - name: count
    command: >-
      echo "${{RESULTS.summary.succeeded}} of ${{RESULTS.summary.total}}, last ${{RESULTS.results[-1].parameters}}"
    output: COUNT
---
name: child
steps:
  - name: say
    command: '[ "$1" != 47 ] && [ "$1" != 7 ] && echo "<$1>"'
    output: SAID
"""


def test_more_than_a_thousand_items_of_a_variable(run_dag: DagRunner) -> None:
    text = LARGE.format(items="${LIST}", more="").replace(
        "steps:\n  - name: fan", "steps:\n  - {name: list, command: seq 1 1100, output: LIST}\n  - name: fan", 1
    )
    record = run_dag(text)
    document = record["steps"]["fan"]["document"]
    assert document["summary"] == {"total": 1100, "succeeded": 1098, "failed": 2, "cancelled": 0, "skipped": 0}
    assert [entry["parameters"] for entry in document["results"]] == [str(number) for number in range(1, 1101)]
    failed = [entry for entry in document["results"] if entry["status"] == "failed"]
    assert [entry["parameters"] for entry in failed] == ["7", "47"]
    assert failed[0]["exitCode"] == 1
    assert Path(failed[0]["log"]).exists()
    assert document["outputs"][0] == {"SAID": "<1>"}
    assert record["steps"]["count"]["output"] == {"COUNT": "1098 of 1100, last 1100"}
    assert record["status"] == "partial"


def test_without_the_option_a_thousand_is_the_limit(run_dag: DagRunner) -> None:
    record = run_dag("""
        steps:
          - {name: list, command: seq 1 1001, output: LIST}
          - {name: fan, run: child, parallel: '${LIST}'}
        ---
        name: child
        steps: [{name: say, command: echo}]
    """)
    assert record["steps"]["fan"]["error"] == "parallel execution exceeds maximum limit: 1001 items (max: 1000)"


@pytest.mark.parametrize(("tolerated", "status"), [("2", "partial"), ("1", "failed"), ("4%", "partial")])
def test_failures_are_tolerated_up_to_a_count_or_a_part(run_dag: DagRunner, tolerated: str, status: str) -> None:
    text = LARGE.format(items="s3://lists/numbers.json", more=f", tolerateFailed: {tolerated}")
    text = text.replace("    continueOn: {failure: true}\n", "")
    folder = run_dag.folder.parent / "lists"
    folder.mkdir()
    (folder / "numbers.json").write_text(json.dumps(list(range(1, 51))))
    record = run_dag(text, buckets={"lists": folder})
    assert (record["status"], record["steps"]["fan"]["status"]) == (status, status)
    if status == "failed":
        assert record["steps"]["fan"]["error"] == '2 of 50 items failed; item 6 ("7"): step say: exit code 1'
        assert record["steps"]["count"]["status"] == "cancelled"


ROWS = [{"ID": str(number), "NAME": f'a "{number}",\n$(touch /tmp/pwned) é'} for number in range(40)]
FROM_S3 = """
steps:
  - name: fan
    run: child
    parallel: 's3://${{B}}/in/{key}'
    x-fanfold: {{maxItems: 5000}}
    output: R
---
name: child
params: [ID: "", NAME: ""]
steps:
  - {{name: say, command: 'printf "%s|%s|%s" "$1" "$ID" "$NAME"', output: SAID}}
"""


def _write(folder: Path, key: str) -> None:
    path = folder / "in" / key
    path.parent.mkdir(parents=True)
    if key.endswith(".csv"):
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, ["ID", "NAME"])
            writer.writeheader()
            writer.writerows(ROWS)
    elif key.endswith(".jsonl"):
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n", "utf-8")
    else:
        path.write_text(json.dumps(ROWS, indent=1, ensure_ascii=False), "utf-8")


@pytest.mark.parametrize("key", ["rows.csv", "rows.jsonl", "rows.json"])
def test_the_objects_of_a_file_in_s3_go_through_unchanged(
    run_dag: DagRunner, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanfold.run.sources._CHUNK", 7)  # every value stands across the ends of what is read
    _write(tmp_path / "bucket", key)
    text = "env: [B: incoming]\n" + FROM_S3.format(key=key).lstrip()
    record = run_dag(text, buckets={"incoming": tmp_path / "bucket"})
    assert record["status"] == "success", record
    outputs = record["steps"]["fan"]["document"]["outputs"]
    assert [entry["SAID"] for entry in outputs] == [f"|{row['ID']}|{row['NAME']}" for row in ROWS]
    assert not Path("/tmp/pwned").exists()


def test_each_object_below_a_prefix_is_an_item(run_dag: DagRunner, tmp_path: Path) -> None:
    for name in ("b.txt", "a b.txt", "deep/c.txt"):
        path = tmp_path / "bucket/in/files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    text = (
        "env: [B: incoming]\n" + FROM_S3.format(key="files/").replace("    x-fanfold: {maxItems: 5000}\n", "").lstrip()
    )
    record = run_dag(text, buckets={"incoming": tmp_path / "bucket"})
    shown = [entry["parameters"] for entry in record["steps"]["fan"]["document"]["results"]]
    assert shown == [f"s3://incoming/in/files/{name}" for name in ("a b.txt", "b.txt", "deep/c.txt")]


@pytest.mark.parametrize(
    ("key", "content", "error"),
    [
        ("none.json", None, "s3://incoming/in/none.json: there is no such object"),
        ("list.txt", "a", "s3://incoming/in/list.txt: items are read from .json, .jsonl, .ndjson, .csv, or from"),
        ("bad.json", '{"a": 1}', "s3://incoming/in/bad.json: the object is no JSON array"),
        ("cut.json", '[1, 2, {"a"', "the JSON array does not end, or holds what is no JSON value"),
        ("tail.json", "[1] [2]", "something stands behind the JSON array"),
        ("bad.jsonl", '1\n{"a"\n', "s3://incoming/in/bad.jsonl, line 2:"),
        ("wide.csv", "A,B\n1,2,3\n", "line 2: the row has more fields than the header"),
        ("empty.json", "[]", "parallel execution requires at least one item"),
    ],
)
def test_what_cannot_be_read_fails_the_step_and_says_why(
    run_dag: DagRunner, tmp_path: Path, key: str, content: str | None, error: str
) -> None:
    folder = tmp_path / "bucket/in"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / key).write_text(content)
    text = "env: [B: incoming]\n" + FROM_S3.format(key=key).lstrip()
    record = run_dag(text, buckets={"incoming": tmp_path / "bucket"})
    assert record["steps"]["fan"]["status"] == "failed"
    assert error in record["steps"]["fan"]["error"]


def test_with_retries_each_item_is_a_task(run_dag: DagRunner) -> None:
    record = run_dag("""
        steps:
          - {name: list, command: seq 1 40, output: LIST}
          - name: fan
            run: child
            parallel: {items: '${LIST}', maxConcurrent: 20}
            retryPolicy: {limit: 1, intervalSec: 0}
            x-fanfold: {maxItems: 1100}
            output: R
        ---
        name: child
        steps:
          - name: flaky
            command: |
              [ $(( $1 % 9 )) -ne 0 ] || [ -e "tried-$1" ] || { touch "tried-$1"; exit 3; }
              echo "$1"
            output: N
    """)
    document = record["steps"]["fan"]["document"]
    assert document["summary"]["succeeded"] == 40
    assert [entry["N"] for entry in document["outputs"]] == [str(number) for number in range(1, 41)]


def test_a_child_with_a_machine_of_its_own_runs_for_each_item(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: fan
            run: middle
            parallel: [a, b, c]
            x-fanfold: {maxItems: 2000}
            output: R
          - name: more
            run: middle
            parallel: 's3://lists/three.json'
            x-fanfold: {maxItems: 2000}
            output: R2
        ---
        name: middle
        steps:
          - {name: inner, run: leaf, params: '"in $1"', output: INNER}
        ---
        name: leaf
        steps:
          - {name: say, command: 'echo "$1"', output: SAID}
    """,
        buckets={"lists": _three(run_dag)},
    )
    for step in ("fan", "more"):
        inner: list[Any] = [json.loads(entry["INNER"]) for entry in record["steps"][step]["document"]["outputs"]]
        assert [entry["outputs"]["SAID"] for entry in inner] == ["in a", "in b", "in c"]


def _three(run_dag: DagRunner) -> Path:
    folder = run_dag.folder.parent / "lists"
    folder.mkdir()
    (folder / "three.json").write_text('["a", "b", "c"]')
    return folder


COUNTED = """
steps:
  - {name: list, command: seq 1 400, output: LIST}
  - name: fan
    run: child
    parallel: {items: '${LIST}', maxConcurrent: 1}
    x-fanfold: {maxItems: 1200}
    output: R
---
name: child
steps:
  - {name: say, command: 'echo "$1" >> ran; echo "$1"', output: N, timeoutSec: 2}
"""


def _each_item_ran_once(run_dag: DagRunner, record: Record) -> None:
    document = record["steps"]["fan"]["document"]
    assert [entry["N"] for entry in document["outputs"]] == [str(number) for number in range(1, 401)]
    ran = (run_dag.folder / "ran").read_text().split()
    assert sorted(map(int, ran)) == list(range(1, 401))


def test_a_task_that_dies_goes_on_behind_what_it_had_written(
    run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[int] = []

    def run_child(runtime: Runtime, dag: Dag, payload: dict[str, Any]) -> dict[str, Any]:
        if payload["index"] in (50, 277) and payload["index"] not in died:
            died.append(payload["index"])
            raise MemoryError("the task is killed")
        return item.run_child(runtime, dag, payload)

    monkeypatch.setattr("fanfold.run.batch.PART_SECONDS", -1)
    monkeypatch.setattr("fanfold.run.batch.run_child", run_child)
    record = run_dag(COUNTED)
    assert sorted(died) == [50, 277]
    _each_item_ran_once(run_dag, record)


def test_a_task_whose_time_is_nearly_over_hands_on_what_is_left(
    run_dag: DagRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def run_batch(runtime: Runtime, dag: Dag, payload: dict[str, Any]) -> dict[str, Any]:
        calls.append(payload["from"])
        seconds = iter([900.0] * 30)
        return batch.run_batch(replace(runtime, remaining=lambda: next(seconds, 10.0)), dag, payload)

    monkeypatch.setattr("fanfold.handlers.tasks.run_batch", run_batch)
    record = run_dag(COUNTED)
    assert set(calls) == {0, 15, 30}
    _each_item_ran_once(run_dag, record)


def test_compile_explains_what_was_chosen_and_why(tmp_path: Path) -> None:
    dag = tmp_path / "dag.yaml"
    dag.write_text(COUNTED)
    shown = CliRunner().invoke(app, ["compile", "--explain", str(dag)], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "fan: DISTRIBUTED Map: up to 1,200 items do not fit into a state of 256 KiB" in shown.output
    assert "EXPRESS executions: an item takes 5 s at most" in shown.output
    assert "up to 37 items a task" in shown.output


def test_a_folder_stands_in_for_a_bucket_at_the_command_line(tmp_path: Path) -> None:
    dag, folder = tmp_path / "dag.yaml", tmp_path / "files"
    folder.mkdir()
    (folder / "three.json").write_text('["a", "b", "c"]')
    dag.write_text(
        "steps:\n  - {name: fan, run: c, parallel: 's3://lists/three.json'}\n"
        "---\nname: c\nsteps: [{name: s, command: 'echo $1', output: O}]\n"
    )
    home = ["--home", str(tmp_path / "home"), "--json"]
    shown = CliRunner().invoke(app, ["start", str(dag), "--bucket", f"lists={folder}", *home], catch_exceptions=False)
    assert json.loads(shown.output)["steps"]["fan"]["document"]["outputs"] == [{"O": "a"}, {"O": "b"}, {"O": "c"}]
    wrong = CliRunner().invoke(app, ["start", str(dag), "--bucket", f"lists={folder}/none", *home])
    assert wrong.exit_code == 2
    assert "is not NAME=FOLDER" in wrong.output
