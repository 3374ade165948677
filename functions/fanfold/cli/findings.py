"""What ``fanfold validate`` found, in the forms that people and programs read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fanfold import __version__
from fanfold.asl.lint import lint
from fanfold.cli.files import read_from_disk
from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.model import DagSet, Place
from fanfold.local.folder import UnusableFile

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a file, with the path as the user knows it."""

    severity: Severity
    problem: Problem

    def to_json(self) -> dict[str, Any]:
        """``{"severity", "file", "line", "column", "message", "hint"}``."""
        place = self.problem.place
        return {
            "severity": self.severity,
            "file": place.file,
            "line": place.line,
            "column": place.column,
            "message": self.problem.message,
            "hint": self.problem.hint,
        }


def inspect(file: Path) -> tuple[DagSet | None, list[Finding]]:
    """The DAGs of a file, None when it has errors, and what was found."""
    try:
        dag_set = read_from_disk(file)
    except UnusableFile as fault:
        return None, [Finding("error", Problem(Place(str(file), 1, 1), str(fault)))]
    except DagFileError as fault:
        return None, [Finding("error", _as_known(problem, file)) for problem in fault.problems]
    return dag_set, [Finding("warning", _as_known(problem, file)) for problem in lint(dag_set)]


def _as_known(problem: Problem, file: Path) -> Problem:
    """With the path from where the user stands, and the offending line."""
    path = file.parent / problem.place.file
    line = problem.line_text
    if not line:
        lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
        line = "".join(lines[problem.place.line - 1 : problem.place.line]).rstrip()
    return replace(problem, place=replace(problem.place, file=str(path)), line_text=line)


def as_json(findings: Sequence[Finding]) -> str:
    """``{"findings": [...]}``."""
    return json.dumps({"findings": [finding.to_json() for finding in findings]}, indent=2, ensure_ascii=False)


def as_github(findings: Iterable[Finding]) -> str:
    """Workflow commands, which GitHub shows beside the line (docs.github.com, *Workflow commands*)."""
    return "\n".join(
        f"::{finding.severity} file={_property(finding.problem.place.file)},line={finding.problem.place.line},"
        f"col={finding.problem.place.column}::{_data(_sentence(finding.problem))}"
        for finding in findings
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _sentence(problem: Problem) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


def as_sarif(findings: Iterable[Finding]) -> str:
    """SARIF 2.1.0 (OASIS), as code scanners read it."""
    results = [
        {
            "ruleId": f"fanfold/{finding.severity}",
            "level": finding.severity,
            "message": {"text": _sentence(finding.problem)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": Path(finding.problem.place.file).as_posix()},
                        "region": {
                            "startLine": finding.problem.place.line,
                            "startColumn": finding.problem.place.column,
                        },
                    }
                }
            ],
        }
        for finding in findings
    ]
    rules = [{"id": f"fanfold/{severity}"} for severity in ("error", "warning")]
    driver = {"name": "fanfold", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)
