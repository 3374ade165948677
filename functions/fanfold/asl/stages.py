"""A DAG cut into stages: stretches of shell steps (segments), and single steps that call a child DAG."""

from __future__ import annotations

from dataclasses import dataclass

from fanfold.dag.model import Dag, Step


@dataclass(frozen=True, slots=True)
class Segment:
    """Shell steps that run in one task."""

    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The name of its state."""
        if not self.steps:
            return "handlers"
        first, last = self.steps[0].name, self.steps[-1].name
        return first if first == last else f"{first} … {last}"


@dataclass(frozen=True, slots=True)
class FanOut:
    """A step that calls a child DAG, once or for each item: plan → Map → reduce."""

    step: Step


Stage = Segment | FanOut


def cut(dag: Dag) -> tuple[Stage, ...]:
    """The stages of `dag`, one after the other: every step stands behind all that it depends on.

    Shell steps go as early as they can, so that they gather into few segments. Where handlers are to run, the first or
    last stage is a segment, if need be one without steps, since only the runner has a shell.
    """
    stages: list[Stage] = []
    placed: set[str] = set()
    waiting = list(dag.steps)
    while waiting:
        shells = _ready_shells(waiting, placed)
        if shells:
            stages.append(Segment(tuple(shells)))
        else:
            calls = [step for step in waiting if step.calls_child and set(step.depends) <= placed]
            shells = calls[:1]
            stages.append(FanOut(shells[0]))
        placed |= {step.name for step in shells}
        waiting = [step for step in waiting if step.name not in placed]
    if not stages or (_has_closing_handlers(dag) and isinstance(stages[-1], FanOut)):
        stages.append(Segment(()))
    if "onInit" in dag.handlers and isinstance(stages[0], FanOut):
        stages.insert(0, Segment(()))
    return tuple(stages)


def _has_closing_handlers(dag: Dag) -> bool:
    return bool(dag.handlers.keys() - {"onInit"})


def _ready_shells(waiting: list[Step], placed: set[str]) -> list[Step]:
    """The shell steps that depend on nothing but what is placed and each other, in an order that holds."""
    chosen: list[Step] = []
    reached = set(placed)
    grew = True
    while grew:
        grew = False
        for step in waiting:
            if not step.calls_child and step.name not in reached and set(step.depends) <= reached:
                chosen.append(step)
                reached.add(step.name)
                grew = True
    return chosen
