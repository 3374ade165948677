"""The judge of definitions: what AWS would refuse in one, or what would end a run there otherwise than is meant.

It knows nothing of DAGs and of how the definition was made, and counts all that it can from the definition itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from fanfold.asl.judge.endings import judge_endings
from fanfold.asl.judge.graph import judge_graph
from fanfold.asl.judge.quotas import judge_quotas
from fanfold.asl.judge.templates import judge_templates
from fanfold.asl.judge.walk import Finding, MapFacts, Surroundings
from fanfold.asl.states import Definition

MAX_DEFINITION = 1024 * 1024
"""Bytes of a definition in UTF-8 (Step Functions quotas: 1 MB a request)."""

__all__ = ["MAX_DEFINITION", "Finding", "MapFacts", "Surroundings", "judge"]


def judge(definition: Definition, around: Surroundings) -> list[Finding]:
    """Every finding, in the order of the states; none for a definition that AWS takes and runs as it is meant."""
    unsound = list(judge_graph(definition))
    if unsound:  # the others follow its states
        return unsound
    return [
        *judge_templates(definition, around),
        *judge_endings(definition),
        *judge_quotas(definition, around),
        *_size(definition),
    ]


def _size(definition: Definition) -> Iterator[Finding]:
    size = len(json.dumps(definition).encode())
    if size > MAX_DEFINITION:
        message = f"the definition has {size:,} bytes; Step Functions takes {MAX_DEFINITION:,}"
        yield Finding("", message, "move some of the steps to child DAGs")
