"""A DAG as a Mermaid flowchart, which GitHub and many editors draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanfold.asl.stages import Stage, segments_of
from fanfold.dag.model import Dag, Step
from fanfold.drawing.labels import COLOURS, Record, detail_of, status_of


def as_mermaid(dag: Dag, stages: Sequence[Stage], record: Record | None = None) -> str:
    """The flowchart: segments as frames, fan-outs as boxes with double sides, ``depends`` as arrows."""
    ids = {step.name: f"s{number}" for number, step in enumerate(dag.steps)}
    lines = ["flowchart TD"]
    for number, segment in enumerate(segments_of(stages)):
        if len(segment.steps) > 1:
            lines.append(f'  subgraph t{number}["one task"]')
        lines += [f"    {ids[step.name]}[{_quoted(step.name)}]" for step in segment.steps]
        if len(segment.steps) > 1:
            lines.append("  end")
    for step in dag.steps:
        if step.calls_child:
            label = _quoted(f"{step.name}\n{detail_of(step, record)}")
            left, right = ("[[", "]]") if step.parallel is not None else ("[", "]")
            lines.append(f"  {ids[step.name]}{left}{label}{right}")
    lines += [f"  {ids[name]} --> {ids[step.name]}" for step in dag.steps for name in step.depends]
    return "\n".join([*lines, *_colours(dag.steps, ids, record)]) + "\n"


def _colours(steps: Sequence[Step], ids: dict[str, str], record: Record | None) -> Iterator[str]:
    by_status: dict[str, list[str]] = {}
    for step in steps:
        status = status_of(step, record)
        if status is not None:
            by_status.setdefault(status, []).append(ids[step.name])
    for status, members in by_status.items():
        yield f"  classDef {status} stroke:{COLOURS[status]},stroke-width:3px"
        yield f"  class {','.join(members)} {status}"


def _quoted(text: str) -> str:
    """A label; what Mermaid would read as markup is escaped."""
    for sign, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("\n", "<br>")):
        text = text.replace(sign, entity)
    return f'"{text}"'
