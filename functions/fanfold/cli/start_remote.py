"""``fanfold start NAME --stack …``: start a deployed DAG, wait for its end, and say how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from fanfold.cli.remote import connected
from fanfold.cli.start import show_end
from fanfold.cli.store import write_json
from fanfold.dag.params import from_arguments
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.stack import Stack
from fanfold.history.run_data import RunData
from fanfold.history.run_store import RunSummary
from fanfold.history.stack import StackRunStore
from fanfold.local.session import record_of_lost_run
from fanfold.run.outcome import exit_code_of_run

_POLL_SECONDS = 1.0


def start_remote(
    dag: str,
    arguments: Sequence[str],
    stack_name: str,
    endpoint_url: str | None,
    run_id: str | None,
    *,
    as_json: bool,
    wait: bool,
) -> int:
    """Start the DAG called `dag`; the exit code as for a run on this machine, 0 at once unless `wait`."""
    with connected(stack_name, endpoint_url) as stack:
        run, execution = stack.start(dag, from_arguments(arguments), run_id)
        return _follow(stack, dag, run, execution, as_json=as_json, wait=wait)
    return 2


def retry_remote(store: StackRunStore, run: RunSummary, *, as_json: bool, wait: bool) -> int:
    """Run again what did not succeed of a run on a stack; the exit code of `start_remote`."""
    execution = store.retry(run.run)
    return _follow(store.stack, run.dag, run.run, execution, as_json=as_json, wait=wait)


def _follow(stack: Stack, dag: str, run: str, execution: str, *, as_json: bool, wait: bool) -> int:
    console = Console(highlight=False, stderr=as_json)
    console.print(f"run {run} started: {execution}", soft_wrap=True)
    if not wait:
        return 0
    ended = poll_execution(stack.clients.states, execution, _POLL_SECONDS)
    data = RunData.find(stack.run_data, run)
    found = data.result() if data is not None else None
    record = found or record_of_lost_run(dag, run, ended)
    if as_json:
        write_json(record)
    else:
        show_end(console, record, [], execution)
    return exit_code_of_run(record)
