"""A second cloud: what ``sam build`` made, deployed on LocalStack in host mode, for commands with ``--stack``.

LocalStack's CloudFormation, EventBridge, Step Functions, Lambda and S3 are code that shares nothing with moto's
Step Functions and functions in process, and the functions are called through AWS's own runtime client.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from documents import Result
from fanfold.dag.params import from_arguments
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.stack import Stack
from fanfold.history.stack import StackRunStore
from fanfold.local.session import record_of_lost_run
from fanfold.local.up import Up
from lambda_runtime import runtime_folder
from places import OnStack
from support import tool

HERE = Path(__file__).parent

STACK = "fanfold"
PYTHON_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PARAMETERS = {
    "PythonVersion": PYTHON_VERSION,
    "Architecture": "x86_64",
    # LocalStack compares a nested stack's parameter that is empty with nothing
    "AlarmEmail": "nobody@example.org",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
SAM = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "1"}
PASSED_OVER = {"AWS::CloudWatch::Dashboard"}
"""Types of resources that LocalStack's CloudFormation does not make; it goes on without them."""
READY_SECONDS = 90.0


class LocalStack:
    """A LocalStack that is up."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "localstack.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": self.url, **SAM}
        self.clients = Clients(endpoint_url=self.url)
        scratch = folder / "scratch"
        scratch.mkdir()
        self.variables = {"CASE_TMP": str(scratch), "TMPDIR": str(scratch)}
        """What every function's environment has besides: where DAGs leave what a bucket or a database would hold."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start its process; returns when it answers."""
        python = Path(tool("localstack-supervisor")).resolve().parent / "python"
        for name in ("volume", "tmp", "home", "runtime"):
            (self.folder / name).mkdir()
        env = self.env | {
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "LOCALSTACK_VOLUME_DIR": str(self.folder / "volume"),
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "DNS_ADDRESS": "0",
            "LAMBDA_RUNTIME_EXECUTOR": "process",
            "FANFOLD_FUNCTIONS_PYTHON": sys.executable,
            "FANFOLD_FUNCTIONS_RUNTIME": str(runtime_folder(self.folder / "runtime")),
            "FANFOLD_FUNCTIONS_VARIABLES": json.dumps(self.variables),
            "PYTHONPATH": os.pathsep.join((str(_entry_point(self.folder / "plugin")), str(HERE))),
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder / "home"),
        }
        for name in ("AWS_ENDPOINT_URL", "VIRTUAL_ENV"):
            env.pop(name, None)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [python, "-m", "localstack.runtime.main"],
                cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + READY_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise AssertionError(self.log.read_text())
            time.sleep(0.2)
        return process

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def client(self, service: str) -> Any:
        """A client of boto3."""
        return boto3.client(service, endpoint_url=self.url)  # type: ignore[call-overload]

    def deploy(self, built: Path, **parameters: str) -> Stack:
        """Deploy what ``sam build`` made, with an answer of nothing to each question; or change a parameter."""
        given = [f"{name}={value}" for name, value in (PARAMETERS | parameters).items()]
        guided = () if parameters else ("--guided",)
        done = subprocess.run(
            [tool("sam"), "deploy", *guided, "--template-file", built / "template.yaml", "--stack-name", STACK,
             "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND",
             "--parameter-overrides", *given],
            cwd=self.folder, env=self.env, input="\n" * 100, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        without = set(re.findall(r'No resource provider found for "([^"]+)"', self.log.read_text()))
        assert without <= PASSED_OVER, without
        return Stack.find(STACK, self.clients)


class SecondPlace(OnStack):
    """The stack on LocalStack, used as a user does: files go there by ``fanfold push``."""

    def __init__(self, folder: Path, cloud: LocalStack, built: Path, stack: Stack) -> None:
        super().__init__(folder, Up(cloud.url, stack))
        self.cloud, self.built = cloud, built
        self.scratch = Path(cloud.variables["CASE_TMP"])
        """The commands of DAGs leave there what they did."""

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """The JSON that a command prints, and not what it tells meanwhile."""
        answer, _ = json.JSONDecoder().raw_decode(self.fanfold(*arguments, "--json", code=code))
        return answer

    def put(self, name: str, text: str) -> None:
        self.fanfold("push", str(self.write(name, textwrap.dedent(text))))

    def record(self, dag: str, arguments: tuple[str, ...] = ()) -> Result:
        """Start a deployed DAG and wait for its end; what the run left."""
        run, execution = self.stack.start(dag, from_arguments(arguments))
        ended = poll_execution(self.stack.clients.states, execution, 0.5)
        return StackRunStore(self.stack).data(run).result() or record_of_lost_run(dag, run, ended)


def _entry_point(folder: Path) -> Path:
    """A folder that tells LocalStack of the modules here, as an installed package would."""
    about = folder / "second_cloud-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: second-cloud\nVersion: 0\n")
    (about / "entry_points.txt").write_text(
        "[localstack.lambda.runtime_executor]\nprocess = process_executor:ProcessExecutorPlugin\n"
        "[localstack.cloudformation.resource_providers]\n"
        "AWS::CloudFormation::CustomResource = custom_resource_provider:CustomResourcePlugin\n"
    )
    return folder


@contextmanager
def localstack(folder: Path) -> Iterator[LocalStack]:
    """A LocalStack on a free port, and its end; meanwhile clients and commands have credentials."""
    cloud = LocalStack(folder)
    process = cloud.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
            yield cloud
    finally:
        functions = psutil.Process(process.pid).children(recursive=True)
        for running in (process, *functions):
            with suppress(psutil.NoSuchProcess):
                running.kill()
        process.wait()
