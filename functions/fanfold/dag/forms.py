"""The parts of a DAG or step that may be written in several forms: params, env, preconditions, parallel and others."""

from __future__ import annotations

import re
from typing import Literal

from fanfold.dag.diagnostics import Problems
from fanfold.dag.fields import Fields, read_text
from fanfold.dag.model import (
    DEFAULT_CONCURRENCY,
    MAX_ITEMS,
    MAX_TRIES,
    YEAR_SECONDS,
    Argument,
    ContinueOn,
    Parallel,
    Place,
    Precondition,
    RepeatPolicy,
    RetryPolicy,
)
from fanfold.dag.params import split_arguments
from fanfold.dag.references import NAME
from fanfold.dag.yaml_source import Mapping, Node, Scalar, Sequence, as_json

_NAME = re.compile(NAME)
_ASSIGNMENT = re.compile(rf"({NAME})=(.*)", re.DOTALL)


def read_params(node: Node, problems: Problems) -> tuple[Argument, ...]:
    """``params``: a text, a list of texts and maps, or a map."""
    if isinstance(node, Scalar):
        try:
            return tuple(Argument(name, value, node.place) for name, value in split_arguments(node.text))
        except ValueError as error:
            problems.add(node.place, f"'params' cannot be split into words: {error}", "close the quote or bracket")
            return ()
    if isinstance(node, Mapping):
        return _named(node, "params", problems)
    assert isinstance(node, Sequence)
    arguments: list[Argument] = []
    for item in node.items:
        if isinstance(item, Mapping):
            arguments += _named(item, "params", problems)
            continue
        text = read_text(item, "params", problems, "an entry is NAME: value, 'NAME=value' or a text")
        if text is not None:
            match = _ASSIGNMENT.fullmatch(text)
            arguments.append(Argument(match[1], match[2], item.place) if match else Argument(None, text, item.place))
    return tuple(arguments)


def read_env(node: Node, problems: Problems) -> tuple[Argument, ...]:
    """``env``: a map, or a list of maps and ``NAME=value`` texts."""
    if isinstance(node, Mapping):
        return _named(node, "env", problems)
    arguments: list[Argument] = []
    for item in node.items if isinstance(node, Sequence) else [node]:
        if isinstance(item, Mapping):
            arguments += _named(item, "env", problems)
            continue
        text = read_text(item, "env", problems, "an entry is NAME: value or 'NAME=value'")
        match = _ASSIGNMENT.fullmatch(text or "")
        if match:
            arguments.append(Argument(match[1], match[2], item.place))
        elif text is not None:
            problems.add(item.place, f"the env entry {text!r} has no name", "write NAME: value or 'NAME=value'")
    return tuple(arguments)


def _named(node: Mapping, key: str, problems: Problems) -> tuple[Argument, ...]:
    arguments: list[Argument] = []
    for name, value in node.entries:
        if not _NAME.fullmatch(name.text):
            hint = "a name has letters, digits and _, and does not start with a digit"
            problems.add(name.place, f"{name.text!r} is no name for a variable", hint)
            continue
        if isinstance(value, Scalar):
            arguments.append(Argument(name.text, "" if value.value is None else value.text, value.place))
        else:
            hint = 'write a list or object as JSON text in quotes: \'["a", "b"]\''
            problems.add(value.place, f"the value of {name.text} in {key!r} is a list or mapping", hint)
    return tuple(arguments)


def read_preconditions(node: Node, problems: Problems) -> tuple[Precondition, ...]:
    """``preconditions``: a command, ``{condition, expected}``, or a list of them."""
    found: list[Precondition] = []
    for item in node.items if isinstance(node, Sequence) else [node]:
        if isinstance(item, Mapping):
            fields = Fields(item, "a precondition", {"condition", "expected", "negate"}, problems)
            negate = fields.flag("negate")
            condition, expected = fields.text("condition"), fields.text("expected")
            if condition is None:
                problems.add(item.place, "the precondition has no 'condition'", "add 'condition:'")
                continue
        else:
            condition, expected, negate = read_text(item, "preconditions", problems), None, False
        if condition is None:
            continue
        if expected is not None and expected.startswith("re:"):
            try:
                re.compile(expected[3:])
            except re.error as error:
                problems.add(item.place, f"the regular expression {expected[3:]!r} is not valid: {error}", "mend it")
                continue
        found.append(Precondition(condition, expected, item.place, negate))
    return tuple(found)


def read_parallel(
    node: Node, step_concurrency: tuple[int, Place] | None, problems: Problems, most_concurrent: int = MAX_ITEMS
) -> Parallel | None:
    """``parallel``: a list, a text with a reference, or ``{items, maxConcurrent}``."""
    concurrency = step_concurrency
    items: Node | None = node
    if isinstance(node, Mapping):
        fields = Fields(node, "'parallel'", {"items", "maxConcurrent"}, problems)
        own = read_concurrency(fields, problems, most_concurrent)
        if own is not None and concurrency is not None and own[0] != concurrency[0]:
            hint = f"the step says {concurrency[0]} in line {concurrency[1].line}; keep one of them"
            problems.add(own[1], f"'maxConcurrent' is {own[0]} here and another at the step", hint)
        concurrency = own or concurrency
        items = fields.node_of("items")
    most = concurrency[0] if concurrency else DEFAULT_CONCURRENCY
    hint = "give a list of items or a reference such as ${ITEMS}"
    if items is None:
        problems.add(node.place, "'parallel' has no items", hint)
        return None
    if isinstance(items, Sequence):
        if not items.items:
            problems.add(items.place, "the list of items is empty", "parallel needs at least one item")
            return None
        return Parallel(tuple(as_json(item) for item in items.items), None, most, items.place)
    if isinstance(items, Scalar) and isinstance(items.value, str):
        if not items.text.strip():
            problems.add(items.place, "the items are an empty text", hint)
            return None
        return Parallel(None, items.text, most, items.place)
    what = "a mapping" if isinstance(items, Mapping) else repr(items.text) if isinstance(items, Scalar) else "?"
    problems.add(items.place, f"'parallel' cannot fan out over {what}", hint)
    return None


def read_concurrency(fields: Fields, problems: Problems, most_concurrent: int = MAX_ITEMS) -> tuple[int, Place] | None:
    """``maxConcurrent``, 1 to `most_concurrent`, and where it stands."""
    node = fields.node_of("maxConcurrent")
    if node is None:
        return None
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most_concurrent:
        return value, node.place
    shown = repr(value) if isinstance(node, Scalar) else "a list or mapping"
    problems.add(node.place, f"'maxConcurrent' is {shown}", f"give a whole number from 1 to {most_concurrent:,}")
    return None


def read_continue_on(fields: Fields | None) -> ContinueOn:
    """``continueOn``."""
    if fields is None:
        return ContinueOn()
    return ContinueOn(
        failure=fields.flag("failure"),
        skipped=fields.flag("skipped"),
        exit_codes=fields.exit_codes("exitCode"),
        output=fields.texts("output"),
        mark_success=fields.flag("markSuccess"),
    )


def read_retry(fields: Fields | None) -> RetryPolicy | None:
    """``retryPolicy``."""
    if fields is None:
        return None
    limit = fields.number("limit", least=0, whole=True, most=MAX_TRIES)
    if limit is None and fields.node_of("limit") is None:
        fields.problems.add(fields.node.place, "'retryPolicy' has no 'limit'", "add how many further tries: limit: 3")
    return RetryPolicy(
        limit=int(limit or 0),
        interval_sec=fields.number("intervalSec", least=0, whole=False, most=YEAR_SECONDS) or 0,
        exit_codes=fields.exit_codes("exitCode"),
        backoff=_backoff(fields),
        max_interval_sec=fields.number("maxIntervalSec", least=0.001, whole=False, most=YEAR_SECONDS),
    )


def _backoff(fields: Fields) -> float:
    """``backoff``: a factor, or true for 2."""
    node = fields.node_of("backoff")
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return 2 if node.value else 1
    return fields.number("backoff", least=1, whole=False, most=100) or 1


def read_repeat(fields: Fields | None) -> RepeatPolicy | None:
    """``repeatPolicy``."""
    if fields is None:
        return None
    node = fields.node_of("repeat")
    word = node.value if isinstance(node, Scalar) else None
    modes: dict[object, Literal["while", "until", "always"]] = {"while": "while", "until": "until", True: "always"}
    conditions = fields.node_of("condition")
    codes = fields.exit_codes("exitCode")
    if word is False:
        return None
    if word not in modes and (word is not None or not (conditions or codes)):
        fields.problems.add(fields.place_of("repeat"), "'repeat' says when to run again", "give while, until or true")
        return None
    limit = fields.number("limit", least=1, whole=True)
    mode = modes.get(word, "while")
    if mode == "always" and (conditions is not None or codes):
        mode = "while"
    condition = None
    if conditions is not None:
        text, expected = fields.text("condition"), fields.text("expected")
        condition = Precondition(text or "", expected, conditions.place)
    interval = fields.number("intervalSec", least=0, whole=False) or 0
    return RepeatPolicy(mode, interval, None if limit is None else int(limit), condition, codes)
