"""The whole stack on this machine, behind an HTTP server: for the AWS CLI, any SDK, and the commands with ``--stack``.

The template's resources are made by moto's CloudFormation; the functions are the same handlers, in this process, and a
container is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fanfold.deploy.clients import Clients
from fanfold.deploy.stack import Stack
from fanfold.handlers import parser, planner, reducer, runner
from fanfold.handlers.environment import STOP_POLL_SECONDS
from fanfold.handlers.parser import Observer
from fanfold.local.constants import REGION
from fanfold.run.events import Observer as RunObserver
from fanfold.run.events import ignore
from fanfold.run.runtime import Runtime
from fanfold.run.store import ObjectStore

PARAMETERS = {"EcsSubnets": "subnet-0", "EcsSecurityGroups": "sg-0", "EcsImage": "runner"}
"""Of the template: containers run here too."""

_HANDLERS = {
    "FANFOLD_PLANNER_ARN": planner.handle,
    "FANFOLD_REDUCER_ARN": reducer.handle,
    "FANFOLD_RUNNER_ARN": runner.handle,
}
"""By the variable of the parser that tells which function it is."""


@dataclass(frozen=True)
class Up:
    """A stack that is up."""

    url: str
    """The endpoint of every service."""
    stack: Stack


@contextmanager
def stack_up(
    name: str,
    port: int,
    home: Path,
    observer: RunObserver = ignore,
    told: Observer = parser.ignore,
) -> Iterator[Up]:
    """Bring the stack up and take it down again; port 0 is any free one.

    `observer` is told of runs, `told` of deployments. Logs of steps go below `home`.
    """
    base_env = dict(os.environ)
    from moto.server import ThreadedMotoServer

    from fanfold.local.engine import embedded_aws

    functions: dict[str, Any] = {}
    journal: list[Callable[[dict[str, Any]], None]] = []
    """Writes a line into the stack's log group, once there is one."""
    container_env: dict[str, str] = {}

    def launch(environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "fanfold.handlers.container"]
        with (
            (home / "stack" / "containers.log").open("ab") as log,
            subprocess.Popen(command, env=container_env | environ, stdout=subprocess.PIPE, stderr=log) as process,
        ):
            for line in process.stdout or ():
                log.write(line)
                with suppress(ValueError):
                    entry = json.loads(line)
                    if "stream" in entry:
                        journal[0](entry)

    with embedded_aws(functions, launch=launch):
        server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        try:
            url = "http://{}:{}".format(*server.get_host_and_port())
            clients = Clients()
            from fanfold.local.template import create_stack

            create_stack(name, clients, PARAMETERS)
            stack = Stack.find(name, clients)
            container_env |= _container_env(base_env, url, stack, home)
            journal.append(_journal(stack))
            functions |= _functions(stack, home, base_env, observer, told, journal[0])
            yield Up(url, stack)
        finally:
            server.stop()


def _container_env(base_env: Mapping[str, str], url: str, stack: Stack, home: Path) -> dict[str, str]:
    own = {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "FANFOLD_RUN_BUCKET": stack.run_bucket,
        "FANFOLD_FOLDER": str(home / "stack"),
    }
    return {key: value for key, value in base_env.items() if not key.startswith("AWS_")} | own


def _journal(stack: Stack) -> Callable[[dict[str, Any]], None]:
    """Writes lines of steps into the log group of the runner, as AWS Lambda does."""
    client, group, stream = stack.clients.logs, stack.log_groups[0], "steps"
    client.create_log_stream(logGroupName=group, logStreamName=stream)

    def write(entry: dict[str, Any]) -> None:
        event: Any = {"timestamp": int(time.time() * 1000), "message": json.dumps(entry)}
        client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    return write


def _functions(
    stack: Stack,
    home: Path,
    base_env: Mapping[str, str],
    observer: RunObserver,
    told: Observer,
    journal: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """The handlers by the names of the stack's functions, each with the environment that the template gives it."""
    import boto3

    make: Any = boto3.client
    configured = make("lambda").get_function_configuration(FunctionName=stack.parser_function)
    env = {key: str(value) for key, value in configured["Environment"]["Variables"].items()}
    parser_runtime = parser.runtime_from(env, stack.clients, told)
    folder = home / "stack"
    (folder / "work").mkdir(parents=True, exist_ok=True)
    store = ObjectStore(stack.clients.s3, stack.run_bucket)
    runtime = Runtime(
        store,
        folder / "logs",
        folder / "work",
        base_env,
        observer,
        carries_files=True,
        tell_line=journal,
        stop_poll_seconds=STOP_POLL_SECONDS,
    )
    made: dict[str, Any] = {stack.parser_function: partial(_one_at_a_time, threading.RLock(), parser_runtime)}
    return made | {
        env[variable].rpartition(":")[2]: partial(_on_its_own, handle, runtime)
        for variable, handle in _HANDLERS.items()
    }


def _one_at_a_time(lock: threading.RLock, runtime: parser.ParserRuntime, event: Any, context: Any) -> Any:
    """A call of the parser: moto's S3 closes an object that is read while it is written anew."""
    with lock:
        return parser.handle(event, context, runtime=runtime)


def _on_its_own(handle: Any, runtime: Runtime, event: Any, context: Any) -> Any:
    """A call with files of its own, as each function of AWS Lambda has them."""
    with tempfile.TemporaryDirectory(prefix="fanfold-") as folder:
        return handle(event, context, runtime=replace(runtime, files_folder=Path(folder)))
