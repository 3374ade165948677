"""The files that lie beside a DAG file, as the runner finds them: unpacked once per process, and shared by its runs."""

from __future__ import annotations

import io
import os
import shutil
import threading
from pathlib import Path

from fanfold.run.store import ObjectStore

_LOCK = threading.Lock()


def bundle_key(digest: str) -> str:
    """Where a bundle lies in the run-data bucket."""
    return f"bundles/{digest}.tar"


def unpacked(store: ObjectStore, digest: str, folder: Path) -> Path:
    """The folder with the files of a bundle, below `folder`; it is whole as soon as it is there."""
    import tarfile  # few DAGs have a bundle

    from fanfold.run.archive import unpack

    target = folder / digest
    with _LOCK:
        if target.is_dir():
            return target
        half = folder / f"{digest}.{os.getpid()}"
        shutil.rmtree(half, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(store.get_bytes(bundle_key(digest)))) as archive:
            unpack(archive, half, "data")
        try:
            half.rename(target)
        except OSError:  # containers of one machine may share the folder, and another was faster
            if not target.is_dir():
                raise
            shutil.rmtree(half)
    return target
