"""``fanfold graph``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from fanfold.asl.stages import cut
from fanfold.cli.files import read_or_explain
from fanfold.drawing.mermaid import as_mermaid
from fanfold.drawing.svg import as_svg
from fanfold.history.run_data import StepState
from fanfold.local.folder import UnusableFile


def draw_file(file: Path, output: Path | None, run: str | None, home: Path | None) -> int:
    """Draw the first DAG of `file`; the exit code: 0, or 2 when the file, the run or the output cannot be used."""
    dag_set = read_or_explain(file)
    if dag_set is None:
        return 2
    dag = dag_set.root
    try:
        record = _record(run, home) if run is not None else None
        draw = as_svg if output is not None and output.suffix == ".svg" else as_mermaid
        text = draw(dag, cut(dag), record)
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, "utf-8")
    except (UnusableFile, OSError) as fault:
        reason = f"{fault.filename}: {fault.strerror}" if isinstance(fault, OSError) else str(fault)
        Console(stderr=True, highlight=False).print(Text(reason, "red"), soft_wrap=True)
        return 2
    return 0


def _record(run: str, home: Path | None) -> dict[str, Any]:
    from fanfold.history.folder import LocalRunStore
    from fanfold.history.run_store import NoSuchRun
    from fanfold.local.session import data_folder

    try:
        data = LocalRunStore(home or data_folder()).data(run)
    except NoSuchRun as fault:
        raise UnusableFile(str(fault)) from None
    return {"steps": {step.name: _of_step(step) for step in data.steps()}}


def _of_step(step: StepState) -> dict[str, Any]:
    if step.total is None:
        return {"status": step.status}
    succeeded = step.counts.get("success", 0) + step.counts.get("partial", 0)
    return {"status": step.status, "document": {"summary": {"total": step.total, "succeeded": succeeded}}}
