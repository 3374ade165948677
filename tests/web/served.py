"""The page as `fanfold ui` serves it, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync")  # fmt: skip


@dataclass(frozen=True)
class Served:
    """A page that is served."""

    address: str
    """As it was printed, with the token."""
    process: int

    @property
    def root(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def served(folder: Path, options: Sequence[str]) -> Iterator[Served]:
    """Serve the page for the DAG files of a folder."""
    command = [sys.executable, "-c", "from fanfold.cli import main; main()", "ui", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    try:
        yield Served(process.stdout.readline().strip(), process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def browser() -> Iterator[Browser]:
    """The Chromium of this machine, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        yield chromium
        chromium.close()


class Visitor:
    """One browser window; notes what goes wrong in it."""

    def __init__(self, context: BrowserContext, page: Served) -> None:
        self._served = page
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda told: told.type == "error" and self.faults.append(told.text))
        self.page.goto(page.address)

    def go(self, path: str) -> Page:
        """Look at another page, and wait until it is complete."""
        self.page.goto(self._served.root + path)
        return self.page


@contextmanager
def visitor(chromium: Browser, page: Served, *, width: int = 1280, scheme: str = "light") -> Iterator[Visitor]:
    """A window of this width, in light or dark, on a page that is served."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    try:
        yield Visitor(context, page)
    finally:
        context.close()
