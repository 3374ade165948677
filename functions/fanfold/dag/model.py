"""What a DAG file says, as plain data: the model that the compiler and the run read.

Everything here is immutable and knows nothing of YAML, of AWS or of the clock. Text that may hold
references (``${VAR}``, ``$(cmd)``) is kept as written; `fanfold.dag.expressions` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fanfold.dag.cron import Schedule

MAX_ITEMS = 1000
"""The most items one ``parallel`` step takes (specification, *Limitations*)."""

MAX_EXIT_CODE = 255
"""Of a Linux process."""

MAX_TRIES = 5_000
"""Further tries of a step: with each four events of history, they fit into an execution's 25,000."""

YEAR_SECONDS = 365 * 24 * 3600
"""The longest wait: an execution lasts no longer (Step Functions, *Quotas*)."""

LARGEST_FAN_OUT = 10_000_000
"""The most items that ``x-fanfold: {maxItems: N}`` may ask for."""

LARGEST_CONCURRENCY = 10_000
"""The most items at a time of such a step: what one Map Run reaches (Step Functions quotas)."""

MAX_OUTPUT = 1024 * 1024
"""Bytes of a captured output, unless the DAG's ``maxOutputSize`` says otherwise (semantics, *Expansion*)."""

DEFAULT_CONCURRENCY = 8
"""Items at a time when ``maxConcurrent`` is not given (specification, *Controlling Concurrency*)."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Argument:
    """One entry of ``params`` or ``env``: a template for a value, with a name or positional."""

    name: str | None
    template: str
    place: Place


@dataclass(frozen=True, slots=True)
class Precondition:
    """One entry of ``preconditions``.

    With ``expected`` the expanded ``condition`` is compared (``re:`` starts a regular expression);
    without it ``condition`` is a command whose exit code counts.
    """

    condition: str
    expected: str | None
    place: Place
    negate: bool = False
    """Whether it is met when the condition is not."""


@dataclass(frozen=True, slots=True)
class ContinueOn:
    """``continueOn``: which outcomes of a step let the steps after it run."""

    failure: bool = False
    skipped: bool = False
    exit_codes: tuple[int, ...] = ()
    output: tuple[str, ...] = ()
    mark_success: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``retryPolicy``: ``limit`` further tries, ``interval_sec`` apart, for ``exit_codes`` (empty: for any)."""

    limit: int
    interval_sec: float = 0
    exit_codes: tuple[int, ...] = ()
    backoff: float = 1
    """What each interval is multiplied with to give the next."""
    max_interval_sec: float | None = None

    def interval(self, tries: int) -> float:
        """Seconds to wait after the try with this number, from 1."""
        seconds = self.interval_sec * self.backoff ** (tries - 1)
        return seconds if self.max_interval_sec is None else min(seconds, self.max_interval_sec)


@dataclass(frozen=True, slots=True)
class RepeatPolicy:
    """``repeatPolicy``: run a step again after it ended, ``while`` or ``until`` its condition holds.

    The condition is `condition` (a command, or a value against its ``expected``), else `exit_codes`, else for ``while``
    that the step succeeded, and for ``until`` the same.
    """

    mode: Literal["while", "until", "always"]
    interval_sec: float = 0
    limit: int | None = None
    """Runs in all at most."""
    condition: Precondition | None = None
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """``tolerateFailed``: how many items, or which part of them, may fail without the step failing."""

    count: int | None = None
    percent: float | None = None

    def allows(self, failed: int, total: int) -> bool:
        """Whether so many failed items of so many are tolerated."""
        return failed <= self.count if self.count is not None else failed * 100 <= (self.percent or 0) * total


@dataclass(frozen=True, slots=True)
class Parallel:
    """``parallel``: exactly one of ``items`` (an inline list) and ``source`` (text with a reference)."""

    items: tuple[Json, ...] | None
    source: str | None
    max_concurrent: int
    place: Place
    max_items: int = MAX_ITEMS
    """``x-fanfold.maxItems``."""
    tolerance: Tolerance | None = None
    """``x-fanfold.tolerateFailed``."""

    @property
    def is_large(self) -> bool:
        """Whether there may be more items than the specification allows."""
        return self.max_items > MAX_ITEMS

    @property
    def reads_s3(self) -> bool:
        """Whether the items are the contents of an object or the objects below a prefix."""
        return self.source is not None and self.source.strip().startswith("s3://")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a shell step (``command``, ``script``) or a call of a child DAG (``run``)."""

    name: str
    place: Place
    id: str | None = None
    description: str = ""
    command: tuple[str, ...] = ()
    """One text, or several to run one after the other."""
    script: str | None = None
    shell: str | None = None
    dir: str | None = None
    output: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    depends: tuple[str, ...] = ()
    """The names of the steps this one waits for; the default order of a chain is filled in."""
    run: str | None = None
    params: tuple[Argument, ...] = ()
    parallel: Parallel | None = None
    preconditions: tuple[Precondition, ...] = ()
    continue_on: ContinueOn = ContinueOn()
    retry: RetryPolicy | None = None
    repeat: RepeatPolicy | None = None
    stop_signal: str | None = None
    """The signal that ends the step when the run is stopped, such as SIGINT."""
    timeout_sec: float | None = None
    env: tuple[Argument, ...] = ()
    compute: Compute | None = None
    """Where the step runs, as a task of its own; None for beside its neighbours."""

    @property
    def calls_child(self) -> bool:
        """Whether this step runs a child DAG rather than a shell."""
        return self.run is not None

    @property
    def has_own_task(self) -> bool:
        """Whether this step cannot share a task with its neighbours."""
        return self.calls_child or self.compute is not None


@dataclass(frozen=True, slots=True)
class Compute:
    """``x-fanfold.compute``: where tasks run."""

    kind: Literal["lambda", "ecs"]
    place: Place
    cpu: int | None = None
    """CPU units of the container, 1,024 to a vCPU."""
    memory: int | None = None
    """MiB of the container."""
    image: str | None = None
    """The container's image, where it is not the stack's."""
    timeout_sec: float | None = None
    """How long one task may take."""


@dataclass(frozen=True, slots=True)
class S3Trigger:
    """``x-fanfold.on.s3``: an object put into `bucket` starts a run."""

    bucket: str
    prefix: str
    suffix: str
    place: Place


HandlerName = Literal["onInit", "onSuccess", "onFailure", "onCancel", "onExit"]


@dataclass(frozen=True, slots=True)
class Dag:
    """One YAML document of a DAG file."""

    name: str
    place: Place
    steps: tuple[Step, ...]
    description: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    type: Literal["chain", "graph"] = "chain"
    params: tuple[Argument, ...] = ()
    env: tuple[Argument, ...] = ()
    schedule: tuple[Schedule, ...] = ()
    preconditions: tuple[Precondition, ...] = ()
    handlers: Mapping[HandlerName, Step] = field(default_factory=dict)
    """By `HandlerName`."""
    timeout_sec: float | None = None
    delay_sec: float | None = None
    """How long a run waits before its first step."""
    dotenv: tuple[str, ...] = ()
    """Files of ``NAME=value`` lines, read after ``env``."""
    max_active_steps: int | None = None
    """Shell steps that run at a time."""
    retention_days: int | None = None
    """Days that the records and logs of a run are kept."""
    compute: Compute | None = None
    """Where its tasks run; None where the compiler may choose."""
    triggers: tuple[S3Trigger, ...] = ()
    max_output: int = MAX_OUTPUT
    """Bytes that a captured output may have."""

    @property
    def is_leaf(self) -> bool:
        """Whether the DAG runs whole in one task: no step calls a child or wants a task of its own."""
        return not any(step.has_own_task for step in self.steps)

    def step(self, name: str) -> Step:
        """The step called `name`; KeyError when there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class DagSet:
    """A DAG file read whole: its first document and every child DAG that can be reached from it.

    A DAG's key: ``""`` is the root and ``#name`` a local DAG; a DAG in a file of its own has its path below
    the DAG folder, without suffix (``deploy/regional-stack``), and that file's local DAGs
    ``deploy/regional-stack#name``.
    """

    root: Dag
    dags: dict[str, Dag]
    """Every DAG by its key."""
    children: dict[str, dict[str, str]]
    """For each DAG's key: what its ``run`` says → the key of the child DAG."""
    texts: dict[str, str]
    """For each DAG's key: the YAML text of its document, as written."""
