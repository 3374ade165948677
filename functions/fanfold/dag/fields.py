"""The fields of a mapping in a DAG file, each read as what it must be; what is wrong is noted and reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fanfold.dag.diagnostics import Problems, nearest
from fanfold.dag.model import MAX_EXIT_CODE, Place
from fanfold.dag.yaml_source import Mapping, Node, Scalar, Sequence


class Fields:
    """One mapping, its known keys and the problems of reading it."""

    def __init__(
        self,
        node: Mapping,
        what: str,
        known: Iterable[str],
        problems: Problems,
        unsupported: dict[str, str] | None = None,
    ) -> None:
        self.node = node
        self.problems = problems
        self._values = {key.text: value for key, value in node.entries}
        known = set(known)
        for key, _ in node.entries:
            if unsupported and key.text in unsupported:
                problems.add(key.place, f"{key.text!r} is not supported", unsupported[key.text])
            elif key.text not in known:
                hint = nearest(key.text, known) or f"known keys: {', '.join(sorted(known))}"
                problems.add(key.place, f"unknown key {key.text!r} in {what}", hint)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def node_of(self, key: str) -> Node | None:
        """The value's node; None when the key is missing or its value empty."""
        node = self._values.get(key)
        return None if isinstance(node, Scalar) and node.value is None else node

    def place_of(self, key: str) -> Place:
        """Where the value stands; where the mapping does when there is none."""
        node = self._values.get(key)
        return node.place if node is not None else self.node.place

    def text(self, key: str, hint: str = "") -> str | None:
        """A single value as text."""
        node = self.node_of(key)
        return None if node is None else read_text(node, key, self.problems, hint)

    def number(self, key: str, *, least: float, whole: bool, most: float | None = None) -> float | None:
        """A number in bounds; digits in quotes count."""
        node = self.node_of(key)
        if node is None:
            return None
        try:
            if not isinstance(node, Scalar) or isinstance(node.value, bool):
                raise ValueError
            value = float(node.text)
            if value != value or value < least or (most is not None and value > most) or (whole and value % 1):
                raise ValueError
        except ValueError:
            kind = "a whole number" if whole else "a number"
            span = f"from {least:g} to {most:,.0f}" if most is not None else f"of at least {least:g}"
            shown = repr(node.text) if isinstance(node, Scalar) else "a list or mapping"
            self.problems.add(node.place, f"{key!r} is {shown}", f"give {kind} {span}")
            return None
        return value

    def flag(self, key: str) -> bool:
        """true or false; false when missing."""
        node = self.node_of(key)
        if node is None:
            return False
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            self.problems.add(node.place, f"{key!r} must be true or false", "write true or false, without quotes")
            return False
        return node.value

    def texts(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts."""
        node = self.node_of(key)
        if node is None:
            return ()
        nodes = node.items if isinstance(node, Sequence) else [node]
        return tuple(text for item in nodes if (text := read_text(item, key, self.problems)) is not None)

    def exit_codes(self, key: str) -> tuple[int, ...]:
        """An exit code or a list of them."""
        node = self.node_of(key)
        if node is None:
            return ()
        found: list[int] = []
        for item in node.items if isinstance(node, Sequence) else [node]:
            value = item.value if isinstance(item, Scalar) else None
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_EXIT_CODE:
                found.append(value)
            else:
                hint = f"give whole numbers from 0 to {MAX_EXIT_CODE}, such as [1, 255]"
                self.problems.add(item.place, f"{key!r} holds exit codes", hint)
        return tuple(found)

    def child(self, key: str, hint: str) -> Mapping | None:
        """A mapping below `key`."""
        node = self.node_of(key)
        if node is None or isinstance(node, Mapping):
            return node
        self.problems.add(node.place, f"{key!r} must be a mapping", hint)
        return None

    def optional(self, key: str, read: Callable[[Node], Any]) -> Any:
        """`read` of the value's node; None when there is none."""
        node = self.node_of(key)
        return None if node is None else read(node)


def read_text(node: Node, key: str, problems: Problems, hint: str = "") -> str | None:
    """A single value as it is written; None, and a problem, for a list or mapping."""
    if isinstance(node, Scalar):
        return "" if node.value is None else node.text
    problems.add(node.place, f"{key!r} must be a single text", hint or "quote it, if it holds brackets or ': '")
    return None
