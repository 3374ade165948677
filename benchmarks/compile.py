"""Time to read and compile a file of 100 DAGs of 10 steps, and of one of ten times the steps.

Usage: ``python benchmarks/compile.py``
"""

from __future__ import annotations

import time

from fanfold.asl.compile import compile_dag_set
from fanfold.dag.read import read_dag_file


def dag_file(dags: int, steps: int) -> bytes:
    """A root that runs every other DAG for each of two items; each has so many steps."""
    texts = ["steps:\n" + "".join(f"  - {{name: r{n}, run: d{n}, parallel: [a, b]}}\n" for n in range(1, dags))]
    for number in range(1, dags):
        lines = "".join(f"  - {{name: s{n}, command: 'echo \"$1\" {n}', output: O{n}}}\n" for n in range(steps - 1))
        texts.append(f"name: d{number}\nsteps:\n{lines}  - {{name: call, run: leaf}}\n")
    texts.append("name: leaf\nsteps: [{name: say, command: echo}]\n")
    return "---\n".join(texts).encode()


def measure(dags: int, steps: int) -> float:
    """Print the times of both parts, and return their sum in seconds."""
    data = dag_file(dags, steps)
    started = time.perf_counter()
    dag_set = read_dag_file("main.yaml", {"main.yaml": data}.get)
    read = time.perf_counter() - started
    compile_dag_set(dag_set)
    total = time.perf_counter() - started
    print(f"{dags} DAGs of {steps:,} steps: read {read:.2f} s, compiled {total - read:.2f} s, in all {total:.2f} s")
    return total


def main() -> None:
    measure(2, 2)
    small, large = measure(100, 10), measure(100, 100)
    print(f"ten times the steps: {large / small:.1f} times the time")


if __name__ == "__main__":
    main()
