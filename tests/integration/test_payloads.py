"""Values of any size go through unchanged, and no state of any history nears 256 KiB."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fanfold.dag.values import read_path
from fanfold.local.session import Session
from fanfold.run.document import INLINE_DOCUMENT, DocumentWriter, read_stored_path
from fanfold.run.records import collect
from fanfold.run.scope import RunIdentity
from fanfold.run.store import ObjectStore
from hypothesis import given, settings
from hypothesis import strategies as st
from support import DagRunner

LIMIT = 256 * 1024


def states_of(session: Session) -> Iterator[int]:
    """The bytes of every text in every history, with all escaped that is not ASCII, as some runtimes of Lambda do."""
    states = session._states
    for machine in states.list_state_machines()["stateMachines"]:
        for execution in states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]:
            for event in states.get_execution_history(executionArn=execution["executionArn"])["events"]:
                for details in event.values():
                    if isinstance(details, dict):
                        yield from (bytes_of(str(text)) for text in details.values())


def bytes_of(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(json.dumps(json.loads(text)))
    except ValueError:
        return len(json.dumps(text))


def run(folder: Path, text: str) -> tuple[dict[str, Any], int]:
    """The record of a run, and the bytes of its largest state."""
    dag = folder / "dag.yaml"
    dag.write_text(text)
    with Session(dag, home=folder / "home") as session:
        session.deploy()
        record = session.run()
        return record, max(states_of(session))


def test_outputs_of_100_kb_each(tmp_path: Path) -> None:
    record, largest = run(
        tmp_path,
        """
steps:
  - {name: list, command: seq 1 180, output: L}
  - {name: fan, run: child, parallel: '${L}', output: RESULTS}
  - name: read
    command: |
      echo "${RESULTS.summary.succeeded} ${RESULTS.outputs[-1].BIG}" | wc -c
      echo "${RESULTS.results[7].parameters} ${RESULTS.results[999].parameters} ${RESULTS.nothing}"
    output: READ
  - {name: whole, command: 'wc -c < "$RESULTS_FILE"', output: WHOLE}
---
name: child
steps:
  - {name: big, command: 'head -c 100000 /dev/zero | tr "\\\\0" "$(($1 % 10))"', output: BIG}
""",
    )
    assert record["status"] == "success", record.get("error")
    assert record["steps"]["read"]["output"]["READ"].split("\n") == [str(100_000 + 5), "8  "]
    document = record["steps"]["fan"]["document"]
    assert document["summary"]["succeeded"] == 180
    assert document["bytes"] == int(record["steps"]["whole"]["output"]["WHOLE"])
    whole = json.loads(Path(document["file"]).read_text())
    assert [entry["BIG"] for entry in whole["outputs"]] == [str(number % 10) * 100_000 for number in range(1, 181)]
    assert largest < LIMIT


@pytest.mark.parametrize("character", ["é", "語", "👋"])
def test_budgets_count_characters_as_they_travel_where_they_are_escaped(tmp_path: Path, character: str) -> None:
    count = len(character.encode())
    record, largest = run(
        tmp_path,
        f"""
steps:
  - {{name: env, command: "yes {character} | head -n {46_000 // count} | tr -d '\\n'", output: LARGE}}
  - {{name: list, command: "for n in 1 2 3 4 5 6 7 8; do yes {character} | head -n {5_800 // count} | tr -d '\\n';
      echo $n; done", output: ITEMS}}
  - {{name: fan, run: child, parallel: '${{ITEMS}}', output: R}}
  - {{name: read, command: 'printf "%s" "${{R.outputs[7].OUT}}${{LARGE}}" | wc -c', output: BYTES}}
---
name: child
steps:
  - {{name: write, command: "yes {character} | head -n {10_800 // count} | tr -d '\\n'; echo ${{1: -1}}", output: OUT}}
""",
    )
    assert record["status"] == "success", record.get("error")
    outputs = [entry["OUT"] for entry in record["steps"]["fan"]["document"]["outputs"]]
    assert outputs == [character * (10_800 // count) + str(number) for number in range(1, 9)]
    total = (10_800 // count + 46_000 // count) * count + 1
    assert record["steps"]["read"]["output"]["BYTES"] == str(total)
    assert largest < LIMIT


def test_half_of_a_surrogate_pair_is_data_like_any_other(run_dag: DagRunner) -> None:
    record = run_dag("""
        steps:
          - {name: list, command: 'printf "%s" "[\\"\\\\ud83d\\", \\"ok\\"]"', output: L}
          - {name: fan, run: child, parallel: '${L}', output: R, continueOn: {failure: true}}
          - {name: read, command: 'printf "%s" "${R.results[0].parameters}" | wc -c', output: BYTES}
        ---
        name: child
        steps:
          - {name: say, command: 'test "$1" = ok'}
    """)
    fan = record["steps"]["fan"]
    assert record["status"] == "partial", record.get("error")
    assert [row["parameters"] for row in fan["document"]["results"]] == ["\ud83d", "ok"]
    assert fan["error"] == '1 of 2 items failed; item 0 ("?"): step say: exit code 1'
    assert record["steps"]["read"]["output"]["BYTES"] == "3"


def test_an_output_of_20_mb_where_the_dag_allows_it(tmp_path: Path) -> None:
    record, largest = run(
        tmp_path,
        """
steps:
  - {name: fan, run: child, parallel: [one], output: R}
  - {name: read, command: 'printf "%s" "${R.outputs[0].BIG}" | sha256sum', output: SUM}
---
name: child
maxOutputSize: 20971520
steps:
  - {name: big, command: 'head -c 20000000 /dev/zero | tr "\\\\0" x', output: BIG}
""",
    )
    expected = hashlib.sha256(b"x" * 20_000_000).hexdigest()
    assert record["steps"]["read"]["output"]["SUM"].split()[0] == expected
    assert largest < LIMIT


def test_more_than_maxoutputsize_is_an_error_that_says_so(run_dag: DagRunner) -> None:
    record = run_dag("""
        maxOutputSize: 1000
        steps:
          - {name: fits, command: 'head -c 1000 /dev/zero | tr "\\\\0" x', output: A}
          - {name: big, command: 'head -c 1002 /dev/zero | tr "\\\\0" x', output: B}
    """)
    assert record["steps"]["fits"]["status"] == "success"
    assert "has 1,002 bytes, more than the 1,000 that a variable takes" in record["steps"]["big"]["error"]
    assert "maxOutputSize: 1002" in record["steps"]["big"]["error"]


def test_an_items_list_of_5_mb(tmp_path: Path) -> None:
    record, largest = run(
        tmp_path,
        """
maxOutputSize: 10000000
steps:
  - {name: list, command: 'for n in $(seq 1 100); do printf "%050000d\\n" "$n"; done', output: L}
  - {name: fan, run: child, parallel: '${L}', output: R}
---
name: child
steps:
  - {name: count, command: 'echo "${#1} $((10#${1: -3}))"', output: N}
""",
    )
    assert [entry["N"] for entry in record["steps"]["fan"]["document"]["outputs"]] == [
        f"50000 {number}" for number in range(1, 101)
    ]
    assert largest < LIMIT


VALUES = st.recursive(
    st.text(max_size=8) | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
STATUSES = st.sampled_from(["success", "partial", "failed", "skipped", "cancelled"])
ITEMS = st.lists(st.tuples(VALUES, STATUSES, st.dictionaries(st.text(max_size=4), st.text(max_size=9), max_size=3)))


@settings(deadline=None, max_examples=40)
@given(items=ITEMS, data=st.data())
def test_a_stored_document_is_the_same_as_a_text_and_is_read_by_path(
    store: ObjectStore, items: list[tuple[Any, str, dict[str, str]]], data: st.DataObject
) -> None:
    def write(writer: DocumentWriter) -> None:
        for shown, status, output in items:
            writer.add(shown, {"status": status, "output": output, "error": "why\nnot"})

    with DocumentWriter() as writer:
        write(writer)
        text = writer.close(store, "small")
    assert isinstance(text, str)
    document = json.loads(text)
    assert text == json.dumps(document, indent=2, ensure_ascii=False)
    with DocumentWriter() as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fanfold.run.document.INLINE_DOCUMENT", 0)
        write(writer)
        stored = writer.close(store, "large")
    assert isinstance(stored, dict)
    assert store.load(stored) == text
    place = data.draw(st.integers(-len(items) - 1, len(items)))
    for path in (("summary", "total"), ("results",), ("outputs",), ("results", place, "status"), ("outputs", place)):
        assert read_stored_path(store, stored, path) == read_path(text, path), path


def test_small_documents_stay_texts() -> None:
    assert INLINE_DOCUMENT < LIMIT


def test_parts_that_are_torn_or_missing_are_failed_items(store: ObjectStore) -> None:
    def line(index: int) -> str:
        return json.dumps({"index": index, "status": "success", "output": {"N": str(index)}}) + "\n"

    prefix = "runs/parts/fan/results/"
    store.put(f"{prefix}000000000-000000000.jsonl", line(0) + line(1))
    store.put(f"{prefix}000000000-000000001.jsonl", line(1) + line(2))  # what a task did twice counts once
    store.put(f"{prefix}000000003-000000003.jsonl", line(3) + line(4)[:20])
    store.put(f"{prefix}000000006-000000006.jsonl", line(6))
    store.put_json("runs/parts/fan/8/result.json", {"index": 8, "status": "failed", "output": {}, "error": "own"})
    fan = {"run": RunIdentity.of_root("parts").to_json(), "step": "fan"}
    records = list(collect(store, fan, None, 9))
    again = list(collect(store, fan, None, 9))
    assert records == again
    assert [record["index"] for record in records] == list(range(9))
    errors = {record["index"]: record["error"] for record in records if record["status"] == "failed"}
    assert errors == {
        4: "the item left no result; its result object cannot be read",
        5: "the item left no result; its result object cannot be read",
        7: "the item left no result",
        8: "own",
    }
