"""Names that follow from a DAG's key alone, so that every deployment finds the same machine again."""

from __future__ import annotations

import hashlib
import re

PREFIX = "fanfold-"
MAX_LENGTH = 80
"""Characters of a state machine's name (Step Functions quotas)."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def machine_name(key: str) -> str:
    """The state machine of the DAG with `key` (see `DagSet`; the root's is its file without suffix).

    ``etl`` → ``fanfold-etl``. Where the key holds other characters or is too long, a hash of it keeps names apart.
    """
    safe = _UNSAFE.sub("-", key)
    if safe == key and len(PREFIX + safe) <= MAX_LENGTH - 9:
        return PREFIX + safe
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{PREFIX}{safe[: MAX_LENGTH - len(PREFIX) - 9]}-{digest}"
