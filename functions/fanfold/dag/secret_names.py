"""``${ssm:/path}``, ``${secret:name}`` and ``${secret:name#key}`` in an ``env``: what secrets are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_SECRET = re.compile(r"\$\{(ssm|secret):([^}#]+)(?:#([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class SecretName:
    """See the module."""

    kind: Literal["ssm", "secret"]
    name: str
    key: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """As it travels in a state."""
        return {"kind": self.kind, "name": self.name, "key": self.key}

    @property
    def text(self) -> str:
        """As it is written in a DAG file."""
        return f"${{{self.kind}:{self.name}{'' if self.key is None else '#' + self.key}}}"


def secret_names(text: str) -> list[SecretName]:
    """The secrets that `text` names."""
    return [part for part in split_secrets(text) if isinstance(part, SecretName)]


def split_secrets(text: str) -> Iterator[str | SecretName]:
    """`text` in pieces: the names of secrets, and the texts between them."""
    done = 0
    for found in _SECRET.finditer(text):
        if done < found.start():
            yield text[done : found.start()]
        yield SecretName("ssm" if found[1] == "ssm" else "secret", found[2], found[3])
        done = found.end()
    if done < len(text):
        yield text[done:]
