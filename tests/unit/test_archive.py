"""Archives are unpacked into their folder and nowhere else, also by a Python without extraction filters."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from fanfold.run.archive import unpack


@pytest.fixture(params=["with filters", "without"], autouse=True)
def _python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


def archive(*entries: tuple[str, bytes | str]) -> tarfile.TarFile:
    """Files by bytes, symbolic links by text."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if isinstance(content, str):
                entry.type, entry.linkname, content = tarfile.SYMTYPE, content, b""
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    return tarfile.open(fileobj=packed)


@pytest.mark.parametrize("kind", ["data", "tar"])
def test_files_arrive_with_their_rights(tmp_path: Path, kind: str) -> None:
    unpack(archive(("a/ü b.sh", b"#!/bin/sh\n"), ("c", b"")), tmp_path, kind)  # type: ignore[arg-type]
    assert (tmp_path / "a/ü b.sh").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "a/ü b.sh").stat().st_mode & 0o111
    assert (tmp_path / "c").read_bytes() == b""


@pytest.mark.parametrize(
    "entries",
    [[("../out", b"x")], [("a/../../out", b"x")], [("link", ".."), ("link/out", b"x")]],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["data", "tar"])
def test_nothing_lies_outside(tmp_path: Path, entries: list[tuple[str, bytes | str]], kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(tarfile.TarError):
        unpack(archive(*entries), folder, kind)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
