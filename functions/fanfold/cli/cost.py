"""``fanfold cost``: what a run costs, at list prices."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fanfold.asl.compile import containers
from fanfold.cli.files import read_or_explain
from fanfold.local.counting import Counts, count_run
from fanfold.local.session import LOCAL

# List prices of us-east-1 in November 2026, in dollars, without the free tier (aws.amazon.com, the pages named).
TRANSITION = 0.025 / 1_000  # Step Functions, Standard
EXPRESS = 1.00 / 1_000_000  # Step Functions, Express, requests
EXPRESS_GB_SECOND = 0.00001667  # and duration, in steps of 64 MB and 100 ms
CALL = 0.20 / 1_000_000  # AWS Lambda, requests
GB_SECOND = {"arm64": 0.0000133334, "x86_64": 0.0000166667}  # AWS Lambda, duration
VCPU_HOUR = {"arm64": 0.03238, "x86_64": 0.04048}  # AWS Fargate, Linux; a minute at least
GB_HOUR = {"arm64": 0.00356, "x86_64": 0.004445}

CONTAINER = (512, 1024)
"""CPU units and MiB of a container that asks for none (template.yaml)."""

CONTROL_SECONDS = 0.1
"""What a call of the planner or the reducer is taken to last, at half a GB."""


def print_cost(file: Path, items: int, seconds: float, memory: int, architecture: str, *, as_json: bool) -> int:
    """Count a run of `file` and print its price; the exit code."""
    dag_set = read_or_explain(file)
    if dag_set is None:
        return 2
    counts = count_run(dag_set, items)
    stock_cpu, stock_memory = CONTAINER
    sizes = [(task.cpu or stock_cpu, task.memory or stock_memory) for task in containers(dag_set, LOCAL.platform)]
    lines = price(counts, seconds, memory, architecture, max(sizes, default=CONTAINER))
    total = sum(dollars for _, _, dollars in lines)
    if as_json:
        listed = [{"what": what, "amount": amount, "dollars": round(dollars, 8)} for what, amount, dollars in lines]
        shown: dict[str, Any] = {"items": items, "lines": listed, "dollars": round(total, 8)}
        shown |= {"executions": counts.executions, "longestHistory": counts.longest_history}
        sys.stdout.write(json.dumps(shown) + "\n")
        return 0
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("amount", justify="right")
    table.add_column("dollars", justify="right")
    for what, amount, dollars in lines:
        table.add_row(what, amount, f"{dollars:.4f}")
    table.add_row("in all", "", f"{total:.4f}", style="bold")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{items:,} items at each parallel step, {seconds:g} s a task, {memory} MB, {architecture}, list prices of"
        f" us-east-1; {counts.executions:,} executions, the longest with {counts.longest_history:,} of 25,000 events",
        soft_wrap=True,
    )
    return 0


def price(
    counts: Counts, seconds: float, memory: int, architecture: str, container: tuple[int, int]
) -> list[tuple[str, str, float]]:
    """(what, how much of it, dollars) for each line of the bill; what there is none of is left out."""
    calls = counts.runner_calls + counts.control_calls
    gb_seconds = counts.runs * seconds * memory / 1024 + counts.control_calls * CONTROL_SECONDS / 2
    express_gb_seconds = counts.express * math.ceil(seconds * 10) / 10 * counts.runs / max(1, counts.runner_calls) / 16
    hours = counts.containers * max(seconds, 60) / 3600
    cpu, gb = container[0] / 1024, container[1] / 1024
    lines = [
        ("state transitions", f"{counts.transitions:,}", counts.transitions * TRANSITION),
        (
            "Express executions",
            f"{counts.express:,}",
            counts.express * EXPRESS + express_gb_seconds * EXPRESS_GB_SECOND,
        ),
        ("Lambda calls", f"{calls:,}", calls * CALL),
        ("Lambda GB-seconds", f"{gb_seconds:,.1f}", gb_seconds * GB_SECOND[architecture]),
        ("containers", f"{counts.containers:,}", hours * (cpu * VCPU_HOUR[architecture] + gb * GB_HOUR[architecture])),
    ]
    return [line for line in lines if line[2]]
