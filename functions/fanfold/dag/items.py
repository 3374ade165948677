"""What ``parallel`` fans out over: text → items, and an item → the parameters of its child run.

Source: specification, *Parallel Configuration Options* and *Parameter Passing*; semantics, *Items*.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from fanfold.dag.model import MAX_ITEMS, Json
from fanfold.dag.params import Parameters
from fanfold.dag.values import as_text, parse_json

_WHITE_SPACE = re.compile(r"\s")
_QUOTED = re.compile(r'"[^"]*"')
_WORD = re.compile(r'(?<!\S)"[^"]*"(?!\S)|\S+')


class BadItems(ValueError):
    """A list of items that `parallel` cannot run: empty, or over the limit."""


def items_of_text(text: str) -> list[Json]:
    """A variable's text as items.

    A JSON array gives its elements, a JSON object is one item; else each line is one; a single line splits at white
    space (double quotes group), and at commas, semicolons or bars when it holds no white space but beside them. Blank
    lines and blanks around a line are dropped.
    """
    stripped = text.strip()
    if stripped.startswith(("[", "{")):
        try:
            value = parse_json(stripped)
        except ValueError:
            pass
        else:
            return value if isinstance(value, list) else [value]
    lines = [line.strip() for line in stripped.split("\n")]
    lines = [line for line in lines if line]
    if len(lines) != 1:
        return list(lines)
    for separator in ",;|":
        words = [word.strip() for word in lines[0].split(separator)]
        if len(words) > 1 and not any(_WHITE_SPACE.search(word) for word in words):
            return [word for word in words if word]
    return [word[1:-1] if _QUOTED.fullmatch(word) else word for word in _WORD.findall(lines[0])]


def bounded(items: Iterable[Json], limit: int = MAX_ITEMS) -> Iterator[Json]:
    """The items. Raises BadItems when there is none, or more than `limit` (counted before duplicates are dropped).

    Of a list this is known, and raised, before the first item; of a stream behind its last.
    """
    count = len(items) if isinstance(items, Sequence) else 0
    if count <= limit:
        for count, item in enumerate(items, 1):
            if count <= limit:
                yield item
    if not count:
        raise BadItems("parallel execution requires at least one item")
    if count > limit:
        raise BadItems(f"parallel execution exceeds maximum limit: {count} items (max: {limit})")


def parameters_of_item(item: Json) -> Parameters:
    """The child's parameters of an item when the step has no ``params``: named for an object, else ``$1``."""
    if isinstance(item, dict):
        return Parameters(named={name: as_text(value) for name, value in item.items()})
    return Parameters(positional=(as_text(item),))


def shown_item(item: Json, parameters: Parameters, *, has_params: bool) -> Json:
    """`parameters` of an item's entry in the document: an array item is shown as the array."""
    if not has_params and isinstance(item, list):
        return [as_text(element) if not isinstance(element, list | dict) else element for element in item]
    return parameters.shown()


def distinct(entries: Iterable[tuple[Parameters, Json]]) -> Iterator[tuple[Parameters, Json]]:
    """The entries (bound parameters, what the document shows) without those whose parameters came before.

    Remembers 16 bytes of each, so that a million fit into a small memory.
    """
    seen: set[bytes] = set()
    for parameters, shown in entries:
        text = json.dumps([parameters.positional, sorted(parameters.named.items())])
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if key not in seen:
            seen.add(key)
            yield parameters, shown
