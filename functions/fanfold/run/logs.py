"""Where the logs of a run lie: one folder a run, two files a step, and one for the run as a whole."""

from __future__ import annotations

import os
import time
import weakref
from pathlib import Path
from urllib.parse import quote

from fanfold.run.runtime import Runtime
from fanfold.run.scope import RunIdentity

TAIL_LINES = 10
_TAIL_BYTES = 4096


class RunLogs:
    """The log folder of one run; a child's is ``<step>/<index>`` below its parent's."""

    def __init__(self, runtime: Runtime, run: RunIdentity) -> None:
        _, _, below = run.prefix.partition("/")
        below = below.removeprefix(run.root).strip("/")
        self.folder = runtime.log_folder / run.root / below
        os.makedirs(self.folder, exist_ok=True)
        self.run_log = self.folder / "run.log"
        self._descriptor = os.open(self.run_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        weakref.finalize(self, os.close, self._descriptor)

    def stdout(self, step: str) -> Path:
        """Where a step's stdout goes."""
        return self.folder / f"{quote(step, safe=' ')}.out"

    def stderr(self, step: str) -> Path:
        """Where a step's stderr goes."""
        return self.folder / f"{quote(step, safe=' ')}.err"

    def note(self, text: str) -> None:
        """Add a line to the run's own log."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.write(self._descriptor, f"{stamp} {text}\n".encode("utf-8", "replace"))


def tail(path: Path) -> str:
    """The last lines of a log, at most `TAIL_LINES`; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])
