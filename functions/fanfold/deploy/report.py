"""What became of a DAG file: the report that lies beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fanfold.dag.diagnostics import Problem
from fanfold.deploy.machines import Change, DeployedMachine

ReportStatus = Literal["deployed", "refused", "failed", "waiting", "removed", "outdated", "absent"]
"""``refused``: the file has errors. ``failed``: AWS refused something that it asks for, and what AWS had taken before
that stands. ``waiting``: a machine of an earlier file is still being deleted. ``outdated``: a newer event was handled
before this one. ``absent``: no such file, and nothing deployed of it."""

NOT_DEPLOYED: tuple[ReportStatus, ...] = ("refused", "failed", "waiting")
"""Of a file that is there; its report says why."""


@dataclass(frozen=True, slots=True)
class DeployedStart:
    """A schedule or a trigger after a deployment."""

    name: str
    what: str
    """The expression of a schedule, the event pattern of a trigger."""
    change: Change


@dataclass(slots=True)
class Report:
    """See the module."""

    file: str
    status: ReportStatus
    dag: str = ""
    machines: list[DeployedMachine] = field(default_factory=list)
    schedules: list[DeployedStart] = field(default_factory=list)
    triggers: list[DeployedStart] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As it is stored; what is empty is left out."""
        return {key: value for key, value in asdict(self).items() if value not in ("", [])}
