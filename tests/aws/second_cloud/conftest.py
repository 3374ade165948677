"""A second cloud with the stack on it, and what the laptop makes of the same files meanwhile."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from corpus import FILES, arguments, lay_out
from documents import Result, run_here
from fanfold.dag.params import from_arguments
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.stack import Stack
from fanfold.history.stack import StackRunStore
from fanfold.local.session import record_of_lost_run
from fanfold.local.up import Up
from localstack_host import LocalStack, build, localstack
from places import OnStack

RUNS_AT_A_TIME = 6


class SecondPlace(OnStack):
    """The stack on LocalStack, used as a user does: files go there by ``fanfold push``."""

    def __init__(self, folder: Path, cloud: LocalStack, stack: Stack) -> None:
        super().__init__(folder, Up(cloud.url, stack))
        self.cloud = cloud
        self.scratch = Path(cloud.variables["CASE_TMP"])
        """The commands of DAGs leave there what they did."""

    def put(self, name: str, text: str) -> None:
        self.fanfold("push", str(self.write(name, text)))

    def record(self, dag: str, arguments: tuple[str, ...] = ()) -> Result:
        """Start a deployed DAG and wait for its end; what the run left."""
        run, execution = self.stack.start(dag, from_arguments(arguments))
        ended = poll_execution(self.stack.clients.states, execution, 0.5)
        return StackRunStore(self.stack).data(run).result() or record_of_lost_run(dag, run, ended)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The DAG files, each with a name of its own, by that name."""
    return lay_out(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def on_laptop(corpus: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Result]]]:
    """The records of the laptop, made while the cloud comes up."""
    folder = tmp_path_factory.mktemp("laptop")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield {name: pool.submit(run_here, path, arguments(name), folder) for name, path in corpus.items()}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def second(on_laptop: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondPlace]:
    folder = tmp_path_factory.mktemp("second")
    for name in ("localstack", "place"):
        (folder / name).mkdir()
    with localstack(folder / "localstack") as cloud:
        yield SecondPlace(folder / "place", cloud, cloud.deploy(build(folder / "built")))


@pytest.fixture(scope="session")
def on_second(second: SecondPlace, corpus: dict[str, Path]) -> Iterator[dict[str, Future[Result]]]:
    """The records of the second cloud: all files in one push, then as many runs at a time as the machine bears."""
    second.fanfold("push", str(next(iter(corpus.values())).parents[1]))
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        yield {name: pool.submit(second.record, name, arguments(name)) for name in FILES}
        pool.shutdown(cancel_futures=True)
