"""``fanfold start NAME --stack …``: start a deployed DAG, wait for its end, and say how it ended."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from fanfold.cli.remote import connected
from fanfold.cli.start import show_end
from fanfold.dag.params import from_arguments
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.machines import ALIAS
from fanfold.deploy.stack import Stack
from fanfold.local.session import record_of_lost_run
from fanfold.run.outcome import exit_code_of_run
from fanfold.run.store import ObjectStore, find_result

_POLL_SECONDS = 1.0


def start_remote(
    dag: str, arguments: Sequence[str], stack_name: str, endpoint_url: str | None, *, as_json: bool, wait: bool
) -> int:
    """Start the DAG called `dag`; the exit code as for a run on this machine, 0 at once unless `wait`."""
    console = Console(highlight=False, stderr=as_json)
    with connected(stack_name, endpoint_url) as stack:
        run = str(uuid.uuid4())
        started = stack.clients.states.start_execution(
            stateMachineArn=f"{stack.machine_of(dag)}:{ALIAS}",
            name=run,
            input=json.dumps({"params": from_arguments(arguments).to_json()}),
        )
        console.print(f"run {run} started: {started['executionArn']}", soft_wrap=True)
        if not wait:
            return 0
        record = _record(stack, dag, run, started["executionArn"])
        if as_json:
            sys.stdout.write(json.dumps(record, ensure_ascii=sys.stdout.encoding.lower() != "utf-8") + "\n")
        else:
            show_end(console, record, [], started["executionArn"])
        return exit_code_of_run(record)
    return 2


def _record(stack: Stack, dag: str, run: str, arn: str) -> dict[str, Any]:
    described = poll_execution(stack.clients.states, arn, _POLL_SECONDS)
    found = find_result(ObjectStore(stack.clients.s3, stack.run_bucket), run)
    return found or record_of_lost_run(dag, run, described)
