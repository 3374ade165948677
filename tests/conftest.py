"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import DagRunner


@pytest.fixture
def run_dag(tmp_path: Path) -> DagRunner:
    """Runs a DAG text: ``record = run_dag(text, *arguments, files={...})``."""
    return DagRunner(tmp_path)
