"""Files beside a DAG are unpacked once, whoever comes first."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from fanfold.run.bundle import unpacked


class Store:
    """A bucket with one bundle; while it is read, another process unpacks the same one."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def get_bytes(self, _key: str) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("run.sh")
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"hi"))
        self._target.mkdir()
        (self._target / "run.sh").write_text("hi")
        return packed.getvalue()


def test_two_processes_may_share_a_folder(tmp_path: Path) -> None:
    folder = unpacked(Store(tmp_path / "digest"), "digest", tmp_path)  # type: ignore[arg-type]
    assert (folder / "run.sh").read_text() == "hi"
    assert list(tmp_path.iterdir()) == [folder]
