"""What LocalStack leaves out and the stack needs: each the smallest piece that does it, as AWS documents it."""

from __future__ import annotations

import itertools
import json
from typing import Any

from localstack.services.lambda_.invocation.execution_environment import ExecutionEnvironment
from localstack.services.s3.notifications import EventBridgeNotifier
from localstack.services.stepfunctions.backend import execution_worker

_order = itertools.count(1)


def apply() -> None:
    """Put all of them in place."""
    # A function's LoggingConfig names its log group; LocalStack writes to that of the function's name.
    ExecutionEnvironment.get_log_group_name = _log_group
    # The sequencer grows with every event of an object (Amazon S3, *Event message structure*); here all have the same.
    original = EventBridgeNotifier._get_event_payload

    def payload(ctx: Any, config_id: Any = None) -> Any:
        entry = original(ctx, config_id)
        detail = json.loads(entry["Detail"])
        detail["object"]["sequencer"] = f"{next(_order):016X}"
        return {**entry, "Detail": json.dumps(detail)}

    EventBridgeNotifier._get_event_payload = staticmethod(payload)

    # The context object tells how often an execution was redriven (Step Functions, *Context object*).
    made = execution_worker.ExecutionData
    execution_worker.ExecutionData = lambda **given: {**made(**given), "RedriveCount": 0}


def _log_group(self: ExecutionEnvironment) -> str:
    function = self.function_version.id.function_name
    return str(self.function_version.config.logging_config.get("LogGroup") or f"/aws/lambda/{function}")
