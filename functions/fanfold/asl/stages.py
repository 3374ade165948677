"""A DAG cut into stages, one after the other: segments of shell steps, calls of child DAGs, and branches side by side.

Where steps depend on each other in series and in parallel only, the stages hold exactly the dependencies that the file
names. Any other graph is cut where that adds the fewest waits; `extra_waits` names them (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fanfold.dag.model import Dag, Step


@dataclass(frozen=True, slots=True)
class Segment:
    """Shell steps that run in one task, scheduled by the runner as their ``depends`` allow."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class FanOut:
    """A step that calls a child DAG, once or for each item: plan → Map → reduce."""

    step: Step


@dataclass(frozen=True, slots=True)
class Branches:
    """Stages that run side by side; at least one of them calls a child DAG or has a task of its own."""

    branches: tuple[tuple[Stage, ...], ...]


Stage = Segment | FanOut | Branches


def cut(dag: Dag) -> tuple[Stage, ...]:
    """The stages of `dag`, each behind all that its steps depend on.

    The first and the last are no branches, and where handlers are to run they are segments, if need be ones without
    steps, since only the runner has a shell.
    """
    stages = _Cutter(dag).stages()
    if not stages or isinstance(stages[0], Branches) or ("onInit" in dag.handlers and isinstance(stages[0], FanOut)):
        stages.insert(0, Segment(()))
    closing = bool(dag.handlers.keys() - {"onInit"})
    if isinstance(stages[-1], Branches) or (closing and isinstance(stages[-1], FanOut)):
        stages.append(Segment(()))
    return tuple(stages)


def extra_waits(dag: Dag) -> list[tuple[str, str]]:
    """(step, the step that it waits for without depending on it), where no cut of the graph could avoid it."""
    cutter = _Cutter(dag)
    cutter.stages()
    return cutter.extra_waits


def steps_of(stages: Sequence[Stage]) -> Iterator[Step]:
    """Every step of the stages."""
    for stage in stages:
        if isinstance(stage, Segment):
            yield from stage.steps
        elif isinstance(stage, FanOut):
            yield stage.step
        else:
            for branch in stage.branches:
                yield from steps_of(branch)


def segments_of(stages: Sequence[Stage]) -> Iterator[Segment]:
    """Every segment of the stages."""
    for stage in stages:
        if isinstance(stage, Segment):
            yield stage
        elif isinstance(stage, Branches):
            for branch in stage.branches:
                yield from segments_of(branch)


class _Cutter:
    """Sets of steps as the bits of a number: bit *i* is the step at place *i*, every step behind its dependencies."""

    def __init__(self, dag: Dag) -> None:
        self._steps = _in_order(dag.steps)
        places = {step.name: place for place, step in enumerate(self._steps)}
        self._before = [sum(1 << places[name] for name in set(step.depends)) for step in self._steps]
        self._ancestors: list[int] = []
        for before in self._before:
            self._ancestors.append(before | _union(self._ancestors[place] for place in _places(before)))
        self._descendants = [
            sum(1 << place for place in range(len(self._steps)) if self._ancestors[place] >> own & 1)
            for own in range(len(self._steps))
        ]
        self.extra_waits: list[tuple[str, str]] = []

    def stages(self) -> list[Stage]:
        """The stages of all steps."""
        return self._series((1 << len(self._steps)) - 1) if self._steps else []

    def _series(self, members: int) -> list[Stage]:
        steps = [self._steps[place] for place in _places(members)]
        if not any(step.has_own_task for step in steps):
            return [Segment(tuple(steps))]
        if len(steps) == 1:
            return [FanOut(steps[0]) if steps[0].calls_child else Segment((steps[0],))]
        components = self._components(members)
        if len(components) > 1:
            return [Branches(tuple(tuple(self._series(component)) for component in components))]
        parts = self._parts_in_series(members)
        if len(parts) == 1:
            first = self._best_cut(members)
            parts = [first, members & ~first]
        return _merged([stage for part in parts for stage in self._series(part)])

    def _parts_in_series(self, members: int) -> list[int]:
        """`members` cut wherever all that comes later depends on all that came before, so that no wait is added."""
        places = list(_places(members))
        common = [members] * len(places)
        """For each place: what all later ones depend on."""
        for number in range(len(places) - 2, -1, -1):
            common[number] = common[number + 1] & self._ancestors[places[number + 1]]
        parts, before, part = [], 0, 0
        for place, awaited in zip(places, common, strict=True):
            before |= 1 << place
            part |= 1 << place
            if not before & ~awaited:
                parts.append(part)
                part = 0
        return parts

    def _components(self, members: int) -> list[int]:
        """The parts of `members` that no dependency connects; those of shell steps alone are one part."""
        parts: list[int] = []
        shells = 0
        waiting = members
        while waiting:
            part, grown = 0, waiting & -waiting
            while grown != part:
                part = grown
                grown |= members & _union(self._ancestors[p] | self._descendants[p] for p in _places(part))
            waiting &= ~part
            if any(self._steps[place].has_own_task for place in _places(part)):
                parts.append(part)
            else:
                shells |= part
        return [*parts, shells] if shells else parts

    def _best_cut(self, members: int) -> int:
        """The first part of `members`, such that the second waits for as little as can be that it need not wait for."""
        candidates: set[int] = set()
        for place in _places(members):
            own = 1 << place
            candidates |= {
                self._ancestors[place] & members,
                (self._ancestors[place] | own) & members,
                members & ~self._descendants[place],
                members & ~(self._descendants[place] | own),
            }
        closed = [c for c in candidates if 0 < c < members and self._is_closed(c, members)]
        best = min(closed, key=lambda first: (self._cost(first, members), first.bit_count(), first))
        self._note_waits(best, members)
        return best

    def _is_closed(self, part: int, members: int) -> bool:
        """Whether `part` holds all that its steps depend on."""
        return not members & ~part & _union(self._ancestors[place] for place in _places(part))

    def _cost(self, first: int, members: int) -> int:
        second = members & ~first
        return sum((second & ~self._descendants[place]).bit_count() for place in _places(first))

    def _note_waits(self, first: int, members: int) -> None:
        """Name the waits that the cut adds, only between the last of the first part and the first of the second."""
        second = members & ~first
        last = [place for place in _places(first) if not self._descendants[place] & first]
        starts = [place for place in _places(second) if not self._ancestors[place] & second]
        for start in starts:
            for end in last:
                if not self._descendants[end] >> start & 1:
                    self.extra_waits.append((self._steps[start].name, self._steps[end].name))


def _in_order(steps: Sequence[Step]) -> list[Step]:
    """The steps in the order of the file, each behind all that it depends on."""
    ordered: list[Step] = []
    placed: set[str] = set()
    waiting = list(steps)
    while waiting:
        ready = [step for step in waiting if set(step.depends) <= placed]
        ordered += ready
        placed |= {step.name for step in ready}
        waiting = [step for step in waiting if step.name not in placed]
    return ordered


def _merged(stages: Sequence[Stage]) -> list[Stage]:
    """The stages with segments that follow each other made one, and a task between branches and branches.

    That task takes in what the first branches gave back, before the second ones give back theirs.
    """
    merged = list(stages[:1])
    for stage in stages[1:]:
        before = merged[-1]
        if isinstance(before, Segment) and isinstance(stage, Segment) and _share_a_task(before, stage):
            merged[-1] = Segment(before.steps + stage.steps)
        elif isinstance(before, Branches) and isinstance(stage, Branches):
            merged += [Segment(()), stage]
        else:
            merged.append(stage)
    return merged


def _share_a_task(*segments: Segment) -> bool:
    return not any(step.has_own_task for segment in segments for step in segment.steps)


def _places(members: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1
        members ^= lowest


def _union(sets: Iterator[int]) -> int:
    whole = 0
    for part in sets:
        whole |= part
    return whole
