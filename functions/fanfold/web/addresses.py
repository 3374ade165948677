"""The addresses of runs, steps and items: ``/runs/RUN/steps/STEP/items/INDEX``, and so on down into children.

A step's name may hold a slash, which no server passes on unharmed: ``~1`` stands for it, and ``~0`` for ``~``, as in
RFC 6901. So does ``~2`` for a question mark, at which an HTTP API of API Gateway cuts a path off, encoded or not, and
``~3`` for a dot where a browser would take the name for a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

Item = tuple[str, int]
"""A step and the index of one of its items."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A run, or the child run of an item, or a step of either."""

    root: str
    items: tuple[Item, ...] = ()
    """The items on the way down; the run is the child of the last."""
    step: str | None = None

    @property
    def run_id(self) -> str:
        """The run's id, as events and logs name it (`fanfold.run.scope.RunIdentity`)."""
        return "/".join([self.root, *(f"{step}/{index}" for step, index in self.items)])

    @property
    def address(self) -> str:
        """Its page."""
        parts = ["/runs", quote(self.root, safe="")]
        for step, index in self.items:
            parts += ["steps", _encoded(step), "items", str(index)]
        if self.step is not None:
            parts += ["steps", _encoded(self.step)]
        return "/".join(parts)

    @property
    def run(self) -> RunPlace:
        """The run that a step is of."""
        return RunPlace(self.root, self.items)

    def of_step(self, name: str) -> RunPlace:
        """A step of this run."""
        return RunPlace(self.root, self.items, name)

    def of_item(self, index: int) -> RunPlace:
        """The child run of an item of this step."""
        assert self.step is not None
        return RunPlace(self.root, (*self.items, (self.step, index)))

    @property
    def caller(self) -> RunPlace | None:
        """The step that this child run is an item of."""
        return RunPlace(self.root, self.items[:-1], self.items[-1][0]) if self.items else None


def parse(root: str, rest: str) -> tuple[RunPlace, str]:
    """The place, and the word behind it that says what is asked of it; ValueError where it is no address."""
    place = RunPlace(root)
    parts = rest.split("/") if rest else []
    while parts:
        word, *parts = parts
        if word == "steps" and place.step is None and parts:
            place = place.of_step(_decoded(parts.pop(0)))
        elif word == "items" and place.step is not None and parts and parts[0].isdecimal():
            place = place.of_item(int(parts.pop(0)))
        elif not parts:
            return place, word
        else:
            raise ValueError(rest)
    return place, ""


def dag_address(name: str) -> str:
    """The page of a DAG."""
    return f"/dags/{_encoded(name)}"


def dag_of_address(part: str) -> str:
    """The inverse of `dag_address`, of its last part."""
    return _decoded(part)


def whole_number(text: str | None, default: int) -> int:
    """A number of a query or a header, at most nine digits; the default for anything else."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else default


def _encoded(name: str) -> str:
    escaped = name.replace("~", "~0").replace("/", "~1").replace("?", "~2")
    return quote(escaped.replace(".", "~3") if name in (".", "..") else escaped, safe="")


def _decoded(part: str) -> str:
    return part.replace("~3", ".").replace("~2", "?").replace("~1", "/").replace("~0", "~")
