"""Unpacking a tar archive so that nothing of it comes to lie outside of a folder."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Literal


def unpack(archive: tarfile.TarFile, folder: Path, kind: Literal["data", "tar"]) -> None:
    """Unpack all of an archive; `kind` is a filter of tarfile (*Extraction filters*). Raises tarfile.TarError."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter=kind)  # noqa: S202 - that is what the filter is for
        return
    root = Path(os.path.realpath(folder))  # Python before 3.11.4 knows no filters
    for entry in archive:
        target = Path(os.path.realpath(root / entry.name))
        if not target.is_relative_to(root) or (kind == "data" and not (entry.isreg() or entry.isdir())):
            raise tarfile.ExtractError(f"{entry.name!r} is not a file of this folder")
        archive.extract(entry, root)
