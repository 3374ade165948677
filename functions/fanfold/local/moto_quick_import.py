"""Imports moto's Step Functions and IAM without what takes long and is not used. Import this before them.

Step Functions import Batch, and that EC2, for one name; IAM imports cryptography for server certificates.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

_NEEDED: dict[str, dict[str, Any]] = {
    "moto.batch.utils": {"JobStatus": SimpleNamespace(SUCCEEDED="SUCCEEDED", FAILED="FAILED")},
    "cryptography": {"x509": None},
    "cryptography.hazmat": {},
    "cryptography.hazmat.backends": {"default_backend": None},
}
"""For a module that another stands in for: the names that are asked of it."""

_stand_ins = {name: ModuleType(name) for name in _NEEDED if name not in sys.modules}
for _name, _module in _stand_ins.items():
    vars(_module).update(_NEEDED[_name])
sys.modules.update(_stand_ins)
try:
    import moto.iam.models
    import moto.stepfunctions.parser.models  # noqa: F401
finally:
    for _name in _stand_ins:
        del sys.modules[_name]
