"""Several items of a large fan-out in one task, one after the other (docs/architecture.md, *Large fan-outs*).

The records of the items that have run are written as parts, named by the first item of the batch and of the part: a
task that is killed is tried again, and goes on behind what it had written.
"""

from __future__ import annotations

import json
import time
from typing import Any

from fanfold.dag.model import Dag
from fanfold.run.item import run_child
from fanfold.run.keys import results_prefix
from fanfold.run.lifecycle import parse_plan_line
from fanfold.run.records import read_part
from fanfold.run.runtime import Runtime
from fanfold.run.scope import RunIdentity
from fanfold.run.store import ObjectStore

SECONDS_TO_SPARE = 60
"""Left of a task's time when no further item is started."""

PART_SECONDS = 20
PART_BYTES = 8 * 1024 * 1024
"""When the records so far are written: what a task that is killed had done since then is done again."""


def run_batch(runtime: Runtime, dag: Dag, payload: dict[str, Any]) -> dict[str, Any]:
    """Run the items of ``args`` (``{"first", "count", "at", "bytes"}``) from the place ``from`` on.

    ``{"fan", "args", "from", "left"}``: whether some are left for another task, and from where.
    """
    fan, batch, place = payload["fan"], payload["args"], payload["from"]
    parts = _Parts(runtime.store, fan, batch["first"])
    done = parts.recorded() if payload.get("tries") else set()
    lines = runtime.store.get_range(fan["plan"], batch["at"], batch["bytes"]).splitlines()
    longest = 0.0
    while place < batch["count"]:
        if runtime.remaining() < max(SECONDS_TO_SPARE, 2 * longest):
            break
        index = batch["first"] + place
        if index not in done:
            started = time.monotonic()
            args = parse_plan_line(lines[place])["params"]
            record = run_child(runtime, dag, {"fan": fan, "index": index, "args": args, "batched": True})["record"]
            longest = max(longest, time.monotonic() - started)
            parts.add(record)
        place += 1
    parts.write()
    return {"fan": fan, "args": batch, "from": place, "left": place < batch["count"]}


class _Parts:
    """The records of one batch."""

    def __init__(self, store: ObjectStore, fan: dict[str, Any], first: int) -> None:
        self._store = store
        run = RunIdentity.from_json(fan["run"])
        prefix = results_prefix(run.prefix, fan["step"], run.attempt)
        self._prefix = f"{prefix}{first:09d}-"
        self._lines: list[str] = []
        self._bytes = 0
        self._first: int | None = None
        self._written = time.monotonic()

    def recorded(self) -> set[int]:
        """The indexes of the items that earlier tries have run."""
        parts = (read_part(self._store, key) for key in self._store.keys(self._prefix))
        return {record["index"] for _, records in parts for record in records}

    def add(self, record: dict[str, Any]) -> None:
        """Take a record, and write those so far when it is time."""
        line = json.dumps(record)
        self._first = record["index"] if self._first is None else self._first
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > PART_BYTES or time.monotonic() - self._written > PART_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the records that are not written yet."""
        if self._first is not None:
            self._store.put(f"{self._prefix}{self._first:09d}.jsonl", "\n".join(self._lines) + "\n")
        self._lines, self._bytes, self._first, self._written = [], 0, None, time.monotonic()
