"""A second cloud with the stack on it, and what the laptop makes of the same files meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from corpus import FILES, arguments, lay_out
from documents import Result
from laptop import run_here
from localstack_host import SecondPlace, localstack

RUNS_AT_A_TIME = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The DAG files, each with a name of its own, by that name."""
    return lay_out(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def on_laptop(
    laptop: ProcessPoolExecutor, corpus: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[Result]]:
    """The records of the laptop, made while the cloud comes up."""
    folder = tmp_path_factory.mktemp("laptop")
    return {name: laptop.submit(run_here, path, arguments(name), folder) for name, path in corpus.items()}


@pytest.fixture(scope="module")
def second(on_laptop: object, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondPlace]:
    folder = tmp_path_factory.mktemp("second")
    for name in ("localstack", "place"):
        (folder / name).mkdir()
    with localstack(folder / "localstack") as cloud:
        yield SecondPlace(folder / "place", cloud, built, cloud.deploy(built))


@pytest.fixture(scope="module")
def on_second(second: SecondPlace, corpus: dict[str, Path]) -> Iterator[dict[str, Future[Result]]]:
    """The records of the second cloud: all files in one push, then as many runs at a time as the machine bears."""
    second.fanfold("push", str(next(iter(corpus.values())).parents[1]))
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        yield {name: pool.submit(second.record, name, arguments(name)) for name in FILES}
        pool.shutdown(cancel_futures=True)
