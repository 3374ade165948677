"""What a DAG file says that works, but is likely not meant. Warnings, never errors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fanfold.asl.stages import cut, extra_waits, segments_of
from fanfold.dag.diagnostics import Problem
from fanfold.dag.model import Dag, DagSet, Step

_TEMPORARY = re.compile(r"/tmp/[\w${}.@-]+")  # noqa: S108 - looked for, not written to


def lint(dag_set: DagSet) -> list[Problem]:
    """Every warning of every DAG, in the order of their places."""
    found = [
        problem
        for key, dag in dag_set.dags.items()
        for problem in (
            *_unused_params(dag),
            *(_unread_outputs(dag) if key == "" else ()),
            *_lost_results(dag),
            *_shared_temporary_files(dag),
            *_extra_waits(dag),
        )
    ]
    return sorted(found, key=lambda problem: (problem.place.file, problem.place.line, problem.place.column))


def _texts(step: Step) -> Iterator[str]:
    """Every text of a step that may name a variable."""
    yield from step.command
    yield from (text for text in (step.script, step.dir, step.stdout, step.stderr) if text is not None)
    yield from (argument.template for argument in (*step.params, *step.env))
    for precondition in step.preconditions:
        yield from (precondition.condition, precondition.expected or "")
    if step.parallel is not None:
        yield step.parallel.source or str(step.parallel.items)
    if step.repeat is not None and step.repeat.condition is not None:
        yield step.repeat.condition.condition


def _names(name: str, texts: Iterator[str]) -> bool:
    word = re.compile(rf"\b{re.escape(name)}\b")
    return any(word.search(text) for text in texts)


def _all_texts(dag: Dag, *, but: Step | None = None) -> Iterator[str]:
    for step in (*dag.steps, *dag.handlers.values()):
        if step is not but:
            yield from _texts(step)
    yield from (argument.template for argument in (*dag.params, *dag.env))
    yield from dag.dotenv
    for precondition in dag.preconditions:
        yield from (precondition.condition, precondition.expected or "")


def _unused_params(dag: Dag) -> Iterator[Problem]:
    positional = any(re.search(r"\$[{]?[@*#]?\d|\"\$@\"", text) for text in _all_texts(dag))
    for argument in dag.params:
        if argument.name is not None and not positional and not _names(argument.name, _all_texts(dag)):
            hint = (
                f"use it as ${{{argument.name}}}, or remove it (a program that reads it from its environment is fine)"
            )
            yield Problem(argument.place, f"no step of {dag.name!r} uses the parameter {argument.name}", hint)


def _unread_outputs(dag: Dag) -> Iterator[Problem]:
    """Outputs that no step reads; that of a step on which none depends is what the run gives."""
    awaited = {name for step in dag.steps for name in step.depends}
    for step in dag.steps:
        if step.output is not None and step.name in awaited and not _names(step.output, _all_texts(dag, but=step)):
            hint = f"read ${{{step.output}}} in a later step, or remove 'output'"
            yield Problem(step.place, f"no step reads the output {step.output} of {step.name!r}", hint)


def _lost_results(dag: Dag) -> Iterator[Problem]:
    for step in dag.steps:
        wish = step.continue_on
        if step.parallel is None or step.output is None or wish.failure or wish.exit_codes or wish.output:
            continue
        readers = [other.name for other in dag.steps if other is not step and _names(step.output, _texts(other))]
        if readers and not dag.handlers:
            message = f"one failed item of {step.name!r} keeps {readers[0]!r} from reading the results of the others"
            yield Problem(step.place, message, "add 'continueOn: {failure: true}' if the others' results still count")


def _extra_waits(dag: Dag) -> Iterator[Problem]:
    """Waits that no state machine of series and branches can do without."""
    for step, awaited in extra_waits(dag):
        message = f"{step!r} also waits for {awaited!r}, on which it does not depend"
        hint = "this graph is not made of series and branches alone; it is cut where that adds the fewest waits"
        yield Problem(dag.step(step).place, message, hint)


def _shared_temporary_files(dag: Dag) -> Iterator[Problem]:
    """Files below ``/tmp`` that two segments name: on AWS each segment may run on another machine."""
    first_use: dict[str, tuple[int, Step]] = {}
    for number, segment in enumerate(segments_of(cut(dag))):
        for step in segment.steps:
            for path in sorted(
                {match[0] for text in (*step.command, step.script or "") for match in _TEMPORARY.finditer(text)}
            ):
                used_in, by = first_use.setdefault(path, (number, step))
                if used_in != number:
                    message = f"{path} is used by {by.name!r} too, with a call of a child DAG between the two steps"
                    hint = "put the file into $FANFOLD_WORK_DIR, which goes with the run: they may run on two machines"
                    yield Problem(step.place, message, hint)
