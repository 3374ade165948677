"""What the steps of a run wrote, by CloudWatch Logs Insights: each line is one structured log entry.

See `fanfold.run.streams` for who writes them, and *CloudWatch Logs Insights query syntax* for the language.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fanfold.history.run_store import LogLine, LogReader

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

MOST_LINES = 10_000
"""Of one query."""
_LATE_SECONDS = 60
"""How much later than it was written a line may be found."""


class InsightsLogReader(LogReader):
    """The lines of a run (of a step, of an item) in some log groups, from a time on."""

    def __init__(
        self,
        client: CloudWatchLogsClient,
        groups: tuple[str, ...],
        run: str,
        step: str | None,
        index: int | None,
        started: float,
    ) -> None:
        self._client, self._groups = client, groups
        self._run, self._step, self._index = run, step, index
        self._from = int(started)
        self._seen: set[str] = set()

    def read(self, *, last: bool) -> Iterator[LogLine]:
        while self._groups:
            found = self._query()
            new = [entry for entry in found if entry["@ptr"] not in self._seen]
            self._seen |= {entry["@ptr"] for entry in new}
            entries = [json.loads(entry["@message"]) for entry in new]
            yield from (_line(entry) for entry in entries if self._is_asked_for(entry))
            if len(found) < MOST_LINES:
                break
            self._from = max(self._from + 1, _seconds(found[-1]["@timestamp"]))
        if not last:
            self._from = max(self._from, int(time.time()) - _LATE_SECONDS)

    def _query(self) -> list[dict[str, str]]:
        run = self._run if self._index is None else f"{self._run}/{self._step}/{self._index}"
        conditions = [f"run = {json.dumps(run)}", "ispresent(stream)"]
        if self._index is not None:
            conditions[0] = f"({conditions[0]} or run like {json.dumps(run + '/')})"
        elif self._step is not None:
            conditions.append(f"step = {json.dumps(self._step)}")
        query = self._client.start_query(
            logGroupNames=list(self._groups),
            startTime=self._from,
            endTime=int(time.time()) + 1,
            queryString=f"fields @timestamp, @message | filter {' and '.join(conditions)} | sort @timestamp asc"
            f" | limit {MOST_LINES}",
        )["queryId"]
        while True:
            answer = self._client.get_query_results(queryId=query)
            if answer["status"] not in ("Scheduled", "Running"):
                break
            time.sleep(0.2)
        return [{field["field"]: field["value"] for field in result} for result in answer["results"]]

    def _is_asked_for(self, entry: dict[str, Any]) -> bool:
        run = str(entry.get("run"))
        if "stream" not in entry:
            return False
        if self._index is not None:
            return f"{run}/".startswith(f"{self._run}/{self._step}/{self._index}/")
        return run == self._run and self._step in (None, entry["step"])


def _line(entry: dict[str, Any]) -> LogLine:
    return LogLine(entry["step"], entry.get("item"), entry["stream"], entry["text"])


def _seconds(timestamp: str) -> int:
    from datetime import UTC, datetime

    if timestamp.isdecimal():
        return int(timestamp) // 1000
    return int(datetime.fromisoformat(timestamp).replace(tzinfo=UTC).timestamp())
