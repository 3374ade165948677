"""JSON values as a DAG sees them: as text, read by path.

Every variable of a run is text. A path reads through text that is JSON, at any level, so that a child's own document,
which is a text in its output variable, can be read too (semantics, *Document*).
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from fanfold.dag.model import Json
from fanfold.dag.references import Path


class NotJson(ValueError):
    """A path was asked of a text that is not JSON."""


def as_text(value: Json) -> str:
    """A JSON value as the text that a variable or ``$1`` holds: strings bare, all else compact JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _number_text(repr(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _number_text(literal: str) -> str:
    """The shortest plain way to write a number: 1e3 → 1000, 1.50 → 1.5 (observed: parse_json_numbers)."""
    try:
        number = Decimal(literal)
    except InvalidOperation:
        return literal
    if not number.is_finite():
        return literal
    if abs(number.adjusted()) > 30:
        return literal
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


class _Literal(float):
    """A number of a JSON text that keeps how it was written, so that no digit is lost."""

    literal: str

    def __new__(cls, literal: str) -> _Literal:
        number = super().__new__(cls, literal)
        number.literal = literal
        return number

    def __repr__(self) -> str:
        return _number_text(self.literal)


def _number(literal: str) -> int | _Literal:
    text = _number_text(literal)
    return int(text) if text.lstrip("-").isdigit() else _Literal(literal)


DECODER = json.JSONDecoder(parse_float=_number)
"""Reads JSON so that numbers keep every digit when shown by `as_text`."""


def parse_json(text: str) -> Json:
    """The value of a JSON text; ValueError when it is none."""
    try:
        value: Json = DECODER.decode(text)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
    return value


def read_path(text: str, path: Path) -> str:
    """The text at `path` within the JSON text `text`; empty when nothing is there.

    Raises NotJson when `text` is no JSON text at all.
    """
    try:
        value: Any = parse_json(text)
    except ValueError:
        raise NotJson(text) from None
    for key in path:
        if isinstance(value, str):
            try:
                value = parse_json(value)
            except ValueError:
                return ""
        if isinstance(key, int):
            if not isinstance(value, list) or not -len(value) <= key < len(value):
                return ""
            value = value[key]
        else:
            if not isinstance(value, dict) or key not in value:
                return ""
            value = value[key]
    return as_text(value)
