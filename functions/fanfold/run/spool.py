"""Files for a while."""

from __future__ import annotations

import tempfile
from typing import IO

_MEMORY = 4 * 1024 * 1024
"""Bytes that are held in memory; more go to a temporary file."""


def spooled() -> IO[bytes]:
    """An empty file that is in memory while it is small, and gone when it is closed."""
    return tempfile.SpooledTemporaryFile(_MEMORY)
