"""Items and outputs are data: they arrive as they are, and nothing of them is ever run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import DagRunner

CHILD = """
---
name: child
params:
  - X: ""
steps:
  - name: say
    command: printf '%s|%s' "$1" "${X}"
    output: SAID
"""

HOSTILE = [
    "$(touch {marker})",
    "`touch {marker}`",
    "'; touch {marker}; '",
    '"; touch {marker}; "',
    "${{HOME}} $HOME $1 ${{X}}",
    "two\nlines",
    "trailing newline\n",
    " blanks around ",
    "-n --help",
    "a=b c=d",
    "ünïcödé ✓ 日本",
    "back\\slash \\n",
    "tab\there",
    '{{"looks": "like JSON"',
    "*",
    "#not a comment",
]


def hostile(marker: Path) -> list[str]:
    return [text.format(marker=marker) for text in HOSTILE]


def said(record: dict, step: str) -> list[str]:
    return [output["SAID"] for output in record["steps"][step]["document"]["outputs"]]


def test_items_from_a_json_output_arrive_unchanged(run_dag: DagRunner, tmp_path: Path) -> None:
    items = hostile(tmp_path / "marker")
    record = run_dag(
        """
        steps:
          - name: list
            command: cat items.json
            output: ITEMS
          - name: fan
            run: child
            parallel: ${ITEMS}
        """
        + CHILD,
        files={"items.json": json.dumps(items)},
    )
    assert said(record, "fan") == [f"{item}|".rstrip("\n") for item in items]
    assert not (tmp_path / "marker").exists()


def test_items_in_the_file_arrive_unchanged(run_dag: DagRunner, tmp_path: Path) -> None:
    items = hostile(tmp_path / "marker")
    record = run_dag(f"steps:\n  - name: fan\n    run: child\n    parallel: {json.dumps(items)}\n{CHILD}")
    assert said(record, "fan") == [f"{item}|" for item in items]
    assert not (tmp_path / "marker").exists()


def test_items_within_params_and_objects_arrive_unchanged(run_dag: DagRunner, tmp_path: Path) -> None:
    items = hostile(tmp_path / "marker")
    objects = json.dumps([{"X": item} for item in items])
    record = run_dag(
        f"""
        steps:
          - name: named
            run: child
            parallel: {json.dumps(items)}
            params:
              - X: "<${{ITEM}}>"
          - name: objects
            run: child
            parallel: {objects}
          - name: fields
            run: child
            parallel: {objects}
            params: 'X="[${{ITEM.X}}]"'
        """
        + CHILD
    )
    assert said(record, "named") == [f"|<{item}>" for item in items]
    assert [text.rstrip("\n") for text in said(record, "objects")] == [f"|{item}".rstrip("\n") for item in items]
    assert said(record, "fields") == [f"|[{item}]" for item in items]
    assert not (tmp_path / "marker").exists()


def test_an_output_is_not_evaluated_by_the_steps_that_use_it(run_dag: DagRunner, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hostile_output = f'`touch {marker}` $(touch {marker}) "quoted" ${{HOME}}'
    record = run_dag(
        """
        env:
          - COPY: "${BASE}"
        params:
          - BASE: none
        steps:
          - name: out
            command: cat out.txt
            output: OUT
          - name: use
            command: printf '%s' "${OUT}"
            output: USED
          - name: check
            command: echo reached
            output: REACHED
            preconditions:
              - condition: "${OUT}"
                expected: "re:quoted"
        """,
        f"BASE={hostile_output}",
        files={"out.txt": hostile_output},
    )
    assert record["steps"]["use"]["output"] == {"USED": hostile_output}
    assert record["steps"]["check"]["output"] == {"REACHED": "reached"}
    assert not marker.exists()


def test_an_item_of_one_megabyte_arrives_whole(run_dag: DagRunner) -> None:
    text = "".join(f"{number:07}\n" for number in range(131_000))
    record = run_dag(
        """
        steps:
          - name: list
            command: python3 -c 'import json; print(json.dumps([open("big.txt").read(), "small"]))' > "$TARGET"
            env:
              - TARGET: items.json
          - name: fan
            run: measure
            parallel: ["big", "small"]
            params:
              - TEXT: "`cat ${ITEM}.txt; echo .`"
        ---
        name: measure
        params:
          - TEXT: ""
        steps:
          - name: measure
            command: printf '%s' "${TEXT}" | cksum
            output: SUM
          - name: length
            command: echo "${#TEXT}"
            output: LENGTH
        """,
        files={"big.txt": text, "small.txt": "small"},
    )
    outputs = record["steps"]["fan"]["document"]["outputs"]
    assert outputs[0]["LENGTH"] == str(len(text) + 1)
    assert outputs[1]["LENGTH"] == "6"


def test_a_large_positional_item_arrives_whole(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: list
            command: cat items.json
            output: ITEMS
          - name: fan
            run: measure
            parallel: ${ITEMS}
        ---
        name: measure
        steps:
          - name: measure
            command: echo "${#1} $#"
            output: LENGTH
        """,
        files={"items.json": json.dumps(["x" * 400_000, "y" * 400_000, "z'\"`"])},
    )
    outputs = record["steps"]["fan"]["document"]["outputs"]
    assert [output["LENGTH"] for output in outputs] == ["400000 1", "400000 1", "4 1"]


@pytest.mark.parametrize("count", [300])
def test_a_document_too_large_for_an_environment_is_read_by_the_next_step(run_dag: DagRunner, count: int) -> None:
    record = run_dag(
        f"""
        steps:
          - name: list
            command: seq 1 {count}
            output: ITEMS
          - name: fan
            run: child
            parallel: ${{ITEMS}}
            output: RESULTS
          - name: use
            command: |
              printf '%s' "${{RESULTS}}" > document.json
              python3 -c 'import json; print(len(json.load(open("document.json"))["outputs"]))'
              cmp document.json "$RESULTS_FILE" && echo same
              echo "${{RESULTS.outputs[{count - 1}].LONG}}" | wc -c
            output: USED
        ---
        name: child
        steps:
          - name: long
            command: printf '%s' "$1"; head -c 1000 /dev/zero | tr '\\0' x
            output: LONG
        """
    )
    assert record["steps"]["use"]["output"]["USED"].split() == [str(count), "same", str(1000 + len(str(count)) + 1)]


def test_an_output_over_one_mebibyte_fails_its_step_and_says_so(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: big
            command: head -c 2000000 /dev/zero | tr '\\0' x
            output: BIG
        """
    )
    assert record["status"] == "failed"
    assert record["steps"]["big"]["error"] == (
        "the output has 2,000,000 bytes, more than the 1,048,576 that a variable takes;"
        " DAG main can say maxOutputSize: 2000000"
    )
