"""The DAG folder on this machine: where a DAG file and the child DAGs that it names are read from."""

from __future__ import annotations

from pathlib import Path

from fanfold.dag.read import Fetch


class UnusableFile(Exception):
    """A file that cannot be read at all; the message says why."""


def fetch_from(folder: Path, read: dict[str, bytes] | None = None) -> Fetch:
    """Reads files below `folder`, and notes in `read` what it read; raises UnusableFile where it may not."""

    def fetch(path: str) -> bytes | None:
        target = folder / path
        try:
            if not target.is_file():
                return None
            data = target.read_bytes()
        except PermissionError as fault:
            raise UnusableFile(f"{target}: {fault.strerror}") from None
        except OSError:
            return None  # a name that no file can have
        if read is not None:
            read[path] = data
        return data

    return fetch
