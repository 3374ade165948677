"""The runner as a container: one task of a run, answered by its token (Step Functions, *Wait for a callback*).

Reads from its environment ``FANFOLD_TASK`` (what to run), ``FANFOLD_TASK_INPUT`` (the state's input),
``FANFOLD_TASK_TOKEN`` and, where they are set, ``FANFOLD_TASK_TRIES`` and ``FANFOLD_TASK_SECONDS``. Start it with
``python -m fanfold.handlers.container``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fanfold.handlers import runner
from fanfold.run.runtime import Runtime

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

HEARTBEAT_SECONDS = float(os.environ.get("FANFOLD_HEARTBEAT_SECONDS", "10"))
MAX_ERROR = 256
MAX_CAUSE = 32_768
"""Characters that SendTaskFailure takes."""


def run_container(environ: Mapping[str, str], runtime: Runtime, client: SFNClient) -> int:
    """Run the task and send its answer; the process's exit code: 0 once the answer is sent.

    While it runs, heartbeats tell that it lives; one that is refused means that the run was stopped, and ends the
    task's processes.
    """
    token = environ["FANFOLD_TASK_TOKEN"]
    seconds = float(environ.get("FANFOLD_TASK_SECONDS", "inf"))
    end = time.monotonic() + seconds
    runtime = replace(runtime, remaining=lambda: end - time.monotonic())
    done = threading.Event()
    threading.Thread(target=_beat, args=(client, token, runtime, done), daemon=True).start()
    try:
        answer = runner.handle(_payload(environ, runtime), None, runtime=runtime)  # type: ignore[arg-type]
        client.send_task_success(taskToken=token, output=json.dumps(answer))
    except _gone(client):
        return 1
    except Exception as error:
        return _fail(client, token, type(error).__name__, str(error))
    finally:
        done.set()
    return 0


def _payload(environ: Mapping[str, str], runtime: Runtime) -> dict[str, Any]:
    """What the runner's function would get for the same state."""
    task: dict[str, Any] = json.loads(environ["FANFOLD_TASK"])
    given: dict[str, Any] = json.loads(environ["FANFOLD_TASK_INPUT"])
    if "payload" in given:
        payload: dict[str, Any] = json.loads(runtime.store.load(given["payload"]))
        return payload
    if "FANFOLD_TASK_TRIES" in environ:
        task["tries"] = int(environ["FANFOLD_TASK_TRIES"])
    return task | given


def _fail(client: SFNClient, token: str, name: str, cause: str) -> int:
    try:
        client.send_task_failure(taskToken=token, error=name[:MAX_ERROR], cause=cause[:MAX_CAUSE])
    except _gone(client):
        return 1
    return 0


def _gone(client: SFNClient) -> tuple[type[Exception], ...]:
    """What says that nobody waits for this task any more."""
    return (client.exceptions.TaskDoesNotExist, client.exceptions.TaskTimedOut, client.exceptions.InvalidToken)


def _beat(client: SFNClient, token: str, runtime: Runtime, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_SECONDS):
        try:
            client.send_task_heartbeat(taskToken=token)
        except _gone(client):
            runtime.cancellation.request()
            return
        except Exception as fault:  # a heartbeat that is lost is made up for by the next
            sys.stderr.write(f"heartbeat: {fault}\n")


def main() -> int:
    """The container's entry point."""
    import boto3

    from fanfold.handlers.environment import base_runtime

    runtime = base_runtime()
    own = ("FANFOLD_TASK", "FANFOLD_TASK_INPUT", "FANFOLD_TASK_TOKEN", "FANFOLD_TASK_TRIES", "FANFOLD_TASK_SECONDS")
    runtime = replace(runtime, base_env={name: text for name, text in runtime.base_env.items() if name not in own})
    token, client = os.environ["FANFOLD_TASK_TOKEN"], boto3.client("stepfunctions")

    def end(number: int, _frame: object) -> None:
        """ECS ends the task: say so at once, rather than by a heartbeat that does not come."""
        runtime.cancellation.request()
        _fail(client, token, "TaskStopped", f"the container was ended by {signal.Signals(number).name}")
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    return run_container(os.environ, runtime, client)


if __name__ == "__main__":
    sys.exit(main())
