"""The record of a run, as its objects tell it while it goes on and after it ended, on a laptop and on AWS alike."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from fanfold.dag.model import Json
from fanfold.dag.values import as_text
from fanfold.history.item_records import ItemRecords, read_plan_line, slim, whole
from fanfold.run.document import read_entries, read_stored_path
from fanfold.run.keys import (
    KEPT_DAYS,
    begun_key,
    outcome_key,
    plan_key,
    prefix_of_item,
    prefix_of_run,
    result_key,
)
from fanfold.run.lifecycle import parse_plan_line
from fanfold.run.records import read_ahead
from fanfold.run.store import ObjectStore, Stored

ITEM_STATUSES = ("failed", "cancelled", "running", "waiting", "partial", "skipped", "success")
"""In the order in which items are shown."""

LABEL_LENGTH = 120
"""Characters of what an item is called."""

_WORD_OF_SUMMARY = {"success": "succeeded"}


@dataclass(frozen=True, slots=True)
class ItemState:
    """One item of a fan-out."""

    index: int
    parameters: Json
    status: str
    """One of `ITEM_STATUSES`."""
    output: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    exit_code: int | None = None
    log: str | None = None
    started: float | None = None
    seconds: float | None = None
    steps: Mapping[str, Any] = field(default_factory=dict)
    """By name, how the child's steps ended; of a large fan-out they are not kept."""
    attempt: int = 1
    """Of the run, which it ended in."""
    tries: int = 1
    """Made in that attempt (``retryPolicy``)."""

    def to_json(self) -> dict[str, Json]:
        """As ``--json`` shows it."""
        return _given(
            index=self.index,
            parameters=self.parameters,
            status=self.status,
            started=self.started,
            seconds=self.seconds,
            error=self.error,
            exitCode=self.exit_code,
            log=self.log,
            output=dict(self.output),
            steps=dict(self.steps) or None,
            tries=self.tries if self.tries > 1 else None,
        )


@dataclass(frozen=True, slots=True)
class StepState:
    """One step of a run."""

    name: str
    status: str
    child: str | None = None
    """The DAG that it runs."""
    started: float | None = None
    seconds: float | None = None
    error: str | None = None
    exit_code: int | None = None
    log: str | None = None
    total: int | None = None
    """Of a step with a child: how many items there are, once that is known."""
    max_concurrent: int = 1
    oldest: int = 1
    """The first attempt of the run whose items count."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of these items: how many have which status."""

    def to_json(self) -> dict[str, Json]:
        """As ``--json`` shows it."""
        items = None if self.total is None else {"total": self.total, **self.counts}
        return _given(
            name=self.name,
            status=self.status,
            child=self.child,
            started=self.started,
            seconds=self.seconds,
            error=self.error,
            exitCode=self.exit_code,
            log=self.log,
            items=items,
        )


def _given(**fields: Any) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}


class RunData:
    """What lies under the prefix of one run, a root's or a child's. Keeps what it has read and cannot change."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self.prefix = prefix
        self._records = ItemRecords(store, prefix, whole)
        self._marks = ItemRecords(store, prefix, slim)
        self._plans: dict[str, list[Json]] = {}
        self._labels: dict[str, list[str]] = {}

    @staticmethod
    def find(store: ObjectStore, root: str, likely: int | None = None) -> RunData | None:
        """The data of the run called `root`, which are kept `likely` so many days; None if it left none."""
        for days in dict.fromkeys((likely, None, *KEPT_DAYS)):
            prefix = prefix_of_run(root, days)
            if store.has(begun_key(prefix)):
                return RunData(store, prefix)
        return None

    def begun(self) -> dict[str, Any] | None:
        """With what the run began; None when it has not noted that yet."""
        return self._json(begun_key(self.prefix))

    def result(self) -> dict[str, Any] | None:
        """The outcome; None of a run, or an attempt, that has not ended."""
        result, begun = self._json(result_key(self.prefix)), self.begun()
        if result is None or begun is None or result.get("attempt", 1) == begun["attempt"]:
            return result
        return None

    def _json(self, key: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._store.get_json(key)
        except KeyError:
            return None
        return found

    def steps(self) -> list[StepState]:
        """Every step, in the order of the file."""
        begun, result = self.begun(), self.result()
        if begun is None:
            return []
        names, ended = list(begun["steps"]), {} if result is None else result["steps"]
        noted = read_ahead(lambda name: self._json(outcome_key(self.prefix, name)), names)
        return [
            self._step(name, begun["steps"][name], found, ended.get(name), over=result is not None)
            for name, found in zip(names, noted, strict=True)
        ]

    def _step(
        self, name: str, child: str | None, noted: dict[str, Any] | None, ended: dict[str, Any] | None, *, over: bool
    ) -> StepState:
        if noted is None or (over and noted["status"] == "running"):
            noted = {**(noted or {}), "status": (ended or {}).get("status", "not_started" if over else "waiting")}
        total, counts = self._counts(name, noted) if child is not None else (None, {})
        return StepState(
            name,
            noted["status"],
            child,
            noted.get("started"),
            noted.get("seconds"),
            noted.get("error"),
            noted.get("exit_code") or None,
            noted.get("log"),
            total,
            noted.get("maxConcurrent", 1),
            noted.get("oldest", 1),
            counts,
        )

    def _counts(self, step: str, noted: dict[str, Any]) -> tuple[int | None, dict[str, int]]:
        """How many items there are, and how many have which status."""
        value = noted.get("value")
        if value is not None:
            shown = value if isinstance(value, str) else read_stored_path(self._store, value, ("summary",))
            document = json.loads(shown if shown is not None else self._store.load(value))
            summary = document.get("summary", document)
            if "total" in summary:
                counts = {word: summary[_WORD_OF_SUMMARY.get(word, word)] for word in ITEM_STATUSES
                          if summary.get(_WORD_OF_SUMMARY.get(word, word))}  # fmt: skip
                return summary["total"], counts
            return 1, {str(summary["status"]): 1}
        if "total" not in noted:
            return None, {}
        counts = Counter(
            record["status"]
            for index, record in self._marks.of_step(step).items()
            if index < noted["total"] and record.get("attempt", 1) >= noted["oldest"]
        )
        left = noted["total"] - counts.total()
        running = min(left, noted["maxConcurrent"])
        return noted["total"], {**counts, **_given(running=running or None, waiting=left - running or None)}  # type: ignore[dict-item]

    def items(self, step: StepState) -> Iterator[ItemState]:
        """Every item of a fan-out, in order. While it goes on, the first that have not ended count as running."""
        plan = self._plan(step.name)
        for index, record in enumerate(_filled(step, self._records.of_step(step.name), len(plan))):
            yield _item(index, plan[index], record)

    def marks(self, step: StepState) -> list[dict[str, Any]]:
        """Of every item of a fan-out, in order, what is small: ``status``, ``started``, ``seconds``, ``error``."""
        return list(_filled(step, self._marks.of_step(step.name), step.total or 0))

    def item(self, step: StepState, index: int) -> ItemState | None:
        """One item of a fan-out; None where it has no such item."""
        line = read_plan_line(self._store, plan_key(self.prefix, step.name), index)
        if line is None:
            return None
        record = self._records.of_item(step.name, index)
        return _item(index, line["shown"], record or self.marks(step)[index])

    def labels(self, step: str) -> list[str]:
        """What the items of a fan-out are called: the beginnings of their parameters, each in one line."""
        if step not in self._labels:
            try:
                with self._store.open(plan_key(self.prefix, step)) as plan:
                    shown = (json.loads(line)["shown"] for line in plan)
                    labels = [" ".join(as_text(value)[: 2 * LABEL_LENGTH].split())[:LABEL_LENGTH] for value in shown]
            except KeyError:
                return []
            self._labels[step] = labels
        return self._labels[step]

    def value(self, step: str) -> Stored | None:
        """The output of a step that has ended: its text, or where it lies; of one with children the document."""
        return (self._json(outcome_key(self.prefix, step)) or {}).get("value")

    def open(self, value: Stored) -> IO[bytes]:
        """Such a value as a stream."""
        if isinstance(value, str):
            return io.BytesIO(value.encode("utf-8", "surrogatepass"))
        return self._store.open(value["$s3"])

    def results(self, value: Stored, first: int, count: int) -> list[Json]:
        """At most `count` entries of ``results`` of a document, from one on."""
        return read_entries(self._store, value, first, count)

    def _plan(self, step: str) -> list[Json]:
        """How the items are shown."""
        if step not in self._plans:
            try:
                text = self._store.get(plan_key(self.prefix, step))
            except KeyError:
                return []
            self._plans[step] = [parse_plan_line(line)["shown"] for line in text.splitlines()]
        return self._plans[step]

    def child(self, step: str, index: int) -> RunData:
        """The run of one item."""
        return RunData(self._store, prefix_of_item(self.prefix, step, index))


def _filled(step: StepState, records: Mapping[int, dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """The record of every item; one that has none waits, runs or is lost."""
    is_over = step.status not in ("running", "waiting")
    may_run = step.max_concurrent
    for index in range(total):
        record = records.get(index)
        if record is not None and (is_over or record.get("attempt", 1) >= step.oldest):
            yield record
        elif is_over:
            yield {"status": "failed", "error": "the item left no result"}
        else:
            yield {"status": "running" if may_run > 0 else "waiting"}
            may_run -= 1


def _item(index: int, parameters: Json, record: Mapping[str, Any]) -> ItemState:
    return ItemState(
        index,
        parameters,
        record["status"],
        record.get("output", {}),
        record.get("error"),
        record.get("exitCode"),
        record.get("log"),
        record.get("started"),
        record.get("seconds"),
        record.get("steps", {}),
        record.get("attempt", 1),
        record.get("tries", 1),
    )
