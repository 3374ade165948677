"""``fanfold compile``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.asl.compile import compile_machines, fan_out_choices, machine_names
from fanfold.asl.computes import Platform, compute_of_segment
from fanfold.asl.fan_outs import FanOutChoice
from fanfold.asl.judged import problems_of_machine
from fanfold.asl.stages import cut, segments_of
from fanfold.asl.states import Definition
from fanfold.cli.files import read_or_explain, show_problems
from fanfold.dag.diagnostics import DagFileError
from fanfold.dag.model import Compute


def compile_file(file: Path, output: Path | None) -> int:
    """Print the definition (an object by machine name where there are several), or write one file for each."""
    dag_set = read_or_explain(file)
    if dag_set is None:
        return 2
    names = machine_names(dag_set)
    machines = compile_machines(dag_set)
    arns = ["${StateMachineArnPrefix}" + name for name in names.values()]
    unfit = [
        problem
        for key, machine in machines.items()
        for problem in problems_of_machine(dag_set.dags[key], machine, machine.definition, arns)
    ]
    if unfit:
        show_problems(Console(stderr=True, highlight=False), file, DagFileError(unfit))
        return 2
    definitions = {names[key]: machine.definition for key, machine in machines.items()}
    console = Console(highlight=False)
    if output is None:
        shown = definitions if len(definitions) > 1 else next(iter(definitions.values()))
        console.out(pretty(shown), highlight=False, end="")
        return 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, definition in definitions.items():
            target = output / f"{name}.asl.json"
            target.write_text(pretty(definition), "utf-8")
            console.print(Text(str(target)), soft_wrap=True)
    except OSError as error:
        Console(stderr=True, highlight=False).print(Text(f"{output}: {error.strerror}", "red"), soft_wrap=True)
        return 2
    return 0


def explain_file(file: Path) -> int:
    """Print in words how each step with a child DAG is run, and where each task."""
    dag_set = read_or_explain(file)
    if dag_set is None:
        return 2
    console = Console(highlight=False)
    for key, name in machine_names(dag_set).items():
        dag = dag_set.dags[key]
        console.print(Text(f"{dag.name}: state machine {name}"), soft_wrap=True)
        choices = fan_out_choices(dag_set, key, Platform())
        for stage in segments_of(cut(dag)):
            if stage.steps:
                steps = ", ".join(step.name for step in stage.steps)
                console.print(Text(f"  {steps}: one task, {_place(compute_of_segment(dag, stage, Platform()))}"))
        for step_name, choice in choices.items():
            for line in explain_choice(step_name, choice):
                console.print(Text(f"  {line}"), soft_wrap=True)
    return 0


def explain_choice(step: str, choice: FanOutChoice) -> Iterator[str]:
    """A fan-out's choice in words."""
    yield f"{step}: {choice.mode} Map: {choice.reason}"
    if choice.mode == "DISTRIBUTED":
        yield f"  {choice.execution} executions: {choice.execution_reason}"
    if choice.batch is not None:
        yield f"  up to {choice.batch} items a task, one after the other"
    elif choice.reads_items:
        yield "  an item a task: it is tried again, or runs in a container or state machine, by itself"


def _place(compute: Compute | None) -> str:
    return "in the runner's Lambda function" if compute is None else "in a container"


def pretty(definition: Definition) -> str:
    """A definition as text for people: the same for the same DAG, whenever and wherever it is compiled."""
    return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"
