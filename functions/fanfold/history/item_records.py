"""The records of a fan-out's items, read again and again while it goes on: what cannot change is read once."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fanfold.run.keys import prefix_of_item, prefix_of_step, result_key
from fanfold.run.records import SUCCEEDED, Record, read_ahead, read_part
from fanfold.run.store import ObjectStore

_RESULT = "result.json"


def whole(record: Record) -> Record:
    """All of a record."""
    return record


def slim(record: Record) -> Record:
    """A record without what may be large."""
    return {key: value for key, value in record.items() if key not in ("output", "steps")}


class ItemRecords:
    """The records of the items of one run, by step; `keep` says what of each is kept."""

    def __init__(self, store: ObjectStore, prefix: str, keep: Callable[[Record], Record]) -> None:
        self._store, self._prefix, self._keep = store, prefix, keep
        self._parts: dict[str, list[Record]] = {}
        self._succeeded: dict[str, Record] = {}

    def of_step(self, step: str) -> dict[int, Record]:
        """By index, the items that have ended, as their last attempt left them."""
        below = prefix_of_step(self._prefix, step)
        found: dict[int, Record] = {}
        parts = sorted((key for key in self._store.keys(f"{below}/results") if key.endswith(".jsonl")), key=_by_attempt)
        new = [key for key in parts if key not in self._parts]
        for key, (_, records) in zip(new, read_ahead(lambda key: read_part(self._store, key), new), strict=True):
            self._parts[key] = [self._keep(record) for record in records]
        for key in parts:
            found |= {record["index"]: record for record in self._parts[key]}
        own = list(self._store.keys_in_each(below, _RESULT))
        new = [key for key in own if key not in self._succeeded]
        for key, record in zip(new, read_ahead(self._read, new), strict=True):
            if record is not None and record["status"] in SUCCEEDED:
                self._succeeded[key] = self._keep(record)
            elif record is not None:
                found[record["index"]] = self._keep(record)
        return found | {self._succeeded[key]["index"]: self._succeeded[key] for key in own if key in self._succeeded}

    def _read(self, key: str) -> Record | None:
        try:
            record: dict[str, Any] = self._store.get_json(key)
        except KeyError:
            return None
        return record

    def of_item(self, step: str, index: int) -> Record | None:
        """The whole record of one item; None of one that has not ended."""
        own = self._read(result_key(prefix_of_item(self._prefix, step, index)))
        if own is not None:
            return own
        parts = [
            key for key in self._store.keys(f"{prefix_of_step(self._prefix, step)}/results") if _starts(key) <= index
        ]
        for key in sorted(parts, key=lambda key: (_by_attempt(key)[0], _starts(key)), reverse=True):
            with suppress(KeyError):
                for record in read_part(self._store, key)[1]:
                    if record["index"] == index:
                        return record
        return None


def _by_attempt(key: str) -> tuple[int, str]:
    """Later attempts' records go over earlier ones'."""
    folder = key.split("/")[-2]
    return int(folder.partition("-")[2] or 1), key


def _starts(key: str) -> int:
    """The first item of a part, by its name (`fanfold.run.batch`)."""
    first = key.rpartition("-")[2].removesuffix(".jsonl")
    return int(first) if first.isdecimal() else 0


def read_plan_line(store: ObjectStore, key: str, index: int) -> dict[str, Any] | None:
    """The line of a plan that tells of one item."""
    with suppress(KeyError), store.open(key) as plan:
        for place, line in enumerate(plan):
            if place == index:
                told: dict[str, Any] = json.loads(line)
                return told
    return None
