"""``fanfold dry``: what would run, as far as that is known before a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.asl.stages import Branches, FanOut, Segment, Stage, cut
from fanfold.cli.files import read_or_explain
from fanfold.dag.expressions import shell_references, template
from fanfold.dag.items import distinct, items_of_text, parameters_of_item
from fanfold.dag.model import Dag, Step
from fanfold.dag.params import Parameters, bind, from_arguments
from fanfold.dag.references import Reference
from fanfold.dag.values import NotJson, as_text, read_path

SHOWN_ITEMS = 5


def dry_file(file: Path, arguments: Sequence[str]) -> int:
    """Print what would run; the exit code: 0, or 2 when the file is wrong."""
    dag_set = read_or_explain(file)
    if dag_set is None:
        return 2
    console = Console(highlight=False)
    for line in describe(dag_set.root, from_arguments(arguments)):
        console.print(Text(line), soft_wrap=True)
    return 0


class Known:
    """The values that are known before a run: parameters and ``env`` without commands."""

    def __init__(self, dag: Dag, given: Parameters) -> None:
        self._values: dict[str, str] = {}
        defaults = [(argument, self._default(argument.template)) for argument in dag.params]
        self.params = bind([(a.name, a.template if value is None else value) for a, value in defaults], given)
        known = bind([(a.name, value or "") for a, value in defaults], given)
        unknown = {a.name for a, value in defaults if value is None} - set(given.named)
        self._values = {name: value for name, value in known.named.items() if name not in unknown}
        self._values |= {str(place): value for place, value in enumerate(known.positional, 1) if value}
        for argument in dag.env:
            value = self._default(argument.template)
            if value is not None and argument.name is not None:
                self._values[argument.name] = value

    def _default(self, text: str) -> str | None:
        """A value, if all of it is known."""
        parts = [self._part(part) if not isinstance(part, str) else part for part in template(text).parts]
        return None if None in parts else "".join(part for part in parts if part is not None)

    def _part(self, part: object) -> str | None:
        return self.value(part) if isinstance(part, Reference) else None

    def value(self, reference: Reference) -> str | None:
        """The value of a reference, if it is known."""
        value = self._values.get(reference.name)
        if value is None or not reference.path:
            return value
        try:
            return read_path(value, reference.path)
        except NotJson:
            return None

    def with_item(self, item: str) -> Known:
        """The same with ``ITEM``."""
        copy = object.__new__(Known)
        copy.params, copy._values = self.params, self._values | {"ITEM": item}
        return copy

    def whole(self, text: str) -> str | None:
        """A value with all its references filled in, if all are known."""
        return self._default(text)

    def filled(self, text: str) -> str:
        """A value with the references that are known filled in."""
        return self._fill(text, template(text).references())

    def filled_shell(self, text: str) -> str:
        """A shell text likewise."""
        return self._fill(text, shell_references(text))

    def _fill(self, text: str, references: Sequence[Reference]) -> str:
        pieces, done = [], 0
        for reference in references:
            value, end = self.value(reference), reference.offset + len(reference.text)
            if reference.text.startswith("${") and not reference.text.endswith("}"):
                if not text.startswith("}", end):
                    continue  # ${VAR%…} and the like are the shell's
                end += 1
            if value is not None:
                pieces += [text[done : reference.offset], value]
                done = end
        return "".join([*pieces, text[done:]])


def describe(dag: Dag, given: Parameters) -> Iterator[str]:
    """The lines: parameters, then each stage with its steps."""
    known = Known(dag, given)
    yield f"DAG {dag.name}"
    for name, value in known.params.named.items():
        yield f"  parameter {name}={value}"
    for place, value in enumerate(known.params.positional, 1):
        yield f"  parameter ${place}={value}"
    for precondition in dag.preconditions:
        yield f"  only if {known.filled(precondition.condition)} {_expected(precondition.expected)}".rstrip()
    yield from _stages(cut(dag), known, 1)
    for name, handler in dag.handlers.items():
        yield f"  {name}:"
        yield from _step(handler, known, 2)


def _stages(stages: Sequence[Stage], known: Known, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for stage in stages:
        if isinstance(stage, Segment):
            if stage.steps:
                yield f"{pad}one task:"
            for step in stage.steps:
                yield from _step(step, known, depth + 1)
        elif isinstance(stage, FanOut):
            yield from _call(stage.step, known, depth)
        elif isinstance(stage, Branches):
            yield f"{pad}side by side:"
            for branch in stage.branches:
                yield f"{pad}  branch:"
                yield from _stages(branch, known, depth + 2)


def _step(step: Step, known: Known, depth: int) -> Iterator[str]:
    pad = "  " * depth
    output = f" → {step.output}" if step.output else ""
    yield f"{pad}{step.name}{output}"
    yield from _preconditions(step, known, depth)
    for text in (*step.command, *((step.script,) if step.script else ())):
        for line in known.filled_shell(text).rstrip("\n").split("\n"):
            yield f"{pad}  $ {line}"


def _call(step: Step, known: Known, depth: int) -> Iterator[str]:
    pad = "  " * depth
    output = f" → {step.output}" if step.output else ""
    if step.parallel is None:
        yield f"{pad}{step.name}: child DAG {step.run}{output}"
        yield from _preconditions(step, known, depth)
        yield from (f"{pad}  {_argument(a.name, known.filled(a.template))}" for a in step.params)
        return
    yield f"{pad}{step.name}: child DAG {step.run}, {step.parallel.max_concurrent} at a time{output}"
    yield from _preconditions(step, known, depth)
    items = list(step.parallel.items or ())
    if step.parallel.source is not None:
        text = None if step.parallel.reads_s3 else known.whole(step.parallel.source)
        if text is None:
            yield f"{pad}  for each item of {known.filled(step.parallel.source)}, which the run will tell"
            yield from (f"{pad}    {_argument(a.name, known.filled(a.template))}" for a in step.params)
            return
        items = items_of_text(text)
    entries = list(distinct((_parameters(step, known, as_text(item), item), item) for item in items))
    yield f"{pad}  for {len(entries)} item{'' if len(entries) == 1 else 's'}:"
    for parameters, _ in entries[:SHOWN_ITEMS]:
        yield f"{pad}    {as_text(parameters.shown())}"
    if len(entries) > SHOWN_ITEMS:
        yield f"{pad}    … and {len(entries) - SHOWN_ITEMS} more"


def _parameters(step: Step, known: Known, text: str, item: object) -> Parameters:
    if not step.params:
        return parameters_of_item(item)  # type: ignore[arg-type]
    filled = [(argument.name, known.with_item(text).filled(argument.template)) for argument in step.params]
    return Parameters(
        tuple(value for name, value in filled if name is None),
        {name: value for name, value in filled if name is not None},
    )


def _argument(name: str | None, value: str) -> str:
    return value if name is None else f"{name}={value}"


def _preconditions(step: Step, known: Known, depth: int) -> Iterator[str]:
    for precondition in step.preconditions:
        word = "unless" if precondition.negate else "only if"
        condition = known.filled(precondition.condition)
        yield f"{'  ' * depth}  {word} {condition} {_expected(precondition.expected)}".rstrip()


def _expected(expected: str | None) -> str:
    return "" if expected is None else f"is {expected}"
