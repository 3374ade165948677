"""Fixtures that all tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import DagRunner


@pytest.fixture
def run_dag(tmp_path: Path) -> DagRunner:
    """Runs a DAG text: ``record = run_dag(text, *arguments, files={...})``."""
    return DagRunner(tmp_path)
