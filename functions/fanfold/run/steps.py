"""One shell step: precondition, environment, tries, output (semantics, *Failure* and *Expansion*)."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanfold.dag.model import Dag, Precondition, Step
from fanfold.dag.secret_names import secret_names
from fanfold.run.events import RunEvent
from fanfold.run.keys import outcome_key
from fanfold.run.logs import RunLogs, tail
from fanfold.run.outcome import judge_failure, meets, runs_again, should_retry, skipped
from fanfold.run.runtime import Runtime
from fanfold.run.scope import Scope, StepOutcome
from fanfold.run.shell import Finished, ShellFault, is_posix_shell, run_process, shell_words
from fanfold.run.store import size
from fanfold.run.streams import Streams
from fanfold.run.variables import ExpansionFault, Variables

NOTED_VALUE = 48 * 1024
"""Bytes of an output that is noted with its step; a larger one is an object of its own."""


@dataclass(frozen=True)
class RunContext:
    """What all steps of one run share."""

    dag: Dag
    scope: Scope
    runtime: Runtime
    logs: RunLogs
    deadline: float = float("inf")
    """When the DAG's ``timeoutSec`` is over, by the monotonic clock."""

    @property
    def folder(self) -> Path:
        """Where steps run: the folder of the DAG's own file."""
        return self.runtime.folder_of(self.dag)

    @property
    def work_folder(self) -> Path:
        """Where steps leave files for later ones."""
        return (self.runtime.files_folder or self.logs.folder) / "work"

    def variables(self, step: str, extra: dict[str, str] | None = None) -> Variables:
        """The variables as the step called `step` sees them, the format's built-in ones among them."""
        built_in = {
            "DAG_NAME": self.dag.name,
            "DAG_RUN_ID": self.scope.run.dag_run_id,
            "DAG_RUN_STEP_NAME": step,
            "DAG_RUN_LOG_FILE": str(self.logs.run_log),
            "FANFOLD_WORK_DIR": str(self.work_folder),
            "DAG_RUN_STEP_STDOUT_FILE": str(self.logs.stdout(step)),
            "DAG_RUN_STEP_STDERR_FILE": str(self.logs.stderr(step)),
        }
        return Variables(self.runtime, self.scope, lambda: self.folder, built_in | (extra or {})).with_ids(self.dag)

    def streams(self, step: Step, extra: dict[str, str] | None) -> Streams:
        """The stdout and stderr of a step, for which its secrets are read first: they must not come into the logs."""
        with suppress(ExpansionFault):  # the step will meet it again
            variables = self.variables(step.name, extra)
            variables.read_secrets()
            if any(secret_names(argument.template) for argument in step.env):
                variables.set_env(step.env)
        return Streams(self.logs, step.name, self._tell_line(step.name), self.runtime.secrets)

    def _tell_line(self, step: str) -> Callable[[str, str], None] | None:
        """Tells a line of a stream, with where it belongs."""
        tell = self.runtime.tell_line
        if tell is None:
            return None
        run, caller = self.scope.run, self.scope.caller
        place: dict[str, Any] = {"root": run.root, "run": run.id, "dag": self.dag.name, "step": step}
        place["attempt"] = run.attempt
        if caller is not None:
            place |= {"item": caller["index"], "parent_step": caller["fan"]["step"], "tries": caller.get("tries", 0)}
        return lambda stream, text: tell(place | {"stream": stream, "text": text})

    def place_of(self, log: Path) -> str:
        """Where a log can be read later: on AWS the files are gone with the task."""
        return self.runtime.log_place or str(log)

    def event(self, event: RunEvent) -> None:
        """Tell the observer."""
        self.runtime.observer(event)

    @property
    def notes_steps(self) -> bool:
        """Whether the store is told of each step, for a retry to go on from: not where the whole run is one task."""
        return self.scope.caller is None or not self.dag.is_leaf

    def record(self, step: str, outcome: StepOutcome, output: str | None) -> None:
        """Note how the step or handler called `step` ended; `output` is the variable that it sets, if any."""
        self.scope.record(step, outcome, output)
        if self.notes_steps:
            noted, store, prefix = outcome.to_json(), self.runtime.store, self.scope.run.prefix
            if isinstance(outcome.value, str) and size(outcome.value) > NOTED_VALUE:
                noted["value"] = store.spill(prefix, outcome.value)
            store.put_json(outcome_key(prefix, step), noted | {"attempt": self.scope.run.attempt})


@contextmanager
def observed(context: RunContext, step: Step) -> Iterator[list[StepOutcome]]:
    """Tell that `step` starts and, when the body has put its outcome into the list, how it ended."""
    started = time.time()
    tell_started(context, step, started)
    outcomes: list[StepOutcome] = []
    yield outcomes
    outcomes[0].started, outcomes[0].seconds = started, time.time() - started
    tell_finished(context, step, outcomes[0])


def tell_started(context: RunContext, step: Step, at: float) -> None:
    """Tell that `step` starts, at this time (seconds since the epoch)."""
    run = context.scope.run
    context.event(RunEvent("step-started", run.id, context.dag.name, run.depth, step.name))
    context.logs.note(f"step {step.name}: started")
    note_running(context, step, at)


def note_running(context: RunContext, step: Step, started: float, fan_out: Mapping[str, int] | None = None) -> None:
    """Note that `step` runs; ``{"total", "maxConcurrent"}`` of its items, once they are known."""
    if context.notes_steps:
        run = context.scope.run
        noted = {"status": "running", "started": started, "attempt": run.attempt, **(fan_out or {})}
        context.runtime.store.put_json(outcome_key(run.prefix, step.name), noted)


def tell_finished(context: RunContext, step: Step, outcome: StepOutcome) -> None:
    """Tell how `step` ended, also when it never started."""
    run = context.scope.run
    failed = outcome.status == "failed" or outcome.exit_code not in (None, 0)
    tail_text = ""
    if failed and not step.calls_child:
        tail_text = tail(context.logs.stderr(step.name)) or tail(context.logs.stdout(step.name))
    context.logs.note(f"step {step.name}: {outcome.status}" + (f", {outcome.error}" if outcome.error else ""))
    context.event(
        RunEvent(
            "step-finished",
            run.id,
            context.dag.name,
            run.depth,
            step.name,
            status=outcome.status,
            error=outcome.error,
            exit_code=outcome.exit_code,
            stderr_tail=tail_text,
            log=outcome.log,
            seconds=outcome.seconds,
        )
    )


def run_step(context: RunContext, step: Step, extra: dict[str, str] | None = None) -> StepOutcome:
    """Run a shell step whose turn it is; never raises for a fault of the step."""
    with observed(context, step) as outcomes, context.streams(step, extra) as streams:
        try:
            outcome = _run_step(context, step, context.variables(step.name, extra), streams)
        except (ExpansionFault, ShellFault) as fault:
            streams.stderr.write(f"{fault}\n".encode("utf-8", "replace"))
            error = context.runtime.secrets.mask(str(fault))
            outcome = judge_failure(step, StepOutcome("failed", error=error, exit_code=1))
        outcome.stdout_file, outcome.stderr_file = str(streams.stdout_path), str(streams.stderr_path)
        if outcome.status == "failed":
            outcome.log = context.place_of(streams.stderr_path if streams.wrote_errors() else streams.stdout_path)
        outcomes.append(outcome)
    return outcome


def check_preconditions(variables: Variables, preconditions: tuple[Precondition, ...]) -> str | None:
    """None when all are met, else the reason of the first that is not."""
    for precondition in preconditions:
        if _holds(variables, precondition) == precondition.negate:
            condition = precondition.condition
            if precondition.expected is None:
                return f"precondition not met: {condition}"
            word = "not expected" if precondition.negate else "expected"
            value = variables.expand(condition)
            told = f"precondition not met: {condition} is {value!r}, {word} {variables.expand(precondition.expected)!r}"
            return variables.masked(told)
    return None


def _holds(variables: Variables, condition: Precondition) -> bool:
    """Whether a condition holds, ``negate`` aside."""
    if condition.expected is None:
        return variables.check_condition(condition.condition)
    return meets(variables.expand(condition.condition), variables.expand(condition.expected))


def _run_step(context: RunContext, step: Step, variables: Variables, streams: Streams) -> StepOutcome:
    variables.set_env(step.env)
    folder = context.folder
    if step.dir is not None:
        folder = folder / Path(variables.expand(step.dir)).expanduser()
    unmet = check_preconditions(variables, step.preconditions)
    if unmet is not None:
        return skipped(step, unmet)
    runs = 0
    while True:
        runs += 1
        outcome, output = _try(context, step, variables, folder, streams)
        holds = None
        if step.repeat is not None and step.repeat.condition is not None:
            if step.output is not None:
                variables.set(step.output, output)
            holds = _holds(variables, step.repeat.condition)
        if outcome.status == "cancelled" or not runs_again(step.repeat, runs, outcome.exit_code, holds):
            break
        context.logs.note(f"step {step.name}: run {runs} ended with exit code {outcome.exit_code}; again")
        if context.runtime.cancellation.wait(step.repeat.interval_sec if step.repeat else 0):
            break
    return judge_failure(step, outcome, output) if outcome.status == "failed" else outcome


def _try(
    context: RunContext, step: Step, variables: Variables, folder: Path, streams: Streams
) -> tuple[StepOutcome, str]:
    """One run of the step with its retries, and what the last try wrote."""
    tries = 0
    while True:
        tries += 1
        outcome, output = _try_once(context, step, variables, folder, streams)
        if outcome.status != "failed" or not should_retry(step.retry, tries, outcome.exit_code):
            return outcome, output
        interval = step.retry.interval(tries) if step.retry else 0
        context.logs.note(f"step {step.name}: {outcome.error}; again in {interval:g} s")
        run = context.scope.run
        context.event(RunEvent("step-retried", run.id, context.dag.name, run.depth, step.name, error=outcome.error))
        if context.runtime.cancellation.wait(interval):
            return outcome, output


def _try_once(
    context: RunContext, step: Step, variables: Variables, folder: Path, streams: Streams
) -> tuple[StepOutcome, str]:
    """One try, and what it wrote (read only where something asks for it)."""
    streams.start_try()
    finished = Finished(0)
    for words, text in _commands(step):
        posix = is_posix_shell(words)
        ready, bindings = variables.bindings(text) if posix else (text, variables.bindings("")[1])
        finished = run_process(
            words, ready, bindings, base_env=context.runtime.base_env, folder=folder,
            stdout=streams.stdout, stderr=streams.stderr,
            cancellation=context.runtime.cancellation, timeout=_seconds_left(context, step),
            stop_signal=step.stop_signal,
        )  # fmt: skip
        if finished.exit_code != 0:
            break
    streams.copy_to(_file(step.stdout, variables, folder), _file(step.stderr, variables, folder))
    outcome = _outcome(context, step, finished)
    if step.output is None and not step.continue_on.output:
        return outcome, ""
    if step.output is not None and streams.written() > context.dag.max_output + 1:
        error = (
            f"the output has {streams.written():,} bytes, more than the {context.dag.max_output:,} that a variable"
            f" takes; DAG {context.dag.name} can say maxOutputSize: {streams.written()}"
        )
        return StepOutcome("failed", exit_code=finished.exit_code or 1, error=error), ""
    output = context.runtime.secrets.mask(streams.output())
    if step.output is not None:
        outcome.value = output
    return outcome, output


def _file(template: str | None, variables: Variables, folder: Path) -> Path | None:
    return None if template is None else folder / Path(variables.expand(template)).expanduser()


def _commands(step: Step) -> list[tuple[tuple[str, ...], str]]:
    """What a step runs, in order: (program and arguments, text)."""
    if step.script is not None:
        words = tuple(shlex.split(step.command[0])) if step.command else shell_words(step.shell)
        return [(words, step.script)]
    return [(shell_words(step.shell), command) for command in step.command]


def _seconds_left(context: RunContext, step: Step) -> float | None:
    limits = [context.deadline - time.monotonic(), context.runtime.remaining() - 5]
    if step.timeout_sec is not None:
        limits.append(step.timeout_sec)
    shortest = min(limits)
    return None if shortest == float("inf") else max(shortest, 0.01)


def _outcome(context: RunContext, step: Step, finished: Finished) -> StepOutcome:
    if finished.cancelled:
        return StepOutcome("cancelled", goes_on=False, exit_code=finished.exit_code, error="the run was stopped")
    if finished.timed_out:
        if step.timeout_sec is None and time.monotonic() >= context.deadline:
            error = f"stopped: the DAG's timeoutSec ({context.dag.timeout_sec:g} s) is over"
            return StepOutcome("cancelled", goes_on=False, exit_code=finished.exit_code, error=error)
        what = "the time of its task" if step.timeout_sec is None else f"its timeoutSec ({step.timeout_sec:g} s)"
        return StepOutcome("failed", exit_code=finished.exit_code, error=f"stopped: {what} is over")
    if finished.exit_code == 0:
        return StepOutcome("success", exit_code=0)
    return StepOutcome("failed", exit_code=finished.exit_code, error=f"exit code {finished.exit_code}")
