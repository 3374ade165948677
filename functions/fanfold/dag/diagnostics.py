"""What is wrong in a DAG file, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fanfold.dag.model import Place


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a DAG file."""

    place: Place
    message: str
    hint: str = ""
    """What would be right."""
    line_text: str = ""
    """The offending line, as written."""

    def render(self) -> str:
        """As plain text: place and message, the line with a mark below the column, the hint."""
        lines = [f"{self.place}: {self.message}"]
        if self.line_text:
            lines += [f"    {self.line_text}", f"    {' ' * (self.place.column - 1)}^"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


def problems_of_report(reported: Iterable[dict[str, Any]]) -> tuple[Problem, ...]:
    """The problems of a deployment's report, as it is stored beside the DAG file."""
    return tuple(Problem(**{**problem, "place": Place(**problem["place"])}) for problem in reported)


class DagFileError(Exception):
    """A DAG file cannot be used; holds every problem found, in the order of their places."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.place.file, p.place.line, p.place.column, p.message)))
        super().__init__("\n".join(problem.render() for problem in self.problems))


class Problems:
    """Collects what is found, and knows the lines of the files."""

    SHOWN_LINE = 160
    """Characters of an offending line that are shown at most."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._lines: dict[str, Sequence[str]] = {}

    def add_source(self, file: str, text: str) -> None:
        """Let problems in `file` show their lines."""
        self._lines[file] = text.split("\n")

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Note a problem; the same one twice counts once."""
        problem = Problem(place, message, hint, self._line(place))
        if problem not in self.found:
            self.found.append(problem)

    def _line(self, place: Place) -> str:
        lines = self._lines.get(place.file, ())
        text = lines[place.line - 1].rstrip() if 0 < place.line <= len(lines) else ""
        return text[: self.SHOWN_LINE].replace("\t", " ")

    def raise_if_any(self) -> None:
        """Raise DagFileError with all that was found, if anything was."""
        if self.found:
            raise DagFileError(self.found)


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean X?`` for the known word that is nearest; empty when none is near."""
    import difflib  # only a wrong file needs it

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if not matches:
        lowered = {name.lower(): name for name in known}
        matches = [lowered[word.lower()]] if word.lower() in lowered else []
    return f"did you mean {matches[0]!r}?" if matches else ""
