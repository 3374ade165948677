"""The public door for tests: a DAG file on disk in, the record of its run out; and programs that some tests call."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fanfold.local.session import Session
from fanfold.run.events import RunEvent

Record = dict[str, Any]
ROOT = Path(__file__).parents[1]


def run_file(
    path: Path,
    *arguments: str,
    home: Path,
    observer: Callable[[RunEvent], None] | None = None,
    buckets: Mapping[str, Path] | None = None,
) -> Record:
    """Run a DAG file as ``fanfold start`` does; raises DagFileError when it is refused."""
    with Session(path, home=home, observer=observer, buckets=buckets, arguments=arguments) as session:
        session.deploy()
        return session.run()


class DagRunner:
    """Writes DAG texts into a folder of their own and runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "dags"
        self.folder.mkdir()
        self.home = folder / "home"
        self.events: list[RunEvent] = []
        self.observer: Callable[[RunEvent], None] = self.events.append

    def __call__(
        self,
        text: str,
        *arguments: str,
        files: Mapping[str, str] | None = None,
        buckets: Mapping[str, Path] | None = None,
    ) -> Record:
        for name, content in (files or {}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(content), "utf-8")
        path = self.folder / "main.yaml"
        path.write_text(textwrap.dedent(text), "utf-8")
        return run_file(path, *arguments, home=self.home, observer=self.observer, buckets=buckets)


def tool(name: str) -> str:
    """Where a program is; a test whose program is missing is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run_program(*command: str | Path) -> str:
    """The standard output of a program that ends well, run in the repository."""
    env = os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
