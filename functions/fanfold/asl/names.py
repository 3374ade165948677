"""Names that follow from a DAG's key alone, so that every deployment finds the same machine again."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 48
"""Characters of a machine's name behind the stack's prefix; with it they must fit into the 80 of Step Functions."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def machine_name(key: str) -> str:
    """The state machine's name, behind the stack's prefix, of the DAG with `key` (see `fanfold.asl.compile`).

    ``etl`` → ``etl``. Where the key holds other characters or is too long, a hash of it keeps names apart.
    """
    safe = _UNSAFE.sub("-", key)
    if safe == key and len(safe) <= MAX_LENGTH - 9:
        return safe
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{safe[: MAX_LENGTH - 9]}-{digest}"
