"""The run-data bucket of a laptop: the objects of one run are files in its folder, there as soon as they are written.

What lies there outlives the process, however that ends. All else is in the embedded S3.
"""

from __future__ import annotations

import glob
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fanfold.run.keys import KEPT_DAYS, prefix_of_run
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_half = itertools.count()


class FolderStore(ObjectStore):
    """See the module; `folder` is that of the run called `root`."""

    def __init__(self, client: S3Client | None, bucket: str, root: str, folder: Path) -> None:
        super().__init__(client, bucket)  # type: ignore[arg-type]
        self._embedded = ObjectStore(client, bucket)  # type: ignore[arg-type]
        self._folder = folder
        self._prefixes = tuple(f"{prefix_of_run(root, days)}/" for days in (None, *KEPT_DAYS))

    def _path(self, key: str) -> Path | None:
        """Where an object of the run lies; None for others."""
        prefix = next((prefix for prefix in self._prefixes if key.startswith(prefix)), None)
        return None if prefix is None else self._folder / key.removeprefix(prefix)

    def put_bytes(self, key: str, data: bytes) -> None:
        path = self._path(key)
        if path is None:
            super().put_bytes(key, data)
        else:
            self._write(path, io.BytesIO(data))

    def put_file(self, key: str, file: IO[bytes]) -> None:
        path = self._path(key)
        if path is None:
            super().put_file(key, file)
        else:
            self._write(path, file)

    def put_for_states(self, key: str, file: IO[bytes]) -> None:
        self._embedded.put_file(key, file)

    def _write(self, path: Path, file: IO[bytes]) -> None:
        """Write a file that is whole as soon as it is there."""
        half = path.with_name(f".{path.name[:200]}.{os.getpid()}-{next(_half)}")
        try:
            written = half.open("wb")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = half.open("wb")
        with written:
            shutil.copyfileobj(file, written, 1024 * 1024)
        half.replace(path)

    def _get(self, **arguments: Any) -> Any:
        path = self._path(arguments["Key"])
        if path is None:
            return super()._get(**arguments)
        try:
            file = path.open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise KeyError(arguments["Key"]) from None
        if "Range" not in arguments:
            return {"Body": file, "ETag": ""}
        start, last = map(int, arguments["Range"].removeprefix("bytes=").split("-"))
        with file:
            file.seek(start)
            return {"Body": io.BytesIO(file.read(last + 1 - start)), "ETag": ""}

    def has(self, key: str) -> bool:
        path = self._path(key)
        return super().has(key) if path is None else path.is_file()

    def keys(self, prefix: str) -> Iterator[str]:
        path = self._path(prefix)
        if path is None:
            yield from super().keys(prefix)
            return
        above, _, start = prefix.rpartition("/")
        top = self._path(f"{above}/") or path
        keys: list[str] = []
        for entry in top.glob(f"{glob.escape(start)}*"):
            below = [entry] if entry.is_file() else (file for file in entry.rglob("*") if file.is_file())
            keys += [f"{above}/{file.relative_to(top).as_posix()}" for file in below if not file.name.startswith(".")]
        yield from sorted(keys)

    def keys_in_each(self, prefix: str, name: str) -> Iterator[str]:
        path = self._path(f"{prefix}/")
        if path is None:
            yield from super().keys_in_each(prefix, name)
            return
        with suppress(FileNotFoundError), os.scandir(path) as entries:
            for entry in entries:
                if os.path.exists(os.path.join(entry.path, name)):
                    yield f"{prefix}/{entry.name}/{name}"

    def remove(self, key: str) -> None:
        path = self._path(key)
        if path is None:
            super().remove(key)
        else:
            path.unlink(missing_ok=True)
