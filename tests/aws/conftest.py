"""A stack behind the real runtime of AWS Lambda, and what compares with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from cloud import Cloud, Interpreter, cloud_up, node


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all functions share, as ``CASE_TMP`` and ``TMPDIR``."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def cloud(built: Path, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    variables = {"CASE_TMP": str(scratch), "TMPDIR": str(scratch)}
    with cloud_up(built, tmp_path_factory.mktemp("cloud"), variables) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    found = node()
    if found is None:
        pytest.skip("aws-local-stepfunctions is not installed for Node")
    interpreter = Interpreter(found)
    yield interpreter
    interpreter.close()


@pytest.fixture(scope="module")
def laptop() -> Iterator[ProcessPoolExecutor]:
    """A process with a laptop in it."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    yield pool
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():  # to end it as ever takes half a minute: it frees what is in it
        process.kill()
