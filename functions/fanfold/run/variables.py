"""The variables that a text of a DAG can name, and the expansion of its values."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from pathlib import Path

from fanfold.dag.expressions import GENERATED_PREFIX, rewrite_shell, template
from fanfold.dag.model import Argument, Dag, Step
from fanfold.dag.params import Parameters
from fanfold.dag.references import Reference
from fanfold.dag.secret_names import SecretName, split_secrets
from fanfold.dag.values import NotJson, read_path
from fanfold.run.document import read_stored_path
from fanfold.run.runtime import Runtime
from fanfold.run.scope import Scope, Secret, is_plain, is_secret
from fanfold.run.secrets import SecretFault
from fanfold.run.shell import Bindings, default_shell, run_process
from fanfold.run.store import Spilled, Stored

FETCHED_UNASKED = 1024 * 1024
"""Bytes of an output up to which every step has it in its environment or as a file."""


class ExpansionFault(Exception):
    """A value cannot be told: the message says which and why."""


class Variables:
    """What names mean at one point of a run.

    A step's own ``env`` goes before outputs, those before named parameters, those before the DAG's ``env``, and that
    before the environment of the process.
    """

    def __init__(
        self, runtime: Runtime, scope: Scope, folder: Callable[[], Path], extra: Mapping[str, str] | None = None
    ) -> None:
        self._runtime = runtime
        self._scope = scope
        self._folder = folder
        self._extra = dict(extra or {})
        self._loaded: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._shell_results: dict[tuple[str, str], str] = {}

    def with_ids(self, dag: Dag) -> Variables:
        """Let ``${id.exit_code}`` and the like be read."""
        self._ids = {step.id: step.name for step in dag.steps if step.id is not None}
        return self

    def for_item(self, item: str) -> Variables:
        """The same with ``ITEM`` set; a ``$(…)`` that does not mention it is run once for all items."""
        derived = Variables(self._runtime, self._scope, self._folder, self._extra | {"ITEM": item})
        derived._ids, derived._loaded, derived._shell_results = self._ids, self._loaded, self._shell_results
        return derived

    def set(self, name: str, value: str) -> None:
        """Let `name` be `value` from now on."""
        self._extra[name] = value

    def get(self, name: str) -> str | None:
        """The value of a variable or positional parameter; None when nothing sets it."""
        if name.isdigit():
            place = int(name) - 1
            positional = self._scope.params.positional
            return positional[place] if 0 <= place < len(positional) else ""
        if name in self._extra:
            return self._extra[name]
        output = self._scope.output(name)
        if output is not None:
            return self._load(output)
        if name in self._scope.params.named:
            return self._scope.params.named[name]
        if name in self._scope.env:
            return self._of_env(self._scope.env[name])
        return self._runtime.base_env.get(name)

    def _stored(self, name: str) -> Spilled | None:
        """Where the value of an output variable lies that is not in the state."""
        value = None if name in self._extra else self._scope.output(name)
        return value if isinstance(value, dict) else None

    def _of_env(self, value: Stored | Secret) -> str:
        """A value of ``env``, its secrets read. Raises ExpansionFault."""
        if is_plain(value):
            return self._load(value)
        assert is_secret(value)
        try:
            return "".join(
                part if isinstance(part, str) else self._runtime.secrets.read(SecretName(**part))  # type: ignore[arg-type]
                for part in value["$secret"]
            )
        except SecretFault as fault:
            raise ExpansionFault(str(fault)) from None

    def _load(self, value: Stored) -> str:
        if isinstance(value, str):
            return value
        key = value["$s3"]
        if key not in self._loaded:
            self._loaded[key] = self._runtime.store.load(value)
        return self._loaded[key]

    def resolve(self, reference: Reference) -> str:
        """The value of a reference; raises ExpansionFault when its path leads into what is no JSON."""
        if not reference.path:
            return self.get(reference.name) or ""
        stored = self._stored(reference.name)
        if stored is not None:
            part = read_stored_path(self._runtime.store, stored, reference.path)
            if part is not None:
                return part
        value = self.get(reference.name)
        if value is None and reference.name in self._ids:
            return self._of_step(self._ids[reference.name], str(reference.path[0]))
        if value is None:
            raise ExpansionFault(f"{reference.text}: nothing sets {reference.name}")
        try:
            return read_path(value, reference.path)
        except NotJson:
            shown = value if len(value) <= 60 else f"{value[:59]}…"
            raise ExpansionFault(f"{reference.text}: the value of {reference.name} is not JSON: {shown!r}") from None

    def _of_step(self, step: str, what: str) -> str:
        outcome = self._scope.steps.get(step)
        if outcome is None:
            return ""
        known = {
            "exit_code": "" if outcome.exit_code is None else str(outcome.exit_code),
            "stdout": outcome.stdout_file or "",
            "stderr": outcome.stderr_file or "",
            "status": outcome.status,
        }
        return known.get(what, "")

    def all(self, but: Container[str] = ()) -> dict[str, str]:
        """Every variable of the run by name, for the environment of a process, `but` some outputs."""
        scope = self._scope
        known: dict[str, str] = {name: self._of_env(value) for name, value in scope.env.items()}
        known |= scope.params.named
        for name in scope.vars:
            output = scope.output(name)
            if output is not None and name not in but:
                known[name] = self._load(output)
        return known | self._extra

    def bindings(self, text: str) -> tuple[str, Bindings]:
        """A shell text ready to run, dotted references replaced, and what it sees.

        An output over `FETCHED_UNASKED` is fetched only where the text names it, and then into a file.
        """
        rewritten, references = rewrite_shell(text)
        generated = {f"{GENERATED_PREFIX}{index}": self.resolve(ref) for index, ref in enumerate(references)}
        stored = {name: value for name in self._scope.vars if (value := self._stored(name)) is not None}
        large = {name: value["$s3"] for name, value in stored.items() if value["bytes"] > FETCHED_UNASKED}
        named = {name: key for name, key in large.items() if re.search(rf"\b{name}(_FILE)?\b", rewritten)}
        files = {name: partial(self._runtime.store.get_file, key) for name, key in named.items()}
        return rewritten, Bindings(self.all(but=large) | generated, self._scope.params.positional, files)

    def expand(self, text: str) -> str:
        """A value of the DAG file with its references resolved and its ``$(…)`` run, once for each text."""
        return template(text).expand(self.resolve, self._run_shell)

    def expand_env(self, text: str) -> Stored | Secret:
        """A value of ``env``: as `expand`, but what is secret in it stays a name."""
        parts: list[str | dict[str, str | None]] = []
        for piece in split_secrets(text):
            parts += [piece.to_json()] if isinstance(piece, SecretName) else self._around_secrets(piece)
        if any(isinstance(part, dict) for part in parts):
            return {"$secret": parts}
        return self.unsecret(self.expand(text), "an env value made by a command")

    def _around_secrets(self, text: str) -> list[str | dict[str, str | None]]:
        """`text` expanded, but for references to variables that are secret."""
        parts: list[str | dict[str, str | None]] = []
        done = 0
        taken_apart = template(text)
        for reference in () if taken_apart.needs_shell else taken_apart.references():
            value = None if reference.name in self._extra else self._scope.env.get(reference.name)
            if value is not None and is_secret(value) and not reference.path:
                parts += [self.expand(text[done : reference.offset]), *value["$secret"]]
                done = reference.offset + len(reference.text)
        return [*parts, self.expand(text[done:])]

    def set_env(self, arguments: Iterable[Argument]) -> None:
        """Let a step's own ``env`` be set, one after the other."""
        for argument in arguments:
            self.set(argument.name or "", self._of_env(self.expand_env(argument.template)))

    def read_secrets(self) -> None:
        """Read the secrets of the DAG's ``env``. Raises ExpansionFault."""
        for value in self._scope.env.values():
            if is_secret(value):
                self._of_env(value)

    def masked(self, text: str) -> str:
        """`text` as it may be shown."""
        return self._runtime.secrets.mask(text)

    def unsecret(self, text: str, what: str) -> str:
        """`text`, which goes into a state; ExpansionFault where it holds a secret."""
        if self._runtime.secrets.holds(text):
            raise ExpansionFault(f"{what} would carry a secret out of the runner; let the env of its reader name it")
        return text

    def expand_arguments(self, arguments: tuple[Argument, ...]) -> list[tuple[str | None, str]]:
        """``params`` as (name or None, value)."""
        return [(argument.name, self.expand(argument.template)) for argument in arguments]

    def _run_shell(self, script: str) -> str:
        key = (script, self._extra.get("ITEM", "") if "ITEM" in script else "")
        if key in self._shell_results:
            return self._shell_results[key]
        exit_code, result, errors = self._run_command(script)
        if exit_code != 0:
            raise ExpansionFault(f"$({script}) ended with exit code {exit_code}: {errors.strip()[-300:]}")
        self._shell_results[key] = result
        return result

    def check_condition(self, command: str) -> bool:
        """Whether a precondition's command ends with exit code 0."""
        return self._run_command(command)[0] == 0

    def _run_command(self, command: str) -> tuple[int, str, str]:
        """Exit code, output without its trailing newlines, and stderr."""
        text, bindings = self.bindings(command)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            finished = run_process(
                default_shell(), text, bindings, base_env=self._runtime.base_env, folder=self._folder(),
                stdout=stdout, stderr=stderr, cancellation=self._runtime.cancellation,
            )  # fmt: skip
            stdout.seek(0)
            stderr.seek(0)
            output = stdout.read().decode("utf-8", "replace").rstrip("\n")
            return finished.exit_code, output, stderr.read().decode("utf-8", "replace")


def parameters_of_call(variables: Variables, step: Step) -> Parameters:
    """The parameters that a step's ``params`` give to its child DAG."""
    expanded = variables.expand_arguments(step.params)
    given = [(name, variables.unsecret(value, "a parameter")) for name, value in expanded]
    return Parameters(
        tuple(value for name, value in given if name is None),
        {name: value for name, value in given if name is not None},
    )
