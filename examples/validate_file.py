"""Prints true for a file of well-formed CSV or JSON; else prints false and fails."""

import json
import sys
from pathlib import Path

path = Path(sys.argv[1])
text = path.read_text(encoding="utf-8")
try:
    valid = len({line.count(",") for line in text.splitlines()}) == 1 if path.suffix == ".csv" else bool(json.loads(text))
except ValueError:
    valid = False
print("true" if valid else "false")
sys.exit(0 if valid else 1)
