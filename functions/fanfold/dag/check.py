"""What no single field can tell: children, order, names, references. Every check adds to the problems and goes on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from fanfold.dag.diagnostics import Problems, nearest
from fanfold.dag.expressions import shell_references, template
from fanfold.dag.model import Dag, DagSet, Place, Step
from fanfold.dag.references import Reference
from fanfold.dag.secret_names import secret_names

Places = Mapping[tuple[str, str], Place]

_BUILT_IN = {
    "DAG_NAME", "DAG_RUN_ID", "DAG_RUN_LOG_FILE", "DAG_RUN_STEP_NAME", "DAG_RUN_STEP_STDOUT_FILE",
    "DAG_RUN_STEP_STDERR_FILE", "DAG_RUN_STATUS",
    "PATH", "HOME", "USER", "PWD", "TMPDIR", "HOSTNAME", "LANG", "SHELL",
}  # fmt: skip


def check_dag_set(
    dag_set: DagSet, places: Mapping[str, Places], environment: Collection[str], problems: Problems
) -> None:
    """All checks over all DAGs; `environment` names the variables that every step's process will have."""
    _check_ancestors(dag_set, places, problems)
    for key, dag in dag_set.dags.items():
        _check_names(dag, places[key], problems)
        if _check_depends(dag, places[key], problems):
            _References(dag, places[key], _passed(dag_set, key), environment, problems).check()


def _check_names(dag: Dag, places: Places, problems: Problems) -> None:
    names: dict[str, Step] = {}
    ids: dict[str, Step] = {}
    for step in dag.steps:
        if step.name in names:
            first = names[step.name].place.line
            hint = f"the first is in line {first}; give this one another name"
            problems.add(step.place, f"two steps are called {step.name!r}", hint)
        names.setdefault(step.name, step)
        if step.id is not None:
            if step.id in ids:
                hint = f"the first is in line {ids[step.id].place.line}; give this one another id"
                problems.add(places[(step.name, "id")], f"two steps have the id {step.id!r}", hint)
            ids.setdefault(step.id, step)


def _check_depends(dag: Dag, places: Places, problems: Problems) -> bool:
    """Whether the order of the steps is sound."""
    names = {step.name for step in dag.steps}
    sound = len(names) == len(dag.steps)
    for step in dag.steps:
        for name in step.depends:
            if name not in names:
                hint = nearest(name, names) or f"the steps are: {', '.join(sorted(names))}"
                problems.add(
                    places[(step.name, "depends")], f"{step.name!r} depends on {name!r}, which is no step", hint
                )
                sound = False
    if not sound:
        return False
    cycle = _cycle({step.name: step.depends for step in dag.steps})
    if cycle:
        shown = " → ".join(cycle)
        place = places[(cycle[0], "depends")]
        problems.add(place, f"the steps wait for each other: {shown}", "remove one of these 'depends'")
    return not cycle


def _cycle(edges: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A cycle, its first name repeated at the end; empty when there is none."""
    state: dict[str, int] = {}
    for start in edges:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if start in state:
            continue
        stack.append((start, iter(edges[start])))
        path.append(start)
        state[start] = 1
        while stack:
            name, following = stack[-1]
            target = next(following, None)
            if target is None:
                state[name] = 2
                stack.pop()
                path.pop()
            elif state.get(target) == 1:
                return [*path[path.index(target) :], target]
            elif target not in state:
                state[target] = 1
                path.append(target)
                stack.append((target, iter(edges[target])))
    return []


def _check_ancestors(dag_set: DagSet, places: Mapping[str, Places], problems: Problems) -> None:
    cycle = _cycle({key: tuple(children.values()) for key, children in dag_set.children.items()})
    if not cycle:
        return
    caller, child = cycle[-2], cycle[-1]
    dag = dag_set.dags[caller]
    step = next(step for step in dag.steps if step.run and dag_set.children[caller].get(step.run) == child)
    shown = " → ".join(dag_set.dags[key].name for key in cycle)
    place = places[caller].get((step.name, "run"), step.place)
    problems.add(place, f"a child DAG runs its own ancestor: {shown}", "a DAG cannot run itself; remove this 'run'")


def _passed(dag_set: DagSet, key: str) -> set[str] | None:
    """The names that callers pass to the DAG with `key`; None when they cannot be known."""
    names: set[str] = set()
    for caller, children in dag_set.children.items():
        for step in dag_set.dags[caller].steps:
            if step.run is None or children.get(step.run) != key:
                continue
            if step.params:
                names |= {argument.name for argument in step.params if argument.name}
            elif step.parallel is not None and step.parallel.items is None:
                return None
            elif step.parallel is not None:
                names |= {name for item in step.parallel.items or () if isinstance(item, dict) for name in item}
    return names


class _References:
    """The references of one DAG against what is set."""

    def __init__(
        self, dag: Dag, places: Places, passed: set[str] | None, environment: Collection[str], problems: Problems
    ) -> None:
        self._dag = dag
        self._places = places
        self._problems = problems
        self._lenient = passed is None
        steps = [*dag.steps, *dag.handlers.values()]
        self._set_by = {step.output: step.name for step in dag.steps if step.output}
        self._known = (
            {argument.name for argument in (*dag.env, *dag.params) if argument.name}
            | {step.output for step in steps if step.output}
            | {step.id for step in steps if step.id}
            | (passed or set())
            | set(environment)
        )
        self._fans_out = any(step.parallel is not None for step in dag.steps)
        self._after = _descendants(dag)

    def check(self) -> None:
        for argument in self._dag.env:
            self._check_references(argument.template, argument.place, None, dotted_only=True)
        for argument in self._dag.params:
            self._check_value(argument.template, argument.place, None, dotted_only=True)
        for precondition in self._dag.preconditions:
            if precondition.expected is not None:
                self._check_value(precondition.condition, precondition.place, None)
        for step in (*self._dag.steps, *self._dag.handlers.values()):
            self._check_step(step)

    def _check_step(self, step: Step) -> None:
        own = {argument.name for argument in step.env if argument.name}
        for argument in step.env:
            self._check_references(argument.template, argument.place, step, own, dotted_only=True)
        for precondition in step.preconditions:
            if precondition.expected is None:
                self._check_shell(precondition.condition, precondition.place, step, own)
            else:
                self._check_value(precondition.condition, precondition.place, step, own)
        if step.parallel is not None and step.parallel.source is not None:
            self._check_value(step.parallel.source, step.parallel.place, step, own)
        item = {"ITEM"} if step.parallel is not None else set()
        for argument in step.params:
            self._check_value(argument.template, argument.place, step, own | item)
        for key, texts in (("command", step.command), ("script", (step.script,) if step.script else ())):
            for text in texts:
                self._check_shell(text, self._places.get((step.name, key), step.place), step, own)

    def _check_value(
        self, text: str, place: Place, step: Step | None, own: set[str] | None = None, *, dotted_only: bool = False
    ) -> None:
        self._check_no_secret(text, place)
        self._check_references(text, place, step, own, dotted_only=dotted_only)

    def _check_no_secret(self, text: str, place: Place) -> None:
        for name in secret_names(text):
            hint = "give it a name in the env of the DAG or the step whose commands need it, and use that"
            self._problems.add(place, f"a secret can only stand in env: {name.text}", hint)

    def _check_references(
        self, text: str, place: Place, step: Step | None, own: set[str] | None = None, *, dotted_only: bool = False
    ) -> None:
        for reference in template(text).references():
            if reference.name == "ITEM" or reference.path or not dotted_only:
                self._check_reference(reference, place, step, own or set())

    def _check_shell(self, text: str, place: Place, step: Step, own: set[str]) -> None:
        self._check_no_secret(text, place)
        for reference in shell_references(text):
            if reference.path:
                self._check_reference(reference, place, step, own)
            elif reference.name == "ITEM" and not _ITEM_IS_SET.search(text):
                self._check_item(reference, place, own)

    def _check_reference(self, reference: Reference, place: Place, step: Step | None, own: set[str]) -> None:
        name = reference.name
        if name in own or name.isdigit() or name.startswith("FANFOLD_"):
            return
        if name in self._known or name in _BUILT_IN:
            self._check_order(reference, place, step)
        elif name == "ITEM":
            self._check_item(reference, place, own)
        elif not self._lenient:
            hint = nearest(name, self._known) or "set it in 'env' or 'params', or as the 'output' of a step before"
            self._problems.add(place, f"{reference.text} refers to {name}, which nothing sets", hint)

    def _check_item(self, reference: Reference, place: Place, own: set[str]) -> None:
        if self._lenient or "ITEM" in own or "ITEM" in self._known or not self._fans_out:
            return
        hint = "pass it on: params: [{NAME: ${ITEM}}], and use ${NAME} in the child DAG"
        message = f"{reference.text} stands outside of the 'params' of the step with 'parallel'"
        self._problems.add(place, message, hint)

    def _check_order(self, reference: Reference, place: Place, step: Step | None) -> None:
        """A value of a step that cannot have run yet."""
        setter = self._set_by.get(reference.name)
        if setter is None or step is None or step.name not in self._after:
            return
        others = {argument.name for argument in (*self._dag.env, *self._dag.params)}
        setters = [other.name for other in self._dag.steps if other.output == reference.name]
        late = all(name == step.name or name in self._after[step.name] for name in setters)
        if late and reference.name not in others:
            hint = f"let {step.name!r} depend on {setter!r}, or move it behind"
            self._problems.add(place, f"{reference.text} is set by {setter!r}, which runs only later", hint)


_ITEM_IS_SET = re.compile(r"\bITEM=|\b(?:for|read|local|declare|export)\b[^\n;]*\bITEM\b")


def _descendants(dag: Dag) -> dict[str, set[str]]:
    """For each step the steps that run only after it."""
    followers: dict[str, list[str]] = {step.name: [] for step in dag.steps}
    for step in dag.steps:
        for name in step.depends:
            followers[name].append(step.name)
    found: dict[str, set[str]] = {}
    for start in followers:
        reached: set[str] = set()
        stack = [start]
        while stack:
            for name in followers[stack.pop()]:
                if name not in reached:
                    reached.add(name)
                    stack.append(name)
        found[start] = reached
    return found
