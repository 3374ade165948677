"""Items that lie in S3: the contents of an object, or the objects below a prefix, read as a stream.

``s3://bucket/key.json`` is an array, ``….jsonl`` one JSON value a line, ``….csv`` a header and one object a row;
``s3://bucket/prefix/`` gives the address of each object below it (architecture.md, *Large fan-outs*).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import IO

from botocore.exceptions import ClientError

from fanfold.dag.items import BadItems
from fanfold.dag.model import Json
from fanfold.dag.values import DECODER, parse_json
from fanfold.run.store import ObjectStore

SCHEME = "s3://"
_CHUNK = 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")


def items_in_s3(store: ObjectStore, address: str) -> Iterator[Json]:
    """The items at `address`; raises BadItems for what is not there, may not be read or is not in its format."""
    bucket, _, key = address.strip().removeprefix(SCHEME).partition("/")
    if not bucket:
        raise BadItems(f"{address}: the address names no bucket; it is s3://bucket/key")
    other = store.in_bucket(bucket)
    try:
        if not key or key.endswith("/"):
            yield from (f"{SCHEME}{bucket}/{found}" for found in other.keys(key) if not found.endswith("/"))
            return
        read = next((read for suffix, read in _READERS.items() if key.lower().endswith(suffix)), None)
        if read is None:
            raise BadItems(f"{address}: items are read from {', '.join(_READERS)}, or from a prefix that ends with /")
        yield from read(address, other.open(key))
    except KeyError:
        raise BadItems(f"{address}: there is no such object") from None
    except ClientError as fault:
        code = fault.response["Error"].get("Code", "")
        hint = "; the stack's parameter RunnerPolicies says what a DAG may read" if code == "AccessDenied" else ""
        raise BadItems(f"{address} cannot be read: {code}{hint}") from None


def _text(body: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(body, _CHUNK), "utf-8-sig", newline="")  # type: ignore[type-var]


def _lines(address: str, body: IO[bytes]) -> Iterator[Json]:
    for number, line in enumerate(_text(body), 1):
        if not line.strip():
            continue
        try:
            yield parse_json(line)
        except ValueError as fault:
            raise BadItems(f"{address}, line {number}: {fault}") from None


def _rows(address: str, body: IO[bytes]) -> Iterator[Json]:
    reader = csv.DictReader(_text(body), restval="", strict=True)
    try:
        for row in reader:
            if None in row:
                raise BadItems(f"{address}, line {reader.line_num}: the row has more fields than the header")
            yield dict(row)
    except csv.Error as fault:
        raise BadItems(f"{address}, line {reader.line_num}: {fault}") from None


def _array(address: str, body: IO[bytes]) -> Iterator[Json]:
    """The elements of one JSON array, of which no more than one and a chunk are in memory."""
    text = _text(body)
    buffer, final = text.read(_CHUNK), False
    place = _after_space(buffer, 0)
    if buffer[place : place + 1] != "[":
        raise BadItems(f"{address}: the object is no JSON array")
    place += 1
    while True:
        place = _after_space(buffer, place)
        if buffer[place : place + 1] == "]":
            if buffer[place + 1 :].strip() or text.read().strip():
                raise BadItems(f"{address}: something stands behind the JSON array")
            return
        element = _element(buffer, place)
        if element is not None:
            value, place = element
            yield value
        elif final:
            raise BadItems(f"{address}: the JSON array does not end, or holds what is no JSON value")
        else:
            more = text.read(max(_CHUNK, len(buffer) - place))
            buffer, place, final = buffer[place:] + more, 0, not more


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _element(buffer: str, place: int) -> tuple[Json, int] | None:
    """The element at `place`, and where the next or the end stands; None when not all of that is there."""
    try:
        value, end = DECODER.raw_decode(buffer, place)
    except (ValueError, RecursionError):
        return None
    after = _after_space(buffer, end)
    if buffer[after : after + 1] not in (",", "]"):
        return None
    return value, after + (buffer[after] == ",")


_READERS = {".json": _array, ".jsonl": _lines, ".ndjson": _lines, ".csv": _rows}
