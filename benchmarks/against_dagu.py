"""The same DAG files through Fanfold and through the real Dagu, in turn; prints the median times and their ratio.

Set up once: ``npm install --prefix benchmarks/.dagu @dagu-org/dagu-linux-x64@1.30.2``
Usage: ``python benchmarks/against_dagu.py [NAME …]``; without names, all of `CASES`. ``--rounds N`` for another
number of turns than five.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

DAGU = Path(__file__).parent / ".dagu/node_modules/@dagu-org/dagu-linux-x64/bin/dagu"
FANFOLD = [sys.executable, "-c", "from fanfold.cli import main; main()"]
CONCURRENCY = 8

ECHO = 'steps:\n  - name: say\n    command: echo "$1"\n    output: SAID\n'
THREE_STEPS = """steps:
  - name: fetch
    command: echo "fetched $1"
    output: FETCHED
  - name: work
    command: echo "worked on ${FETCHED}"
    output: WORKED
  - name: say
    command: echo "${WORKED}"
    output: SAID
"""


def fan(count: int, child: str) -> str:
    """A DAG that runs `child` for each of so many numbers."""
    return f"""steps:
  - name: list
    command: seq 1 {count}
    output: LIST
  - name: fan
    run: child
    parallel:
      items: ${{LIST}}
      maxConcurrent: {CONCURRENCY}
    output: RESULTS
---
name: child
{child}"""


def chain(steps: int) -> str:
    """Steps that wait for each other."""
    return "steps:\n" + "".join(f"  - name: s{number}\n    command: echo {number}\n" for number in range(steps))


def graph(steps: int, width: int = 8) -> str:
    """Layers of `width` steps, each of which waits for two of the layer before it."""
    lines = ["type: graph", "steps:"]
    for number in range(steps):
        row, column = divmod(number, width)
        before = {(row - 1) * width + column, (row - 1) * width + (column + 1) % width} if row else set()
        depends = "".join(f", depends: [{', '.join(f's{n}' for n in sorted(before))}]" if before else "")
        lines.append(f"  - {{name: s{number}, command: echo {number}{depends}}}")
    return "\n".join(lines) + "\n"


CASES = {
    "1 step": chain(1),
    "10 items": fan(10, ECHO),
    "100 items": fan(100, ECHO),
    "1,000 items": fan(1000, ECHO),
    "1,000 items of three steps": fan(1000, THREE_STEPS),
    "chain of 100": chain(100),
    "graph of 200": graph(200),
}
TARGETS = {"100 items": 0.8, "1,000 items": 0.5, "1,000 items of three steps": 0.5}
"""The most that Fanfold may take of Dagu's time."""


def measure(command: list[str], home: Path) -> tuple[float, float]:
    """Seconds of a command and its peak memory in MB."""
    environment = os.environ | {"FANFOLD_HOME": str(home), "DAGU_HOME": str(home)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as for anybody
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def shell_alone(count: int) -> float:
    """Seconds of so many ``bash -c``, as many at a time: no runner can be quicker."""
    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for _ in pool.map(lambda n: subprocess.run(["bash", "-c", f"echo {n}"], stdout=subprocess.PIPE), range(count)):
            pass
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not DAGU.is_file():
        raise SystemExit((__doc__ or "").splitlines()[2])
    console, table = Console(), Table("", "Fanfold", "Dagu", "ratio", "target", "Fanfold's memory")
    for name in options.names or CASES:
        with tempfile.TemporaryDirectory() as folder:
            dag = Path(folder, "dag.yaml")
            dag.write_text(CASES[name])
            ours, theirs, memory = [], [], 0.0
            for _ in range(options.rounds):
                seconds, peak = measure([*FANFOLD, "start", str(dag)], Path(folder, "fanfold"))
                ours.append(seconds)
                memory = max(memory, peak)
                theirs.append(measure([str(DAGU), "start", str(dag)], Path(folder, "dagu"))[0])
        mine, other = statistics.median(ours), statistics.median(theirs)
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        table.add_row(name, f"{mine:.2f} s", f"{other:.2f} s", f"{mine / other:.2f}", target, f"{memory:.0f} MB")
    console.print(table)
    console.print(f"1,000 times bash -c alone, {CONCURRENCY} at a time: {shell_alone(1000):.2f} s")


if __name__ == "__main__":
    main()
