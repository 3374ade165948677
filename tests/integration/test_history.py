"""Runs after they were started: what is told of them, and what can be done to them; here and on a stack alike."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from places import Laptop, Place

ETL = """
params: "FIRST=a"
steps:
  - name: list
    command: |
      echo list >> FOLDER/done
      printf '["%s","b","c","d"]' "$FIRST"
    output: ITEMS
  - {name: fan, run: child, parallel: {items: "${ITEMS}", maxConcurrent: 2}, output: R}
  - {name: last, command: "echo last >> FOLDER/done; echo ${R.summary.succeeded}", output: N}
---
name: child
steps:
  - name: work
    command: |
      echo "works on $1"; echo "err $1" >&2
      echo "$1" >> FOLDER/done
      test "$1" != b || test -e FOLDER/mended || exit 7
      echo "done $1"
    output: OUT
"""


def test_a_run_tells_of_its_steps_and_items(place: Place) -> None:
    run = place.run("etl", ETL, "FIRST=a a")
    told = place.ask("status", run)
    assert {key: told[key] for key in ("run", "dag", "status", "attempt", "params", "file")} == {
        "run": run,
        "dag": "etl",
        "status": "failed",
        "attempt": 1,
        "params": {"named": {"FIRST": "a a"}},
        "file": "etl.yaml",
    }
    assert re.fullmatch("[0-9a-f]{64}", told["definition"])
    assert 0 < told["seconds"] < 60
    assert [(step["name"], step["status"]) for step in told["steps"]] == [
        ("list", "success"), ("fan", "failed"), ("last", "cancelled"),
    ]  # fmt: skip
    fan = told["steps"][1]
    assert fan["items"] == {"total": 4, "failed": 1, "success": 3}
    assert [(item["parameters"], item["status"]) for item in fan["results"]] == [
        ("a a", "success"), ("b", "failed"), ("c", "success"), ("d", "success"),
    ]  # fmt: skip
    failed = fan["results"][1]
    assert (failed["error"], failed["exitCode"]) == ("step work: exit code 7", 7)
    assert failed["steps"]["work"]["status"] == "failed"
    assert fan["results"][0]["output"] == {"OUT": "works on a a\ndone a a"}
    for part in (told, *told["steps"][:2], *fan["results"]):
        assert time.time() - 300 < part["started"] < time.time()
        assert part["seconds"] >= 0


def test_the_tree_shows_what_failed_first_and_counts_the_rest(place: Place) -> None:
    text = 'steps:\n  - {name: fan, run: c, parallel: {items: "${L}"}}\nparams: "L=\'LIST\'"\n---\nname: c\n'
    text += "steps:\n  - {name: s, command: test $1 -ne 33}\n"
    run = place.run("many", text.replace("LIST", " ".join(map(str, range(40)))))
    lines = place.fanfold("status", "many").splitlines()
    assert lines[0].endswith("many failed in " + lines[0].rpartition("in ")[2])
    shown = "\n".join(lines)
    assert run in shown
    assert "40 items: 1 failed, 39 success" in shown
    assert "[33] 33" in shown
    assert "… and 39 more" in shown
    assert len(lines) < 20
    assert len(place.fanfold("status", run, "--items", "all").splitlines()) > 40


def test_runs_are_listed_by_name_status_and_age(place: Place) -> None:
    ok = "steps:\n  - {name: s, command: 'true'}\n"
    good = place.run("good", ok)
    bad = place.run("bad", ok.replace("true", "exit 3"))
    listed = place.ask("history")
    assert [run["run"] for run in listed[:2]] == [bad, good]
    assert [run["run"] for run in place.ask("list", "good")] == [good]
    assert bad in {run["run"] for run in place.ask("history", "--status", "failed")}
    assert good not in {run["run"] for run in place.ask("history", "--status", "failed", "--status", "running")}
    assert place.ask("history", "--since", "2099-01-01") == []
    assert len(place.ask("history", "--since", "1h", "--limit", "1")) == 1
    shown = place.fanfold("history", "bad")
    assert bad in shown
    assert "failed: step s: exit code 3" in shown
    assert "neither a time" in place.fanfold("history", "--since", "yesterday", code=2)
    assert "no run and no DAG 'none'" in place.fanfold("status", "none", code=2)
    assert place.ask("status", good[:20])["run"] == good


def test_logs_of_a_run_a_step_an_item_and_of_what_failed(place: Place) -> None:
    run = place.run("etl", ETL)
    assert 'list ["a","b","c","d"]' in place.fanfold("logs", run)
    assert "works on b" not in place.fanfold("logs", run)
    whole = place.fanfold("logs", run, "fan")
    assert all(f"works on {item}" in whole for item in "abcd")
    for chosen in ("b", "1"):
        one = place.fanfold("logs", run, "fan", "--item", chosen)
        assert sorted(one.split("\n")) == ["", "[1] work err b", "[1] work works on b"]
    assert sorted(place.fanfold("logs", "etl", "--failed").split("\n")) == [
        "", "[1] work err b", "[1] work works on b",
    ]  # fmt: skip
    lines = [json.loads(line) for line in place.fanfold("logs", run, "list", "--json").splitlines()]
    assert lines == [{"run": run, "step": "list", "stream": "stdout", "text": '["a","b","c","d"]'}]
    assert "no step 'nope'" in place.fanfold("logs", run, "nope", code=2)
    assert "no item 'z'" in place.fanfold("logs", run, "fan", "--item", "z", code=2)


def test_an_item_tells_how_often_it_was_tried(place: Place) -> None:
    text = """
steps:
  - {name: fan, run: child, parallel: {items: [a, b]}, retryPolicy: {limit: 2, intervalSec: 0}}
---
name: child
steps:
  - {name: work, command: "echo $1 >> FOLDER/done; test $1 != b || test $(grep -c b FOLDER/done) = 3"}
"""
    run = place.run("tried", text)
    [fan] = place.ask("status", run)["steps"]
    assert [(item["status"], item.get("tries")) for item in fan["results"]] == [("success", None), ("success", 3)]


def test_a_log_is_followed_to_the_end(place: Place) -> None:
    text = "steps:\n  - {name: slow, command: 'for i in 1 2 3; do echo line $i; sleep 0.7; done; printf end'}\n"
    run = place.start("slow", text)
    followed = place.fanfold("logs", run, "--follow")
    assert followed.split("\n") == ["slow line 1", "slow line 2", "slow line 3", "slow end", ""]


def test_a_retry_runs_only_what_did_not_succeed(place: Place) -> None:
    run = place.run("etl", ETL)
    assert place.done() == ["a", "b", "c", "d", "list"]
    (place.folder / "mended").touch()
    record = place.ask("retry", run) if isinstance(place, Laptop) else json.loads(
        place.fanfold("retry", run, "--json").splitlines()[0]
    )  # fmt: skip
    assert (record["run"], record["status"], record["attempt"]) == (run, "success", 2)
    assert place.done() == ["a", "b", "b", "c", "d", "last", "list"]
    document = record["steps"]["fan"]["document"]
    assert document["summary"] == {"total": 4, "succeeded": 4, "failed": 0, "cancelled": 0, "skipped": 0}
    assert [result["parameters"] for result in document["results"]] == ["a", "b", "c", "d"]
    assert document["outputs"][1] == {"OUT": "works on b\ndone b"}
    assert record["steps"]["last"]["output"] == {"N": "4"}
    told = place.ask("status", run)
    assert (told["status"], told["attempt"]) == ("success", 2)
    assert len([listed for listed in place.ask("history", "etl") if listed["run"] == run]) == 1
    assert "has succeeded" in place.fanfold("retry", run, code=2)


def test_a_retry_goes_on_within_children_that_fan_out(place: Place) -> None:
    text = """
steps:
  - {name: outer, run: middle, parallel: {items: [x, y]}, output: R}
---
name: middle
steps:
  - {name: before, command: "echo before-$1 >> FOLDER/done; echo 1 2 3", output: L}
  - {name: inner, run: leaf, parallel: {items: "${L}"}, params: "T=$1 N=${ITEM}", output: I}
---
name: leaf
steps:
  - {name: work, command: "echo $T$N >> FOLDER/done; test $T$N != y2 || test -e FOLDER/mended", output: O}
"""
    run = place.run("nest", text)
    once = sorted(["before-x", "before-y", *(f"{t}{n}" for t in "xy" for n in "123")])
    assert place.done() == once
    assert "inner" in place.fanfold("status", run)
    (place.folder / "mended").touch()
    place.fanfold("retry", run)
    assert place.done() == sorted([*once, "y2"])
    assert place.store.summary(run).status == "success"


def test_a_retry_of_a_large_fan_out_runs_the_failed_items_alone(place: Place) -> None:
    text = """
steps:
  - {name: list, command: "seq 60", output: L}
  - name: fan
    run: leaf
    parallel: {items: "${L}", maxConcurrent: 3}
    output: R
    x-fanfold: {maxItems: 5000}
---
name: leaf
steps:
  - name: work
    command: "echo $1 >> FOLDER/done; test $(($1 % 20)) -ne 7 || test -e FOLDER/mended; echo v$1"
    output: O
"""
    run = place.run("large", text)
    assert place.ask("status", run)["steps"][1]["items"] == {"total": 60, "failed": 3, "success": 57}
    (place.folder / "mended").touch()
    place.fanfold("retry", run)
    assert place.done() == sorted(map(str, [*range(1, 61), 7, 27, 47]))
    fan = place.ask("status", run)["steps"][1]
    assert fan["items"] == {"total": 60, "success": 60}
    assert [item["output"]["O"] for item in fan["results"]] == [f"v{n}" for n in range(1, 61)]


def test_what_follows_a_step_that_runs_again_runs_again_too(place: Place) -> None:
    text = """
type: graph
steps:
  - {name: first, command: "echo first >> FOLDER/done; test -e FOLDER/mended", continueOn: {failure: true}}
  - {name: fan, run: leaf, depends: [first], parallel: {items: [p, q]}}
  - {name: beside, command: "echo beside >> FOLDER/done"}
---
name: leaf
steps:
  - {name: work, command: "echo $1 >> FOLDER/done"}
"""
    run = place.run("after", text)
    assert place.store.summary(run).status == "partial"
    (place.folder / "mended").touch()
    place.fanfold("retry", run)
    assert place.done() == sorted(["first", "p", "q", "beside", "first", "p", "q"])


STOPPED = """
handlerOn: {cancel: {command: "echo cancelled >> FOLDER/done"}}
steps:
  - {name: fan, run: leaf, parallel: {items: "${L}", maxConcurrent: 2}, output: R}
  - {name: last, command: echo last >> FOLDER/done}
params: "L='0 60 60 0 0 0'"
---
name: leaf
steps:
  - {name: work, command: "echo $1 >> FOLDER/done; test -e FOLDER/mended || sleep $1.37; echo ok $1", output: O}
"""


def test_a_run_that_is_stopped_ends_in_five_seconds_and_still_has_its_document(place: Place) -> None:
    text = STOPPED.replace("0 60 60 0 0 0", "0 60 61 1 2 3")
    run = place.start("long", text)
    end = time.monotonic() + 30
    while {"60", "61"} - set(place.done()):
        assert time.monotonic() < end
        time.sleep(0.05)
    started = time.monotonic()
    told = place.ask("stop", run)
    assert time.monotonic() - started < 5 + 2  # the command's own start
    assert told["status"] == "cancelled"
    fan = place.ask("status", run)["steps"][0]
    assert fan["items"] == {"total": 6, "cancelled": 5, "success": 1}
    assert place.done() == ["0", "60", "61", "cancelled"]
    assert not _sleeping("60.37", "61.37")
    assert "has ended: cancelled" in place.fanfold("stop", run, code=2)
    (place.folder / "mended").touch()
    place.fanfold("retry", run)
    assert place.done() == sorted(["0", "60", "61", "cancelled", "60", "61", "1", "2", "3", "last"])
    assert place.ask("status", run)["steps"][0]["items"] == {"total": 6, "success": 6}


def _sleeping(*seconds: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0] == "sleep" and set(seconds) & set(words):
            found.append(str(path))
    return found
