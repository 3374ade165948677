"""The interface to runs: what `fanfold.cli` and the page read, for the data folder of a laptop or for a stack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanfold.dag.model import Dag, Json
from fanfold.history.run_data import RunData

SHORTEST_PREFIX = 4
"""Characters of a run's id that will do for it, where no other run begins so."""


class NoSuchRun(Exception):
    """There is no such run, or not one alone; the message says which there are."""


class RunFault(Exception):
    """What was asked of a run cannot be done; the message says why, and what can."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list."""

    run: str
    dag: str
    status: str
    """``running``, or how it ended: success, partial, failed or cancelled."""
    started: float
    """Seconds since the epoch."""
    seconds: float | None = None
    """What its last attempt took; None while it runs."""
    attempt: int = 1
    params: Json = None
    error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.status == "running"

    def to_json(self) -> dict[str, Json]:
        """As ``--json`` shows it."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step wrote."""

    step: str
    """The step of the run; for an item's, the step of its child DAG."""
    index: int | None
    """Of the item, if an item's child wrote it."""
    stream: str
    """stdout or stderr."""
    text: str


class LogReader(ABC):
    """The log of a run, a step or an item, as it grows."""

    @abstractmethod
    def read(self, *, last: bool) -> Iterator[LogLine]:
        """The lines that have come since the last call; one that has not ended only if this is the `last` call.

        They are read while one goes through them, so that a log may be larger than memory.
        """


class RunStore(ABC):
    """See the module."""

    @abstractmethod
    def runs(self, dag: str | None = None) -> Iterator[RunSummary]:
        """Every run (of the DAG called so), the latest first."""

    @abstractmethod
    def summary(self, run: str) -> RunSummary:
        """The run with this id. Raises NoSuchRun."""

    @abstractmethod
    def data(self, run: str) -> RunData:
        """What the run with this id has left. Raises NoSuchRun."""

    @abstractmethod
    def log(
        self, run: str, step: str | None = None, index: int | None = None, above: Sequence[tuple[str, int]] = ()
    ) -> LogReader:
        """What the steps of a run write: all its own steps, one of them, or one item of a step with children.

        `above` names, as steps and indexes, the items within which that run is a child's.
        """

    @abstractmethod
    def dag(self, run: str, begun: Mapping[str, Any]) -> Dag | None:
        """The DAG of a run, or of a child run of it, as it was; `begun` is what that run noted (`RunData.begun`).

        None where it is not known any more.
        """

    @abstractmethod
    def stop(self, run: str, *, now: bool = False) -> None:
        """Let a run end soon: no step and no item starts any more. Raises RunFault where it does not run.

        With `now`, it ends as it is, without handlers and documents.
        """

    def find(self, wanted: str | None) -> RunSummary:
        """The run with this id, or the only one whose id begins so, or the latest run of the DAG called so.

        The latest of all where nothing is said. Raises NoSuchRun.
        """
        runs = self.runs()
        if wanted is None:
            latest = next(runs, None)
            if latest is None:
                raise NoSuchRun("there is no run yet; begin with: fanfold start FILE")
            return latest
        try:
            return self.summary(wanted)
        except NoSuchRun:
            pass
        known = list(runs)
        of_dag = next((run for run in known if run.dag == wanted), None)
        if of_dag is not None:
            return of_dag
        alike = [run for run in known if run.run.startswith(wanted)] if len(wanted) >= SHORTEST_PREFIX else []
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise NoSuchRun(f"several runs begin with {wanted!r}: {', '.join(run.run for run in alike[:5])}")
        raise NoSuchRun(f"there is no run and no DAG {wanted!r}; `fanfold history` tells which there are")
