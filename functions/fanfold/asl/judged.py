"""The judge's findings about the machines of a DAG file, each at the step that it comes from."""

from __future__ import annotations

from collections.abc import Iterator

from fanfold.asl.compile import Compiled
from fanfold.asl.judge import Surroundings, judge
from fanfold.asl.states import Definition
from fanfold.dag.diagnostics import Problem
from fanfold.dag.model import Dag


def problems_of_machine(
    dag: Dag, machine: Compiled, definition: Definition, machines: list[str], partition: str = "${Partition}"
) -> Iterator[Problem]:
    """What AWS would not take of `definition`, the machine's own with its placeholders filled in or not.

    `machines` are the ARNs, likewise, of the machines that it may start.
    """
    places = {step.name: step.place for step in dag.steps}
    for finding in judge(definition, Surroundings(machines, machine.maps, partition)):
        place = places.get(machine.steps.get(finding.state, ""), dag.place)
        yield Problem(place, f"the state machine of {dag.name!r}: {finding.message}", finding.hint)
