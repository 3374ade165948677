"""``fanfold validate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.cli.files import problem_text
from fanfold.cli.findings import Finding, as_github, as_json, as_sarif, inspect
from fanfold.dag.model import DagSet

_MACHINE_FORMATS = {"json": as_json, "github": as_github, "sarif": as_sarif}


def validate_files(files: Sequence[Path], form: str) -> int:
    """Check each file and show what was found; the exit code: 0 without errors (warnings count for nothing), else 2."""
    inspected = [(file, *inspect(file)) for file in files]
    findings = [finding for _, _, found in inspected for finding in found]
    if form == "text":
        _show(inspected)
    else:
        sys.stdout.write(_MACHINE_FORMATS[form](findings) + "\n")
    return 2 if any(finding.severity == "error" for finding in findings) else 0


def _show(inspected: Sequence[tuple[Path, DagSet | None, list[Finding]]]) -> None:
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    for file, dag_set, findings in inspected:
        for finding in findings:
            errors.print(problem_text(finding.problem, finding.severity), soft_wrap=True)
        if dag_set is not None:
            steps = sum(len(dag.steps) for dag in dag_set.dags.values())
            counts = f"{_count(len(dag_set.dags), 'DAG')}, {_count(steps, 'step')}"
            warnings = f", {_count(len(findings), 'warning')}" if findings else ""
            console.print(Text.assemble(("✓ ", "green"), f"{file}: {counts}{warnings}"), soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
