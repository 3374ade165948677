"""``fanfold graph`` and ``fanfold dry``."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fanfold.cli.dry import dry_file
from fanfold.cli.graph import draw_file
from support import run_file

TEXT = """
name: pictured
type: graph
steps:
  - {name: list, command: echo a b, output: L}
  - {name: prepare, command: 'echo "<x>"', depends: list}
  - {name: fan, run: child, parallel: {items: '${L}', maxConcurrent: 3}, depends: prepare, continueOn: {failure: true}}
  - {name: beside, run: child, depends: prepare}
  - {name: 'last "one"', command: echo, depends: [fan, beside]}
---
name: child
steps:
  - {name: s, command: test "$1" != b}
"""


@pytest.fixture
def dag(tmp_path: Path) -> Path:
    path = tmp_path / "main.yaml"
    path.write_text(TEXT)
    return path


def test_mermaid_has_steps_frames_fan_outs_and_edges(dag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw_file(dag, None, None, None) == 0
    assert capsys.readouterr().out.splitlines() == [
        "flowchart TD",
        '  subgraph t0["one task"]',
        '    s0["list"]',
        '    s1["prepare"]',
        "  end",
        '    s4["last #quot;one#quot;"]',
        '  s2[["fan<br>child ×3 at a time"]]',
        '  s3["beside<br>child"]',
        "  s0 --> s1",
        "  s1 --> s2",
        "  s1 --> s3",
        "  s2 --> s4",
        "  s3 --> s4",
    ]


def boxes(svg: str) -> dict[str, list[tuple[float, float, float, float]]]:
    found = {}
    for group in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}g"):
        title = group.find("{http://www.w3.org/2000/svg}title")
        if title is not None:
            found[title.text or ""] = [
                tuple(float(rect.get(key, "0")) for key in ("x", "y", "width", "height"))
                for rect in group.findall("{http://www.w3.org/2000/svg}rect")
            ]
    return found


def test_svg_draws_fan_outs_as_stacks_and_nothing_overlaps(dag: Path, tmp_path: Path) -> None:
    assert draw_file(dag, tmp_path / "out.svg", None, None) == 0
    drawn = boxes((tmp_path / "out.svg").read_text())
    assert {name: len(sheets) for name, sheets in drawn.items()} == {
        "list": 1, "prepare": 1, "fan": 3, "beside": 1, 'last "one"': 1,
    }  # fmt: skip
    assert drawn["list"][0][1] < drawn["prepare"][0][1] < drawn["fan"][-1][1] < drawn['last "one"'][0][1]
    fronts = [sheets[-1] for sheets in drawn.values()]
    for place, (x, y, width, height) in enumerate(fronts):
        for x2, y2, width2, height2 in fronts[place + 1 :]:
            assert x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y


def test_a_graph_of_a_hundred_steps_is_drawn_whole(tmp_path: Path) -> None:
    steps = "".join(f"  - {{name: step-{n}, command: x}}\n" for n in range(100))
    (tmp_path / "main.yaml").write_text(f"type: graph\nsteps:\n{steps}")
    draw_file(tmp_path / "main.yaml", tmp_path / "out.svg", None, None)
    svg = (tmp_path / "out.svg").read_text()
    assert len(boxes(svg)) == 100
    width = float(re.search(r'width="(\d+)"', svg)[1])  # type: ignore[index]
    assert width < 1000


def test_a_run_colours_its_steps(dag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run_file(dag, home=tmp_path / "home")
    assert draw_file(dag, None, record["run"], tmp_path / "home") == 0
    shown = capsys.readouterr().out
    assert "child ×3 at a time, 1 of 2 succeeded" in shown
    assert "  class s2 failed" in shown
    assert draw_file(dag, tmp_path / "out.svg", record["run"], tmp_path / "home") == 0
    assert "fan: failed" in boxes((tmp_path / "out.svg").read_text())
    assert draw_file(dag, None, "no-such-run", tmp_path / "home") == 2


def test_dry_says_what_would_run_with_what_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.yaml").write_text(
        textwrap.dedent(
            """
            name: planned
            params: [DAY: monday, NOW: "`date`"]
            env: [{TARGET: "out/${DAY}"}, {LIST: '["x", "y", "x"]'}]
            handlerOn: {failure: {command: 'echo ${DAY}'}}
            steps:
              - {name: get, command: 'get ${TARGET} $NOW "$1" ${DAY%day} ''$DAY''', output: GOT}
              - name: each
                run: child
                parallel: ${LIST}
                params: [FILE: "${TARGET}/${ITEM}", GOT: "${GOT}"]
                preconditions: [{condition: "${DAY}", expected: monday}]
              - {name: later, run: child, parallel: '${GOT}', output: R}
            ---
            name: child
            steps:
              - {name: s, command: touch ran}
            """
        )
    )
    assert dry_file(tmp_path / "main.yaml", ["DAY=sunday", "one"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "DAG planned",
        "  parameter DAY=sunday",
        "  parameter NOW=`date`",
        "  parameter $1=one",
        "  one task:",
        "    get → GOT",
        "      $ get out/sunday $NOW \"one\" ${DAY%day} '$DAY'",
        "  each: child DAG child, 8 at a time",
        "    only if sunday is monday",
        "    for 2 items:",
        '      {"FILE":"out/sunday/x","GOT":"${GOT}"}',
        '      {"FILE":"out/sunday/y","GOT":"${GOT}"}',
        "  later: child DAG child, 8 at a time → R",
        "    for each item of ${GOT}, which the run will tell",
        "  onFailure:",
        "    onFailure",
        "      $ echo sunday",
    ]
    assert not (tmp_path / "ran").exists()
