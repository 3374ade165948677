"""A stack whose functions are what ``sam build`` made, behind AWS Lambda's real runtime; and its state machines on
either of two interpreters."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from fanfold.dag.params import from_arguments
from fanfold.dag.read import SUFFIXES
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.machines import called_by
from fanfold.deploy.stack import Stack
from fanfold.history.run_data import RunData
from fanfold.local.engine import embedded_aws
from fanfold.local.template import create_stack
from fanfold.run.keys import KEPT_DAYS, prefix_of_run
from fanfold.run.store import ObjectStore
from lambda_runtime import FunctionSettings, Lambda
from moto.server import ThreadedMotoServer

Json = dict[str, Any]
PACKAGE = "aws-local-stepfunctions"


class Interpreter:
    """The package ``aws-local-stepfunctions`` of npm, in a process of Node."""

    def __init__(self, node: str) -> None:
        script = Path(__file__).with_name("interpret.cjs")
        self._process = subprocess.Popen([node, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, order: Json) -> Json:
        """Run a state machine (see ``interpret.cjs``)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        ended: Json = json.loads(self._process.stdout.readline())
        return ended

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Cloud:
    """See the module."""

    def __init__(self, stack: Stack, functions: Lambda) -> None:
        self.stack = stack
        self.functions = functions

    def deploy(self, folder: Path, below: str) -> dict[str, Json]:
        """Upload a folder into the folder `below` of the bucket; the report of each DAG file, by its path in `folder`.

        The parser is told by EventBridge of every DAG file, of those in deeper folders first.
        """
        client, bucket, prefix = self.stack.clients.s3, self.stack.dag_bucket, f"dags/{below}/"
        files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: -len(path.parts))
        paths = sorted(files, key=lambda path: path.name.endswith(SUFFIXES))
        names = [path.relative_to(folder).as_posix() for path in paths]
        for name, path in zip(names, paths, strict=True):
            client.put_object(Bucket=bucket, Key=prefix + name, Body=path.read_bytes())
        store = ObjectStore(client, bucket)
        return {name: store.get_json(f"{prefix}{name}.report.json") for name in names if name.endswith(SUFFIXES)}

    def remove(self, reports: Iterable[Json]) -> None:
        """Remove the DAG files with these reports."""
        for report in reports:
            self.stack.clients.s3.delete_object(Bucket=self.stack.dag_bucket, Key=f"dags/{report['file']}")

    def definitions(self, report: Json) -> tuple[str, dict[str, str]]:
        """(the version of the root machine that is live, the definition of every version that it reaches)."""
        states = self.stack.clients.states
        root = next(machine["arn"] for machine in report["machines"] if machine["key"] == "")
        alias = states.describe_state_machine_alias(stateMachineAliasArn=f"{root}:live")
        live = alias["routingConfiguration"][0]["stateMachineVersionArn"]
        found, left = dict[str, str](), [live]
        while left:
            arn = left.pop()
            if arn not in found:
                found[arn] = states.describe_state_machine(stateMachineArn=arn)["definition"]
                left += called_by(json.loads(found[arn]), "StateMachineArn")
        return live, found

    def run_on_moto(self, report: Json, arguments: Sequence[str] = ()) -> Json:
        """Run a deployed DAG on moto; its record."""
        start, _ = self.definitions(report)
        states, run = self.stack.clients.states, str(uuid.uuid4())
        given = json.dumps({"params": from_arguments(arguments).to_json()})
        started = states.start_execution(stateMachineArn=start, name=run, input=given)
        return self._record(run, poll_execution(states, started["executionArn"]))

    def run_on(self, interpreter: Interpreter, report: Json, arguments: Sequence[str] = ()) -> Json:
        """Run a deployed DAG on another interpreter; its record."""
        run, (start, definitions) = str(uuid.uuid4()), self.definitions(report)
        given = {"params": from_arguments(arguments).to_json()}
        order = {"machines": definitions, "start": start, "name": run, "input": given, "functions": self.functions.url}
        return self._record(run, interpreter.run(order))

    def _record(self, run: str, ended: Mapping[str, Any]) -> Json:
        """The record of an execution that ended so."""
        prefixes = (prefix_of_run(run, days) for days in (None, *KEPT_DAYS))
        results = (RunData(self.stack.run_data, prefix).result() for prefix in prefixes)
        record = next((result for result in results if result is not None), None)
        assert record is not None, ended
        assert (ended["status"] == "FAILED") is (record["status"] == "failed"), ended
        return record


@contextmanager
def cloud_up(built: Path, folder: Path, variables: dict[str, str]) -> Iterator[Cloud]:
    """Bring the stack up; `built` is what ``sam build`` made, `variables` are what the runner has besides."""
    handlers: dict[str, Any] = {}
    with embedded_aws(handlers):
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        try:
            url = "http://{}:{}".format(*server.get_host_and_port())
            clients = Clients()
            create_stack("fanfold", clients, {"RunnerVariables": " ".join(variables)})
            with Lambda(folder / "lambda", variables | {"AWS_ENDPOINT_URL": url}) as functions:
                for settings in _functions(built):
                    functions.create(settings)
                    handlers[settings.name] = _caller(functions, settings.name)
                yield Cloud(Stack.find("fanfold", clients), functions)
        finally:
            server.stop()


def _functions(built: Path) -> Iterator[FunctionSettings]:
    """The functions of the stack, as the template makes them, each with its code."""
    make: Any = boto3.client
    for made in make("lambda").list_functions()["Functions"]:
        code = built / f"{made['Handler'].split('.')[-2].capitalize()}Function"
        variables = {name: str(value) for name, value in made["Environment"]["Variables"].items()}
        yield FunctionSettings(
            made["FunctionName"], made["Handler"], code, variables, made["Timeout"], made["MemorySize"],
            execution_env=f"AWS_Lambda_{made['Runtime']}",
        )  # fmt: skip


def _caller(functions: Lambda, name: str) -> Any:
    """The function as moto calls it: an error is raised under its name."""

    def call(event: Any, _context: Any) -> Any:
        body, failed = functions.invoke(name, json.dumps(event).encode())
        answer = json.loads(body)
        if failed:
            raise type(answer["errorType"], (Exception,), {})(answer["errorMessage"])
        return answer

    return call


def node() -> str | None:
    """Node, where it has the interpreter's package."""
    found = shutil.which("node")
    if found is None:
        return None
    asked = subprocess.run([found, "-p", f"require.resolve('{PACKAGE}')"], capture_output=True, check=False)
    return found if asked.returncode == 0 else None
