"""``fanfold compile``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.asl.compile import compile_dag_set, machine_names
from fanfold.asl.states import Definition
from fanfold.cli.files import read_or_explain


def compile_file(file: Path, output: Path | None) -> int:
    """Print the definition (an object by machine name where there are several), or write one file for each."""
    dag_set = read_or_explain(file)
    if dag_set is None:
        return 2
    names = machine_names(dag_set)
    definitions = {names[key]: definition for key, definition in compile_dag_set(dag_set).items()}
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


def pretty(definition: Definition) -> str:
    """A definition as text for people: the same for the same DAG, whenever and wherever it is compiled."""
    return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"
