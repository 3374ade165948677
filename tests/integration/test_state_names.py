"""Whatever steps are called, each has states of its own, also where the compiler would make the same name itself."""

from __future__ import annotations

from support import DagRunner

EMOJI = "😀" * 20
TEXT = f"""
type: graph
steps:
  - {{name: a, run: child, parallel: [1, 2], output: A}}
  - {{name: a.item, command: echo item, output: ITEM, depends: [a]}}
  - {{name: a.item failed, run: child, depends: [a.item], output: FAILED}}
  - {{name: a.plan, command: 'echo "${{A.summary.total}}"', output: PLAN, depends: [a.item failed]}}
  - {{name: succeeded?, run: child, depends: [a.plan], output: SUCCEEDED}}
  - {{name: '${{Partition}}', command: echo partition, output: PARTITION, depends: ['succeeded?']}}
  - {{name: '{EMOJI}', run: child, parallel: [3], depends: ['${{Partition}}'], output: MANY}}
  - {{name: '{EMOJI[1:]}x', run: child, depends: ['{EMOJI}'], output: ONE}}
---
name: child
steps: [{{name: s, command: 'echo "<$1>"', output: O}}]
"""


def test_every_step_runs_and_gives_what_it_is_to_give(run_dag: DagRunner) -> None:
    record = run_dag(TEXT)
    assert record["status"] == "success", record
    steps = record["steps"]
    assert {name for name, step in steps.items() if step["status"] == "success"} == {
        "a", "a.item", "a.item failed", "a.plan", "succeeded?", "${Partition}", EMOJI, f"{EMOJI[1:]}x",
    }  # fmt: skip
    shown = {name: steps[name]["output"] for name in ("a.item", "a.plan", "${Partition}")}
    assert shown == {
        "a.item": {"ITEM": "item"}, "a.plan": {"PLAN": "2"}, "${Partition}": {"PARTITION": "partition"},
    }  # fmt: skip
    assert steps[EMOJI]["document"]["outputs"] == [{"O": "<3>"}]
