"""Wall time and peak memory of large fan-outs. Usage: ``python benchmarks/large.py``"""

from __future__ import annotations

import tempfile
from pathlib import Path

from against_dagu import ECHO, FANFOLD, fan, measure

BIG = "steps:\n  - name: big\n    command: head -c {count} /dev/zero | tr '\\0' x\n    output: BIG\n"


def large(count: int) -> str:
    """A fan-out over more items than the specification allows."""
    text = fan(count, ECHO)
    return text.replace("    output: RESULTS", f"    x-fanfold: {{maxItems: {count}}}\n    output: RESULTS")


CASES = {
    "1,000 items": fan(1000, ECHO),
    "10,000 items": large(10_000),
    "1,000 items of 100 KB each": fan(1000, BIG.format(count=100_000)),
    "one item of 20 MB": fan(1, f"maxOutputSize: 20000000\n{BIG.format(count=20_000_000)}"),
}


def main() -> None:
    for name, text in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            dag = Path(folder, "dag.yaml")
            dag.write_text(text)
            seconds, memory = measure([*FANFOLD, "start", str(dag)], Path(folder))
            print(f"{name}: {seconds:.1f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
