"""The scope: all that flows from state to state of a run, as one small JSON value (docs/architecture.md).

``{"run": {...}, "params": {...}, "env": {...}, "vars": {VAR: step}, "steps": {name: {...}}}``. An output variable's
value lies with the step that set it; ``vars`` says which step that was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeGuard

from fanfold.dag.params import Parameters
from fanfold.run.keys import prefix_of_item, prefix_of_run
from fanfold.run.store import ObjectStore, Stored, fit, size

SCOPE_BUDGET = 48 * 1024
"""Bytes of a scope in a state. With a plan's and the results' budgets it stays below the 256 KiB of a state."""

BRANCHES_BUDGET = 96 * 1024
"""Bytes of what all branches of a state that runs them side by side give back."""

ERROR_LENGTH = 500
"""Characters of an error text in the scope; the log holds all of it."""


def fit_error(text: str) -> str:
    """An error text as it travels in a state; for what cannot, such as half of a surrogate pair, stands a ``?``."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= ERROR_LENGTH else text[: ERROR_LENGTH - 1] + "…"


Secret = TypedDict("Secret", {"$secret": list[str | dict[str, str | None]]})
"""A value of ``env`` with secrets in it: texts, and the names of secrets (`fanfold.dag.secret_names`)."""


def is_secret(value: Stored | Secret) -> TypeGuard[Secret]:
    """Whether a value of ``env`` must be read before it is used."""
    return not is_plain(value)


def is_plain(value: Stored | Secret) -> TypeGuard[Stored]:
    """The opposite of `is_secret`."""
    return isinstance(value, str) or "$secret" not in value


Status = Literal["success", "failed", "skipped", "cancelled", "partial", "not_started"]


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Which run this is."""

    id: str
    """``<root>`` or, for a child, ``<root>/<step>/<index>``, and so on down."""
    root: str
    prefix: str
    """Where its objects lie in the run-data bucket."""
    depth: int = 0
    attempt: int = 1
    """1, and one more at each retry of the whole run."""

    @staticmethod
    def of_root(root: str, keep_days: int | None = None, attempt: int = 1) -> RunIdentity:
        """The run of the DAG that was started, named as its first execution; its data are kept `keep_days`."""
        return RunIdentity(root, root, prefix_of_run(root, keep_days), attempt=attempt)

    def child(self, step: str, index: int) -> RunIdentity:
        """The run of one item of the step called `step`."""
        prefix = prefix_of_item(self.prefix, step, index)
        return RunIdentity(f"{self.id}/{step}/{index}", self.root, prefix, self.depth + 1, self.attempt)

    @property
    def dag_run_id(self) -> str:
        """What ``DAG_RUN_ID`` holds: short, and without slashes."""
        return self.id if self.depth == 0 else hashlib.sha256(self.id.encode()).hexdigest()[:44]

    def to_json(self) -> dict[str, Any]:
        """As it travels in a state."""
        data = {"id": self.id, "root": self.root, "prefix": self.prefix, "depth": self.depth}
        return data if self.attempt == 1 else data | {"attempt": self.attempt}

    @staticmethod
    def from_json(data: dict[str, Any]) -> RunIdentity:
        """The inverse of `to_json`."""
        return RunIdentity(**data)


@dataclass(slots=True)
class StepOutcome:
    """How a step ended."""

    status: Status
    goes_on: bool = True
    """Whether the steps that depend on it may run (``continueOn`` has been judged)."""
    value: Stored | None = None
    """Its output; for a step that calls a child DAG, the document as a JSON text."""
    exit_code: int | None = None
    error: str | None = None
    log: str | None = None
    stdout_file: str | None = None
    stderr_file: str | None = None
    started: float | None = None
    """When it began, in seconds since the epoch; None when it did not."""
    seconds: float | None = None

    _KEYS = ("value", "exit_code", "error", "log", "stdout_file", "stderr_file", "started", "seconds")

    def to_json(self) -> dict[str, Any]:
        """As it travels in a state: what is not set is left out."""
        data: dict[str, Any] = {"status": self.status}
        if not self.goes_on:
            data["goes_on"] = False
        for key in self._KEYS:
            if getattr(self, key) is not None:
                data[key] = getattr(self, key)
        return data

    @staticmethod
    def from_json(data: dict[str, Any]) -> StepOutcome:
        """The inverse of `to_json`."""
        return StepOutcome(**data)


@dataclass(slots=True)
class Scope:
    """See the module."""

    run: RunIdentity
    params: Parameters = Parameters()
    env: dict[str, Stored | Secret] = field(default_factory=dict)
    vars: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepOutcome] = field(default_factory=dict)
    caller: dict[str, Any] | None = None
    """Of an item's child run: ``{"fan", "index"}``, what it needs to report to its parent."""
    started: float = 0.0
    """When this attempt of the run began, in seconds since the epoch."""
    first_started: float | None = None
    """When the first attempt began, where this is another."""
    work: str | None = None
    """Where the files lie that earlier tasks of the run left."""
    resumed: tuple[str, ...] = ()
    """The steps with children of which a retry runs only what did not succeed."""
    status: Status | None = None
    """Set when the run ended before its steps did: a precondition of the DAG that was not met, an env that failed."""
    error: str | None = None

    @property
    def began(self) -> float:
        """When the run began, in seconds since the epoch."""
        return self.first_started or self.started

    def record(self, step: str, outcome: StepOutcome, output: str | None) -> None:
        """Note how `step` ended; `output` is the variable that it sets, if any."""
        if outcome.error is not None:
            outcome.error = fit_error(outcome.error)
        self.steps[step] = outcome
        if output is not None and outcome.value is not None:
            self.vars[output] = step

    def output(self, variable: str) -> Stored | None:
        """The value of an output variable."""
        step = self.vars.get(variable)
        return None if step is None else self.steps[step].value

    def to_json(self, store: ObjectStore) -> dict[str, Any]:
        """As it travels in a state, within `SCOPE_BUDGET`: the largest values are spilled."""
        fixed: dict[str, Any] = {"run": self.run.to_json(), "vars": self.vars, "started": self.started}
        if self.caller is not None:
            fixed["caller"] = self.caller
        if self.work is not None:
            fixed["work"] = self.work
        if self.first_started is not None:
            fixed |= {"first_started": self.first_started, "resumed": list(self.resumed)}
        if self.status is not None:
            fixed |= {"status": self.status, "error": self.error}
        fixed["env"] = {name: value for name, value in self.env.items() if is_secret(value)}
        values: dict[str, Stored] = {f"e{name}": value for name, value in self.env.items() if is_plain(value)}
        values |= {f"n{name}": value for name, value in self.params.named.items()}
        values |= {f"p{index}": value for index, value in enumerate(self.params.positional)}
        steps, values = self._steps_to_json(store, list(self.steps), values, SCOPE_BUDGET - size(fixed))
        return fixed | {
            "params": {
                "positional": [values[f"p{index}"] for index in range(len(self.params.positional))],
                "named": {name: values[f"n{name}"] for name in self.params.named},
            },
            "env": {name: values.get(f"e{name}", value) for name, value in self.env.items()},
            "steps": steps,
        }

    def branch_to_json(self, store: ObjectStore, names: list[str], branches: int) -> dict[str, Any]:
        """What one of several branches gives back: how its own steps ended and what they set."""
        recorded = [name for name in names if name in self.steps]
        steps, _ = self._steps_to_json(store, recorded, {}, BRANCHES_BUDGET // branches)
        return {"steps": steps, "vars": {name: step for name, step in self.vars.items() if step in steps}}

    def _steps_to_json(
        self, store: ObjectStore, names: list[str], values: dict[str, Stored], budget: int
    ) -> tuple[dict[str, Any], dict[str, Stored]]:
        """The steps called `names`, and `values`, fitted into `budget` together with the steps' own values."""
        steps = {name: self.steps[name].to_json() | {"value": None} for name in names}
        own = {f"s{name}": value for name in names if (value := self.steps[name].value) is not None}
        fitted = fit(store, self.run.prefix, values | own, budget - size(steps))
        for name, step in steps.items():
            step["value"] = fitted.get(f"s{name}")
            if step["value"] is None:
                del step["value"]
        return steps, fitted

    @staticmethod
    def from_json(data: dict[str, Any], store: ObjectStore) -> Scope:
        """The inverse of `to_json`, with what branches added to it.

        Parameters are loaded; outputs stay where they lie until they are asked for.
        """
        params = data.get("params", {})
        branches = data.get("branches", [])
        steps, variables = dict(data.get("steps", {})), dict(data.get("vars", {}))
        for branch in branches:
            steps |= branch["steps"]
            variables |= branch["vars"]
        return Scope(
            run=RunIdentity.from_json(data["run"]),
            params=Parameters(
                tuple(store.load(value) for value in params.get("positional", [])),
                {name: store.load(value) for name, value in params.get("named", {}).items()},
            ),
            env=dict(data.get("env", {})),
            vars=variables,
            steps={name: StepOutcome.from_json(step) for name, step in steps.items()},
            caller=data.get("caller"),
            started=data.get("started", 0.0),
            work=data.get("work"),
            first_started=data.get("first_started"),
            resumed=tuple(data.get("resumed", ())),
            status=data.get("status"),
            error=data.get("error"),
        )
