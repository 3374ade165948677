"""How a reference is written: ``${VAR}``, ``$VAR``, ``${VAR.path[0].KEY}``, ``$1``."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = r"[A-Za-z_][A-Za-z0-9_]*"

_STEP = r"(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*|\.?\[-?\d+\]|\.?\[\"[^\"\]]*\"\])"
BRACED = re.compile(rf"\$\{{({NAME}|\d+)({_STEP}*)\}}")
DOTTED = re.compile(rf"\$\{{({NAME}|\d+)(\.(?:[A-Za-z0-9_][A-Za-z0-9_-]*|\[[^\]]*\]){_STEP}*)\}}")
"""A reference with a path that no shell understands; ``${array[0]}`` is the shell's own."""
BARE = re.compile(rf"\$({NAME}|\d)")
PARAMETER_EXPANSION = re.compile(rf"\$\{{[#!]?({NAME}|\d+)")
_PATH_STEP = re.compile(r"\.([A-Za-z0-9_][A-Za-z0-9_-]*)|\[(-?\d+)\]|\[\"([^\"\]]*)\"\]")

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """``${name.path}``: `name` is a variable, a step's id or the number of a positional parameter."""

    name: str
    path: Path
    text: str
    """As written."""
    offset: int
    """Where in the text it starts."""


def parse_path(text: str) -> Path:
    """``.outputs[0].KEY`` → ``("outputs", 0, "KEY")``."""
    return tuple(
        match[1] if match[1] is not None else int(match[2]) if match[2] is not None else match[3]
        for match in _PATH_STEP.finditer(text)
    )
