"""What the page is about: DAG files, and the runs of them; on a laptop (`laptop`) or on a stack (`cloud`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from fanfold.asl.lint import lint
from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.model import DagSet
from fanfold.dag.params import Parameters
from fanfold.dag.read import Fetch, read_dag_file, without_suffix
from fanfold.history.run_store import RunStore


class NoSuchDag(Exception):
    """There is no such DAG; the message says so."""


class CannotStart(Exception):
    """A run could not be started; the message says why."""


@dataclass(frozen=True, slots=True)
class DagEntry:
    """A DAG file."""

    name: str
    file: str
    """Its path, as the user knows it."""
    text: str
    dag_set: DagSet | None
    """What it says; None when it has errors."""
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    refused: bool = False
    """Whether its last deployment was refused; what runs is then an older file."""


class Site(ABC):
    """See the module."""

    store: RunStore
    title: str
    """Where it is: a folder, or a stack."""
    zone: str = "UTC"
    """Of schedules that name none."""
    live_seconds: float = 1.0
    """Between two looks at a run that goes on."""
    counts_costs: bool
    """Whether `cost` can tell: that takes an execution on moto, which no Lambda function has."""
    fires: bool
    """Whether something starts runs by their schedules."""

    @abstractmethod
    def dags(self) -> Mapping[str, DagEntry]:
        """Every DAG file, by the DAG's name."""

    @abstractmethod
    def start(self, dag: DagEntry, params: Parameters) -> str:
        """Start a run; its id. Raises CannotStart."""

    @abstractmethod
    def retry(self, run: str) -> None:
        """Run again what did not succeed of a run. Raises NoSuchRun or RunFault."""

    @abstractmethod
    def cost(self, dag: DagEntry, items: int) -> Mapping[str, object] | None:
        """What a run costs, as ``fanfold cost --json`` says; None where that cannot be found out."""

    def dag(self, name: str) -> DagEntry:
        """One DAG. Raises NoSuchDag."""
        try:
            return self.dags()[name]
        except KeyError:
            raise NoSuchDag(f"there is no DAG {name!r}") from None


def read_entry(file: str, path: str, fetch: Fetch, environment: Collection[str]) -> DagEntry:
    """The entry of the file that `fetch` finds at `path`."""
    text = (fetch(path) or b"").decode("utf-8", "replace")
    try:
        dag_set = read_dag_file(path, fetch, environment)
    except DagFileError as fault:
        return DagEntry(without_suffix(path), file, text, None, fault.problems)
    return DagEntry(dag_set.root.name, file, text, dag_set, warnings=tuple(lint(dag_set)))


class Catalogue:
    """DAG files by name, read anew only when one of them has changed."""

    def __init__(self) -> None:
        self._fingerprint: object = None
        self._entries: dict[str, DagEntry] = {}

    def entries(self, fingerprint: object, read: Callable[[], Collection[DagEntry]]) -> Mapping[str, DagEntry]:
        """The entries; `fingerprint` is another one when something has changed."""
        if fingerprint != self._fingerprint:
            entries: dict[str, DagEntry] = {}
            for entry in read():
                known = entry if entry.name not in entries else replace(entry, name=entry.file)
                entries.setdefault(known.name, known)
            self._fingerprint, self._entries = fingerprint, entries
        return self._entries
