"""The command ``fanfold``. Needs the extra ``local``; without it, it says how to get it."""

from __future__ import annotations

import gc
import io
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
    app()
