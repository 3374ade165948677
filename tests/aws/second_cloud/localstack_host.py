"""A second cloud: what ``sam build`` made, deployed on LocalStack in host mode, for commands with ``--stack``.

LocalStack's CloudFormation, EventBridge, Step Functions, Lambda and S3 are code that shares nothing with moto's
Step Functions and functions in process, and the functions are called through AWS's own runtime client.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from documents import Result
from fanfold.dag.params import from_arguments
from fanfold.deploy.clients import Clients
from fanfold.deploy.executions import poll_execution
from fanfold.deploy.stack import Stack
from fanfold.history.stack import StackRunStore
from fanfold.local.session import record_of_lost_run
from fanfold.local.up import Up
from places import OnStack

ROOT = Path(__file__).parents[3]
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
READY_SECONDS = 90.0
DEPLOY_SECONDS = 300.0


def tool(name: str) -> str:
    """A program that `.ci/run` installs; the test is skipped where it is not there."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, **more: Any) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


class LocalStack:
    """A LocalStack that is up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": self.url, "SAM_CLI_TELEMETRY": "0"}
        self.clients = Clients(endpoint_url=self.url)
        scratch = folder / "scratch"
        scratch.mkdir()
        self.variables = {"CASE_TMP": str(scratch), "TMPDIR": str(scratch)}
        """What every function's environment has besides: where DAGs leave what a bucket or a database would hold."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start its process; returns when it answers."""
        python = Path(tool("localstack-supervisor")).resolve().parent / "python"
        for name in ("volume", "tmp", "home"):
            (self.folder / name).mkdir()
        env = self.env | {
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "LOCALSTACK_VOLUME_DIR": str(self.folder / "volume"),
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "DNS_ADDRESS": "0",
            "LAMBDA_RUNTIME_EXECUTOR": "process",
            "FANFOLD_FUNCTIONS_PYTHON": sys.executable,
            "FANFOLD_FUNCTIONS_RUNTIME": str(_runtime(self.folder / "runtime")),
            "FANFOLD_FUNCTIONS_VARIABLES": json.dumps(self.variables),
            "PYTHONPATH": os.pathsep.join((str(_entry_point(self.folder / "plugin")), str(HERE))),
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder / "home"),
        }
        for name in ("AWS_ENDPOINT_URL", "VIRTUAL_ENV"):
            env.pop(name, None)
        with (self.folder / "localstack.log").open("wb") as log:
            process = subprocess.Popen(
                [python, "-m", "localstack.runtime.main"],
                cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + READY_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise AssertionError((self.folder / "localstack.log").read_text())
            time.sleep(0.2)
        return process

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def aws(self, *arguments: str | Path) -> Any:
        """What the AWS CLI answers."""
        printed = run(tool("aws"), *arguments, env=self.env, cwd=self.folder, timeout=DEPLOY_SECONDS)
        try:
            return json.loads(printed)
        except ValueError:
            return printed

    def deploy(self, template: Path, stack: str = STACK, **parameters: str) -> Stack:
        """Package and deploy a template, as with an account."""
        packaged = self.folder / f"{stack}.yaml"
        self.aws("s3", "mb", "s3://artefacts")
        package = ("--s3-bucket", "artefacts", "--output-template-file", packaged)
        self.aws("cloudformation", "package", "--template-file", template, *package)
        given = [f"{name}={value}" for name, value in (PARAMETERS | parameters).items()]
        rights = ("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
        deploy = ("--template-file", packaged, "--stack-name", stack, *rights, "--parameter-overrides", *given)
        self.aws("cloudformation", "deploy", *deploy)
        return Stack.find(stack, self.clients)


class SecondPlace(OnStack):
    """The stack on LocalStack, used as a user does: files go there by ``fanfold push``."""

    def __init__(self, folder: Path, cloud: LocalStack, template: Path, stack: Stack) -> None:
        super().__init__(folder, Up(cloud.url, stack))
        self.cloud, self.template = cloud, template
        self.scratch = Path(cloud.variables["CASE_TMP"])
        """The commands of DAGs leave there what they did."""

    def put(self, name: str, text: str) -> None:
        self.fanfold("push", str(self.write(name, textwrap.dedent(text))))

    def record(self, dag: str, arguments: tuple[str, ...] = ()) -> Result:
        """Start a deployed DAG and wait for its end; what the run left."""
        run, execution = self.stack.start(dag, from_arguments(arguments))
        ended = poll_execution(self.stack.clients.states, execution, 0.5)
        return StackRunStore(self.stack).data(run).result() or record_of_lost_run(dag, run, ended)


def _runtime(folder: Path) -> Path:
    """A folder with the runtime client of Lambda and what it needs, of this environment's packages."""
    folder.mkdir()
    for package in ("awslambdaric", "snapshot-restore-py", "simplejson"):
        distribution = importlib.metadata.distribution(package)
        for name in {file.parts[0] for file in distribution.files or () if not file.is_absolute()} - {".."}:
            (folder / name).symlink_to(distribution.locate_file(name))
    return folder


def _entry_point(folder: Path) -> Path:
    """A folder that tells LocalStack of `executor`, as an installed package would."""
    about = folder / "second_cloud-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: second-cloud\nVersion: 0\n")
    (about / "entry_points.txt").write_text(
        "[localstack.lambda.runtime_executor]\nprocess = process_executor:ProcessExecutorPlugin\n"
        "[localstack.cloudformation.resource_providers]\n"
        "AWS::CloudFormation::CustomResource = custom_resource:CustomResourcePlugin\n"
    )
    return folder


def build(folder: Path) -> Path:
    """What ``sam build`` makes of the template; the path of the template that it writes."""
    run(tool("sam"), "build", "--template", ROOT / "template.yaml", "--build-dir", folder,
        "--parameter-overrides", f"PythonVersion={PYTHON_VERSION}", "Architecture=x86_64",
        cwd=ROOT, env=os.environ | CREDENTIALS | {"SAM_CLI_TELEMETRY": "0"})  # fmt: skip
    return folder / "template.yaml"


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
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
