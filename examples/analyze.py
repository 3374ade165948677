"""Stands in for an analysis: prints what is critical and what is not."""

import json

print(json.dumps({"has_critical": True, "critical_items": ["disk full", "no backup"], "normal_items": ["old kernel"]}))
