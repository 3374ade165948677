"""A DAG file and all child DAGs that it reaches → DagSet, or every problem at once."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fanfold.dag.check import check_dag_set
from fanfold.dag.diagnostics import Problems, nearest
from fanfold.dag.document import ReadDag, read_dag
from fanfold.dag.model import Dag, DagSet, Place
from fanfold.dag.yaml_source import read_documents

Fetch = Callable[[str], bytes | None]
"""A file's bytes by its path below the DAG folder; None when there is no such file."""

SUFFIXES = (".yaml", ".yml")


def read_dag_file(path: str, fetch: Fetch, environment: Collection[str] = ()) -> DagSet:
    """Read the DAG file at `path` (relative to the DAG folder) and the child DAGs that it reaches.

    `environment` names the variables that the process of every step will have.

    Raises DagFileError with every problem in every file.
    """
    problems = Problems()
    reader = _Reader(fetch, problems)
    data = fetch(path)
    if data is None:
        problems.add(Place(path, 1, 1), "there is no such file", "check the path")
        problems.raise_if_any()
    reader.add_file(path, data or b"", key="")
    while reader.waiting:
        reader.resolve(reader.waiting.pop(0))
    if "" not in reader.dags:
        problems.raise_if_any()
        raise AssertionError("a file without a DAG has a problem")
    dags = {key: read.dag for key, read in reader.dags.items()}
    dag_set = DagSet(dags[""], dags, reader.children, reader.texts)
    check_dag_set(dag_set, {key: read.places for key, read in reader.dags.items()}, environment, problems)
    problems.raise_if_any()
    return dag_set


def read_document(file: str, name: str, text: str) -> Dag:
    """One document alone, its children not looked for. Raises DagFileError."""
    problems = Problems()
    documents = read_documents(file, text.encode("utf-8", "surrogatepass"), problems)
    read = read_dag(documents[0].root, name, problems) if documents else None
    problems.raise_if_any()
    assert read is not None
    return read.dag


def without_suffix(path: str) -> str:
    """A DAG file's path as a key: ``deploy/regional-stack.yaml`` → ``deploy/regional-stack``."""
    for suffix in SUFFIXES:
        path = path.removesuffix(suffix)
    return path


@dataclass
class _Reader:
    fetch: Fetch
    problems: Problems
    dags: dict[str, ReadDag] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    children: dict[str, dict[str, str]] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    """Keys of the DAGs whose children are still to be found."""
    _files: dict[str, str] = field(default_factory=dict)
    """The key of the first DAG of every file that was read, by its path."""
    _locals: dict[str, dict[str, str]] = field(default_factory=dict)
    """By file: the name of a local DAG → its key."""

    def add_file(self, path: str, data: bytes, key: str) -> None:
        """Read a file; its first DAG gets `key`."""
        self._files[path] = key
        local: dict[str, str] = {}
        self._locals[path] = local
        for place, document in enumerate(read_documents(path, data, self.problems)):
            stem = posixpath.basename(without_suffix(path)) if place == 0 else None
            read = read_dag(document.root, stem, self.problems)
            if read is None:
                continue
            name = read.dag.name
            if place and name in local:
                first = self.dags[local[name]].places[("", "name")]
                hint = f"the first is in line {first.line}; give this one another name"
                self.problems.add(read.places[("", "name")], f"two local DAGs are called {name!r}", hint)
                continue
            own = key if place == 0 else f"{key}#{name}"
            if place:
                local[name] = own
                self._refuse_starts(read)
            self.dags[own], self.texts[own], self.children[own] = read, document.text, {}
            self.waiting.append(own)

    def _refuse_starts(self, read: ReadDag) -> None:
        """A local DAG is only ever called."""
        hint = "put it into the first document of the file, or make the local DAG a file of its own"
        for schedule in read.dag.schedule:
            self.problems.add(schedule.place, "a local DAG has a 'schedule'", hint)
        for trigger in read.dag.triggers:
            self.problems.add(trigger.place, "a local DAG has a trigger", hint)

    def resolve(self, key: str) -> None:
        """Find the child DAGs of the DAG with `key`."""
        read = self.dags[key]
        for step in read.dag.steps:
            if step.run is None or step.run in self.children[key]:
                continue
            place = read.places.get((step.name, "run"), step.place)
            child = self._find(step.run, read.dag.place.file, place)
            if child is not None:
                self.children[key][step.run] = child

    def _find(self, run: str, file: str, place: Place) -> str | None:
        local = self._locals[file]
        if run in local:
            return local[run]
        if "$" in run:
            self.problems.add(place, f"'run' is {run!r}", "name the child DAG itself; a reference cannot stand here")
            return None
        folder = posixpath.dirname(file)
        if run.startswith("/") or posixpath.normpath(posixpath.join(folder, run)).startswith(".."):
            self.problems.add(
                place, f"the child DAG {run!r} lies outside of the DAG folder", "move it below the folder"
            )
            return None
        looked = [
            posixpath.normpath(posixpath.join(base, run + suffix))
            for base in dict.fromkeys([folder, ""])
            for suffix in ("", *SUFFIXES)
        ]
        for path in looked:
            if path in self._files:
                return self._files[path]
            data = self.fetch(path)
            if data is not None:
                self.add_file(path, data, without_suffix(path))
                return without_suffix(path) if without_suffix(path) in self.dags else None
        hint = nearest(run, local) or f"add it below as a local DAG (---, name: {run}), or as {looked[1]}"
        self.problems.add(place, f"there is no DAG {run!r}", hint)
        return None
