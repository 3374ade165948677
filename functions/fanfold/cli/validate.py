"""``fanfold validate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.cli.files import UnusableFile, read_from_disk, show_problems
from fanfold.dag.diagnostics import DagFileError


def validate_files(files: Sequence[Path]) -> int:
    """Check each file; the exit code: 0 when all are good, else 2."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    good = True
    for file in files:
        try:
            dag_set = read_from_disk(file)
        except UnusableFile as fault:
            errors.print(Text(str(fault), "red"), soft_wrap=True)
            good = False
        except DagFileError as fault:
            show_problems(errors, file, fault)
            good = False
        else:
            steps = sum(len(dag.steps) for dag in dag_set.dags.values())
            counts = f"{_count(len(dag_set.dags), 'DAG')}, {_count(steps, 'step')}"
            console.print(Text.assemble(("✓ ", "green"), f"{file}: {counts}"), soft_wrap=True)
    return 0 if good else 2


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
