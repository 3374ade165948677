"""Secrets: values of ``env`` that are read at run time, and stand in no definition, state, log or history.

``${ssm:/path}`` is a parameter of AWS Systems Manager, ``${secret:name}`` a secret of AWS Secrets Manager and
``${secret:name#key}`` one value of its JSON object. In a scope stands what to read, and the runner reads it where a
step needs it (docs/operating.md).
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fanfold.dag.secret_names import SecretName

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider, SSMProvider

CACHED_SECONDS = 300
"""How long a value that was read is used again."""
SHORTEST = 4
"""Characters of a value that is masked in logs and outputs; a shorter one would hide too much else."""
MASK = "*******"


class SecretFault(Exception):
    """A secret cannot be read; the message says which and why."""


@dataclass
class Secrets:
    """Reads and caches secrets, and hides those that were read."""

    _values: dict[str, None] = field(default_factory=dict)
    _pattern: re.Pattern[str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def are_known(self) -> bool:
        """Whether any was read."""
        return self._pattern is not None

    def read(self, name: SecretName) -> str:
        """The value of a secret. Raises SecretFault."""
        try:
            value = self._read(name)
        except Exception as fault:
            raise SecretFault(f"{name.text} cannot be read: {_reason(fault)}") from None
        self._note(value)
        return value

    def _read(self, name: SecretName) -> str:
        if name.kind == "ssm":
            return str(self._parameters.get(name.name, max_age=CACHED_SECONDS, decrypt=True))
        if name.key is None:
            return str(self._secrets.get(name.name, max_age=CACHED_SECONDS))
        found: Any = self._secrets.get(name.name, max_age=CACHED_SECONDS, transform="json")
        if not isinstance(found, dict) or name.key not in found:
            raise KeyError(f"it has no key {name.key!r}")
        return str(found[name.key])

    @cached_property
    def _parameters(self) -> SSMProvider:
        from aws_lambda_powertools.utilities.parameters import SSMProvider

        return SSMProvider()

    @cached_property
    def _secrets(self) -> SecretsProvider:
        from aws_lambda_powertools.utilities.parameters import SecretsProvider

        return SecretsProvider()

    def _note(self, value: str) -> None:
        texts = [text for text in (value, *value.splitlines()) if len(text) >= SHORTEST]
        with self._lock:
            if all(text in self._values for text in texts):
                return
            self._values |= dict.fromkeys(texts)
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def mask(self, text: str) -> str:
        """`text` with every secret that was read hidden."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def holds(self, text: str) -> bool:
        """Whether `text` holds a secret that was read."""
        return self._pattern is not None and self._pattern.search(text) is not None


def _reason(fault: Exception) -> str:
    """What AWS says, without the call around it."""
    cause: BaseException = fault.__cause__ or fault.__context__ or fault
    response = getattr(cause, "response", None)
    if isinstance(response, dict):
        return f"{response['Error']['Code']}: {response['Error']['Message']}"
    return str(cause.args[0]) if cause.args else type(cause).__name__
