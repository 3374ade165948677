"""Where the objects of a run lie in the run-data bucket, and on a laptop in the run's folder."""

from __future__ import annotations

import uuid
from urllib.parse import quote

KEPT_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365, 3650)
"""The days that objects may be kept: the run-data bucket has a lifecycle rule for each (template.yaml)."""


def prefix_of_run(root: str, keep_days: int | None = None) -> str:
    """Where a run's objects lie; its first part says how long they are kept, at least `keep_days`."""
    if keep_days is None:
        return f"runs/{root}"
    kept = next((days for days in KEPT_DAYS if days >= keep_days), KEPT_DAYS[-1])
    return f"kept-{kept}/{root}"


def folder_of_step(step: str) -> str:
    """What the folder of a step is called: never as a file of its run is, and not ``..``."""
    return quote(step, safe="").replace(".", "%2E")


def prefix_of_step(prefix: str, step: str) -> str:
    """Where the objects of one step of a run lie."""
    return f"{prefix}/{folder_of_step(step)}"


def prefix_of_item(prefix: str, step: str, index: int) -> str:
    """Where the objects of one item's child run lie."""
    return f"{prefix_of_step(prefix, step)}/{index}"


def begun_key(prefix: str) -> str:
    """Where the run with `prefix` notes with what it began (`fanfold.run.lifecycle.begin`)."""
    return f"{prefix}/begun.json"


def outcome_key(prefix: str, step: str) -> str:
    """Where a run notes how one of its steps goes (`fanfold.run.steps.RunContext.record`)."""
    return f"{prefix_of_step(prefix, step)}/outcome.json"


def stop_key(prefix: str, attempt: int) -> str:
    """What is there when this attempt of the whole run is to stop; `prefix` is that of any run below it."""
    kept, root = prefix.split("/")[:2]
    return f"{kept}/{root}/stop-{attempt}"


def again_key(prefix: str, step: str) -> str:
    """Where a retry notes which items of a fan-out it runs: their indexes."""
    return f"{prefix_of_step(prefix, step)}/again.json"


def result_key(prefix: str) -> str:
    """Where the outcome of the run with `prefix` lies."""
    return f"{prefix}/result.json"


def work_key(prefix: str) -> str:
    """Where the files lie that a run's tasks leave for each other; each time another name, for a task tried again."""
    return f"{prefix}/work/{uuid.uuid4()}.tar"


def start_key(digest: str) -> str:
    """Where the first run that was started for a time is noted."""
    return f"starts/{digest}"


def batches_key(prefix: str, step: str) -> str:
    """Where a large fan-out's Map reads what each of its tasks runs: one JSON array."""
    return f"{prefix_of_step(prefix, step)}/batches.json"


def results_prefix(prefix: str, step: str, attempt: int) -> str:
    """Below which a large fan-out's tasks leave their items' records."""
    name = "results" if attempt == 1 else f"results-{attempt}"
    return f"{prefix_of_step(prefix, step)}/{name}/"


def maps_prefix(prefix: str, step: str) -> str:
    """Below which Step Functions leave what they tell of a large fan-out's tasks."""
    return f"{prefix_of_step(prefix, step)}/maps"


def document_key(prefix: str, step: str) -> str:
    """Where a document lies that is too large for a state."""
    return f"{prefix_of_step(prefix, step)}/document.json"


def plan_key(prefix: str, step: str) -> str:
    """Where the plan of a fan-out lies: one line of JSON an item."""
    return f"{prefix_of_step(prefix, step)}/plan.jsonl"
