"""What a retry takes over: how the attempts before it ended the steps, with what they had begun.

A step is taken over when it succeeded, or was skipped, and all that it depends on is taken over. A step with children
that did not succeed, after steps that are all taken over, is *resumed*: of its items only those run that did not
succeed (docs/operating.md).
"""

from __future__ import annotations

from typing import Any

from fanfold.dag.model import Step
from fanfold.dag.params import Parameters
from fanfold.run.keys import begun_key, outcome_key
from fanfold.run.records import read_ahead
from fanfold.run.scope import StepOutcome
from fanfold.run.steps import RunContext

_ENDED_WELL = ("success", "skipped")


def take_over(context: RunContext) -> bool:
    """Put what earlier attempts of this run left into its scope; whether they had bound parameters and ``env``."""
    scope = context.scope
    caller_resumes = scope.caller is None or scope.caller["fan"].get("resumed", False)
    if scope.run.attempt == 1 or not caller_resumes or not context.notes_steps:
        return False
    begun = _read(context, begun_key(scope.run.prefix))
    if begun is None:
        return False
    scope.first_started = begun["started"]
    if "bound" not in begun:
        return False
    scope.params, scope.env = Parameters.from_json(begun["bound"]["params"]), begun["bound"]["env"]
    steps = context.dag.steps
    keys = [outcome_key(scope.run.prefix, step.name) for step in steps]
    noted = dict(zip((step.name for step in steps), read_ahead(lambda key: _read(context, key), keys), strict=True))
    _Takeover(context, noted).walk()
    return True


class _Takeover:
    """The walk over the steps, each after those that it depends on."""

    def __init__(self, context: RunContext, noted: dict[str, dict[str, Any] | None]) -> None:
        self._context = context
        self._noted = noted
        self._resumed: list[str] = []
        self._looked_at: set[str] = set()

    def walk(self) -> None:
        for step in self._context.dag.steps:
            self._look_at(step)
        self._context.scope.resumed = tuple(self._resumed)

    def _look_at(self, step: Step) -> None:
        if step.name in self._looked_at:
            return
        self._looked_at.add(step.name)
        scope = self._context.scope
        for name in step.depends:
            self._look_at(self._context.dag.step(name))
        noted = self._noted[step.name]
        if noted is None or not all(name in scope.steps for name in step.depends):
            return
        if noted["status"] in _ENDED_WELL:
            noted.pop("attempt")
            scope.record(step.name, StepOutcome.from_json(noted), step.output)
        elif step.calls_child:
            self._resumed.append(step.name)


def _read(context: RunContext, key: str) -> Any:
    """The JSON value under `key`; None when there is none."""
    try:
        return context.runtime.store.get_json(key)
    except KeyError:
        return None
