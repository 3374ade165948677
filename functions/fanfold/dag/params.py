"""Parameters: the text form of ``params``, and what a child DAG gets of what its caller gives.

Source: specification, *Parameter Passing*; semantics, *Parameters*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fanfold.dag.model import Json
from fanfold.dag.references import NAME

_NAMED = re.compile(rf"({NAME})=")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a caller gives to a DAG: positional values (``$1`` …) and named ones, all text."""

    positional: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> Json:
        """As it travels in a state: one positional value as a text, several as a list, else an object of both kinds."""
        if not self.named:
            return self.positional[0] if len(self.positional) == 1 else list(self.positional)
        data: dict[str, Json] = {"named": dict(self.named)}
        if self.positional:
            data["positional"] = list(self.positional)
        return data

    @staticmethod
    def from_json(data: Json) -> Parameters:
        """The inverse of `to_json`; raises ValueError for what is neither."""
        if isinstance(data, str):
            return Parameters((data,))
        if isinstance(data, list):
            return Parameters(tuple(map(str, data)))
        if isinstance(data, dict):
            positional, named = data.get("positional") or [], data.get("named") or {}
            if isinstance(positional, list) and isinstance(named, dict):
                return Parameters(tuple(map(str, positional)), {key: str(value) for key, value in named.items()})
        raise ValueError("parameters are a text, a list, or {'positional': [...], 'named': {...}}")

    def shown(self) -> Json:
        """As the document and `run` show them: one positional value as itself, named ones as an object."""
        if not self.named:
            return self.positional[0] if len(self.positional) == 1 else list(self.positional)
        shown: dict[str, Json] = {str(index): value for index, value in enumerate(self.positional, 1)}
        shown.update(self.named)
        return shown


def split_arguments(text: str) -> list[tuple[str | None, str]]:
    """``p1 K=v 'two words'`` → ``[(None, "p1"), ("K", "v"), (None, "two words")]``.

    Quotes group as in a shell and are dropped; what stands in ``$(…)``, ``${…}`` and backticks is kept whole, quotes
    and all. Raises ValueError when a quote or bracket is not closed.
    """
    arguments: list[tuple[str | None, str]] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        named = _NAMED.match(text, position)
        start = named.end() if named else position
        value, position = _word(text, start)
        arguments.append((named[1] if named else None, value))
    return arguments


def _word(text: str, position: int) -> tuple[str, int]:
    pieces: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        if not quote and character.isspace():
            break
        if character == "\\" and quote != "'" and text[position + 1 : position + 2] in ('"', "\\", "'", " "):
            pieces.append(text[position + 1])
            position += 2
        elif quote != "'" and (text.startswith(("$(", "${"), position) or character == "`"):
            end = _end_of_expansion(text, position)
            pieces.append(text[position:end])
            position = end
        elif character == quote or (not quote and character in "'\""):
            quote = "" if quote else character
            position += 1
        else:
            pieces.append(character)
            position += 1
    if quote:
        raise ValueError(f"the quote {quote} is not closed")
    return "".join(pieces), position


def _end_of_expansion(text: str, start: int) -> int:
    if text[start] == "`":
        end = text.find("`", start + 1)
        if end < 0:
            raise ValueError("the backtick ` is not closed")
        return end + 1
    left, right = ("(", ")") if text[start + 1] == "(" else ("{", "}")
    depth = 0
    for position in range(start + 1, len(text)):
        if text[position] == left:
            depth += 1
        elif text[position] == right:
            depth -= 1
            if depth == 0:
                return position + 1
    raise ValueError(f"${left} is not closed with {right}")


def bind(declared: Iterable[tuple[str | None, str]], given: Parameters) -> Parameters:
    """What a DAG sees: its declared defaults (name or None, value), overridden by what its caller gives.

    A default's place counts among all of ``params``: with ``p1 K=v 'two words'`` the last is ``$3`` (observed:
    params_forms). A positional value never sets a named parameter (observed: item_positional_over_named).
    """
    named: dict[str, str] = {}
    slots: dict[int, str] = {}
    for place, (name, value) in enumerate(declared):
        if name is None:
            slots[place] = value
        else:
            named[name] = value
    slots |= dict(enumerate(given.positional))
    count = max(slots, default=-1) + 1
    return Parameters(tuple(slots.get(place, "") for place in range(count)), named | dict(given.named))


def from_arguments(arguments: Iterable[str]) -> Parameters:
    """Command line arguments ``NAME=value`` and positional ones → Parameters."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments:
        match = _NAMED.match(argument)
        if match:
            named[match[1]] = argument[match.end() :]
        else:
            positional.append(argument)
    return Parameters(tuple(positional), named)
