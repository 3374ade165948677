"""Wall time and peak memory of ``fanfold start``. Usage: python benchmarks/start.py [COUNT …]

For each count of items (child: one ``echo``): the whole command, and of it the part that is moto's interpreter (the
same Map with a function that does nothing) and the part that is the shell alone (as many ``bash -c``, as many at a
time). What remains is the runner. Also the start-up: a DAG of one step.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from against_dagu import CONCURRENCY, ECHO, FANFOLD, fan, measure, shell_alone
from rich.console import Console
from rich.table import Table

REPEATS = 3


def time_start(text: str) -> tuple[float, float]:
    """Median seconds of the command and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        dag = Path(folder, "dag.yaml")
        dag.write_text(text)
        measured = [measure([*FANFOLD, "start", str(dag), "--json"], Path(folder)) for _ in range(REPEATS)]
    return statistics.median(seconds for seconds, _ in measured), max(memory for _, memory in measured)


def time_interpreter(count: int) -> float:
    """Seconds of a Map over `count` items in moto, each a call of a function that does nothing."""
    from fanfold.deploy.executions import poll_execution
    from fanfold.local.engine import embedded_aws

    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {
            "FunctionName": "nothing",
            "Payload": {"index.$": "$.index", "args.$": "$.args", "fan.$": "$.fan"},
        },
        "OutputPath": "$.Payload",
        "End": True,
    }
    definition = {
        "StartAt": "map",
        "States": {
            "map": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "MaxConcurrency": CONCURRENCY,
                "ItemSelector": {
                    "index.$": "$$.Map.Item.Index",
                    "args.$": "$$.Map.Item.Value",
                    "fan.$": "$.fan",
                },
                "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "item", "States": {"item": task}},
                "End": True,
            }
        },
    }
    with embedded_aws({"nothing": lambda event, _context: {"index": event["index"]}}):
        import boto3

        client = boto3.client("stepfunctions")
        role = "arn:aws:iam::123456789012:role/states"
        machine = client.create_state_machine(name="map", definition=json.dumps(definition), roleArn=role)
        items = {"items": [str(number) for number in range(count)], "fan": {"step": "fan"}}
        started = time.perf_counter()
        execution = client.start_execution(
            stateMachineArn=machine["stateMachineArn"], name="benchmark", input=json.dumps(items)
        )
        ended = poll_execution(client, execution["executionArn"])
        if ended["status"] != "SUCCEEDED":
            raise SystemExit(ended.get("cause", "the Map failed"))
        return time.perf_counter() - started


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or [10, 100, 1000]
    console = Console()
    seconds, memory = time_start("steps:\n  - {name: one, command: echo}\n")
    console.print(f"start-up, a DAG of one step: {seconds:.2f} s, {memory:.0f} MB")
    table = Table("items", "fanfold start", "peak memory", "start-up", "interpreter", "shell alone", "runner and rest")
    for count in counts:
        total, peak = time_start(fan(count, ECHO))
        interpreter, shell = time_interpreter(count), shell_alone(count)
        rest = max(total - seconds - interpreter - shell, 0)
        parts = (f"{part:.2f} s" for part in (seconds, interpreter, shell, rest))
        table.add_row(f"{count:,}", f"{total:.2f} s", f"{peak:.0f} MB", *parts)
    console.print(table)


if __name__ == "__main__":
    main()
