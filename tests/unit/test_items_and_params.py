"""Text → items, parameters text → parameters, JSON values → text."""

from __future__ import annotations

import json

import pytest
from fanfold.dag.items import BadItems, bounded, distinct, items_of_text
from fanfold.dag.params import Parameters, bind, from_arguments, split_arguments
from fanfold.dag.values import NotJson, as_text, parse_json, read_path
from hypothesis import given
from hypothesis import strategies as st

WORD = st.text(
    alphabet=st.characters(blacklist_categories=["Cs", "Cc", "Z"], blacklist_characters=',;|"[{'), min_size=1
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["a", 1, {"k": [1]}]', ["a", 1, {"k": [1]}]),
        ('{"k": 1}', [{"k": 1}]),
        ("a b\n\n c ,d \n", ["a b", "c ,d"]),
        ("a b  c", ["a", "b", "c"]),
        ("a,b,,c", ["a", "b", "c"]),
        ("a,b, c,,d", ["a", "b", "c", "d"]),
        ("a;b", ["a", "b"]),
        ("a | b", ["a", "b"]),
        ('"one item" two', ["one item", "two"]),
        ('["a", ', ['["a"']),
        ("only", ["only"]),
        (" \n ", []),
        ("[]", []),
    ],
)
def test_text_becomes_items(text: str, items: list[object]) -> None:
    assert items_of_text(text) == items


@given(st.lists(VALUES))
def test_a_json_array_gives_its_elements(values: list[object]) -> None:
    assert items_of_text(json.dumps(values)) == values


@given(st.lists(WORD, min_size=2))
def test_words_and_lines_come_back(words: list[str]) -> None:
    assert items_of_text(" ".join(words)) == words
    assert items_of_text("\n".join(words)) == words


def test_counts_are_checked() -> None:
    assert list(bounded([1] * 1000)) == [1] * 1000
    with pytest.raises(BadItems, match="at least one item"):
        list(bounded([]))
    with pytest.raises(BadItems, match=r"1001 items \(max: 1000\)"):
        next(bounded([1] * 1001))
    with pytest.raises(BadItems, match=r"1001 items \(max: 1000\)"):
        list(bounded(iter([1] * 1001)))


def test_duplicates_are_told_by_their_parameters() -> None:
    one, same, other = Parameters(("a",)), Parameters(("a",)), Parameters(named={"A": "a"})
    assert list(distinct([(one, 1), (same, 2), (other, 3)])) == [(one, 1), (other, 3)]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('p1 K=v1 "two words"', [(None, "p1"), ("K", "v1"), (None, "two words")]),
        ('A=\'x y\' B="q\\"q"', [("A", "x y"), ("B", 'q"q')]),
        ('D=$(date +"%Y %m") E=`x y` F=${G:-a b}', [("D", '$(date +"%Y %m")'), ("E", "`x y`"), ("F", "${G:-a b}")]),
        ('"A=5 B=6"', [(None, "A=5 B=6")]),
        ("", []),
    ],
)
def test_parameter_texts_are_split(text: str, arguments: list[tuple[str | None, str]]) -> None:
    assert split_arguments(text) == arguments


@pytest.mark.parametrize("text", ["'a", 'A="x', "$(x", "`y", "${z"])
def test_what_is_not_closed_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="not closed"):
        split_arguments(text)


def test_callers_override_defaults_by_name_and_by_place() -> None:
    declared = [(None, "p1"), ("K", "v"), (None, "p3")]
    assert bind(declared, Parameters()) == Parameters(("p1", "", "p3"), {"K": "v"})
    assert bind(declared, Parameters(("new",), {"K": "w", "L": "x"})) == Parameters(
        ("new", "", "p3"), {"K": "w", "L": "x"}
    )
    assert from_arguments(["A=1", "b=c=d", "plain", "9=x"]) == Parameters(("plain", "9=x"), {"A": "1", "b": "c=d"})


PARAMETERS = st.builds(Parameters, st.lists(st.text()).map(tuple), st.dictionaries(st.text(), st.text()))


@given(PARAMETERS)
def test_parameters_travel_unchanged(parameters: Parameters) -> None:
    assert Parameters.from_json(json.loads(json.dumps(parameters.to_json()))) == parameters


@pytest.mark.parametrize(
    ("literal", "text"),
    [("1.50", "1.5"), ("1e3", "1000"), ("-0.0", "0"), ("12345678901234567890.123", "12345678901234567890.123"),
     ("1e400", "1e400"), ("true", "true"), ("null", "null"), ('"s"', "s"), ('["é", {"a": 1}]', '["é",{"a":1}]')],
)  # fmt: skip
def test_json_values_are_shown_as_text(literal: str, text: str) -> None:
    assert as_text(parse_json(literal)) == text


def test_paths_read_through_text_that_is_json() -> None:
    text = json.dumps({"a": [{"b": json.dumps({"c": [1, "x"]})}], "n": None})
    assert read_path(text, ("a", 0, "b", "c", 1)) == "x"
    assert read_path(text, ("a", -1, "b", "c")) == '[1,"x"]'
    assert read_path(text, ("n",)) == "null"
    assert [
        read_path(text, path) for path in [("z",), ("a", 5), ("a", "b"), ("n", "x"), ("a", 0, "b", "c", 1, "d")]
    ] == [""] * 5
    with pytest.raises(NotJson):
        read_path("plain", ("a",))
