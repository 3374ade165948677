"""The two places where runs are: this machine's data folder, and a stack. What one can be asked, the other can too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fanfold.dag.params import from_arguments
from fanfold.history.folder import LocalRunStore
from fanfold.history.run_store import RunStore
from fanfold.history.stack import StackRunStore
from fanfold.local.up import Up, stack_up

Json = Any


class Place(ABC):
    """Runs DAG files, and the commands for runs."""

    store: RunStore
    options: Sequence[str]
    """What the commands need to find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where DAG files are written, and commands leave what they did."""

    def write(self, name: str, text: str) -> Path:
        """Write a DAG file; ``FOLDER`` in it stands for `folder`."""
        path = self.folder / f"{name}.yaml"
        path.write_text(text.replace("FOLDER", str(self.folder)))
        return path

    @abstractmethod
    def start(self, name: str, text: str, *arguments: str) -> str:
        """Start a DAG without waiting; its run's id."""

    def run(self, name: str, text: str, *arguments: str) -> str:
        """Run a DAG to its end; its run's id."""
        run = self.start(name, text, *arguments)
        self.wait(run)
        return run

    def wait(self, run: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while self.store.summary(run).is_running:
            assert time.monotonic() < end, "the run does not end"
            time.sleep(0.05)

    def fanfold(self, *arguments: str, code: int | None = 0) -> str:
        """Call a command that looks here; its standard output."""
        done = subprocess.run(
            [sys.executable, "-c", "from fanfold.cli import main; main()", *arguments, *self.options],
            capture_output=True, text=True, check=False, timeout=120, cwd=self.folder,
        )  # fmt: skip
        assert code in (None, done.returncode), (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def ask(self, *arguments: str, code: int = 0) -> Json:
        """The JSON that a command prints."""
        return json.loads(self.fanfold(*arguments, "--json", code=code))

    def done(self) -> list[str]:
        """The words that commands left in the file ``done``, sorted."""
        path = self.folder / "done"
        return sorted(path.read_text().split()) if path.exists() else []


class Laptop(Place):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = LocalRunStore(folder / "home")
        self.options = ("--home", str(folder / "home"))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, text: str, *arguments: str) -> str:
        known = {run.run for run in self.store.runs()}
        command = [sys.executable, "-c", "from fanfold.cli import main; main()", "start", str(self.write(name, text))]
        command += [*self.options, "--", *arguments]
        self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        end = time.monotonic() + 30
        while time.monotonic() < end:
            new = [run.run for run in self.store.runs() if run.run not in known]
            if new:
                return new[0]
            time.sleep(0.02)
        raise AssertionError("the run did not start")


class OnStack(Place):
    def __init__(self, folder: Path, up: Up) -> None:
        super().__init__(folder)
        self.stack = up.stack
        self.store = StackRunStore(up.stack)
        self.options = ("--stack", up.stack.name, "--endpoint-url", up.url)

    def put(self, name: str, text: str) -> None:
        """Put a DAG file into the bucket, which deploys it."""
        key, data = f"dags/{name}.yaml", self.write(name, text).read_bytes()
        self.stack.clients.s3.put_object(Bucket=self.stack.dag_bucket, Key=key, Body=data)

    def start(self, name: str, text: str, *arguments: str) -> str:
        self.put(name, text)
        run = str(uuid.uuid4())
        given = {"params": from_arguments(arguments).to_json()}
        machine = self.stack.machine_of(name)
        self.stack.clients.states.start_execution(stateMachineArn=f"{machine}:live", name=run, input=json.dumps(given))
        return run


@contextmanager
def stack_place(folder: Path) -> Iterator[OnStack]:
    home = folder / "home"
    with stack_up("fanfold", 0, home) as up:
        yield OnStack(folder, up)
