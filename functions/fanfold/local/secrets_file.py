"""Secrets on a laptop: a YAML file stands in for Systems Manager and Secrets Manager.

``ssm:/path: value`` is a parameter, ``secret:name: value`` a secret, and one with keys is a mapping.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from fanfold.deploy.clients import Clients
from fanfold.local.folder import UnusableFile

_KINDS = ("ssm", "secret")


def read_secrets(path: Path) -> dict[tuple[str, str], str]:
    """The values by kind and name. Raises UnusableFile."""
    try:
        found: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as fault:
        raise UnusableFile(f"{path}: {fault.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UnusableFile(f"{path}: this is no YAML") from None
    secrets: dict[tuple[str, str], str] = {}
    for name, value in found.items() if isinstance(found, dict) else [(None, None)]:
        kind, _, rest = str(name).partition(":")
        if kind not in _KINDS or not rest or value is None:
            raise UnusableFile(f"{path}: lines are 'ssm:/path: value' or 'secret:name: value', not {name!r}")
        secrets[kind, rest] = json.dumps(value) if isinstance(value, dict) else str(value)
    return secrets


def put_secrets(clients: Clients, path: Path) -> None:
    """Put the secrets of a file where the runner reads them. Raises UnusableFile."""
    for (kind, name), value in read_secrets(path).items():
        if kind == "ssm":
            clients.ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
        else:
            clients.secrets.create_secret(Name=name, SecretString=value)
