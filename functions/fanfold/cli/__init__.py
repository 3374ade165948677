"""The command ``fanfold``. Needs the extra ``local``; without it, it says how to get it."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys


def main() -> None:
    """The console script's entry point."""
    gc.disable()  # a thousand modules are loaded, and nothing of them is garbage: a tenth of the start-up
    try:
        from fanfold.cli.app import app
    except ModuleNotFoundError as missing:
        sys.stderr.write(f"fanfold needs {missing.name}, which is not installed. Run: pip install 'fanfold[local]'\n")
        raise SystemExit(2) from None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as end:
        _leave(end.code)


def _leave(code: str | int | None) -> None:
    """End the process at once: to take down a thousand modules one by one would be a sixth of a short run."""
    if not isinstance(code, int | None):
        raise SystemExit(code)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        raise SystemExit(code) from None
    os._exit(code or 0)
