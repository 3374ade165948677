"""Values that are too large for a state go to S3 and come back; no state ever nears 256 KiB."""

from __future__ import annotations

import json

from fanfold.dag.params import Parameters
from fanfold.run.document import DocumentWriter
from fanfold.run.keys import result_key
from fanfold.run.records import collect
from fanfold.run.scope import SCOPE_BUDGET, RunIdentity, Scope, StepOutcome
from fanfold.run.store import ObjectStore, fit, size
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.text(max_size=20).flatmap(lambda text: st.integers(0, 400).map(lambda times: text * times))


@settings(deadline=None, max_examples=60)
@given(values=st.dictionaries(st.text(max_size=5), TEXTS, max_size=12), budget=st.integers(3000, 8000))
def test_what_is_spilled_comes_back_and_the_rest_fits(store: ObjectStore, values: dict[str, str], budget: int) -> None:
    fitted = fit(store, "runs/x", values, budget)
    assert {name: store.load(value) for name, value in fitted.items()} == values
    assert sum(map(size, fitted.values())) <= budget


@settings(deadline=None, max_examples=30)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_a_scope_travels_unchanged_within_its_budget(store: ObjectStore, texts: list[str]) -> None:
    scope = Scope(RunIdentity.of_root("r"), Parameters((texts[0] * 5,), {"P": texts[-1]}), env={"E": texts[0]})
    for number, text in enumerate(texts):
        scope.record(f"s{number}", StepOutcome("success", value=text * 8, exit_code=0), f"V{number}")
    state = json.loads(json.dumps(scope.to_json(store)))
    assert size(state) <= SCOPE_BUDGET + 1024
    again = Scope.from_json(state, store)
    assert (again.params, again.run, again.vars) == (scope.params, scope.run, scope.vars)
    for number, text in enumerate(texts):
        value = again.output(f"V{number}")
        assert value is not None
        assert store.load(value) == text * 8


def test_a_missing_or_torn_result_is_a_failed_item_that_says_so(store: ObjectStore) -> None:
    fan = {"run": RunIdentity.of_root("torn").to_json(), "step": "fan"}
    good = {"index": 0, "status": "success", "output": {"A": "1"}}
    store.put_json(result_key("runs/torn/fan/1"), {"index": 1, "status": "success", "output": {"A": "2"}})
    store.put(result_key("runs/torn/fan/2"), '{"index": 2, "sta')
    results = [
        {"index": 2, "spilled": True}, {"index": 1, "spilled": True}, good, {"index": 3, "error": "States.Timeout"},
    ]  # fmt: skip
    records = list(collect(store, fan, results, 5))
    assert [record["status"] for record in records] == ["success", "success", "failed", "failed", "failed"]
    assert [record.get("error") for record in records[2:]] == [
        "the item left no result; its result object cannot be read",
        "the task ended with States.Timeout",
        "the item left no result",
    ]
    with DocumentWriter() as writer:
        for shown, record in zip("abcde", records, strict=True):
            writer.add(shown, record)
    assert writer.summary == {"total": 5, "succeeded": 2, "failed": 3, "cancelled": 0, "skipped": 0}


def test_no_state_of_a_large_run_nears_the_limit(tmp_path: object) -> None:
    from pathlib import Path

    from fanfold.local.session import Session

    dag = Path(str(tmp_path)) / "large.yaml"
    dag.write_text(
        """
steps:
  - {name: list, command: 'seq -f "%0500.0f" 1 200', output: L}
  - {name: fan, run: child, parallel: '${L}', output: R}
  - {name: again, run: child, parallel: '${R.outputs}', params: 'V=${ITEM.BIG}', output: R2}
  - {name: count, command: 'echo "${R2.summary.succeeded}"', output: N}
---
name: child
params: [V: ""]
steps:
  - {name: big, command: 'printf "%s" "$1$V"; head -c 3000 /dev/zero | tr "\\\\0" x', output: BIG}
"""
    )
    with Session(dag, home=Path(str(tmp_path))) as session:
        session.deploy()
        record = session.run()
        assert record["steps"]["count"]["output"] == {"N": "200"}
        states = session._states
        largest = 0
        for machine in states.list_state_machines()["stateMachines"]:
            arn = machine["stateMachineArn"]
            for execution in states.list_executions(stateMachineArn=arn)["executions"]:
                history = states.get_execution_history(executionArn=execution["executionArn"])["events"]
                for event in history:
                    texts = [
                        text for details in event.values() if isinstance(details, dict) for text in details.values()
                    ]
                    largest = max([largest, *(len(str(text).encode()) for text in texts)])
    assert 10_000 < largest < 200 * 1024
