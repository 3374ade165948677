"""How a task on AWS learns that its run is to stop: by an object that it looks for from time to time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from fanfold.run.keys import stop_key
from fanfold.run.runtime import Cancellation, Runtime
from fanfold.run.scope import RunIdentity

_looks: dict[str, float] = {}
"""Until when this process need not look for an object again; of one that was there it always does."""


@contextmanager
def stoppable(runtime: Runtime, run_of: Callable[[], RunIdentity], *, is_item: bool) -> Iterator[Runtime]:
    """The runtime of one task of a run, cancelled once the run is to stop (`fanfold stop`).

    A task looks before it begins; of items, of which there are many, only the first for a while does.
    """
    seconds = runtime.stop_poll_seconds
    if seconds is None:
        yield runtime
        return
    cancellation, done = Cancellation(), threading.Event()
    run = run_of()
    key = stop_key(run.prefix, run.attempt)

    def look() -> bool:
        is_there = runtime.store.has(key)
        _looks[key] = 0 if is_there else time.monotonic() + seconds
        if is_there or runtime.cancellation.requested:
            cancellation.request()
        return cancellation.requested

    def watch() -> None:
        while not done.wait(seconds) and not look():
            pass

    if not is_item or time.monotonic() >= _looks.get(key, 0):
        look()
    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield replace(runtime, cancellation=cancellation)
    finally:
        done.set()
