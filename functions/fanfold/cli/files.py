"""DAG files on disk, and how their problems are shown."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.model import DagSet
from fanfold.dag.read import read_dag_file
from fanfold.local.folder import UnusableFile, fetch_from


def check_readable(file: Path) -> None:
    """Raise UnusableFile unless `file` is a file that can be read."""
    try:
        with file.open("rb"):
            pass
    except IsADirectoryError:
        raise UnusableFile(f"{file} is a folder, not a DAG file") from None
    except OSError as error:
        raise UnusableFile(f"{file}: {error.strerror}") from None


def read_from_disk(file: Path) -> DagSet:
    """The DAGs of a file; raises UnusableFile or DagFileError."""
    check_readable(file)
    path = file.resolve()
    return read_dag_file(path.name, fetch_from(path.parent), os.environ)


def read_or_explain(file: Path) -> DagSet | None:
    """The DAGs of a file; None when it is wrong, which has then been said on stderr."""
    errors = Console(stderr=True, highlight=False)
    try:
        return read_from_disk(file)
    except UnusableFile as fault:
        errors.print(Text(str(fault), "red"), soft_wrap=True)
    except DagFileError as fault:
        show_problems(errors, file, fault)
    return None


def show_problems(console: Console, file: Path, error: DagFileError) -> None:
    """Print every problem with its place, line and hint."""
    for problem in error.problems:
        place = problem.place
        path = file.parent / place.file
        console.print(problem_text(replace(problem, place=replace(place, file=str(path))), "error"), soft_wrap=True)
    count = len(error.problems)
    console.print(Text(f"{count} problem{'s' if count > 1 else ''}; nothing was run or deployed", "bold"))


def problem_text(problem: Problem, severity: str) -> Text:
    """A problem in colour: place and message, the line with a mark below the column, the hint."""
    place, style = problem.place, "red" if severity == "error" else "yellow"
    text = Text.assemble((str(place), "bold"), (": ", ""), (problem.message, style))
    if severity == "warning":
        text.append(" (warning)", style)
    if problem.line_text:
        text.append(f"\n    {problem.line_text}\n    {' ' * (place.column - 1)}")
        text.append("^", style)
    if problem.hint:
        text.append("\n  hint: ", "cyan").append(problem.hint)
    return text
