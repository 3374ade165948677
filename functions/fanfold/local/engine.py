"""An AWS within this process: S3 and Step Functions by moto, the functions being plain Python callables."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fanfold.local.constants import REGION
from fanfold.local.moto_additions import Function, Launch
from fanfold.local.moto_overrides import overrides

OBJECT_BYTES = 32 * 1024
"""Bytes of an object of S3 that are held in memory; a larger one is a temporary file."""


@contextmanager
def embedded_aws(
    functions: Mapping[str, Function],
    sleep: Callable[[float], object] = time.sleep,
    launch: Launch | None = None,
) -> Iterator[None]:
    """Bring it up and take it down again; state machines and S3 notifications reach `functions` by their names.

    `sleep` passes the seconds between two tries of a state, `launch` starts a container with an environment. Inside,
    boto3 clients with default settings reach it and nothing else. The environment, and every override of moto, are
    restored at the end.
    """
    from moto import mock_aws

    environment = dict(os.environ)
    with _quiet("moto", "botocore", "werkzeug"), overrides(functions, sleep, launch):
        os.environ["AWS_DEFAULT_REGION"] = REGION
        os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(OBJECT_BYTES)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"):
            os.environ.pop(name, None)
        try:
            with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
                yield
        finally:
            os.environ.clear()
            os.environ.update(environment)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """moto logs every failed state as critical, and its server every request; that is no news here."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
