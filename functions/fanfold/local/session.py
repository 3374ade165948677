"""One local run: the file goes to an embedded S3, through the parser's handler, and runs on moto.

See docs/architecture.md.

Nothing here runs a DAG. The session brings up the embedded AWS, gives the handlers their runtime, and asks as any
client of AWS would.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from fanfold.dag.diagnostics import DagFileError, problems_of_report
from fanfold.dag.model import Dag
from fanfold.dag.params import from_arguments
from fanfold.dag.read import SUFFIXES, read_dag_file
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import execution_name, poll_execution
from fanfold.deploy.machines import ALIAS
from fanfold.deploy.report import NOT_DEPLOYED
from fanfold.deploy.target import Ecs, Target
from fanfold.handlers import container, parser, planner, reducer, runner
from fanfold.history.folder import NOTE, SOURCES, read_note, remove_old_runs
from fanfold.history.folder_store import FolderStore
from fanfold.history.run_data import RunData
from fanfold.history.run_store import NoSuchRun, RunFault
from fanfold.local.constants import ACCOUNT, FUNCTION_ARNS, REGION
from fanfold.local.folder import fetch_from
from fanfold.local.secrets_file import put_secrets
from fanfold.run.events import Observer, RunEvent, ignore
from fanfold.run.keys import folder_of_step, prefix_of_run, result_key, stop_key
from fanfold.run.runtime import Cancellation, Runtime
from fanfold.run.store import ObjectStore

RunRecord = dict[str, Any]

DAG_BUCKET = "fanfold-dags"
RUN_BUCKET = "fanfold-runs"
LONGEST_PAUSE = 0.5
"""Seconds between two looks at an execution that has not told of its end."""
LOCAL = Target(
    stack="fanfold",
    runner_arn=f"{FUNCTION_ARNS}fanfold_runner",
    planner_arn=f"{FUNCTION_ARNS}fanfold_planner",
    reducer_arn=f"{FUNCTION_ARNS}fanfold_reducer",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/fanfold_states",
    machine_arns=f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:",
    ecs=Ecs("fanfold", "fanfold_runner", "subnet-0", "sg-0"),
    lambda_seconds=float("inf"),
)
"""A laptop: containers run, functions have no time limit, and only a command starts runs."""


def data_folder() -> Path:
    """Where runs leave their records and logs: ``FANFOLD_HOME``, else ``fanfold`` in the XDG data folder."""
    home = os.environ.get("FANFOLD_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "fanfold"


class Session:
    """See the module. A context manager; one session runs one file once."""

    def __init__(
        self,
        file: Path,
        *,
        home: Path | None = None,
        observer: Observer | None = None,
        buckets: Mapping[str, Path] | None = None,
        arguments: Sequence[str] = (),
        secrets: Path | None = None,
        run_id: str | None = None,
    ) -> None:
        self.file = file.resolve()
        self._sources = self.file.parent
        self._buckets = buckets or {}
        self._arguments = tuple(arguments)
        self._secrets = secrets
        self._attempt = 1
        self._home = (home or data_folder()).resolve()
        self._observer = observer or ignore
        self._nearly_ended = threading.Event()
        self._cancellation = Cancellation()
        self._resources = ExitStack()
        self._machine_arn = ""
        self._uploads: dict[str, bytes] = {}
        self._dag: Dag | None = None
        self.run_id = run_id or str(uuid.uuid4())
        self.log_folder = self._home / "runs" / self.run_id
        if run_id is not None and read_note(self.log_folder) is not None:
            raise RunFault(f"there is a run {run_id!r} already; to go on with it: fanfold retry {run_id}")

    @classmethod
    def again(cls, run: str, home: Path, observer: Observer | None = None, secrets: Path | None = None) -> Session:
        """Another attempt of a run that ended here, of the DAG as it was and with its parameters.

        Raises NoSuchRun or RunFault.
        """
        folder = home.resolve() / "runs" / run
        note = read_note(folder)
        if note is None:
            raise NoSuchRun(f"there is no run {run!r} in {folder.parent}")
        file = Path(note["file"])
        if not file.parent.is_dir():
            raise RunFault(f"the folder of its DAG is gone: {file.parent}")
        buckets = {name: Path(path) for name, path in note["buckets"].items()}
        session = cls(file, home=home, observer=observer, buckets=buckets, arguments=note["arguments"], secrets=secrets)
        session._sources = folder / SOURCES
        session._attempt = note["attempt"] + 1
        session.run_id, session.log_folder = run, folder
        return session

    def __enter__(self) -> Session:
        base_env = dict(os.environ)
        from fanfold.local.engine import embedded_aws

        functions = {
            "fanfold_parser": partial(self._call, parser.handle, "parser"),
            "fanfold_planner": partial(self._call, planner.handle, "run"),
            "fanfold_reducer": partial(self._call, reducer.handle, "run"),
            "fanfold_runner": partial(self._call, runner.handle, "run"),
        }
        self._resources.enter_context(embedded_aws(functions, self._cancellation.wait, self._run_container))
        clients = Clients()
        self._s3, self._states = clients.s3, clients.states
        for bucket in (DAG_BUCKET, RUN_BUCKET):
            self._s3.create_bucket(Bucket=bucket)
        store = FolderStore(self._s3, RUN_BUCKET, self.run_id, self.log_folder)
        self._store = store
        self._runtimes: dict[str, Any] = {
            "parser": parser.ParserRuntime(clients, RUN_BUCKET, LOCAL, frozenset(base_env), has_bundles=False),
            "run": Runtime(
                store, self.log_folder.parent, self.file.parent, base_env, self._observe, self._cancellation
            ),
        }
        self._notify_parser()
        self._fill_buckets()
        if self._secrets is not None:
            put_secrets(clients, self._secrets)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()

    def _observe(self, event: RunEvent) -> None:
        if event.kind == "run-finished" and event.depth == 0:
            self._nearly_ended.set()
        self._observer(event)

    def _pause(self, seconds: float) -> None:
        """Until the run says that it is over, looking at its execution would only take time from it."""
        if self._nearly_ended.wait(LONGEST_PAUSE):
            time.sleep(seconds)
        elif self._store.has(stop_key(prefix_of_run(self.run_id), self._attempt)):
            self.cancel()

    def _call(self, handler: Any, runtime: str, event: Any, context: Any) -> Any:
        return handler(event, context, runtime=self._runtimes[runtime])

    def _run_container(self, environ: dict[str, str]) -> None:
        """A container is a thread here, with the container's own entry point."""
        arguments = (environ, self._runtimes["run"], self._states)
        threading.Thread(target=container.run_container, args=arguments, name="container", daemon=True).start()

    def _fill_buckets(self) -> None:
        """Let the DAG find the files of the given folders in buckets."""
        for bucket, folder in self._buckets.items():
            self._s3.create_bucket(Bucket=bucket)
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                with path.open("rb") as file:
                    ObjectStore(self._s3, bucket).put_file(path.relative_to(folder).as_posix(), file)

    def _notify_parser(self) -> None:
        """As the stack's template does: an object put below the DAG prefix starts the parser."""
        configurations: Any = [
            {
                "LambdaFunctionArn": f"{FUNCTION_ARNS}fanfold_parser",
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {"Key": {"FilterRules": [
                    {"Name": "prefix", "Value": parser.DAG_PREFIX}, {"Name": "suffix", "Value": suffix},
                ]}},
            }
            for suffix in SUFFIXES
        ]  # fmt: skip
        self._s3.put_bucket_notification_configuration(
            Bucket=DAG_BUCKET, NotificationConfiguration={"LambdaFunctionConfigurations": configurations}
        )

    def deploy(self) -> None:
        """Upload the file, after the files of the child DAGs that it runs, and let the parser deploy it.

        Raises DagFileError with every problem that the parser reports.
        """
        uploads = self._uploads
        fetch = fetch_from(self._sources, uploads)
        self._dag = read_dag_file(self.file.name, fetch, os.environ).root
        for path, data in sorted(uploads.items(), key=lambda upload: upload[0] == self.file.name):
            self._s3.put_object(Bucket=DAG_BUCKET, Key=parser.DAG_PREFIX + path, Body=data)
        key = parser.DAG_PREFIX + self.file.name + parser.REPORT_SUFFIX
        report = ObjectStore(self._s3, DAG_BUCKET).get_json(key)
        if report["status"] in NOT_DEPLOYED:
            raise DagFileError(problems_of_report(report["problems"]))
        self._machine_arn = next(machine["arn"] for machine in report["machines"] if machine["key"] == "")

    def run(self) -> RunRecord:
        """Start the deployed DAG with its arguments, wait, and return its record.

        ``{"dag", "run", "status", "error"?, "started", "seconds", "steps": {NAME: {"status", "output", "document"?,
        "error"?, "started"?, "seconds"?}}}``; it lies in ``result.json`` in the run's folder.
        """
        self._note()
        data = RunData(self._store, prefix_of_run(self.run_id))
        given: dict[str, Any] = {"params": from_arguments(self._arguments).to_json()}
        if self._attempt > 1:
            given["attempt"] = {"of": self.run_id, "number": self._attempt}
        started = self._states.start_execution(
            stateMachineArn=f"{self._machine_arn}:{ALIAS}",
            name=execution_name(self.run_id, self._attempt),
            input=json.dumps(given),
        )
        ended = poll_execution(self._states, started["executionArn"], pause=self._pause)
        record = data.result()
        if record is None:
            record = record_of_lost_run(self.file.stem, self.run_id, ended) | {"attempt": self._attempt}
            self._store.put_json(result_key(data.prefix), record)
        self._name_files(record)
        days = self._dag.retention_days if self._dag is not None else None
        if days is not None:
            remove_old_runs(self._home / "runs", record["dag"], days)
        return record

    def _note(self) -> None:
        """Write down what another process must know of this run, and the DAG files as they are."""
        for name, data in self._uploads.items():
            self._store.put_bytes(f"{prefix_of_run(self.run_id)}/{SOURCES}/{name}", data)
        note = {
            "run": self.run_id,
            "dag": self._dag.name if self._dag is not None else self.file.stem,
            "file": str(self.file),
            "arguments": self._arguments,
            "buckets": {name: str(folder.resolve()) for name, folder in self._buckets.items()},
            "keepDays": self._dag.retention_days if self._dag is not None else None,
            "pid": os.getpid(),
            "started": time.time(),
            "attempt": self._attempt,
        }
        self._store.put_json(f"{prefix_of_run(self.run_id)}/{NOTE}", note)

    def _name_files(self, record: RunRecord) -> None:
        """A document that is too large for the record is a file here."""
        for name, step in record["steps"].items():
            document = step.get("document", {})
            if "object" in document:
                del document["object"]
                document["file"] = str(self.log_folder / folder_of_step(name) / "document.json")

    def cancel(self) -> None:
        """Stop the run: no step and no item starts any more, processes end, the document is still folded."""
        self._cancellation.request()


def record_of_lost_run(dag: str, run: str, ended: Mapping[str, Any]) -> RunRecord:
    """The record of an execution that ended, as DescribeExecution says, before it could write its own."""
    cause = f"{ended.get('error', ended['status'])}: {ended.get('cause', 'the execution left no result')}"
    return {"dag": dag, "run": run, "status": "failed", "error": cause, "steps": {}}
