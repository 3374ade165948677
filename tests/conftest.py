"""Fixtures that all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from fanfold.local.engine import embedded_aws
from fanfold.local.up import Up, stack_up
from fanfold.run.store import ObjectStore
from places import Laptop, OnStack, Place
from support import DagRunner, run_program, tool


@pytest.fixture
def run_dag(tmp_path: Path) -> DagRunner:
    """Runs a DAG text: ``record = run_dag(text, *arguments, files={...})``."""
    return DagRunner(tmp_path)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A bucket of an embedded AWS."""
    with embedded_aws({}):
        client = boto3.client("s3")
        client.create_bucket(Bucket="runs")
        yield ObjectStore(client, "runs")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A stack that is up."""
    with stack_up("fanfold", 0, tmp_path_factory.mktemp("up")) as up:
        yield up


@pytest.fixture(params=["laptop", "stack"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each of the two places where runs are."""
    return Laptop(tmp_path) if request.param == "laptop" else OnStack(tmp_path, request.getfixturevalue("up"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``sam build`` makes of the template, for the Python that runs here."""
    folder = tmp_path_factory.mktemp("build")
    version = f"PythonVersion=python{sys.version_info.major}.{sys.version_info.minor}"
    run_program(tool("sam"), "build", "--template", "template.yaml", "--build-dir", folder,
        "--parameter-overrides", version, "Architecture=x86_64")  # fmt: skip
    return folder
