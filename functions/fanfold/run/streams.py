"""A step's stdout and stderr: two log files, and where somebody wants them, a telling of each line as it is written."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from fanfold.run.logs import RunLogs
from fanfold.run.secrets import Secrets
from fanfold.run.shell import ShellFault

LOOK_SECONDS = 1.0
"""Between two looks at what a step has written meanwhile."""
MOST_OF_A_LINE = 200_000
"""Characters told at a time: an event of CloudWatch Logs has 1 MiB at most, of which some characters take several."""
_CHUNK = 1024 * 1024

TellLine = Callable[[str, str], None]
"""(stdout or stderr, the text)."""


class Streams:
    """Open as long as the step runs; each try's output stands behind the last's.

    Where the run has secrets, the step writes into files that have no name, and what goes to the logs is masked.
    """

    def __init__(self, logs: RunLogs, step: str, tell: TellLine | None, secrets: Secrets) -> None:
        self.stdout_path, self.stderr_path = logs.stdout(step), logs.stderr(step)
        self._logs: list[IO[bytes]] = [open(path, "a+b", buffering=0) for path in (self.stdout_path, self.stderr_path)]  # noqa: SIM115 - closed by __exit__
        self._forwarder: _Forwarder | None = None
        raw = self._logs
        if secrets.are_known:
            raw = [tempfile.TemporaryFile(buffering=0) for _ in self._logs]  # noqa: SIM115 - closed by __exit__
        self.stdout, self.stderr = raw
        self._starts = (0, 0)
        if tell is not None or secrets.are_known:
            self._forwarder = _Forwarder(raw, self._logs if secrets.are_known else [], tell, secrets)

    def __enter__(self) -> Streams:
        if self._forwarder is not None:
            self._forwarder.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._forwarder is not None:
            self._forwarder.finish()
        for file in (self.stdout, self.stderr, *self._logs):
            file.close()

    def start_try(self) -> None:
        """What is written from now on belongs to the next try."""
        self._starts = (self.stdout.seek(0, 2), self.stderr.seek(0, 2))

    def written(self) -> int:
        """Bytes of this try's stdout."""
        return self.stdout.seek(0, 2) - self._starts[0]

    def wrote_errors(self) -> bool:
        """Whether stderr is not empty, or stdout is."""
        return self.stderr.seek(0, 2) > 0 or self.stdout.seek(0, 2) == 0

    def output(self) -> str:
        """This try's stdout without its trailing newlines."""
        self.stdout.seek(self._starts[0])
        return self.stdout.read().decode("utf-8", "replace").rstrip("\n")

    def copy_to(self, stdout: Path | None, stderr: Path | None) -> None:
        """Copy this try's output to the files that the step asks for; raises ShellFault."""
        for path, log, start in ((stdout, self.stdout, self._starts[0]), (stderr, self.stderr, self._starts[1])):
            if path is None:
                continue
            try:
                with path.open("wb") as copy:
                    log.seek(start)
                    shutil.copyfileobj(log, copy)
            except OSError as fault:
                raise ShellFault(f"{path} cannot be written: {fault.strerror}") from fault


class _Forwarder:
    """Takes whole lines from what the step writes, masks them, and passes them on."""

    def __init__(self, raw: list[IO[bytes]], logs: list[IO[bytes]], tell: TellLine | None, secrets: Secrets) -> None:
        self._raw, self._logs, self._tell, self._secrets = raw, logs, tell, secrets
        self._read = [os.fstat(file.fileno()).st_size for file in raw]
        """Of each stream how far it was read; what an earlier try of the item wrote has been told."""
        self._begun = [b"" for _ in raw]
        """Of each stream the line that has not ended."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """The step has ended: pass on what is left."""
        self._done.set()
        self._thread.join()
        self._pass_on(last=True)

    def _run(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self._pass_on(last=False)

    def _pass_on(self, *, last: bool) -> None:
        for place, stream in enumerate(("stdout", "stderr")):
            while chunk := os.pread(self._raw[place].fileno(), _CHUNK, self._read[place]):
                self._read[place] += len(chunk)
                whole, newline, self._begun[place] = (self._begun[place] + chunk).rpartition(b"\n")
                if newline:
                    self._write(place, stream, whole + newline)
            if last and self._begun[place]:
                self._write(place, stream, self._begun[place])

    def _write(self, place: int, stream: str, data: bytes) -> None:
        text = self._secrets.mask(data.decode("utf-8", "surrogateescape"))
        if self._logs:
            self._logs[place].write(text.encode("utf-8", "surrogateescape"))
        if self._tell is None:
            return
        for line in text.removesuffix("\n").split("\n"):
            shown = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            for start in range(0, max(1, len(shown)), MOST_OF_A_LINE):
                self._tell(stream, shown[start : start + MOST_OF_A_LINE])
