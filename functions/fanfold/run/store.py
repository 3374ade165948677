"""The objects of a run: what is too large for a state, under the run's prefix in the run-data bucket.

This module alone knows how a value is *spilled*: stored as an object and replaced by ``{"$s3": key, "bytes": n}``
(docs/architecture.md). Every variable of a run is text, so a marker is never mistaken for a value.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Spilled = TypedDict("Spilled", {"$s3": str, "bytes": int, "outline": NotRequired[dict[str, list[int]]]})
"""``outline`` tells where the parts of a document stand in it (`fanfold.run.document`)."""
Stored = str | Spilled
"""A text as it travels in a state: itself, or where it lies."""


PART_BYTES = 8 * 1024 * 1024
"""Bytes of an object above which it is stored in parts."""


class ObjectStore:
    """Text and JSON objects in one bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, text: str) -> None:
        """Store `text` under `key`."""
        self.put_bytes(key, text.encode("utf-8", "surrogatepass"))

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data` under `key`."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def in_bucket(self, bucket: str) -> ObjectStore:
        """The objects of another bucket."""
        return ObjectStore(self._client, bucket)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Store what `file` holds from where it stands, in parts where it is large."""
        start, end = file.tell(), file.seek(0, 2)
        file.seek(start)
        if end - start <= PART_BYTES:
            self.put_bytes(key, file.read())
        else:
            self._client.upload_fileobj(file, self._bucket, key)

    def put_for_states(self, key: str, file: IO[bytes]) -> None:
        """Store what `file` holds where a state of Step Functions reads it."""
        self.put_file(key, file)

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Write what is under `key` to `file`; KeyError when there is none."""
        with closing(self.open(key)) as stored:
            shutil.copyfileobj(stored, file, 1024 * 1024)

    def put_once(self, key: str, text: str) -> str:
        """Store `text` under `key` unless something is there already; what is there then."""
        return self.get(key) if self.put_over(key, text, None) is None else text

    def put_over(self, key: str, text: str, version: str | None) -> str | None:
        """Store `text` over `version` (an ETag), or where there is nothing yet; its version, None if that is not so."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        data = text.encode("utf-8", "surrogatepass")
        try:
            return self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **condition)["ETag"]
        except self._client.exceptions.ClientError as fault:
            if fault.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
                return None
            raise

    def get(self, key: str) -> str:
        """The text under `key`; KeyError when there is none."""
        return self.get_version(key)[0]

    def get_version(self, key: str) -> tuple[str, str]:
        """The text under `key` and its version (an ETag); KeyError when there is none."""
        data, version = self._read(Key=key)
        return data.decode("utf-8", "surrogatepass"), version

    def get_bytes(self, key: str) -> bytes:
        """The bytes under `key`; KeyError when there is none."""
        return self._read(Key=key)[0]

    def open(self, key: str) -> IO[bytes]:
        """The bytes under `key` as a stream; KeyError when there is none."""
        body: IO[bytes] = self._get(Key=key)["Body"]
        return body

    def get_range(self, key: str, start: int, length: int) -> str:
        """`length` bytes of the text under `key`, from byte `start`."""
        return self.get_bytes_range(key, start, length).decode("utf-8", "surrogatepass")

    def get_bytes_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes of what is under `key`, from byte `start`."""
        return self._read(Key=key, Range=f"bytes={start}-{start + length - 1}")[0]

    def _read(self, **arguments: Any) -> tuple[bytes, str]:
        got = self._get(**arguments)
        with closing(got["Body"]) as body:
            return body.read(), got["ETag"]

    def _get(self, **arguments: Any) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, **arguments)
        except self._client.exceptions.NoSuchKey:
            raise KeyError(arguments["Key"]) from None

    def has(self, key: str) -> bool:
        """Whether there is something under `key`."""
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
        except self._client.exceptions.ClientError as fault:
            if fault.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key that starts with `prefix`, in order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return (item["Key"] for page in pages for item in page.get("Contents", []))

    def keys_in_each(self, prefix: str, name: str) -> Iterator[str]:
        """Every key ``prefix/…/name`` with one part between them."""
        return (key for key in self.keys(f"{prefix}/") if key.count("/") == prefix.count("/") + 2
                and key.endswith(f"/{name}"))  # fmt: skip

    def remove(self, key: str) -> None:
        """Delete what is under `key`, if anything is."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def put_json(self, key: str, value: object) -> None:
        """Store `value` as JSON under `key`."""
        self.put(key, json.dumps(value, ensure_ascii=False))

    def get_json(self, key: str) -> Any:
        """The JSON value under `key`; KeyError when there is none."""
        return json.loads(self.get(key))

    def spill(self, prefix: str, text: str) -> Spilled:
        """Store `text` under a name made of its content, so that the same text is stored once."""
        data = text.encode("utf-8", "surrogatepass")
        key = f"{prefix}/values/{hashlib.sha256(data).hexdigest()}"
        self.put_bytes(key, data)
        return {"$s3": key, "bytes": len(data)}

    def load(self, value: Stored) -> str:
        """The text that `value` is or stands for."""
        return value if isinstance(value, str) else self.get(value["$s3"])


def size(value: object) -> int:
    """The bytes that `value` takes in a state at most: some runtimes of AWS Lambda escape all that is not ASCII.

    A half of a surrogate pair is more than any budget: the other runtimes, which send UTF-8, end when they meet it.
    """
    text = json.dumps(value)
    if "\\ud" in text:  # a pair, or a half
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return _CANNOT_TRAVEL
    return len(text)


_CANNOT_TRAVEL = 1 << 40


def fit(store: ObjectStore, prefix: str, values: Mapping[str, Stored], budget: int) -> dict[str, Stored]:
    """`values` in at most `budget` bytes, if markers allow: the largest texts are spilled first."""
    fitted = dict(values)
    sizes = {name: size(value) for name, value in fitted.items()}
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        value = fitted[name]
        if total <= budget or sizes[name] <= _MARKER_BYTES:
            break
        if isinstance(value, str):
            fitted[name] = store.spill(prefix, value)
            total += size(fitted[name]) - sizes[name]
    return fitted


_MARKER_BYTES = 200
"""What a text must have for a marker to be shorter, in most runs."""
