"""Names of machines, which follow from a DAG's key alone so that every deployment finds them again, and of states."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 48
"""Characters of a machine's name behind the stack's prefix; with it they must fit into the 80 of Step Functions."""

MAX_STATE_NAME = 80
"""Characters of a state's name (Amazon States Language)."""

CHILD_MARK = "_"
"""Starts the name of a child DAG's machine, and of no other: so that a rule can tell a run from a part of one."""

_UNSAFE = re.compile(r"^_+|[^A-Za-z0-9_-]+")


def machine_name(key: str) -> str:
    """The state machine's name, behind the stack's prefix, of the root DAG with `key` (see `fanfold.asl.compile`).

    ``etl`` → ``etl``. Where the key holds other characters or is too long, a hash of it keeps names apart.
    """
    return _name(key, MAX_LENGTH)


def child_machine_name(key: str) -> str:
    """The same for a child DAG."""
    return CHILD_MARK + _name(key, MAX_LENGTH - len(CHILD_MARK))


def _name(key: str, length: int) -> str:
    safe = _UNSAFE.sub("-", key)
    if safe == key and len(safe) <= length - 9:
        return safe
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{safe[: length - 9]}-{digest}"


def name_length(name: str) -> int:
    """Characters of a state's name as UTF-16 counts them, the most that AWS may count: an emoji has two."""
    return len(name.encode("utf-16-le", "surrogatepass")) // 2


def shortened(name: str, most: int) -> str:
    """`name`, cut where it has more characters than `most`."""
    if name_length(name) <= most:
        return name
    while name_length(name) > most - 1:
        name = name[:-1]
    return f"{name}…"
