"""What a run must come to, wherever it runs."""

from __future__ import annotations

import json
import re
from typing import Any

Result = dict[str, Any]


def comparable(record: Result) -> Result:
    """A record without what no two runs share: their ids, times, where logs are, and the names that mktemp makes."""

    def own(told: Result) -> Result:
        return {key: value for key, value in told.items() if key not in ("run", "started", "seconds", "log")}

    steps = {}
    for name, step in record["steps"].items():
        steps[name] = own(step)
        document = dict(step.get("document", {}))
        if "results" in document:
            document["results"] = [own(row) for row in document["results"]]
        document.pop("dagRunId", None)
        if document:
            steps[name]["document"] = document
    text = json.dumps(own(record) | {"steps": steps})
    made: Result = json.loads(re.sub(r'/[^"]*/tmp\.\w{10}', "/MKTEMP", text))
    return made
