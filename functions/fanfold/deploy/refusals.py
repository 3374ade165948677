"""What AWS refuses at a deployment, as a problem of the DAG file that asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.model import Place

_PASSES = re.compile(r"Throttl|TooManyRequests|RequestLimit|Concurrent|Conflict|Timeout|Internal|Unavailable")
"""Codes of what another try of the same call gets past, below 500 too (the models of the services in botocore)."""

_HINTS = (
    (r"AccessDenied|NotAuthorized", "the role of the stack's ParserFunction lacks this right: update the stack"),
    (r"Limit|Quota|TooMany", "raise this quota of the account, or remove files that are no longer needed"),
    (r"InvalidDefinition", "fanfold compile FILE shows the definition; please report it as a fault of Fanfold"),
)
_UPLOAD = "; then upload the file again"


class Refused(DagFileError):
    """AWS refused what a DAG file asks for."""


class StillDeleting(DagFileError):
    """A state machine of this name is being deleted, which takes until its last run has ended."""

    def __init__(self, place: Place, what: str) -> None:
        message = f"{what} is still being deleted, as runs of an earlier file go on"
        hint = "the file is deployed by itself when they have ended; stopping them lets it be sooner"
        super().__init__([Problem(place, message, hint)])


@contextmanager
def located(place: Place, what: str) -> Iterator[None]:
    """Say which part of a file AWS has refused: raises Refused or StillDeleting.

    A ClientError that another try gets past is raised as it is.
    """
    from botocore.exceptions import ClientError  # loaded with the first client

    try:
        yield
    except ClientError as fault:
        error, status = fault.response["Error"], fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        code = error.get("Code", "unknown")
        if status >= 500 or _PASSES.search(code):
            raise
        if code == "StateMachineDeleting":
            raise StillDeleting(place, what) from fault
        hint = next((text for pattern, text in _HINTS if re.search(pattern, code)), "mend what AWS names")
        message = f"AWS refused {what}: {code}: {error.get('Message', 'no reason given')}"
        raise Refused([Problem(place, message, hint + _UPLOAD)]) from fault
