"""One shell step: precondition, environment, tries, output (semantics, *Failure* and *Expansion*)."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fanfold.dag.model import Dag, Precondition, Step
from fanfold.run.events import RunEvent
from fanfold.run.logs import RunLogs, tail
from fanfold.run.outcome import judge_failure, meets, runs_again, should_retry, skipped
from fanfold.run.runtime import Runtime
from fanfold.run.scope import Scope, StepOutcome
from fanfold.run.shell import Finished, ShellFault, is_posix_shell, run_process, shell_words
from fanfold.run.variables import ExpansionFault, Variables


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

    def event(self, event: RunEvent) -> None:
        """Tell the observer."""
        self.runtime.observer(event)


@contextmanager
def observed(context: RunContext, step: Step) -> Iterator[list[StepOutcome]]:
    """Tell that `step` starts and, when the body has put its outcome into the list, how it ended."""
    run, started = context.scope.run, time.monotonic()
    context.event(RunEvent("step-started", run.id, context.dag.name, run.depth, step.name))
    context.logs.note(f"step {step.name}: started")
    outcomes: list[StepOutcome] = []
    yield outcomes
    tell_finished(context, step, outcomes[0], time.monotonic() - started)


def tell_finished(context: RunContext, step: Step, outcome: StepOutcome, seconds: float | None = None) -> None:
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
            seconds=seconds,
        )
    )


def run_step(context: RunContext, step: Step, extra: dict[str, str] | None = None) -> StepOutcome:
    """Run a shell step whose turn it is; never raises for a fault of the step."""
    with observed(context, step) as outcomes, Streams(context.logs, step.name) as streams:
        try:
            outcome = _run_step(context, step, context.variables(step.name, extra), streams)
        except (ExpansionFault, ShellFault) as fault:
            streams.stderr.write(f"{fault}\n".encode("utf-8", "replace"))
            outcome = judge_failure(step, StepOutcome("failed", error=str(fault), exit_code=1))
        outcome.stdout_file, outcome.stderr_file = str(streams.stdout_path), str(streams.stderr_path)
        if outcome.status == "failed":
            outcome.log = str(streams.stderr_path if streams.wrote_errors() else streams.stdout_path)
        outcomes.append(outcome)
    return outcome


class Streams:
    """A step's stdout and stderr: two log files, open as long as the step runs, each try's output behind the last's."""

    def __init__(self, logs: RunLogs, step: str) -> None:
        self.stdout_path, self.stderr_path = logs.stdout(step), logs.stderr(step)
        self.stdout: IO[bytes] = open(self.stdout_path, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self.stderr: IO[bytes] = open(self.stderr_path, "a+b", buffering=0)  # noqa: SIM115
        self._starts = (0, 0)

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stdout.close()
        self.stderr.close()

    def start_try(self) -> None:
        """What is written from now on belongs to the next try."""
        self._starts = (self.stdout.seek(0, 2), self.stderr.seek(0, 2))

    def written(self) -> int:
        """Bytes of this try's stdout."""
        return self.stdout.seek(0, 2) - self._starts[0]

    def wrote_errors(self) -> bool:
        """Whether stderr is not empty, or stdout is."""
        return self.stderr.seek(0, 2) > 0 or self.stdout.seek(0, 2) == 0

    def output(self) -> str:
        """This try's stdout without its trailing newlines."""
        self.stdout.seek(self._starts[0])
        return self.stdout.read().decode("utf-8", "replace").rstrip("\n")

    def copy_to(self, stdout: Path | None, stderr: Path | None) -> None:
        """Copy this try's output to the files that the step asks for; raises ShellFault."""
        for path, log, start in ((stdout, self.stdout, self._starts[0]), (stderr, self.stderr, self._starts[1])):
            if path is None:
                continue
            try:
                with path.open("wb") as copy:
                    log.seek(start)
                    shutil.copyfileobj(log, copy)
            except OSError as fault:
                raise ShellFault(f"{path} cannot be written: {fault.strerror}") from fault


def check_preconditions(variables: Variables, preconditions: tuple[Precondition, ...]) -> str | None:
    """None when all are met, else the reason of the first that is not."""
    for precondition in preconditions:
        if _holds(variables, precondition) == precondition.negate:
            condition = precondition.condition
            if precondition.expected is None:
                return f"precondition not met: {condition}"
            word = "not expected" if precondition.negate else "expected"
            value = variables.expand(condition)
            return f"precondition not met: {condition} is {value!r}, {word} {variables.expand(precondition.expected)!r}"
    return None


def _holds(variables: Variables, condition: Precondition) -> bool:
    """Whether a condition holds, ``negate`` aside."""
    if condition.expected is None:
        return variables.check_condition(condition.condition)
    return meets(variables.expand(condition.condition), variables.expand(condition.expected))


def _run_step(context: RunContext, step: Step, variables: Variables, streams: Streams) -> StepOutcome:
    for argument in step.env:
        variables.set(argument.name or "", variables.expand(argument.template))
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
    output = streams.output()
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
