"""A DAG's folder travels with it: the files beside a DAG file, as one immutable object named by its content.

DAG files and their reports stay out of it, so that one DAG's change is no other's.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.model import Place
from fanfold.dag.read import SUFFIXES
from fanfold.run.bundle import bundle_key
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_BUNDLE = 100 * 1024 * 1024
"""Bytes of all files of a folder: a Lambda function unpacks them into its temporary storage."""

_READERS = 16
_IS_DAG = re.compile(rb"^steps\s*:", re.MULTILINE)
_REPORT = re.compile(r"\.ya?ml\.report\.json$")


class Bundler:
    """Makes the bundles of one event; a folder is looked at once."""

    def __init__(self, client: S3Client, bucket: str, root: str, store: ObjectStore) -> None:
        self._client = client
        self._bucket = bucket
        self._root = root
        self._store = store
        self._of_folder = lru_cache(maxsize=None)(self._make)

    def bundle_of(self, file: str) -> str | None:
        """The digest of the bundle for the folder of a DAG file; None where nothing lies beside it.

        Raises DagFileError when the folder holds more than a bundle may.
        """
        size, digest = self._of_folder(posixpath.dirname(file))
        if size > MAX_BUNDLE:
            hint = f"at most {MAX_BUNDLE:,} travel with a DAG; keep large data in a bucket of their own"
            raise DagFileError([Problem(Place(file, 1, 1), f"the files beside it have {size:,} bytes", hint)])
        return digest

    def _make(self, folder: str) -> tuple[int, str | None]:
        """(the bytes of the folder's files, the digest of their bundle)."""
        found = self._list(folder)
        size = sum(found.values())
        if not found or size > MAX_BUNDLE:
            return size, None
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            contents = dict(zip(found, pool.map(self._read, found), strict=True))
        packed = _packed({path: data for path, data in contents.items() if not is_dag(path, data)})
        if packed is None:
            return 0, None
        digest = hashlib.sha256(packed).hexdigest()
        self._store.put_bytes(bundle_key(digest), packed)
        return size, digest

    def _list(self, folder: str) -> dict[str, int]:
        """The bytes of every file below `folder`, by its path below the DAG folder."""
        prefix = self._root + (f"{folder}/" if folder else "")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        listed = [item for page in pages for item in page.get("Contents", [])]
        paths = {item["Key"].removeprefix(self._root): item["Size"] for item in listed}
        return {path: size for path, size in sorted(paths.items()) if not _REPORT.search(path) and _is_safe(path)}

    def _read(self, path: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=self._root + path)["Body"].read()


def _is_safe(path: str) -> bool:
    """Whether a key can be a file below a folder: no ``..``, no empty part, no folder's own mark."""
    return not any(part in ("", ".", "..") for part in path.split("/"))


def is_dag(path: str, data: bytes) -> bool:
    """Whether a file is a DAG file, rather than YAML of another kind."""
    return path.endswith(SUFFIXES) and _IS_DAG.search(data) is not None


def _packed(contents: dict[str, bytes]) -> bytes | None:
    """The files as a tar archive, the same for the same files; None when there is none.

    A bucket knows no permissions: what starts with ``#!`` may be run.
    """
    import tarfile  # few folders hold more than DAG files

    if not contents:
        return None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
