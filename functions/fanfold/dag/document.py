"""One YAML document → Dag."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from fanfold.dag.diagnostics import Problems, nearest
from fanfold.dag.extension import read_extension, read_schedule, read_step_extension
from fanfold.dag.fields import Fields, read_text
from fanfold.dag.forms import (
    read_concurrency,
    read_continue_on,
    read_env,
    read_parallel,
    read_params,
    read_preconditions,
    read_repeat,
    read_retry,
)
from fanfold.dag.model import MAX_OUTPUT, YEAR_SECONDS, Dag, HandlerName, Place, Step
from fanfold.dag.yaml_source import Mapping, Node, Sequence

MAX_NAME = 64
"""Characters of a step's name: with ``.reduce`` it must fit into a state's 80."""

DAG_KEYS = {
    "name", "description", "group", "tags", "type", "params", "env", "schedule", "preconditions", "precondition",
    "steps", "handlerOn", "timeoutSec", "delaySec", "dotenv", "maxActiveSteps", "histRetentionDays",
    "maxOutputSize", "x-fanfold",
}  # fmt: skip
STEP_KEYS = {
    "name", "id", "description", "command", "script", "shell", "dir", "output", "stdout", "stderr", "depends", "run",
    "params", "parallel", "maxConcurrent", "preconditions", "precondition", "continueOn", "retryPolicy", "timeoutSec",
    "env", "repeatPolicy", "signalOnStop", "x-fanfold",
}  # fmt: skip
_NO_MAIL = "use the stack's alarms, or a command in 'handlerOn'"
_NO_EXECUTOR = "write the call as a 'command' (docker, ssh, curl, jq …) or put it into a child DAG"
_NO_ROUTES = "let each of the steps have 'preconditions'"
_LOGS_APART = "remove it; stdout and stderr are always kept apart"
_NOT_YET = "remove it; Fanfold does not know it yet"
REFUSED_IN_DAG = {
    "mailOn": _NO_MAIL, "mailOnError": _NO_MAIL, "smtp": _NO_MAIL, "errorMail": _NO_MAIL, "infoMail": _NO_MAIL,
    "waitMail": _NO_MAIL, "container": _NO_EXECUTOR, "ssh": _NO_EXECUTOR, "otel": "use the stack's tracing",
    "queue": "use 'maxConcurrent' on the parallel step", "skipIfSuccessful": "write a precondition",
    "maxActiveRuns": "let a first step take a lock, or schedule the DAG so that runs do not meet",
    "delay": "use 'delaySec'", "restartWaitSec": _NOT_YET, "logDir": "set FANFOLD_HOME",
    "maxCleanUpTimeSec": _NOT_YET, "secrets": "name them in 'env': ${ssm:/path} or ${secret:name#key}",
    "runConfig": _NOT_YET, "workerSelector": _NOT_YET, "workingDir": "use 'dir' at the step", "defaults": _NOT_YET,
    "shell": "set 'shell' at the steps", "retryPolicy": "set it at the steps; 'fanfold retry' goes on with a run",
    "catchupWindow": _NOT_YET, "overlapPolicy": _NOT_YET, "logOutput": _LOGS_APART, "registryAuths": _NO_EXECUTOR,
    "s3": _NO_EXECUTOR, "llm": _NO_EXECUTOR, "redis": _NO_EXECUTOR, "harness": _NO_EXECUTOR, "harnesses": _NO_EXECUTOR,
    "kubernetes": _NO_EXECUTOR,
}  # fmt: skip
"""Keys of Dagu that are not supported, and what to use instead."""
REFUSED_IN_STEP = {
    "executor": _NO_EXECUTOR, "container": _NO_EXECUTOR, "type": _NO_EXECUTOR, "config": _NO_EXECUTOR,
    "mailOnError": _NO_MAIL, "call": "use 'run'", "approval": _NOT_YET,
    "workingDir": "use 'dir'", "outputs": "use 'output'", "workerSelector": _NOT_YET,
    "parallelism": "use 'maxConcurrent'", "exec": _NO_EXECUTOR, "with": _NO_EXECUTOR, "llm": _NO_EXECUTOR,
    "messages": _NO_EXECUTOR, "agent": _NO_EXECUTOR, "logOutput": _LOGS_APART,
    "shellPackages": "let the image of the runner hold what the step needs",
    "value": _NO_ROUTES, "routes": _NO_ROUTES,
}  # fmt: skip
_HANDLERS: dict[str, HandlerName] = {
    "init": "onInit", "success": "onSuccess", "failure": "onFailure", "cancel": "onCancel", "exit": "onExit",
}  # fmt: skip
_STEP_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OUTPUT = re.compile(r"\$?\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(slots=True)
class ReadDag:
    """A Dag and where its fields stand: (step's name or "", key) → place."""

    dag: Dag
    places: dict[tuple[str, str], Place] = field(default_factory=dict)


def read_dag(root: Node, default_name: str | None, problems: Problems) -> ReadDag | None:
    """The Dag of a document; None when it is no mapping. `default_name` is for a document that may have no name."""
    if not isinstance(root, Mapping):
        problems.add(root.place, "a DAG is a mapping", "start with 'steps:' and a list of steps")
        return None
    fields = Fields(root, "a DAG", DAG_KEYS, problems, REFUSED_IN_DAG)
    name = fields.text("name")
    if name is None and default_name is None:
        problems.add(root.place, "a local DAG needs a name", "add 'name:', which 'run:' refers to")
    chain = _type(fields, problems)
    places: dict[tuple[str, str], Place] = {("", key): fields.place_of(key) for key in DAG_KEYS}
    steps = _steps(fields, chain == "chain", places, problems)
    preconditions = fields.node_of("preconditions") or fields.node_of("precondition")
    compute, triggers = read_extension(fields, problems)
    dag = Dag(
        name=name or default_name or "",
        place=root.place,
        steps=steps,
        description=fields.text("description") or "",
        group=fields.text("group") or "",
        tags=fields.texts("tags"),
        type=chain,
        params=fields.optional("params", lambda node: read_params(node, problems)) or (),
        env=fields.optional("env", lambda node: read_env(node, problems)) or (),
        schedule=read_schedule(fields, problems),
        preconditions=read_preconditions(preconditions, problems) if preconditions is not None else (),
        handlers=_handlers(fields, problems),
        timeout_sec=fields.number("timeoutSec", least=0.001, whole=False),
        delay_sec=fields.number("delaySec", least=0.001, whole=False, most=YEAR_SECONDS),
        dotenv=fields.texts("dotenv"),
        max_active_steps=_whole(fields, "maxActiveSteps"),
        retention_days=_whole(fields, "histRetentionDays"),
        compute=compute,
        triggers=triggers,
        max_output=_whole(fields, "maxOutputSize") or MAX_OUTPUT,
    )
    return ReadDag(dag, places)


def _type(fields: Fields, problems: Problems) -> Literal["chain", "graph"]:
    text = fields.text("type")
    if text not in (None, "chain", "graph"):
        problems.add(fields.place_of("type"), f"'type' is {text!r}", "give chain (the default) or graph")
    return "graph" if text == "graph" else "chain"


def _whole(fields: Fields, key: str) -> int | None:
    value = fields.number(key, least=1, whole=True)
    return None if value is None else int(value)


def _steps(fields: Fields, chain: bool, places: dict[tuple[str, str], Place], problems: Problems) -> tuple[Step, ...]:
    node = fields.node_of("steps")
    if (
        node is None
        or (isinstance(node, Sequence) and not node.items)
        or (isinstance(node, Mapping) and not node.entries)
    ):
        problems.add(fields.place_of("steps"), "the DAG has no steps", "add 'steps:' with at least one step")
        return ()
    steps: list[Step] = []
    for name, item in _step_nodes(node, problems):
        if not isinstance(item, Mapping):
            problems.add(item.place, "a step is a mapping", "write '- name: …' and 'command: …'")
            continue
        step, own_depends = _step(item, name, places, problems)
        if chain and not own_depends and steps:
            step = replace(step, depends=(steps[-1].name,))
        steps.append(step)
    return tuple(steps)


def _step_nodes(node: Node, problems: Problems) -> Iterator[tuple[str | None, Node]]:
    if isinstance(node, Sequence):
        yield from ((None, item) for item in node.items)
    elif isinstance(node, Mapping):
        yield from ((key.text, value) for key, value in node.entries)
    else:
        problems.add(node.place, "'steps' must be a list", "write '- name: …' for each step")


def _step(
    node: Mapping, key: str | None, places: dict[tuple[str, str], Place], problems: Problems, handler: str = ""
) -> tuple[Step, bool]:
    """The step, and whether it says itself what it depends on."""
    fields = Fields(node, f"handler {handler!r}" if handler else "a step", STEP_KEYS, problems, REFUSED_IN_STEP)
    name = handler or fields.text("name") or key or ""
    _check_name(fields, name, problems)
    places |= {(name, key): fields.place_of(key) for key in STEP_KEYS}
    command = fields.texts("command")
    script, run = fields.text("script"), fields.text("run")
    extension = read_step_extension(fields, problems, is_handler=bool(handler))
    most = extension.most_concurrent
    concurrency = read_concurrency(fields, problems, most)
    parallel = fields.optional("parallel", lambda item: read_parallel(item, concurrency, problems, most))
    preconditions = fields.node_of("preconditions") or fields.node_of("precondition")
    step = Step(
        name=name,
        place=node.place,
        id=_id(fields, problems),
        description=fields.text("description") or "",
        command=command,
        script=script,
        shell=fields.text("shell"),
        dir=fields.text("dir"),
        output=_output(fields, problems),
        stdout=fields.text("stdout"),
        stderr=fields.text("stderr"),
        depends=fields.texts("depends"),
        run=run,
        params=fields.optional("params", lambda item: read_params(item, problems)) or (),
        parallel=extension.extend(parallel),
        preconditions=read_preconditions(preconditions, problems) if preconditions is not None else (),
        continue_on=read_continue_on(_below(fields, "continueOn", _CONTINUE_ON, "continueOn: {failure: true}")),
        retry=read_retry(_below(fields, "retryPolicy", _RETRY, "retryPolicy: {limit: 3, intervalSec: 10}")),
        repeat=read_repeat(_below(fields, "repeatPolicy", _REPEAT, "repeatPolicy: {repeat: until, limit: 9}")),
        stop_signal=_signal(fields, problems),
        timeout_sec=fields.number("timeoutSec", least=0.001, whole=False),
        env=fields.optional("env", lambda item: read_env(item, problems)) or (),
        compute=extension.compute,
    )
    _check_shape(step, fields, problems)
    return step, "depends" in fields


_CONTINUE_ON = {"failure", "skipped", "exitCode", "output", "markSuccess"}
_RETRY = {"limit", "intervalSec", "exitCode", "backoff", "maxIntervalSec"}
_REPEAT = {"repeat", "limit", "intervalSec", "exitCode", "condition", "expected"}
_SIGNALS = {"SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGTERM", "SIGUSR1", "SIGUSR2"}


def _below(
    fields: Fields, key: str, known: set[str], example: str, unsupported: dict[str, str] | None = None
) -> Fields | None:
    node = fields.child(key, f"such as {example}")
    return None if node is None else Fields(node, f"{key!r}", known, fields.problems, unsupported)


def _check_name(fields: Fields, name: str, problems: Problems) -> None:
    place = fields.place_of("name")
    if not name.strip():
        problems.add(place, "the step has no name", "add 'name:'")
    elif len(name) > MAX_NAME or "\n" in name:
        problems.add(place, f"the step's name has {len(name)} characters", f"one line, {MAX_NAME} characters at most")


def _check_shape(step: Step, fields: Fields, problems: Problems) -> None:
    place = step.place
    runs_shell = bool(step.command) or step.script is not None
    if step.run is not None and runs_shell:
        problems.add(fields.place_of("run"), "the step has both 'run' and a command", "make two steps of it")
    elif step.run is None and not runs_shell:
        problems.add(place, f"the step {step.name!r} does nothing", "add 'command', 'script' or 'run'")
    if step.run is None:
        for key, hint in (
            ("parallel", "add 'run:' with the name of the child DAG that each item goes through"),
            ("params", "only a step with 'run' passes parameters; for a command, write them into it"),
        ):
            if fields.node_of(key) is not None:
                problems.add(fields.place_of(key), f"{key!r} without 'run'", hint)
    else:
        for key in ("shell", "dir", "stdout", "stderr", "repeatPolicy", "signalOnStop", "script"):
            if fields.node_of(key) is not None:
                hint = "set it at the steps of the child DAG"
                problems.add(fields.place_of(key), f"{key!r} does nothing at a step with 'run'", hint)
        if step.timeout_sec is not None:
            problems.add(
                fields.place_of("timeoutSec"), "'timeoutSec' at a step with 'run'", "set 'timeoutSec' in the child DAG"
            )
    if fields.node_of("maxConcurrent") is not None and fields.node_of("parallel") is None:
        problems.add(
            fields.place_of("maxConcurrent"), "'maxConcurrent' without 'parallel'", "add 'parallel', or remove it"
        )


def _id(fields: Fields, problems: Problems) -> str | None:
    text = fields.text("id")
    if text is not None and not _STEP_ID.fullmatch(text):
        problems.add(fields.place_of("id"), f"{text!r} is no id", "a letter, then letters, digits, - and _")
        return None
    return text


def _signal(fields: Fields, problems: Problems) -> str | None:
    text = fields.text("signalOnStop")
    if text is not None and text not in _SIGNALS:
        hint = nearest(text, _SIGNALS) or f"one of {', '.join(sorted(_SIGNALS))}"
        problems.add(fields.place_of("signalOnStop"), f"{text!r} is no signal that can end a step", hint)
        return None
    return text


def _output(fields: Fields, problems: Problems) -> str | None:
    node = fields.node_of("output")
    if node is None:
        return None
    if isinstance(node, Mapping):
        inner = Fields(node, "'output'", {"name"}, problems, dict.fromkeys(("key", "omit"), _NOT_YET))
        node = inner.node_of("name")
        if node is None:
            problems.add(fields.place_of("output"), "'output' has no 'name'", "add name: RESULT")
            return None
    text = read_text(node, "output", problems, "give the name of one variable: output: RESULT")
    match = _OUTPUT.fullmatch(text or "")
    if text is not None and not match:
        hint = "letters, digits and _, not starting with a digit"
        problems.add(node.place, f"{text!r} is no name for a variable", hint)
    return match[1] if match else None


def _handlers(fields: Fields, problems: Problems) -> dict[HandlerName, Step]:
    node = fields.child("handlerOn", "such as handlerOn: {failure: {command: echo failed}}")
    if node is None:
        return {}
    known = _below(fields, "handlerOn", set(_HANDLERS), "", {"wait": _NOT_YET, "abort": "use 'cancel'"})
    assert known is not None
    handlers: dict[HandlerName, Step] = {}
    for key, name in _HANDLERS.items():
        item = known.node_of(key)
        if item is None:
            continue
        if not isinstance(item, Mapping):
            problems.add(item.place, f"the handler {key!r} is a mapping", "write 'command: …' below it")
            continue
        step, _ = _step(item, None, {}, problems, handler=name)
        if step.run is not None:
            problems.add(item.place, f"the handler {key!r} runs a child DAG", "a handler runs a command or script")
        if step.depends:
            problems.add(item.place, f"the handler {key!r} has 'depends'", "a handler runs when the run has ended")
        handlers[name] = step
    return handlers
