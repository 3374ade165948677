"""Makes the pictures of the README: an example, drawn as its terminal looks. Usage: python docs/make_pictures.py"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from fanfold.cli.progress import Progress
from fanfold.cli.start import show_end
from fanfold.cli.view import LiveView
from fanfold.local.session import Session
from rich.console import Console

ROOT = Path(__file__).parents[1]


def draw_run(example: str, picture: str) -> None:
    """Run an example of this repository and draw how its terminal looks at the end."""
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    progress = Progress()
    view = LiveView(console, progress)
    with tempfile.TemporaryDirectory() as home:
        with Session(ROOT / "examples" / example, home=Path(home), observer=view.observe) as session:
            session.deploy()
            record = session.run([])
        console.print(f"$ fanfold start examples/{example}", style="bold")
        console.print(view.render())
        show_end(console, record, progress.failures(), Path("~/.local/share/fanfold/runs/…"))
    svg = console.export_svg(title="fanfold").replace(home, "~/.local/share/fanfold")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere
    (ROOT / "docs" / "images" / picture).write_text(svg, "utf-8")


if __name__ == "__main__":
    draw_run("continue-on-failure.yaml", "failures.svg")
    draw_run("batch-processor.yaml", "run.svg")
