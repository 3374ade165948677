"""Where the commands for runs look: the data folder, or a stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from fanfold.history.folder import LocalRunStore
from fanfold.history.run_store import NoSuchRun, RunFault, RunStore


@dataclass(frozen=True)
class Place:
    """What ``--home``, ``--stack`` and ``--endpoint-url`` say."""

    home: Path | None
    stack: str | None
    endpoint_url: str | None

    @property
    def folder(self) -> Path:
        """The data folder."""
        from fanfold.local.session import data_folder

        return self.home or data_folder()


@contextmanager
def run_store(place: Place) -> Iterator[RunStore]:
    """The store of runs; a fault of what was asked for ends the command with exit code 2."""
    try:
        if place.stack is None:
            yield LocalRunStore(place.folder)
            return
        from fanfold.cli.remote import connected
        from fanfold.history.stack import StackRunStore

        with connected(place.stack, place.endpoint_url) as stack:
            yield StackRunStore(stack)
    except (NoSuchRun, RunFault) as fault:
        Console(stderr=True, highlight=False).print(Text(str(fault), "red"), soft_wrap=True)
        raise click.exceptions.Exit(2) from None


def write_json(value: object) -> None:
    """Print one JSON value."""
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=sys.stdout.encoding.lower() != "utf-8") + "\n")
