"""Names and ways: each state once, each reached, each way leading to a state (Amazon States Language)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fanfold.asl.judge.walk import Finding, scopes, walk
from fanfold.asl.names import MAX_STATE_NAME, name_length
from fanfold.asl.states import Definition

_ENDS = ("Succeed", "Fail")


def judge_graph(definition: Definition) -> Iterator[Finding]:
    """Faults of a definition's names and ways, in Maps and branches too."""
    yield from _names(definition)
    yield from _ways(definition)


def _names(definition: Definition) -> Iterator[Finding]:
    counted = Counter(visited.name for visited in walk(definition))
    for name, count in counted.items():
        if count > 1:
            yield Finding(name, f"{count} states are called {name!r}", "a name stands once in a whole state machine")
        if not 0 < name_length(name) <= MAX_STATE_NAME:
            message = f"the state's name has {name_length(name)} characters"
            yield Finding(name, message, f"a name has 1 to {MAX_STATE_NAME}, an emoji counts as two")


def _ways(definition: Definition) -> Iterator[Finding]:
    states = definition["States"]
    waiting, reached = [definition.get("StartAt", "")], set[str]()
    while waiting:
        name = waiting.pop()
        if name in reached or name not in states:
            continue
        reached.add(name)
        waiting += following(states[name])
    if definition.get("StartAt") not in states:
        yield Finding("", f"StartAt names {definition.get('StartAt')!r}, which is no state here", "name a state")
    for name, state in states.items():
        if name not in reached:
            yield Finding(name, f"no way leads to the state {name!r}", "let a state lead to it, or leave it out")
        for target in following(state):
            if target not in states:
                yield Finding(name, f"{name!r} leads to {target!r}, which is no state here", "name a state beside it")
        yield from _way_on(name, state)
        for inner in scopes(state):
            yield from _ways(inner)


def _way_on(name: str, state: Definition) -> Iterator[Finding]:
    ways = ("Next" in state) + (state.get("End") is True)
    if state["Type"] == "Choice":
        if "Default" not in state:
            message = f"the Choice {name!r} has no Default"
            yield Finding(name, message, "without one, an input that no rule fits ends the run")
    elif ways != (state["Type"] not in _ENDS):
        yield Finding(name, f"the state {name!r} has {ways} ways on", "a state has Next or End; Succeed and Fail none")


def following(state: Definition) -> list[str]:
    """The names of the states that a state can lead to."""
    names = [state[key] for key in ("Next", "Default") if key in state]
    return [*names, *(way["Next"] for key in ("Choices", "Catch") for way in state.get(key, []))]
