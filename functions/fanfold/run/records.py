"""The records of a fan-out's items: how each item ended, one by one and in order.

None is ever dropped: one that is missing or torn is a failed item that says so. Records go through in a stream, so that
memory holds a few of them only. A retry of a run reads what the attempts before it left, as far as that still counts.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import Any, TypeVar

from fanfold.run.keys import again_key, prefix_of_item, result_key, results_prefix
from fanfold.run.scope import RunIdentity
from fanfold.run.store import ObjectStore

_READERS = 16
"""Results read from the store at a time."""

SUCCEEDED = ("success", "partial")
"""How an item ended that is not run again."""

NO_RESULT = "the item left no result"

Record = dict[str, Any]
_T = TypeVar("_T")
_R = TypeVar("_R")


def collect(
    store: ObjectStore, fan: dict[str, Any], results: Sequence[Record] | None, total: int, ended: str | None = None
) -> Iterator[Record]:
    """The record of each of `total` items, by index; `results` are the Map's, None where it leaves them in parts.

    `ended` is the error of a Map that failed as a whole.
    """
    run, step = RunIdentity.from_json(fan["run"]), fan["step"]
    oldest = 1 if fan.get("resumed") else run.attempt
    absent = NO_RESULT if ended is None else f"{NO_RESULT}, the Map ended with {ended}"
    if results is None:
        return _collect_parts(store, run, step, total, oldest, absent)
    places: Sequence[int] = range(total)
    if fan.get("resumed"):
        with suppress(KeyError):
            places = store.get_json(again_key(run.prefix, step))
    by_index = {places[result["index"]] if "error" in result and "status" not in result else result["index"]: result
                for result in results}  # fmt: skip
    return read_ahead(lambda index: _record(store, run, step, index, by_index.get(index), oldest, absent), range(total))


def _record(
    store: ObjectStore, run: RunIdentity, step: str, index: int, result: Record | None, oldest: int, absent: str
) -> Record:
    """The record of one item, of which the Map says `result`; of attempts before `oldest` it does not count."""
    if result is not None and "status" in result:
        return result
    caught = None if result is None else result.get("error")
    try:
        record: Record = store.get_json(result_key(prefix_of_item(run.prefix, step, index)))
        attempt = record.get("attempt", 1)
        if "status" not in record:
            raise ValueError("no status")
        if attempt < (oldest if result is None else run.attempt):
            raise KeyError(index)
    except (KeyError, ValueError, AttributeError, TypeError) as fault:
        reason = f"the task ended with {caught}" if caught else absent
        return _lost(index, reason, torn=not isinstance(fault, KeyError))
    if caught is not None and record["status"] in SUCCEEDED:
        return record | {"status": "failed", "error": f"the task ended with {caught}", "exitCode": 1}
    return record


def _collect_parts(
    store: ObjectStore, run: RunIdentity, step: str, total: int, oldest: int, absent: str
) -> Iterator[Record]:
    """The record of each of `total` items of a large fan-out: of the parts that its tasks left, else of each item."""

    def missing(indexes: range, *, torn: bool) -> Iterator[Record]:
        """The records that stand in no part: items that were tasks of their own, or left none."""
        if torn:
            return (_lost(index, absent, torn=True) for index in indexes)
        return read_ahead(lambda index: _record(store, run, step, index, None, oldest, absent), indexes)

    expected, torn_before = 0, False
    for torn, record in _newest(_of_attempt(store, run, step, at) for at in range(oldest, run.attempt + 1)):
        torn_before = torn or torn_before
        if record is not None and expected <= record["index"] < total:
            yield from missing(range(expected, record["index"]), torn=torn_before)
            yield record
            expected, torn_before = record["index"] + 1, False
    yield from missing(range(expected, total), torn=torn_before)


_Passing = tuple[bool, Record | None]
"""Whether something cannot be read that stood here, and the record that can."""


def _of_attempt(store: ObjectStore, run: RunIdentity, step: str, attempt: int) -> Iterator[tuple[float, int, _Passing]]:
    """What one attempt left in parts, by index: (index, attempt counted backwards, …)."""
    keys = [key for key in store.keys(results_prefix(run.prefix, step, attempt)) if key.endswith(".jsonl")]
    last = -1
    for torn, records in read_ahead(lambda key: read_part(store, key), keys):
        for record in records:
            if record["index"] > last:  # a task that was tried again may have written some twice
                last = record["index"]
                yield last, -attempt, (torn, record)
        if torn:
            yield last + 0.5, -attempt, (True, None)


def _newest(attempts: Iterable[Iterator[tuple[float, int, _Passing]]]) -> Iterator[_Passing]:
    """Of each index what the last attempt left."""
    merged = heapq.merge(*attempts, key=lambda entry: entry[:2])
    return (next(entries)[2] for _, entries in groupby(merged, key=lambda entry: entry[0]))


def read_part(store: ObjectStore, key: str) -> tuple[bool, list[Record]]:
    """Whether something of a part cannot be read, and the records that can."""
    records, torn = [], False
    for line in store.get(key).split("\n"):
        if not line:
            continue
        try:
            record = json.loads(line)
            if isinstance(record["index"], int) and record["status"]:
                records.append(record)
        except (ValueError, KeyError, TypeError):
            torn = True
    return torn, records


def _lost(index: int, reason: str, *, torn: bool) -> Record:
    error = reason + ("; its result object cannot be read" if torn else "")
    return {"index": index, "status": "failed", "output": {}, "error": error, "exitCode": 1}


def read_ahead(read: Callable[[_T], _R], places: Iterable[_T]) -> Iterator[_R]:
    """`read` of each place, in order, a few of them ahead of the one that is asked for."""
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        ahead: deque[Future[_R]] = deque()
        for place in places:
            ahead.append(pool.submit(read, place))
            if len(ahead) > 2 * _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
