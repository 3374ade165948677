"""YAML text → documents as trees of nodes that know their places.

Built from the parser's events, so that nothing is ever constructed (no tags, no Python objects), each value keeps its
line and column, and an alias bomb is refused before it grows. Scalars follow the core schema of YAML 1.2: ``yes`` and
``12:30`` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from fanfold.dag.diagnostics import Problems
from fanfold.dag.model import Json, Place

MAX_BYTES = 1024 * 1024
"""Size of a DAG file."""

MAX_DEPTH = 100
"""Levels of nesting."""

MAX_NODES = 100_000
"""Nodes of a document with its aliases expanded."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_STRING_TAGS = {"!", "tag:yaml.org,2002:str"}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")}


@dataclass(slots=True)
class Node:
    """A value and where it stands."""

    place: Place
    weight: int = field(default=1, init=False)
    """Nodes below and including this, aliases counted each time."""


@dataclass(slots=True)
class Scalar(Node):
    """A single value."""

    value: Json
    text: str
    """As written, without quotes."""


@dataclass(slots=True)
class Sequence(Node):
    """A list."""

    items: list[Node]


@dataclass(slots=True)
class Mapping(Node):
    """Keys and values in order, merge keys (``<<``) resolved."""

    entries: list[tuple[Scalar, Node]]

    def get(self, key: str) -> Node | None:
        """The value under `key`; None when it is not there."""
        return next((value for name, value in self.entries if name.text == key), None)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its root and its own text."""

    root: Node
    text: str


class _Refused(Exception):
    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place, self.message, self.hint = place, message, hint


def read_documents(file: str, data: bytes, problems: Problems) -> list[Document]:
    """The documents of a file that are not empty; what is wrong goes to `problems` (then the list is empty)."""
    start = Place(file, 1, 1)
    if len(data) > MAX_BYTES:
        problems.add(start, f"the file has {len(data):,} bytes, more than {MAX_BYTES:,}", "split it into several files")
        return []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(Place(file, line, 1), "this is not a text file in UTF-8", "save the DAG file as UTF-8 text")
        return []
    control = _CONTROL.search(text)
    if control:
        line, column = text.count("\n", 0, control.start()) + 1, control.start() - text.rfind("\n", 0, control.start())
        message = f"the control character {control[0]!r} cannot stand in a DAG file"
        problems.add(Place(file, line, column), message, "this looks like a binary file; a DAG file is YAML text")
        return []
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    problems.add_source(file, text)
    try:
        documents = list(_documents(file, text, problems))
    except _Refused as refused:
        problems.add(refused.place, refused.message, refused.hint)
        return []
    except yaml.YAMLError as error:
        _add_yaml_error(file, text, error, problems)
        return []
    if not documents and not problems.found:
        problems.add(start, "the file holds no DAG", "a DAG file has at least 'steps:' with one step")
    return documents


def _add_yaml_error(file: str, text: str, error: yaml.YAMLError, problems: Problems) -> None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    problem = getattr(error, "problem", None) or "it cannot be read"
    context = getattr(error, "context", None)
    if "nesting depth" in problem:  # newer parsers have a bound of their own, and look ahead
        problems.add(place, f"nested more than {MAX_DEPTH} levels deep", "write it flatter")
        return
    message = f"not valid YAML: {problem}" + (f" ({context})" if context else "")
    line = "".join(text.split("\n")[place.line - 1 : place.line])
    hint = ""
    if "\t" in line[: line.find(line.lstrip())]:
        hint = "indent with spaces, not with tabs"
    elif "mapping values are not allowed" in message:
        hint = "quote a value that holds ': ', or check the indentation"
    elif "undefined alias" in message:
        hint = "define the anchor with & before the alias *"
    elif "block" in message or "expected" in message:
        hint = "check the indentation and closing quotes or brackets near here"
    problems.add(place, message, hint)


def _documents(file: str, text: str, problems: Problems) -> Iterator[Document]:
    lines = text.split("\n")
    builder: _Builder | None = None
    first_line, end_line = 0, 0
    pending: tuple[_Builder, int] | None = None
    for event in _events(text):
        starts_at, ends_at = event.start_mark.line, event.end_mark.line
        if isinstance(event, yaml.DocumentStartEvent):
            first_line = starts_at if event.explicit else end_line
            if pending is not None:
                yield from _close(pending[0], "\n".join(lines[pending[1] : first_line]))
            builder = _Builder(file, problems)
            pending = (builder, 0 if pending is None and not event.explicit else first_line)
        elif isinstance(event, yaml.DocumentEndEvent):
            end_line = ends_at
        elif builder is not None and not isinstance(event, yaml.StreamEndEvent):
            builder.take(event)
    if pending is not None:
        yield from _close(pending[0], "\n".join(lines[pending[1] :]))


def _events(text: str) -> Iterator[Any]:
    """The parser's events, untyped: their marks are declared optional, and always there."""
    yield from yaml.parse(text, Loader=_LOADER)


def _close(builder: _Builder, text: str) -> Iterator[Document]:
    root = builder.root
    if root is not None and not (isinstance(root, Scalar) and root.value is None):
        yield Document(root, text)


class _Builder:
    """Events of one document → nodes, without recursion."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[tuple[Node, Scalar | None]] = []
        self._anchors: dict[str, Node] = {}
        self._open: set[int] = set()
        self.root: Node | None = None

    def take(self, event: Any) -> None:
        place = Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            node, _ = self._stack.pop()
            self._open.discard(id(node))
            if isinstance(node, Mapping):
                node.entries = _merged(node.entries)
            self._place(node)
            return
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            self._place(self._alias(anchor or "", place))
            return
        node = self._start(event, place)
        if anchor:
            self._anchors[anchor] = node
        if isinstance(node, Scalar):
            self._place(node)
            return
        if len(self._stack) >= MAX_DEPTH:
            raise _Refused(place, f"nested more than {MAX_DEPTH} levels deep", "write it flatter")
        self._open.add(id(node))
        self._stack.append((node, None))

    def _start(self, event: Any, place: Place) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event, place)
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise _Refused(place, f"the tag {event.tag} is not supported", "write the value without a tag")
        return Sequence(place, []) if isinstance(event, yaml.SequenceStartEvent) else Mapping(place, [])

    def _alias(self, anchor: str, place: Place) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise _Refused(place, f"the alias *{anchor} has no anchor", f"define it with &{anchor} before")
        if id(node) in self._open:
            raise _Refused(place, f"the alias *{anchor} stands within its own anchor", "name another anchor")
        return node

    def _place(self, node: Node) -> None:
        """Put a finished node where it belongs."""
        if not self._stack:
            self.root = node
            return
        parent, key = self._stack[-1]
        parent.weight += node.weight
        if parent.weight > MAX_NODES:
            raise _Refused(
                node.place, f"the file grows to more than {MAX_NODES:,} values by its aliases", "use fewer aliases"
            )
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif isinstance(parent, Mapping):
            if key is None:
                if not isinstance(node, Scalar):
                    raise _Refused(node.place, "a key must be a single value", "quote it, if it holds [ or {")
                self._check_duplicate(parent, node)
                self._stack[-1] = (parent, node)
            else:
                parent.entries.append((key, node))
                self._stack[-1] = (parent, None)

    def _check_duplicate(self, mapping: Mapping, key: Scalar) -> None:
        for known, _ in mapping.entries:
            if known.text == key.text and key.text != "<<":
                message = f"the key {key.text!r} stands here twice"
                self._problems.add(key.place, message, f"the first is in line {known.place.line}; keep one of them")


def _merged(entries: list[tuple[Scalar, Node]]) -> list[tuple[Scalar, Node]]:
    """Entries with ``<<`` replaced by what it brings in, the mapping's own keys winning."""
    if not any(key.text == "<<" for key, _ in entries):
        return entries
    own = [(key, value) for key, value in entries if key.text != "<<"]
    taken = {key.text for key, _ in own}
    for key, value in entries:
        if key.text != "<<":
            continue
        sources = value.items if isinstance(value, Sequence) else [value]
        for source in sources:
            if not isinstance(source, Mapping):
                raise _Refused(value.place, "<< merges a mapping or a list of mappings", "give it an alias of one")
            own += [entry for entry in source.entries if entry[0].text not in taken]
            taken |= {name.text for name, _ in source.entries}
    return own


def _scalar(event: Any, place: Place) -> Scalar:
    text: str = event.value
    plain = event.style in (None, "") and event.tag is None
    if event.tag in _PLAIN_TAGS:
        plain = True
    elif event.tag is not None and event.tag not in _STRING_TAGS:
        raise _Refused(place, f"the tag {event.tag} is not supported", "write the value without a tag")
    return Scalar(place, _resolve(text) if plain else text, text)


def _resolve(text: str) -> Json:
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def as_json(node: Node) -> Json:
    """The value of a node as plain data."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [as_json(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {key.text: as_json(value) for key, value in node.entries}
