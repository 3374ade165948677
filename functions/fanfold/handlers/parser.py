"""The parser: a DAG file put into the bucket → state machines, schedules and triggers, and a report beside the file.

What counts is the file as it is now; an event only says where to look. A file with errors changes nothing that is
deployed; its report holds every error (docs/architecture.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from fanfold.dag.read import SUFFIXES, Fetch
from fanfold.deploy.bundles import Bundler
from fanfold.deploy.clients import Clients
from fanfold.deploy.deployment import BundleOf, Deployer
from fanfold.deploy.report import NOT_DEPLOYED, Report
from fanfold.deploy.schedules import look_again
from fanfold.deploy.target import Ecs, Starts, Target, words
from fanfold.handlers.stack_change import Deploy, follow
from fanfold.run.store import ObjectStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

DAG_PREFIX = "dags/"
"""The DAG folder within the DAG bucket."""

REPORT_SUFFIX = ".report.json"

Observer = Callable[[str, dict[str, Any]], None]
"""Is told the bucket and the report of every file."""


def ignore(_bucket: str, _report: dict[str, Any]) -> None:
    """The observer that looks away."""


@dataclass(frozen=True)
class ParserRuntime:
    """What the parser needs of the world."""

    clients: Clients
    run_bucket: str
    target: Target
    environment: frozenset[str] = frozenset()
    """The variables that the runner's environment has, for which no DAG need set them."""
    observer: Observer = ignore
    has_bundles: bool = True
    """Whether the files beside a DAG file must travel with it; on a laptop they are where they are."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A file of the DAG folder that was put or removed."""

    bucket: str
    path: str
    sequencer: str | None


def handle(
    event: dict[str, Any], context: LambdaContext, runtime: ParserRuntime | None = None
) -> dict[str, list[dict[str, Any]]]:
    """An S3 event, direct or by EventBridge → ``{"reports": [...]}``; an event of CloudFormation is answered.

    One file's fault never touches another's: all are handled before the first fault is raised, so that the event is
    tried again.
    """
    if "RequestType" in event:
        follow(event, lambda bucket: _for_the_stack(runtime or _runtime(), bucket))
        return {"reports": []}
    runtime = runtime or _runtime()
    reports: list[dict[str, Any]] = []
    faults: list[Exception] = []
    for change in _changes(event):
        try:
            reports += _handle_change(runtime, change)
        except Exception as fault:
            fault.add_note(f"file: {change.path}")
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ExceptionGroup("several files could not be deployed", faults)
    return {"reports": reports}


def _changes(event: dict[str, Any]) -> Iterator[_Change]:
    """The DAG files that the event tells of."""
    from aws_lambda_powertools.utilities.data_classes.s3_event import S3Event, S3EventBridgeNotificationEvent

    found = []
    if "detail" in event:
        detail = S3EventBridgeNotificationEvent(event).detail
        found.append((detail.bucket.name, detail.object.key, detail.object.get("sequencer")))
    else:
        for record in S3Event(event).records:
            item = record.s3.get_object
            found.append((record.s3.bucket.name, unquote_plus(item.key), item.get("sequencer")))
    for bucket, key, sequencer in found:
        if key.startswith(DAG_PREFIX) and key.endswith(SUFFIXES):
            yield _Change(bucket, key.removeprefix(DAG_PREFIX), sequencer)


def _handle_change(runtime: ParserRuntime, change: _Change) -> Iterator[dict[str, Any]]:
    """Deploy a file, and every other that has looked at it."""
    deployer = _deployer(runtime)
    bundle = _bundles(runtime, change.bucket)
    others: list[tuple[str, str | None]] = [(file, None) for file in deployer.dependents(change.path)]
    for path, sequencer in [(change.path, change.sequencer), *others]:
        yield _deploy(runtime, deployer, change.bucket, path, bundle, sequencer)


def _for_the_stack(runtime: ParserRuntime, bucket: str) -> tuple[Target, Deployer, Deploy]:
    deployer, bundle = _deployer(runtime), _bundles(runtime, bucket)

    def deploy(path: str) -> dict[str, Any]:
        return _deploy(runtime, deployer, bucket, path, bundle, None, move_alias=True)

    return runtime.target, deployer, deploy


def _deployer(runtime: ParserRuntime) -> Deployer:
    store = ObjectStore(runtime.clients.s3, runtime.run_bucket)
    return Deployer(runtime.clients, runtime.target, store, runtime.environment)


def _bundles(runtime: ParserRuntime, bucket: str) -> BundleOf | None:
    store = ObjectStore(runtime.clients.s3, runtime.run_bucket)
    return Bundler(runtime.clients.s3, bucket, DAG_PREFIX, store).bundle_of if runtime.has_bundles else None


def _deploy(
    runtime: ParserRuntime,
    deployer: Deployer,
    bucket: str,
    path: str,
    bundle: BundleOf | None,
    sequencer: str | None,
    *,
    move_alias: bool = False,
) -> dict[str, Any]:
    """Deploy one file, and leave its report; it is looked at again where it has to wait."""
    folder = _Folder(runtime.clients, bucket)
    report = deployer.reconcile(path, folder.opened, bundle, sequencer, move_alias=move_alias)
    if report.status == "waiting":
        _look_again(runtime, bucket, path)
    return _tell(runtime, bucket, folder, report)


def _look_again(runtime: ParserRuntime, bucket: str, path: str) -> None:
    """Have the parser called for a file later; a laptop has no schedules, and deletes machines at once."""
    if runtime.target.starts is not None:
        event = {"detail": {"bucket": {"name": bucket}, "object": {"key": DAG_PREFIX + path}}}
        look_again(runtime.clients.scheduler, runtime.target.starts, event, datetime.now(UTC))


@dataclass
class _Folder:
    """The files of the DAG folder, each read once from when it was opened."""

    clients: Clients
    bucket: str
    read: dict[str, tuple[bytes | None, dict[str, str]]] = field(default_factory=dict)

    def opened(self) -> Fetch:
        """The folder as it is now."""
        self.read = {}
        return self._fetch

    def _fetch(self, path: str) -> bytes | None:
        """A file's bytes; None when there is none."""
        if path not in self.read:
            s3 = self.clients.s3
            try:
                got = s3.get_object(Bucket=self.bucket, Key=DAG_PREFIX + path)
            except s3.exceptions.NoSuchKey:
                self.read[path] = None, {}
            else:
                version = {"etag": got["ETag"], "version": got.get("VersionId", "")}
                self.read[path] = got["Body"].read(), version
        return self.read[path][0]


def _tell(runtime: ParserRuntime, bucket: str, folder: _Folder, report: Report) -> dict[str, Any]:
    """Leave the report beside the file, and tell the observer; a file that is gone takes its report with it."""
    told = report.to_json()
    key = DAG_PREFIX + report.file + REPORT_SUFFIX
    if report.status in ("deployed", *NOT_DEPLOYED):
        told |= folder.read[report.file][1]
        ObjectStore(runtime.clients.s3, bucket).put_json(key, told)
    elif report.status in ("removed", "absent"):
        runtime.clients.s3.delete_object(Bucket=bucket, Key=key)
    runtime.observer(bucket, told)
    return told


@lru_cache(maxsize=1)
def _runtime() -> ParserRuntime:
    clients = Clients()
    return runtime_from(os.environ, clients, _Teller(clients))


def runtime_from(env: Mapping[str, str], clients: Clients, observer: Observer) -> ParserRuntime:
    """The runtime as the environment of the stack's function tells it (template.yaml)."""
    ecs = starts = None
    if env.get("FANFOLD_ECS_SUBNETS"):
        ecs = Ecs(
            cluster=env["FANFOLD_ECS_CLUSTER"],
            task_definition=env["FANFOLD_ECS_TASK_DEFINITION"],
            subnets=",".join(words(env["FANFOLD_ECS_SUBNETS"])),
            security_groups=",".join(words(env["FANFOLD_ECS_SECURITY_GROUPS"])),
            assign_public_ip=env["FANFOLD_ECS_ASSIGN_PUBLIC_IP"],
        )
    if env.get("FANFOLD_STARTER_ROLE_ARN"):
        starts = Starts(
            role_arn=env["FANFOLD_STARTER_ROLE_ARN"],
            schedule_group=env["FANFOLD_SCHEDULE_GROUP"],
            dead_letter_arn=env["FANFOLD_DEAD_LETTER_ARN"],
            parser_arn=env["FANFOLD_PARSER_ARN"],
            zone=env.get("FANFOLD_SCHEDULE_ZONE", "UTC"),
            window_minutes=int(env.get("FANFOLD_SCHEDULE_WINDOW", "1")),
        )
    return ParserRuntime(
        clients=clients,
        run_bucket=env["FANFOLD_RUN_BUCKET"],
        target=Target(
            stack=env["FANFOLD_STACK"],
            runner_arn=env["FANFOLD_RUNNER_ARN"],
            planner_arn=env["FANFOLD_PLANNER_ARN"],
            reducer_arn=env["FANFOLD_REDUCER_ARN"],
            role_arn=env["FANFOLD_STATES_ROLE_ARN"],
            machine_arns=env["FANFOLD_MACHINE_ARNS"],
            starts=starts,
            ecs=ecs,
        ),
        environment=frozenset(words(env.get("FANFOLD_RUNNER_VARIABLES", ""))),
        observer=observer,
    )


@dataclass(frozen=True)
class _Teller:
    """Writes each report into the log, counts it, and sends it to the default event bus."""

    clients: Clients

    def __call__(self, bucket: str, report: dict[str, Any]) -> None:
        from fanfold.handlers.environment import logger
        from fanfold.handlers.metrics import count_deployment

        refused = report["status"] in ("refused", "failed")
        write = logger().error if refused else logger().info
        write("deployment", extra={"report": report})
        count_deployment(refused=refused)
        detail = {
            "file": report["file"],
            "status": report["status"],
            "dag": report.get("dag"),
            "problems": len(report.get("problems", [])),
            "report": {"bucket": bucket, "key": DAG_PREFIX + report["file"] + REPORT_SUFFIX},
        }
        entry: Any = {"Source": "fanfold", "DetailType": "Fanfold Deployment", "Detail": json.dumps(detail)}
        self.clients.events.put_events(Entries=[entry])
