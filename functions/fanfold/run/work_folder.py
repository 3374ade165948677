"""``$FANFOLD_WORK_DIR``: a folder of the run's own, where a step leaves files for later ones.

The steps of one task share it as it is. Between tasks, which on AWS may run on different machines, it travels through
the store: only when there is a next task, and only when something in it has changed (docs/architecture.md).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanfold.run.keys import work_key
from fanfold.run.steps import RunContext


@contextmanager
def work_folder(context: RunContext, *, is_last: bool) -> Iterator[None]:
    """The run's folder, as the task before left it; it is removed after the last task, and wherever it is carried."""
    folder, carries = context.work_folder, context.runtime.carries_files
    if carries:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if carries and context.scope.work is not None:
        _fetch(context, context.scope.work)
    goes_on = carries and not is_last
    before = _state(folder) if goes_on else {}
    try:
        yield
        if goes_on and _state(folder) != before:
            context.scope.work = _store(context)
    finally:
        if is_last or carries:
            shutil.rmtree(folder, ignore_errors=True)


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """For every entry: its size and the time of its last change."""
    state: dict[str, tuple[int, int]] = {}
    for entry in folder.rglob("*"):
        told = entry.lstat()
        state[os.fspath(entry)] = (told.st_size, told.st_mtime_ns)
    return state


def _fetch(context: RunContext, key: str) -> None:
    import tarfile

    from fanfold.run.archive import unpack

    with tempfile.TemporaryFile() as packed:
        context.runtime.store.get_file(key, packed)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            unpack(archive, context.work_folder, "tar")


def _store(context: RunContext) -> str:
    import tarfile

    key = work_key(context.scope.run.prefix)
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(context.work_folder, arcname=".")
        packed.seek(0)
        context.runtime.store.put_file(key, packed)
    return key
