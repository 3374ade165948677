"""``fanfold rollback``: let a deployed DAG be again what it was."""

from __future__ import annotations

from rich.console import Console

from fanfold.cli.remote import connected


def roll_back(dag: str, to: int | None, stack_name: str, endpoint_url: str | None) -> int:
    """Move the alias ``live`` back; the exit code."""
    with connected(stack_name, endpoint_url) as stack:
        before, now = stack.roll_back(dag, to)
        Console(highlight=False).print(
            f"{dag}: version {now} is live again, in place of {before}; the next upload of its file deploys that",
            soft_wrap=True,
        )
        return 0
    return 2
