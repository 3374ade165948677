"""The few places where moto is mended or made quicker, each undone when the embedded AWS ends.

Every override has a test in ``tests/integration/test_moto_overrides.py`` that tells when moto no longer needs it.
"""

from __future__ import annotations

import copy
import json
import marshal
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import fanfold.local.moto_quick_import  # noqa: F401 - before moto's Step Functions

# isort: split
import botocore.loaders
import botocore.session
import jsonpath_ng.ext.parser
import jsonpath_ng.parser
from moto.core import base_backend
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.program import program
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor import (
    inline_item_processor_worker,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer import result_writer_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_callback,
    state_task_service_sfn,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.eval import environment, states
from moto.stepfunctions.parser.asl.eval.callback.callback import HeartbeatTimedOut
from moto.stepfunctions.parser.asl.parse import asl_parser
from moto.stepfunctions.parser.asl.utils import boto_client, json_path

from fanfold.local.constants import REGION
from fanfold.local.moto_additions import Function, Launch, additions, call_function

SYNC_POLL_SECONDS = 0.02
HEARTBEAT_POLL_SECONDS = 0.1
RECURSION_LIMIT = 20_000


@contextmanager
def overrides(
    functions: Mapping[str, Function], sleep: Callable[[float], object], launch: Launch | None = None
) -> Iterator[None]:
    """All overrides, for as long as the context lasts.

    `sleep` passes the time between two tries of a state, `launch` starts a container.
    """
    with ExitStack() as stack:
        for owner, name, replacement in (*_replacements(functions, sleep), *additions(functions, launch)):
            _replace(stack, owner, name, replacement)
        stack.enter_context(_recursion())
        yield


def _replacements(
    functions: Mapping[str, Function], sleep: Callable[[float], object]
) -> Iterator[tuple[Any, str, Any]]:
    """(module or class, name, what stands in for it), each with the reason."""
    yield lambda_eval_utils, "_invoke_lambda_function", _invoke_from_state(functions)
    # jsonpath_ng builds its parser anew at each call: half of the time of a Map item.
    yield json_path, "parse", lru_cache(maxsize=None)(jsonpath_ng.ext.parser.parse)
    yield result_path, "parse", lru_cache(maxsize=None)(jsonpath_ng.parser.parse)
    # A definition is parsed when it is created and again by each execution, 0.1 s and more each time; and the grammar
    # of a DISTRIBUTED Map knows no EXPRESS executions.
    parser = asl_parser.AmazonStateLanguageParser
    yield parser, "parse", staticmethod(_parsed_once(parser.parse))
    # Every state is copied several times an item, and each item has two threads of its own only for time-outs.
    for module in (states, environment, execute_state):
        yield module, "copy", SimpleNamespace(deepcopy=_copy)
    worker = inline_item_processor_worker.InlineItemProcessorWorker
    yield worker, "_eval_input", _eval_input_alone(worker._eval_input)
    yield execute_state, "Thread", _InlineThread
    yield program, "threading", SimpleNamespace(Thread=_InlineThread)
    # A new boto client for each nested execution costs 20 ms and more.
    yield state_task_service_sfn, "boto_client_for", _cached_client_for(boto_client.boto_client_for)
    # Both are empty in moto, so that no service but Lambda gets its parameters in boto's spelling.
    yield StateTaskService, "_normalise_parameters", _normalise_parameters
    yield StateTaskService, "_normalise_response", _normalise_response
    # A retried task keeps its old token, whose endpoint is closed, and so times out at once.
    callback = state_task_service_callback.StateTaskServiceCallback
    yield callback, "_eval_execution", _with_new_token(callback._eval_execution)
    # An answer that comes before the state listens for heartbeats is not heard.
    yield callback, "_wait_for_task_token_heartbeat", _wait_for_answer_or_heartbeat
    # A ResultWriter's parameters are read from what the Map gives back, rather than from its input.
    writer = result_writer_decl.ResultWriter
    yield writer, "_eval_body", _with_input_of_the_state(writer._eval_body)
    # The time until a retry is slept through, also when the run is stopped meanwhile.
    yield retrier_decl, "time", SimpleNamespace(sleep=sleep)
    # moto looks every half second whether a nested execution has ended.
    yield state_task_service_callback, "_DELAY_SECONDS_SYNC_CONDITION_CHECK", SYNC_POLL_SECONDS
    # botocore looks through the folders of its 400 services anew in each session, and moto has many: 0.1 s.
    loader = botocore.loaders.Loader
    yield loader, "list_available_services", _listed_once(loader.list_available_services)
    # moto asks boto for the regions of every service and partition; there is one here.
    yield base_backend.AccountSpecificBackend, "_generate_regions", lambda self, service: [REGION]


@contextmanager
def patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """One attribute set for as long as the context lasts."""
    with ExitStack() as stack:
        _replace(stack, owner, name, replacement)
        yield


def _replace(stack: ExitStack, owner: Any, name: str, replacement: Any) -> None:
    """Set an attribute until the stack closes."""
    if name in vars(owner):
        stack.callback(setattr, owner, name, vars(owner)[name])
    else:
        stack.callback(delattr, owner, name)
    setattr(owner, name, replacement)


def _invoke_from_state(functions: Mapping[str, Function]) -> Callable[..., dict[str, Any]]:
    """A state's task calls the function here, without a container and without the detour through boto."""

    def invoke(parameters: dict[str, Any], region: str, state_credentials: Any) -> dict[str, Any]:
        name = parameters["FunctionName"].rpartition(":")[2]
        answer, failed = call_function(functions, name, parameters.get("Payload") or "{}")
        response: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": json.loads(answer)}
        return response | {"FunctionError": "Unhandled"} if failed else response

    return invoke


def _eval_input_alone(original: Callable[..., None]) -> Callable[..., None]:
    """An item keeps its own input, not the whole Map's, which each of its states would copy."""

    def eval_input(self: Any, env_frame: Any) -> None:
        original(self, env_frame)
        env_frame.stack.clear()

    return eval_input


def _parsed_once(original: Callable[[str], Any]) -> Callable[[str], Any]:
    @lru_cache(maxsize=256)
    def parse(definition: str) -> Any:
        return original(_EXPRESS.sub(r"\1STANDARD", definition))

    return parse


_EXPRESS = re.compile(r'("ExecutionType"\s*:\s*")EXPRESS(?=")')


def _with_input_of_the_state(original: Callable[..., None]) -> Callable[..., None]:
    def eval_body(self: Any, env: Any) -> None:
        env.stack[-1] = env.states.get_input()  # what the Map gives back is not written in any case
        original(self, env)

    return eval_body


def _copy(value: Any) -> Any:
    """A deep copy; of JSON values ten times as fast as `copy.deepcopy`."""
    try:
        return marshal.loads(marshal.dumps(value))  # noqa: S302 - of what was written the line before
    except ValueError:
        return copy.deepcopy(value)


class _InlineThread:
    """Runs its target when started. Only for definitions whose states have no ``TimeoutSeconds``, as ours."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...] = (), *, daemon: bool = True) -> None:
        self._calls = [(target, args)]

    def start(self) -> None:
        target, args = self._calls.pop()  # moto keeps its threads; what they hold need not stay
        target(*args)

    def join(self, timeout: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


def _cached_client_for(original: Callable[..., Any]) -> Callable[..., Any]:
    clients: dict[tuple[str, str], Any] = {}
    lock = threading.Lock()

    def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        with lock:
            if (region, service) not in clients:
                clients[region, service] = original(region=region, service=service, state_credentials=state_credentials)
            return clients[region, service]

    return client_for


def _listed_once(original: Callable[[Any, str], list[str]]) -> Callable[[Any, str], list[str]]:
    listed: dict[tuple[str, ...], list[str]] = {}

    def list_available_services(self: Any, type_name: str) -> list[str]:
        key = (type_name, *self.search_paths)
        if key not in listed:
            listed[key] = original(self, type_name)
        return listed[key]

    return list_available_services


@lru_cache(maxsize=32)
def _operation(service: str, action: str) -> Any:
    """botocore's model of ``start_execution`` and the like."""
    model = botocore.session.get_session().get_service_model(service)
    camel = "".join(part.capitalize() for part in action.split("_"))
    return model.operation_model(camel)


def _normalise_parameters(
    self: StateTaskService,
    parameters: dict[str, Any],
    boto_service_name: str | None = None,
    service_action_name: str | None = None,
) -> None:
    service = self._get_boto_service_name(boto_service_name)
    shape = _operation(service, self._get_boto_service_action(service_action_name)).input_shape
    if shape is not None and service != "lambda":
        self._to_boto_request(parameters, shape)


def _normalise_response(
    self: StateTaskService,
    response: Any,
    boto_service_name: str | None = None,
    service_action_name: str | None = None,
) -> None:
    service = self._get_boto_service_name(boto_service_name)
    shape = _operation(service, self._get_boto_service_action(service_action_name)).output_shape
    if shape is not None and service != "lambda":
        self._from_boto_response(response, shape)


def _with_new_token(original: Callable[..., None]) -> Callable[..., None]:
    def eval_execution(self: Any, env: Any) -> None:
        if self._is_integration_pattern():
            env.callback_pool_manager.add(env.states.context_object.update_task_token())
        original(self, env)

    return eval_execution


def _wait_for_answer_or_heartbeat(self: Any, env: Any, callback_endpoint: Any, heartbeat_endpoint: Any) -> Any:
    beat, seconds = heartbeat_endpoint._next_heartbeat_event, heartbeat_endpoint._heartbeat_seconds
    end = time.monotonic() + seconds
    while env.is_running() and time.monotonic() < end:
        outcome = callback_endpoint.wait(HEARTBEAT_POLL_SECONDS)
        if outcome is not None:
            return outcome
        if beat.is_set():
            beat.clear()
            end = time.monotonic() + seconds
    return HeartbeatTimedOut() if env.is_running() else None


@contextmanager
def _recursion() -> Iterator[None]:
    """A Map worker calls itself for each next item: with MaxConcurrency 1, item 973 of 1,000 is one too many."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
