"""What a run must come to wherever it runs, and what the laptop makes of a DAG file."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from support import run_file

Result = dict[str, Any]

_OWN = ("run", "started", "seconds", "log", "dagRunId")


def comparable(record: Result) -> Result:
    """A record without what no two runs share: their ids, times, where logs are, and the names that mktemp makes."""
    text = re.sub(r'/[^"]*/tmp\.\w{10}', "/MKTEMP", json.dumps(_without_own(record)))
    made: Result = json.loads(text)
    return made


def _without_own(record: Result) -> Result:
    steps = {}
    for name, step in record["steps"].items():
        steps[name] = _left(step)
        if document := _left(step.get("document", {})):
            if "results" in document:
                document["results"] = [_left(row) for row in document["results"]]
            steps[name]["document"] = document
    return _left(record) | {"steps": steps}


def _left(told: Result) -> Result:
    return {key: value for key, value in told.items() if key not in _OWN}


def run_here(path: Path, arguments: tuple[str, ...], folder: Path) -> Result:
    """The record of a run of `fanfold start`, in a process whose scratch folder is emptied for it."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.environ |= {"CASE_TMP": str(scratch), "TMPDIR": str(scratch)}
    return run_file(path, *arguments, home=folder / "home")
