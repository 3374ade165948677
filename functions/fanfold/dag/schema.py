"""The format as a JSON Schema (draft 2020-12), for editors: ``schema/fanfold.schema.json``.

It holds the same keys as the reader, which a test checks; what a schema cannot tell (does the child DAG exist? is the
order sound?) the reader tells.
"""

from __future__ import annotations

from typing import Any

from fanfold.dag.document import MAX_NAME
from fanfold.dag.extension import FARGATE_MEMORY
from fanfold.dag.model import (
    DEFAULT_CONCURRENCY,
    LARGEST_CONCURRENCY,
    LARGEST_FAN_OUT,
    MAX_EXIT_CODE,
    MAX_ITEMS,
    MAX_TRIES,
    YEAR_SECONDS,
)
from fanfold.dag.references import NAME

Schema = dict[str, Any]

_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_TEXT: Schema = {"type": ["string", "number", "boolean"]}
_TEXTS: Schema = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_SECONDS: Schema = {"type": "number", "exclusiveMinimum": 0}
_WAIT: Schema = {"type": ["number", "string"], "minimum": 0}
_CODE: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_EXIT_CODE}
_CODES: Schema = {"anyOf": [_CODE, {"type": "array", "items": _CODE}]}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_NAMED: Schema = {"type": "object", "propertyNames": {"pattern": f"^{NAME}$"}, "additionalProperties": _SCALAR}


def _object(properties: Schema, description: str = "", **more: Any) -> Schema:
    described = {"description": description} if description else {}
    return {"type": "object", **described, "properties": properties, "additionalProperties": False, **more}


def _said(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema}


_PARAMS: Schema = {"anyOf": [_SCALAR, _NAMED, {"type": "array", "items": {"anyOf": [_SCALAR, _NAMED]}}]}
_ENV: Schema = {"anyOf": [_NAMED, {"type": "array", "items": {"anyOf": [{"type": "string"}, _NAMED]}}]}
_CONDITION: Schema = {
    "anyOf": [
        _said({"type": "string"}, "A command; exit code 0 is met."),
        _object(
            {
                "condition": _said(_TEXT, "A command, or with 'expected' a value."),
                "expected": _said(_TEXT, "What the value must be; 're:' starts a regular expression."),
                "negate": {"type": "boolean"},
            },
            required=["condition"],
        ),
    ]
}
_CONDITIONS: Schema = {"anyOf": [_CONDITION, {"type": "array", "items": _CONDITION}]}
_CONCURRENCY: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": LARGEST_CONCURRENCY,
    "default": DEFAULT_CONCURRENCY,
    "description": "How many items run at a time.",
}
_ITEMS: Schema = {"anyOf": [{"type": "array", "minItems": 1}, {"type": "string", "minLength": 1}]}
_PARALLEL: Schema = {
    "description": "Run the child DAG for each item: a list, a reference such as ${ITEMS}, or {items, maxConcurrent}.",
    "anyOf": [*_ITEMS["anyOf"], _object({"items": _ITEMS, "maxConcurrent": _CONCURRENCY}, required=["items"])],
}
_CONTINUE_ON = _object(
    {
        "failure": {"type": "boolean"},
        "skipped": {"type": "boolean"},
        "exitCode": _CODES,
        "output": _TEXTS,
        "markSuccess": {"type": "boolean"},
    },
    "Which outcomes let the steps after this one run.",
)
_RETRY = _object(
    {
        "limit": {"type": ["integer", "string"], "minimum": 0, "maximum": MAX_TRIES},
        "intervalSec": _WAIT | {"maximum": YEAR_SECONDS},
        "exitCode": _CODES,
        "backoff": {"type": ["number", "boolean"], "minimum": 1, "maximum": 100},
        "maxIntervalSec": _SECONDS | {"maximum": YEAR_SECONDS},
    },
    "Further tries after a failure.",
    required=["limit"],
)
_REPEAT = _object(
    {
        "repeat": {"enum": ["while", "until", True, False]},
        "limit": _COUNT,
        "intervalSec": _WAIT,
        "exitCode": _CODES,
        "condition": _TEXT,
        "expected": _TEXT,
    },
    "Run the step again after it ended.",
)
_OUTPUT: Schema = {
    "description": "The variable that takes the step's stdout, or the document of its child runs.",
    "anyOf": [{"type": "string"}, _object({"name": {"type": "string"}}, required=["name"])],
}

_COMPUTE: Schema = {
    "compute": _said({"enum": ["lambda", "ecs"]}, "Where it runs: in a Lambda function or in a container."),
    "cpu": _said({"enum": list(FARGATE_MEMORY)}, "CPU units of the container; 1,024 are a vCPU."),
    "memory": _said({"type": "integer", "minimum": 512}, "MiB of the container."),
    "image": _said({"type": "string"}, "The container's image, made from the runner's."),
    "timeoutSec": _said(_SECONDS, "How long one task may take."),
}
_FAN_OUT: Schema = {
    "maxItems": _said(
        {"type": ["integer", "string"], "minimum": 1, "maximum": LARGEST_FAN_OUT},
        f"The most items that the step takes; {MAX_ITEMS:,} otherwise.",
    ),
    "tolerateFailed": _said(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%?\s*$"}]},
        "How many items may fail, a count or a percentage such as 5%, without the step failing.",
    ),
}
_S3: Schema = _object({key: {"type": "string"} for key in ("bucket", "prefix", "suffix")}, required=["bucket"])
_ON: Schema = _object(
    {"s3": {"anyOf": [_S3, {"type": "array", "items": _S3}]}},
    "What starts a run: an object put into a bucket; the run gets BUCKET and KEY as parameters.",
)

STEP_PROPERTIES: Schema = {
    "name": {"type": ["string", "number"], "maxLength": MAX_NAME},
    "id": _said({"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*$"}, "For ${id.exit_code} and the like."),
    "description": _TEXT,
    "command": _said(_TEXTS, "What the shell runs; several run one after the other."),
    "script": _said(_TEXT, "A text of several lines for the shell, or for the program named by 'command'."),
    "shell": _said({"type": "string"}, "The shell and its arguments, such as 'bash -e'."),
    "dir": _said(_TEXT, "Where the step runs; the DAG file's folder otherwise."),
    "output": _OUTPUT,
    "stdout": _TEXT,
    "stderr": _TEXT,
    "depends": _said(_TEXTS, "The steps that this one waits for; the step before it otherwise."),
    "run": _said({"type": "string"}, "The child DAG: a local one, or a file."),
    "params": _said(_PARAMS, "What the child DAG gets; ${ITEM} is the item."),
    "parallel": _PARALLEL,
    "maxConcurrent": _CONCURRENCY,
    "preconditions": _CONDITIONS,
    "precondition": _CONDITIONS,
    "continueOn": _CONTINUE_ON,
    "retryPolicy": _RETRY,
    "repeatPolicy": _REPEAT,
    "signalOnStop": {"type": "string", "pattern": "^SIG[A-Z0-9]+$"},
    "timeoutSec": _SECONDS,
    "env": _ENV,
    "x-fanfold": _object(
        _COMPUTE | _FAN_OUT, "Run the step as a task of its own; with 'parallel', how many items there may be."
    ),
}

DAG_PROPERTIES: Schema = {
    "name": _TEXT,
    "description": _TEXT,
    "group": _TEXT,
    "tags": _TEXTS,
    "type": {"enum": ["chain", "graph"], "default": "chain"},
    "params": _said(_PARAMS, "Parameters and their defaults."),
    "env": _said(_ENV, "Variables, in order; later ones see earlier ones."),
    "dotenv": _TEXTS,
    "schedule": {
        "description": "When it runs: five cron fields, with CRON_TZ= before them for a time zone.",
        "anyOf": [*_TEXTS["anyOf"], _object({"start": _TEXTS})],
    },
    "preconditions": _CONDITIONS,
    "precondition": _CONDITIONS,
    "steps": {
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
            {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/step"}},
        ]
    },
    "handlerOn": _object(
        {key: {"$ref": "#/$defs/step"} for key in ("init", "success", "failure", "cancel", "exit")},
        "Commands that run when the run has ended so; 'init' before its first step.",
    ),
    "timeoutSec": _SECONDS,
    "delaySec": _SECONDS | {"maximum": YEAR_SECONDS},
    "maxActiveSteps": _COUNT,
    "histRetentionDays": _COUNT,
    "maxOutputSize": _said(_COUNT, "Bytes that the output of a step may have; 1 MiB otherwise."),
    "x-fanfold": _object(_COMPUTE | {"on": _ON}, "Where the DAG's tasks run, and what starts it."),
}


def schema() -> Schema:
    """The schema of one document of a DAG file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fanfold DAG",
        **_object(DAG_PROPERTIES, required=["steps"]),
        "$defs": {"step": _object(STEP_PROPERTIES)},
    }
