"""The document of a fan-out: written in a stream, read by path without loading what is not asked for.

``{"summary", "results", "outputs"}`` (specification, *Capturing Output*). The marker of a large document holds its
*outline*: for ``summary`` ``[at, bytes]``, for ``results`` and ``outputs`` ``[at, bytes, count]``; beside the document
lies an object with the offset of every entry, 8 bytes each.
"""

from __future__ import annotations

import json
import shutil
import struct
from array import array
from contextlib import ExitStack
from typing import IO, Any

from fanfold.dag.model import Json
from fanfold.dag.references import Path
from fanfold.dag.values import as_text, parse_json, read_path
from fanfold.run.spool import spooled
from fanfold.run.store import ObjectStore, Spilled, Stored

INLINE_DOCUMENT = 128 * 1024
"""Bytes of a document that is handled as a text."""

_SEPARATOR = b",\n    "


class DocumentWriter:
    """Takes the entries one by one; a context manager."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._results, self._outputs = _Array(self._files), _Array(self._files)
        self.summary = {"total": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "skipped": 0}

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    def add(self, shown: Json, record: dict[str, Any]) -> None:
        """Add an item, shown so, with its record."""
        status = "success" if record["status"] == "partial" else record["status"]
        entry: dict[str, Json] = {"parameters": shown, "status": status, "output": record["output"]}
        if status == "success":
            self._outputs.add(record["output"])
        else:
            entry |= failure_of(record)
        self.summary["total"] += 1
        self.summary["succeeded" if status == "success" else status] += 1
        self._results.add(entry)

    def close(self, store: ObjectStore, key: str) -> Stored:
        """The document: a text, or stored under `key` where it is too large for that."""
        summary = _indented(self.summary, 2)
        head = b'{\n  "summary": '
        parts = {"summary": [len(head), len(summary)]}
        results_head, outputs_head, end = b',\n  "results": ', b',\n  "outputs": ', b"\n}"
        results_at = len(head) + len(summary) + len(results_head)
        parts["results"] = [results_at, self._results.size, len(self._results)]
        outputs_at = results_at + self._results.size + len(outputs_head)
        parts["outputs"] = [outputs_at, self._outputs.size, len(self._outputs)]
        total = outputs_at + self._outputs.size + len(end)
        file = self._files.enter_context(spooled())
        file.write(head + summary + results_head)
        self._results.copy_to(file)
        file.write(outputs_head)
        self._outputs.copy_to(file)
        file.write(end)
        file.seek(0)
        if total <= INLINE_DOCUMENT:
            return file.read().decode("utf-8", "surrogatepass")
        store.put_file(key, file)
        store.put_bytes(_offsets_key(key), self._results.offsets(results_at) + self._outputs.offsets(outputs_at))
        return {"$s3": key, "bytes": total, "outline": parts}


def failure_of(record: dict[str, Any]) -> dict[str, Json]:
    """What a record tells of a failure."""
    return {key: record[key] for key in ("error", "exitCode", "log") if record.get(key) is not None}


class _Array:
    """A JSON array in the making."""

    def __init__(self, files: ExitStack) -> None:
        self._file = files.enter_context(spooled())
        self._starts = array("Q")
        self._file.write(b"[")
        self._bytes = 1

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, value: Json) -> None:
        data = _indented(value, 4)
        separator = _SEPARATOR if self._starts else _SEPARATOR[1:]
        self._starts.append(self._bytes + len(separator))
        self._file.write(separator + data)
        self._bytes += len(separator) + len(data)

    @property
    def _tail(self) -> bytes:
        return b"\n  ]" if self._starts else b"]"

    @property
    def size(self) -> int:
        return self._bytes + len(self._tail)

    def copy_to(self, file: IO[bytes]) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)
        file.write(self._tail)

    def offsets(self, at: int) -> bytes:
        """Where each entry starts, and where one after the last would, little-endian."""
        after_last = self._bytes + len(_SEPARATOR)
        moved = [at + start for start in (*self._starts, after_last)]
        return struct.pack(f"<{len(moved)}Q", *moved)


def _indented(value: object, by: int) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.replace("\n", "\n" + " " * by).encode("utf-8", "surrogatepass")


def _offsets_key(key: str) -> str:
    return f"{key}.offsets"


def read_stored_path(store: ObjectStore, value: Spilled, path: Path) -> str | None:
    """The text at `path` in a stored document; None when only the whole of it can tell."""
    outline = value.get("outline", {})
    part, below = path[0], path[1:]
    if not isinstance(part, str) or part not in outline:
        return None
    at, length = outline[part][:2]
    if part == "summary" or not below:
        text = store.get_range(value["$s3"], at, length)
        return read_path(text, below) if below else as_text(parse_json(text))
    place, count = below[0], outline[part][2]
    if not isinstance(place, int) or not -count <= place < count:
        return ""
    place %= count
    first = place if part == "results" else outline["results"][2] + 1 + place
    start, after = struct.unpack("<2Q", store.get_bytes_range(_offsets_key(value["$s3"]), first * 8, 16))
    entry = store.get_range(value["$s3"], start, after - start - len(_SEPARATOR))
    return read_path(entry, below[1:]) if below[1:] else as_text(parse_json(entry))


def read_entries(store: ObjectStore, value: Stored, first: int, count: int) -> list[Json]:
    """At most `count` entries of ``results`` of a document, from one on; of a large one only they are read."""
    if isinstance(value, str) or "outline" not in value:
        entries: list[Json] = json.loads(store.load(value))["results"]
        return entries[first : first + count]
    count = min(count, value["outline"]["results"][2] - first)
    if count <= 0:
        return []
    offsets = store.get_bytes_range(_offsets_key(value["$s3"]), first * 8, (count + 1) * 8)
    start, *_, after = struct.unpack(f"<{count + 1}Q", offsets)
    text = store.get_range(value["$s3"], start, after - start - len(_SEPARATOR))
    found: list[Json] = json.loads(f"[{text}]")
    return found
