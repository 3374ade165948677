"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from fanfold.local.engine import embedded_aws
from fanfold.run.store import ObjectStore
from support import DagRunner


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
