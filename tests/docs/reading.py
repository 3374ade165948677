"""YAML of the documentation through the product's reader, a fragment made whole first."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from fanfold.dag.document import DAG_KEYS, STEP_KEYS
from fanfold.dag.read import read_dag_file

_CHILD = b"steps:\n  - {name: stub, command: echo}\n"
_REFERENCE = re.compile(r"\$\{?([A-Za-z_]\w*)")


def read_file(name: str, files: Mapping[str, str]) -> None:
    """Read a DAG file of a page, among the other files of the page; raises DagFileError."""
    read_dag_file(name, lambda path: files[path].encode() if path in files else None)


def read_fragment(text: str, files: Mapping[str, str]) -> None:
    """Read a part of a DAG file; raises DagFileError.

    Child DAGs that are neither in it nor on the page are stand-ins, and what it refers to counts as set.
    """
    whole = completed(text)
    fetch: Callable[[str], bytes | None] = lambda path: (  # noqa: E731
        whole.encode() if path == "fragment.yaml" else files[path].encode() if path in files else child(path)
    )
    called = set(re.findall(r"\brun: *([\w/-]+)", whole))

    def child(path: str) -> bytes | None:
        return _CHILD if path.removesuffix(".yaml") in called else None

    read_dag_file("fragment.yaml", fetch, environment=set(_REFERENCE.findall(text)) - {"ITEM"})


def completed(text: str) -> str:
    """A DAG file around a fragment: a list of steps, keys of a DAG, or keys of a step."""
    data: Any = next(yaml.safe_load_all(text))
    if isinstance(data, list):
        return "steps:\n" + textwrap.indent(text, "  ")
    assert isinstance(data, dict), text
    if "steps" in data:
        return text
    if data.keys() <= DAG_KEYS:
        return f"{text}\nsteps:\n  - {{name: stub, command: echo}}\n"
    assert data.keys() <= STEP_KEYS, f"neither keys of a DAG nor of a step: {sorted(data.keys() - STEP_KEYS)}"
    lines = [] if "name" in data else ["name: stub"]
    if not data.keys() & {"run", "command", "script"}:
        lines.append("run: stub-child" if data.keys() & {"parallel", "params"} else "command: echo")
    return "steps:\n  -\n" + textwrap.indent("\n".join([*lines, text]), "    ")
