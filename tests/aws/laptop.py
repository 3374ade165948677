"""What ``fanfold start`` makes of a DAG file, in a process of its own: its AWS is not the stack's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from fanfold.dag.diagnostics import DagFileError
from support import run_file


def run_here(path: Path, arguments: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """``{"record": …}``, or ``{"problems": …}`` of a file that is refused."""
    scratch = empty(folder / "scratch")
    os.environ |= {"CASE_TMP": str(scratch), "TMPDIR": str(scratch)}
    try:
        return {"record": run_file(path, *arguments, home=folder / "home")}
    except DagFileError as refused:
        return {"problems": [problem.message for problem in refused.problems]}


def empty(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
