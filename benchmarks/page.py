"""How fast the page is with 1,000 and 10,000 items, and what it takes. Usage: python benchmarks/page.py

Needs Chromium and the extra `dev`. Targets: the first paint of 1,000 items within 1 s, updates below 50 KB a second,
the server below 150 MB.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "web"))

from served import browser, served, visitor

DAG = """
params: [COUNT: "1000"]
steps:
  - {name: list, command: "seq $COUNT", output: L}
  - {name: fan, run: leaf, parallel: {items: "${L}"}, output: R, x-fanfold: {maxItems: MOST}}
---
name: leaf
steps:
  - {name: work, command: "sleep 0.05; echo $1; test $(($1 % 97)) -ne 5", output: O}
"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure(chromium: Any, folder: Path, count: int) -> None:
    """Start a run with the form, watch it to its end, and look at it again."""
    with served(folder, ("--home", str(folder / ".home"))) as address, visitor(chromium, address) as person:
        server = psutil.Process(address.process)
        received = [0]
        network = person.page.context.new_cdp_session(person.page)
        network.send("Network.enable")
        network.on("Network.dataReceived", lambda event: received.append(event["dataLength"]))
        page = person.go(f"/dags/run-{count}")
        page.get_by_label("COUNT").fill(str(count))
        page.get_by_role("button", name="Start").click()
        page.locator(".cells a").first.wait_for(timeout=30_000)
        page.wait_for_timeout(1000)
        received[:] = [0]
        started, cpu = time.monotonic(), sum(server.cpu_times()[:2])
        page.locator("[data-run-status] .badge[data-status=failed]").wait_for(timeout=600_000)
        seconds, total = time.monotonic() - started, sum(received)
        cpu = sum(server.cpu_times()[:2]) - cpu
        paints = []
        for _ in range(5):
            page.reload()
            page.locator(".cells a").first.wait_for()
            page.wait_for_function(f"{PAINT} !== undefined")
            paints.append(page.evaluate(PAINT))
        print(
            f"{count:>6,} items: {total / seconds / 1000:.1f} KB/s over {seconds:.0f} s,"
            f" first paint {sorted(paints)[2]:.0f} ms, server {server.memory_info().rss / 1e6:.0f} MB,"
            f" {100 * cpu / seconds:.0f} % of a core"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        for count in (1000, 10_000):
            (Path(name) / f"run-{count}.yaml").write_text(DAG.replace("MOST", str(count)))
            measure(chromium, Path(name), count)
