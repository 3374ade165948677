"""Imports moto's Step Functions without its EC2, which takes half a second and more. Import this before them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

# Step Functions import Batch, and that EC2; one name of it is needed.
_stands_in = "moto.batch.utils" not in sys.modules
if _stands_in:
    sys.modules["moto.batch.utils"] = ModuleType("moto.batch.utils")
    sys.modules["moto.batch.utils"].JobStatus = SimpleNamespace(SUCCEEDED="SUCCEEDED", FAILED="FAILED")  # type: ignore[attr-defined]

import moto.stepfunctions.parser.models  # noqa: E402, F401

if _stands_in:
    del sys.modules["moto.batch.utils"]
