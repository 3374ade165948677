"""The parser: a DAG file put into the bucket → state machines, and a report beside the file.

A file with errors changes nothing that is deployed; its report holds every error (docs/architecture.md).
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from fanfold.dag.diagnostics import DagFileError
from fanfold.dag.read import read_dag_file
from fanfold.deploy.machines import Target, deploy
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

DAG_PREFIX = "dags/"
"""The DAG folder within the DAG bucket."""

SUFFIXES = (".yaml", ".yml")
REPORT_SUFFIX = ".report.json"


@dataclass(frozen=True)
class ParserRuntime:
    """What the parser needs of the world."""

    s3: S3Client
    states: SFNClient
    run_store: ObjectStore
    target: Target
    environment: frozenset[str] = frozenset()
    """The variables that the runner's environment has, for which no DAG need set them."""


def handle(
    event: dict[str, Any], context: LambdaContext, runtime: ParserRuntime | None = None
) -> dict[str, list[dict[str, Any]]]:
    """An S3 event notification → ``{"reports": [...]}``; one file's fault never touches another's."""
    runtime = runtime or _runtime()
    reports = []
    for record in event.get("Records", []):
        bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        if key.startswith(DAG_PREFIX) and key.endswith(SUFFIXES) and record["eventName"].startswith("ObjectCreated"):
            reports.append(_deploy_file(runtime, bucket, key))
    return {"reports": reports}


def _deploy_file(runtime: ParserRuntime, bucket: str, key: str) -> dict[str, Any]:
    files = ObjectStore(runtime.s3, bucket)
    path = key.removeprefix(DAG_PREFIX)
    report: dict[str, Any] = {"file": path}
    try:
        dag_set = read_dag_file(path, lambda name: _fetch(runtime.s3, bucket, DAG_PREFIX + name), runtime.environment)
    except DagFileError as error:
        report |= {"status": "refused", "problems": [asdict(problem) for problem in error.problems]}
    else:
        machines = deploy(dag_set, runtime.run_store, runtime.states, runtime.target)
        report |= {"status": "deployed", "machines": [asdict(machine) for machine in machines]}
    files.put_json(key + REPORT_SUFFIX, report)
    return report


def _fetch(client: S3Client, bucket: str, key: str) -> bytes | None:
    try:
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None


@lru_cache(maxsize=1)
def _runtime() -> ParserRuntime:
    import boto3

    s3 = boto3.client("s3")
    env = os.environ
    return ParserRuntime(
        s3=s3,
        states=boto3.client("stepfunctions"),
        run_store=ObjectStore(s3, env["FANFOLD_RUN_BUCKET"]),
        target=Target(
            runner_arn=env["FANFOLD_RUNNER_ARN"],
            planner_arn=env["FANFOLD_PLANNER_ARN"],
            reducer_arn=env["FANFOLD_REDUCER_ARN"],
            role_arn=env["FANFOLD_STATES_ROLE_ARN"],
            machine_arn_prefix=env["FANFOLD_MACHINE_ARN_PREFIX"],
        ),
        environment=frozenset(env.get("FANFOLD_RUNNER_VARIABLES", "").split()),
    )
