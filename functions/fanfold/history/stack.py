"""The runs of a stack: executions of its state machines, and what they left in the run-data bucket."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fanfold.dag.diagnostics import DagFileError
from fanfold.dag.model import Dag
from fanfold.dag.read import read_document
from fanfold.deploy.executions import execution_name, run_of_execution
from fanfold.deploy.machines import ALIAS
from fanfold.deploy.stack import Stack
from fanfold.history.insights import InsightsLogReader
from fanfold.history.run_data import RunData
from fanfold.history.run_store import LogReader, NoSuchRun, RunFault, RunStore, RunSummary
from fanfold.run.keys import prefix_of_run, stop_key
from fanfold.run.runtime import dag_object_key

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_STATUS_OF_EXECUTION = {"RUNNING": "running", "ABORTED": "cancelled", "SUCCEEDED": "success"}
"""Of a run that has left no result; any other has failed."""


class StackRunStore(RunStore):
    """See the module."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._likely: dict[str, int | None] = {}
        """How many days the data of each DAG's runs are kept, as far as that was seen."""

    @property
    def _states(self) -> SFNClient:
        return self.stack.clients.states

    def runs(self, dag: str | None = None) -> Iterator[RunSummary]:
        machines = self.stack.machines()
        of_dags = [self._executions(name, arn) for name, arn in machines.items() if dag in (None, name)]
        seen: set[str] = set()
        for _, name, execution in heapq.merge(*of_dags, key=lambda found: found[0]):
            run, attempt = run_of_execution(execution["name"])
            if run not in seen:
                seen.add(run)
                yield self._summary(name, run, attempt, execution)

    def _executions(self, dag: str, machine: str) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """The executions of a DAG's machine, the latest first, as the API lists them."""
        pages = self._states.get_paginator("list_executions").paginate(stateMachineArn=machine)
        for page in pages:
            for execution in page["executions"]:
                yield -execution["startDate"].timestamp(), dag, dict(execution)

    def _summary(self, dag: str, run: str, attempt: int, execution: dict[str, Any]) -> RunSummary:
        data = self._data(run, dag)
        begun = data.begun() or {}
        about: dict[str, Any] = {"attempt": attempt, "params": begun.get("params")}
        started = begun.get("started", execution["startDate"].timestamp())
        result = data.result() if execution["status"] != "RUNNING" else None
        if result is not None and result.get("attempt", 1) == attempt:
            return RunSummary(
                run, dag, result["status"], started, result.get("seconds"), error=result.get("error"), **about
            )
        status = _STATUS_OF_EXECUTION.get(execution["status"], "failed")
        seconds = error = None
        if "stopDate" in execution:
            seconds = (execution["stopDate"] - execution["startDate"]).total_seconds()
            error = f"the execution ended without a result: {execution['status']} {execution.get('cause', '')}".strip()
        return RunSummary(run, dag, status, started, seconds, error=error, **about)

    def _data(self, run: str, dag: str | None = None) -> RunData:
        store = self.stack.run_data
        data = RunData.find(store, run, self._likely.get(dag or ""))
        if data is None:
            return RunData(store, prefix_of_run(run))
        if dag is not None and data.prefix.startswith("kept-"):
            self._likely[dag] = int(data.prefix.partition("/")[0].removeprefix("kept-"))
        return data

    def data(self, run: str) -> RunData:
        self._latest(run)
        return self._data(run)

    def summary(self, run: str) -> RunSummary:
        dag, attempt, execution = self._latest(run)
        return self._summary(dag, run, attempt, execution)

    def _latest(self, run: str) -> tuple[str, int, dict[str, Any]]:
        """The DAG of a run, and its last attempt. Raises NoSuchRun."""
        machines = self.stack.machines()
        begun = self._data(run).begun() or {}
        likely = {begun["dag"]: machines[begun["dag"]]} if begun.get("dag") in machines else machines
        for dag, machine in likely.items():
            attempt, latest = 1, None
            while (found := self._attempt(machine, run, attempt)) is not None:
                attempt, latest = attempt + 1, found
            if latest is not None:
                return dag, attempt - 1, latest
        raise NoSuchRun(f"the stack {self.stack.name!r} has no run {run!r}")

    def _attempt(self, machine: str, run: str, attempt: int) -> dict[str, Any] | None:
        """The execution of an attempt; None when there is none, also where the run's name is too long for one."""
        try:
            arn = f"{machine.replace(':stateMachine:', ':execution:')}:{execution_name(run, attempt)}"
            return dict(self._states.describe_execution(executionArn=arn))
        except (ValueError, self._states.exceptions.ExecutionDoesNotExist, self._states.exceptions.InvalidArn):
            return None

    def log(
        self, run: str, step: str | None = None, index: int | None = None, above: Sequence[tuple[str, int]] = ()
    ) -> LogReader:
        started = self.summary(run).started
        child = "/".join([run, *(f"{caller}/{place}" for caller, place in above)])
        return InsightsLogReader(self.stack.clients.logs, self.stack.log_groups, child, step, index, started)

    def dag(self, run: str, begun: Mapping[str, Any]) -> Dag | None:  # noqa: ARG002 - a laptop looks by run
        try:
            stored = self.stack.run_data.get_json(dag_object_key(begun["definition"]))
            return read_document(stored["file"], stored["name"], stored["text"])
        except (KeyError, DagFileError):
            return None

    def stop(self, run: str, *, now: bool = False) -> None:
        _, attempt, execution = self._latest(run)
        if execution["status"] != "RUNNING":
            raise RunFault(f"the run {run} has ended: {self.summary(run).status}")
        self.stack.run_data.put(stop_key(self._data(run).prefix, attempt), str(time.time()))
        if now:
            self._states.stop_execution(executionArn=execution["executionArn"], cause="fanfold stop --now")

    def retry(self, run: str) -> str:
        """Run again what did not succeed of a run; the ARN of the execution. Raises RunFault.

        An execution that was broken off, before the run could note its end, is redriven: it goes on where it was
        (Step Functions, *Redriving executions*). Any other run gets another execution of the same version.
        """
        _, attempt, execution = self._latest(run)
        arn: str = execution["executionArn"]
        if self._data(run).result() is None and execution.get("redriveStatus") == "REDRIVABLE":
            self.stack.run_data.remove(stop_key(self._data(run).prefix, attempt))
            self._states.redrive_execution(executionArn=arn)
            return arn
        given = json.loads(execution.get("input") or "{}")
        given["attempt"] = {"of": run, "number": attempt + 1}
        version = execution.get("stateMachineVersionArn") or f"{execution['stateMachineArn']}:{ALIAS}"
        try:
            name = execution_name(run, attempt + 1)
        except ValueError as fault:
            raise RunFault(f"the run's name is too long for a retry: {fault}; to run all: fanfold start") from None
        try:
            started = self._states.start_execution(stateMachineArn=version, name=name, input=json.dumps(given))
        except self._states.exceptions.StateMachineDoesNotExist:
            raise RunFault(f"the version that the run {run} was of is gone; to run all: fanfold start") from None
        return started["executionArn"]
