"""Makes the pictures of the README and of docs/: terminals, and the page. Usage: python docs/make_pictures.py

Those of the page need Chromium, and the extra `dev`.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from fanfold.cli.progress import Progress
from fanfold.cli.start import show_end
from fanfold.cli.view import LiveView
from fanfold.local.session import Session
from rich.console import Console

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "tests" / "web"))

NIGHTLY = """\
name: nightly-check
description: Checks every file that came in, and says which are broken.
schedule: "0 2 * * *"
params:
  - COUNT: "400"
steps:
  - name: list
    command: seq 1 $COUNT | sed 's/^/incoming-/;s/$/.csv/'
    output: FILES

  - name: check
    run: check-one
    parallel:
      items: ${FILES}
      maxConcurrent: 8
    continueOn: {failure: true}
    output: RESULTS

  - name: report
    command: echo "${RESULTS.summary.failed} of ${RESULTS.summary.total} files are broken"
    output: REPORT
---
name: check-one
steps:
  - name: checksum
    command: |
      number=$(echo "$1" | tr -dc 0-9)
      echo "reading $1"
      sleep 0.0$((number % 7))
      if [ $((number % 61)) = 7 ]; then echo "checksum of $1 is wrong" >&2; exit 3; fi
      echo "$((number * 37)) bytes"
    output: CHECKED
"""


def draw_run(example: str, picture: str) -> None:
    """Run an example of this repository and draw how its terminal looks at the end."""
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    progress = Progress()
    view = LiveView(console, progress)
    with tempfile.TemporaryDirectory() as home:
        with Session(ROOT / "examples" / example, home=Path(home), observer=view.observe) as session:
            session.deploy()
            record = session.run()
        console.print(f"$ fanfold start examples/{example}", style="bold")
        console.print(view.render())
        show_end(console, record, progress.failures(), Path("~/.local/share/fanfold/runs/…"))
    svg = console.export_svg(title="fanfold").replace(home, "~/.local/share/fanfold")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere
    (IMAGES / picture).write_text(svg, "utf-8")


def draw_page() -> None:
    """Start a run with the form of the page, and take pictures of it while it goes on and when it has ended."""
    from served import browser, served, visitor

    with tempfile.TemporaryDirectory(prefix="dags-") as name:
        folder = Path(name)
        (folder / "nightly-check.yaml").write_text(NIGHTLY)
        options = ("--home", str(folder / ".home"))
        with browser() as chromium, served(folder, options) as address:
            for scheme in ("light", "dark"):
                with visitor(chromium, address, scheme=scheme) as person:
                    page = person.go("/dags/nightly-check")
                    page.get_by_role("button", name="Start").click()
                    page.locator("[data-count=failed]:not([hidden])").wait_for()
                    page.wait_for_timeout(500)
                    page.screenshot(path=IMAGES / f"page-running-{scheme}.png")
                    page.get_by_role("button", name="Retry").wait_for(timeout=60_000)
                    page.wait_for_timeout(500)
                    page.screenshot(path=IMAGES / f"page-run-{scheme}.png", full_page=True)
                    page.locator(".cells a[data-s=f]").first.click()
                    page.locator("#panel").get_by_text("is wrong").wait_for()
                    page.screenshot(path=IMAGES / f"page-item-{scheme}.png")
            with visitor(chromium, address) as person:
                person.go("/dags/nightly-check").screenshot(path=IMAGES / "page-dag.png")


if __name__ == "__main__":
    draw_run("continue-on-failure.yaml", "failures.svg")
    draw_run("batch-processor.yaml", "run.svg")
    draw_page()
