"""What the last deployment of a DAG file left, so that the next one knows what to change and what to remove.

Records are objects of the run-data bucket, written only over the version that was read, so that of two deployments of
one file at a time the slower notices. Beside them lie who owns a DAG's name, and which files look at which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from fanfold.run.store import ObjectStore

Status = Literal["new", "applying", "deployed", "refused", "removed"]


_DEPLOYMENTS = "deployments/"


class Overtaken(Exception):
    """Another deployment has written the same record meanwhile."""


@dataclass(slots=True)
class Record:
    """See the module."""

    file: str
    """Its path below the DAG folder."""
    status: Status = "new"
    sequencer: str = ""
    """That of the newest event that was handled (Amazon S3, *Event message structure*)."""
    dag: str = ""
    """The DAG's name, which this file owns."""
    machines: dict[str, str] = field(default_factory=dict)
    """For each machine, by its name behind the stack's prefix: the ARN of the version deployed last, or nothing yet."""
    schedules: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    """The other files that were looked for: a change of one of them concerns this file too."""
    etag: str | None = None
    """The version of the record that was read; None when there was none."""


def is_older(sequencer: str, other: str) -> bool:
    """Whether an event is older than another of the same object: hexadecimal numbers, the shorter padded right."""
    width = max(len(sequencer), len(other))
    return sequencer.upper().ljust(width, "0") < other.upper().ljust(width, "0")


class Records:
    """The records in the run-data bucket."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def read(self, file: str) -> Record:
        """The record of a file; a new one when there is none."""
        text, etag = self._get(_record_key(file))
        return Record(file) if text is None else Record(**json.loads(text), etag=etag)

    def deployed(self) -> Iterator[Record]:
        """The records of all files that have machines."""
        return (record for record in self.of_files() if record.machines)

    def of_files(self) -> Iterator[Record]:
        """The records of all files that were not removed, also of those that were never deployed."""
        for key in self._store.keys(_DEPLOYMENTS):
            text, etag = self._get(key)
            record = None if text is None else Record(**json.loads(text), etag=etag)
            if record is not None and record.status != "removed":
                yield record

    def write(self, record: Record) -> None:
        """Store `record` and note its new version in it. Raises Overtaken."""
        data = asdict(record)
        del data["etag"]
        record.etag = self._put(_record_key(record.file), json.dumps(data), record.etag)

    def owner(self, dag: str) -> str | None:
        """The file that owns the name of a DAG, as long as it still uses it."""
        file, _ = self._get(_name_key(dag))
        if file is None:
            return None
        record = self.read(file)
        return file if record.dag == dag and record.status != "removed" else None

    def claim(self, dag: str, file: str) -> None:
        """Let `file` own the name of a DAG; raises Overtaken when another file was faster."""
        owner, etag = self._get(_name_key(dag))
        if owner != file:
            self._put(_name_key(dag), file, etag)

    def dependents(self, file: str) -> list[str]:
        """The files whose deployment looked at `file`."""
        found = (self._get(key)[0] for key in self._store.keys(_look_key(file, "")))
        return sorted(text for text in found if text is not None)

    def note_looks(self, record: Record, looked: list[str]) -> None:
        """Note the files that the file of `record` looked at."""
        for gone in set(record.looked) - set(looked):
            self._store.remove(_look_key(gone, record.file))
        for new in set(looked) - set(record.looked):
            self._store.put(_look_key(new, record.file), record.file)
        record.looked = looked

    def _get(self, key: str) -> tuple[str | None, str | None]:
        try:
            return self._store.get_version(key)
        except KeyError:
            return None, None

    def _put(self, key: str, text: str, etag: str | None) -> str:
        """Store a text over the version `etag`, or where there is none yet; the new version."""
        version = self._store.put_over(key, text, etag)
        if version is None:
            raise Overtaken(key)
        return version


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _record_key(file: str) -> str:
    return f"{_DEPLOYMENTS}{_hash(file)}.json"


def _name_key(dag: str) -> str:
    return f"names/{_hash(dag)}"


def _look_key(file: str, by: str) -> str:
    return f"looks/{_hash(file)}/" + (_hash(by) if by else "")
