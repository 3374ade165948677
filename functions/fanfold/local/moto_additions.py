"""What Fanfold needs of AWS and moto does not have: versions and starts by alias, the events of S3, containers.

Each is the smallest piece that does it, with a test in ``tests/integration/test_moto_additions.py`` that tells when
moto has it itself.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import fanfold.local.moto_quick_import  # noqa: F401 - before moto's Step Functions

# isort: split
from moto.core.responses import ActionResult, EmptyResult
from moto.s3 import notifications
from moto.s3.models import S3Backend
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_ecs
from moto.stepfunctions.parser.asl.eval.states import ContextObject
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

from fanfold.local.constants import FUNCTION_ARNS

Function = Callable[[Any, Any], Any]
"""A Lambda handler: (event, context) → what JSON can hold."""

Launch = Callable[[dict[str, str]], None]
"""Starts a container with this environment, and does not wait for it."""

Replacement = tuple[Any, str, Any]
"""(module or class, name, what stands in for it)."""

MAX_ANSWER = 6 * 1024 * 1024 + 100
"""Bytes that a function may answer (AWS Lambda, *Quotas*: 6 MB; the number is in its error)."""
TOO_LARGE = f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER} bytes)."


def additions(functions: Mapping[str, Function], launch: Launch | None) -> Iterator[Replacement]:
    """All of them, each with the reason."""
    # Versions are counted, but cannot be published, listed or deleted.
    yield StepFunctionResponse, "publish_state_machine_version", _publish_state_machine_version
    yield StepFunctionResponse, "list_state_machine_versions", _list_state_machine_versions
    yield StepFunctionResponse, "delete_state_machine_version", _delete_state_machine_version
    # An execution can only be started by the ARN of its machine.
    start = StepFunctionsParserBackend.start_execution
    yield StepFunctionsParserBackend, "start_execution", _start_by_version_or_alias(start)
    # A notification calls the function here, rather than in a container, and tells the order of events.
    yield notifications, "_invoke_awslambda", _notify(functions)
    yield notifications, "_get_s3_event", _with_sequencer(notifications._get_s3_event)
    # EventBridge reaches neither functions nor state machines.
    yield notifications, "_send_event_bridge_message", _send_by_event_bridge(functions)
    # The delete marker of a versioned bucket is no event.
    yield S3Backend, "_set_delete_marker", _telling_delete_marker(S3Backend._set_delete_marker)
    # The context of an execution does not tell how often it was redriven, which no execution is here.
    yield ContextObject, "__init__", _with_redrive_count(ContextObject.__init__)
    # A container is started, but nothing runs in it.
    yield state_task_service_ecs, "boto_client_for", lambda **_: _Ecs(launch)


class LocalContext:
    """The second argument of a handler: there is no time limit here."""

    aws_request_id = "local"
    memory_limit_in_mb = "128"

    def __init__(self, function_name: str) -> None:
        self.function_name = function_name
        self.invoked_function_arn = FUNCTION_ARNS + function_name

    def get_remaining_time_in_millis(self) -> int:
        return 2**31


def call_function(functions: Mapping[str, Function], name: str, event: str) -> tuple[str, bool]:
    """(what is answered, whether it is an error): JSON texts both, and made as AWS Lambda's Python runtime makes them.

    An error is ``{"errorType": the class's name, "errorMessage", "requestId", "stackTrace"}``.
    """
    if name not in functions:
        return _error("Lambda.ResourceNotFoundException", f"there is no function {name}")
    try:
        answer = functions[name](json.loads(event), LocalContext(name))
    except Exception as error:
        return _error(type(error).__name__, str(error), traceback.format_tb(error.__traceback__)[1:])
    except SystemExit as end:
        return _error("Runtime.ExitError", f"Runtime exited with error: exit status {end.code}")
    try:
        text = json.dumps(answer, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as fault:
        return _error("Runtime.MarshalError", f"Unable to marshal response: {fault}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as fault:  # the runtime sends UTF-8, and ends where it cannot
        return _error("Runtime.ExitError", f"Runtime exited with error: exit status 1: {fault}")
    if size > MAX_ANSWER:
        return _error("Function.ResponseSizeTooLarge", TOO_LARGE)
    return text, False


def _error(kind: str, message: str, trace: Sequence[str] = ()) -> tuple[str, bool]:
    told = {"errorMessage": message, "errorType": kind, "requestId": LocalContext.aws_request_id, "stackTrace": trace}
    return json.dumps(told), True


def _call_later(functions: Mapping[str, Function], name: str, event: Any) -> None:
    """A call that nobody waits for: tried three times, then told in the log (AWS Lambda, *Asynchronous invocation*)."""
    text = json.dumps(event)
    for _ in range(3):
        answer, failed = call_function(functions, name, text)
        if not failed:
            return
    logging.getLogger(__name__).error("%s failed: %s", name, _told(answer))


def _told(answer: str) -> str:
    error = json.loads(answer)
    return f"{error['errorType']}: {error['errorMessage']}"


def _publish_state_machine_version(self: Any) -> ActionResult:
    machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
    latest = machine.latest_version
    if latest is None or (latest.definition, latest.roleArn) != (machine.definition, machine.roleArn):
        machine.publish(self._get_param("description"))
    version = machine.latest_version
    return ActionResult({"stateMachineVersionArn": version.arn, "creationDate": version.creation_date})


def _list_state_machine_versions(self: Any) -> ActionResult:
    machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
    versions = [
        {"stateMachineVersionArn": version.arn, "creationDate": version.creation_date}
        for _, version in sorted(machine.versions.items(), reverse=True)
    ]
    return ActionResult({"stateMachineVersions": versions})


def _delete_state_machine_version(self: Any) -> EmptyResult:
    arn, _, number = self._get_param("stateMachineVersionArn").rpartition(":")
    self.stepfunction_backend.describe_state_machine(arn).versions.pop(int(number), None)
    return EmptyResult()


def _start_by_version_or_alias(original: Callable[..., Any]) -> Callable[..., Any]:
    def start_execution(self: Any, state_machine_arn: str, *arguments: Any, **named: Any) -> Any:
        base, _, qualifier = state_machine_arn.rpartition(":")
        if base.endswith(":stateMachine"):
            return original(self, state_machine_arn, *arguments, **named)
        machine = self.describe_state_machine(base)
        if not qualifier.isnumeric():
            alias = self.describe_state_machine_alias(state_machine_arn)
            qualifier = alias.routing_configuration[0]["stateMachineVersionArn"].rpartition(":")[2]
        pinned = copy.copy(machine)
        pinned.definition = self.describe_state_machine(f"{base}:{qualifier}").definition
        pinned.versions = {}
        places = {name: getattr(self, name) for name in ("partition", "region_name", "account_id")}
        backend = SimpleNamespace(describe_state_machine=lambda _: pinned, **places)
        return original(backend, base, *arguments, **named)

    return start_execution


def _notify(functions: Mapping[str, Function]) -> Callable[..., None]:
    def invoke(account_id: str, event_body: dict[str, Any], fn_arn: str, region_name: str) -> None:
        answer, failed = call_function(functions, fn_arn.rpartition(":")[2], json.dumps(event_body))
        if failed:  # a run on this machine must see it
            raise RuntimeError(_told(answer))

    return invoke


_order = itertools.count(1)


def _sequencer() -> str:
    """Grows from event to event, as that of S3 does for one object."""
    return f"{next(_order):016X}"


def _with_sequencer(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_s3_event(event_name: str, bucket: Any, key: Any, notification_id: str) -> Any:
        event = original(event_name, bucket, key, notification_id)
        event["Records"][0]["s3"]["object"]["sequencer"] = _sequencer()
        return event

    return get_s3_event


def _send_by_event_bridge(functions: Mapping[str, Function]) -> Callable[..., None]:
    """An event of S3 to the rules of EventBridge, of whose targets functions and state machines are reached."""

    def send(account_id: str, bucket: Any, event_name: str, key: Any) -> None:
        event = {
            "version": "0",
            "id": f"event-{_sequencer()}",
            "detail-type": notifications._detail_type(event_name),
            "source": "aws.s3",
            "account": account_id,
            "region": bucket.region_name,
            "resources": [bucket.arn],
            "detail": {
                "version": "0",
                "bucket": {"name": bucket.name},
                "object": {"key": key.name, "sequencer": _sequencer()},
                "reason": str(event_name).partition(":")[2],
            },
        }
        deliver(functions, account_id, bucket.region_name, event)

    return send


def deliver(functions: Mapping[str, Function], account: str, region: str, event: Any) -> None:
    """Give an event to every rule of the default bus whose pattern it fits."""
    from moto.events.models import events_backends

    rules = events_backends[account][region].event_buses["default"].rules.values()
    for rule in list(rules):
        if rule.state == "ENABLED" and rule.event_pattern.matches_event(event):
            for target in rule.targets:
                _deliver_to(functions, account, region, target, event)


def _deliver_to(
    functions: Mapping[str, Function], account: str, region: str, target: dict[str, Any], event: dict[str, Any]
) -> None:
    service = target["Arn"].split(":")[2]
    if service == "lambda":
        _call_later(functions, target["Arn"].rpartition(":")[2], event)
    elif service == "states":
        from moto.stepfunctions.parser.models import stepfunctions_parser_backends

        given = _transformed(target.get("InputTransformer"), event)
        name = f"{uuid.uuid4()}_{uuid.uuid4()}"  # as EventBridge does: not the event's id, and 73 characters
        stepfunctions_parser_backends[account][region].start_execution(target["Arn"], name, json.dumps(given))


def _transformed(transformer: dict[str, Any] | None, event: dict[str, Any]) -> Any:
    """The input that an input transformer makes of an event; its paths are plain names with dots."""
    if transformer is None:
        return event
    text = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value: Any = event
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        text = text.replace(f"<{name}>", json.dumps(value))
    return json.loads(text)


def _telling_delete_marker(original: Callable[..., Any]) -> Callable[..., Any]:
    def set_delete_marker(self: Any, bucket_name: str, key_name: str) -> Any:
        marker = original(self, bucket_name, key_name)
        name = notifications.S3NotificationEvent.OBJECT_REMOVED_DELETE_MARKER_CREATED_EVENT
        key = SimpleNamespace(name=key_name, size=0, etag="", version_id=marker.version_id)
        notifications.send_event(self.account_id, name, self.get_bucket(bucket_name), key)
        return marker

    return set_delete_marker


def _with_redrive_count(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, context_object: Any) -> None:
        context_object["Execution"].setdefault("RedriveCount", 0)
        original(self, context_object)

    return init


class _Ecs:
    """The client of Amazon ECS that a state calls."""

    def __init__(self, launch: Launch | None) -> None:
        self._launch = launch

    def run_task(self, **request: Any) -> dict[str, Any]:
        """Start the container; all that it is told stands in its environment."""
        if self._launch is None:
            raise RuntimeError("there are no containers here")
        container = request["overrides"]["containerOverrides"][0]
        environ = {variable["name"]: variable["value"] for variable in container["environment"]}
        threading.Thread(target=self._launch, args=(environ,), daemon=True).start()
        return {"tasks": [{"clusterArn": request["cluster"], "taskArn": "task"}], "failures": []}

    def describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
        """Nobody looks at more than that there is something; the task answers by its token."""
        return {"tasks": [{"clusterArn": cluster, "taskArn": task} for task in tasks], "failures": []}
