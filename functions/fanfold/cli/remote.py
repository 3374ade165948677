"""A stack, as the commands with ``--stack`` reach it, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from fanfold.deploy.clients import Clients
from fanfold.deploy.stack import NoSuchThing, Stack


@contextmanager
def connected(name: str, endpoint_url: str | None) -> Iterator[Stack]:
    """The stack called `name`; a fault of AWS or of what was asked for ends the command with exit code 2."""
    settings = {"endpoint_url": endpoint_url} if endpoint_url else {}
    try:
        yield Stack.find(name, Clients(**settings))
    except NoSuchThing as fault:
        _leave(str(fault))
    except (BotoCoreError, ClientError) as fault:
        _leave(f"AWS says: {fault}")


def _leave(reason: str) -> None:
    Console(stderr=True, highlight=False).print(Text(reason, "red"), soft_wrap=True)
    raise click.exceptions.Exit(2)
