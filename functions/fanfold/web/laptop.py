"""The page's site on this machine: a folder of DAG files, and the data folder. Runs are processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from fanfold.dag.params import Parameters
from fanfold.dag.read import SUFFIXES
from fanfold.deploy.bundles import is_dag
from fanfold.history.folder import LocalRunStore, read_note
from fanfold.history.run_store import NoSuchRun, RunFault
from fanfold.local.folder import UnusableFile, fetch_from
from fanfold.web.site import CannotStart, Catalogue, DagEntry, Site, read_entry

MOST_FILES = 1000
"""DAG files that are shown."""
MOST_FOLDERS = 2000
"""Folders that are looked through: this may be somebody's home."""
START_SECONDS = 30.0
"""Within which a run must have begun."""

_COMMAND = (sys.executable, "-c", "from fanfold.cli import main; main()")
_LEFT_OUT = {"__pycache__", "node_modules", "venv"}


class LaptopSite(Site):
    """See the module; `home` is the data folder, `folder` that of the DAG files."""

    fires = False
    counts_costs = True

    def __init__(self, home: Path, folder: Path) -> None:
        self._home, self._folder = home.resolve(), folder.resolve()
        self.store = LocalRunStore(self._home)
        self.title = str(self._folder)
        self._catalogue = Catalogue()
        self._one_cost = threading.Lock()

    def dags(self) -> Mapping[str, DagEntry]:
        versions: dict[Path, tuple[int, int]] = {}
        for path in sorted({*self._files(), *self._files_of_runs()})[:MOST_FILES]:
            with suppress(OSError):  # gone since
                status = path.stat()
                versions[path] = status.st_mtime_ns, status.st_size
        return self._catalogue.entries(versions, lambda: [entry for path in versions for entry in self._read(path)])

    def _files(self) -> Iterator[Path]:
        """The YAML files below the folder, those nearer to it first."""
        waiting = deque([self._folder])
        for _ in range(MOST_FOLDERS):
            if not waiting:
                return
            with suppress(OSError):
                for entry in waiting.popleft().iterdir():
                    if entry.name.startswith(".") or entry.name in _LEFT_OUT or entry == self._home:
                        continue
                    if entry.is_dir():
                        waiting += [] if entry.is_symlink() else [entry]
                    elif entry.suffix in SUFFIXES and entry.is_file():
                        yield entry

    def _files_of_runs(self) -> Iterator[Path]:
        """The files of DAGs that have run from elsewhere."""
        for folder in (self._home / "runs").glob("*"):
            note = read_note(folder)
            if note is not None and Path(note["file"]).is_file():
                yield Path(note["file"])

    def _read(self, path: Path) -> Iterator[DagEntry]:
        with suppress(OSError, UnusableFile):
            if is_dag(path.name, path.read_bytes()):
                shown = str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)
                yield read_entry(shown, path.name, fetch_from(path.parent), os.environ)

    def start(self, dag: DagEntry, params: Parameters) -> str:
        run = str(uuid.uuid4())
        arguments = [*params.positional, *(f"{name}={value}" for name, value in params.named.items())]
        file = str(self._folder / dag.file)
        process, said = self._launch("start", file, "--json", "--run-id", run, "--", *arguments)
        with said:
            self._wait(process, said, lambda: self._has_begun(run, 1))
        return run

    def retry(self, run: str) -> None:
        note = read_note(self._home / "runs" / run)
        if note is None:
            raise NoSuchRun(f"there is no run {run!r}")
        process, said = self._launch("retry", run, "--json")
        with said:
            try:
                self._wait(process, said, lambda: self._has_begun(run, note["attempt"] + 1))
            except CannotStart as fault:
                raise RunFault(str(fault)) from None

    def _has_begun(self, run: str, attempt: int) -> bool:
        try:
            data = self.store.data(run)
        except NoSuchRun:
            return False
        begun = data.begun()
        return begun is not None and begun["attempt"] >= attempt

    def _launch(self, command: str, *arguments: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        """Start a command that outlives the page; what it says on stderr goes to a file without a name."""
        import tempfile

        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who waits
        options = ("--home", str(self._home))
        mark = arguments.index("--") if "--" in arguments else len(arguments)
        try:
            process = subprocess.Popen(
                [*_COMMAND, command, *arguments[:mark], *options, *arguments[mark:]],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as fault:
            said.close()
            raise CannotStart(
                f"a parameter cannot be handed to a command, which takes 128 KB at most: {fault}"
            ) from None
        threading.Thread(target=process.wait, name="reaper", daemon=True).start()
        return process, said

    def _wait(self, process: subprocess.Popen[bytes], said: IO[bytes], has_begun: Any) -> None:
        """Until the run has begun. Raises CannotStart."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if has_begun():
                return
            if process.poll() is not None and not has_begun():
                said.seek(0)
                raise CannotStart(said.read(10_000).decode("utf-8", "replace").strip() or "the run did not begin")
            time.sleep(0.05)
        raise CannotStart(f"the run has not begun after {START_SECONDS:g} s")

    def cost(self, dag: DagEntry, items: int) -> Mapping[str, object] | None:
        command = [*_COMMAND, "cost", str(self._folder / dag.file), "--items", str(items), "--json"]
        with self._one_cost:
            done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        told: dict[str, object] | None = json.loads(done.stdout) if done.returncode == 0 else None
        return told
