"""The page in a real browser: what a person sees, and does, with the mouse and with the keyboard."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from places import Laptop, OnStack, Place
from served import Visitor, served, visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAUSE = "sleep 0.3"
"""What each item does, so that a run lasts long enough to be looked at."""
NIGHTLY = """
name: nightly
description: Checks every file of the night.
schedule: "0 2 * * *"
params: [COUNT: "200"]
steps:
  - {name: list, command: "seq 1 $COUNT | sed 's/^/file-/;s/$/.csv/'", output: L}
  - name: check
    run: check-one
    parallel: {items: "${L}", maxConcurrent: 8}
    output: R
    continueOn: {failure: true}
  - {name: report, command: "echo ${R.summary.succeeded} of ${R.summary.total}", output: N}
---
name: check-one
steps:
  - name: check
    command: |
      echo "reading $1"; sleep 0.3
      n=$(echo "$1" | tr -dc 0-9)
      test $((n % 28)) -ne 7 || test -e FOLDER/mended || { echo "checksum of $1 is wrong" >&2; exit 3; }
    output: STATE
"""
FLAWED = "name: flawed\nsteps:\n  - name: a\n    comand: echo\n"
CONTRAST = {"runOnly": ["color-contrast"]}
"""The rule of axe that light and dark can answer differently."""
SCRIPT = "<script>window.hacked=1</script>"
HOSTILE = f"""
name: hostile
params: [P: '{SCRIPT}']
steps:
  - name: fan
    run: child
    parallel: {{items: ['{SCRIPT}', {{NAME: "<b onmouseover=window.hacked=1>x"}}]}}
    continueOn: {{failure: true}}
    output: R
  - {{name: '{SCRIPT}', command: 'printf "%s\\n" "$P"; echo "{SCRIPT}" >&2', output: O}}
---
name: child
params: [NAME: ""]
steps:
  - {{name: work, command: 'echo "$1$NAME"; echo "$1" >&2; test -z "$NAME"', output: "OUT"}}
"""
NESTED = """
name: nested
steps:
  - {name: regions, run: region, parallel: {items: [eu, us]}, output: R}
---
name: region
steps:
  - {name: find, command: "echo $1-1 $1-2", output: L}
  - {name: each, run: machine, parallel: {items: "${L}"}, output: M}
---
name: machine
steps:
  - {name: touch, command: "echo touched $1"}
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    place = Laptop(tmp_path)
    place.write("nightly", NIGHTLY)
    place.write("flawed", FLAWED)
    return place


@pytest.fixture(params=["laptop", "stack"])
def place(request: pytest.FixtureRequest, tmp_path: Path, laptop: Laptop) -> Place:
    if request.param == "laptop":
        return laptop
    place = OnStack(tmp_path, request.getfixturevalue("up"))
    place.put("nightly", NIGHTLY.replace(PAUSE, "sleep 1.5"))
    return place


def look(visitor: Visitor, name: str) -> None:
    """Keep a picture of what is seen, where FANFOLD_SCREENSHOTS names a folder."""
    folder = os.environ.get("FANFOLD_SCREENSHOTS")
    if folder:
        visitor.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def status(page: Page, word: str) -> Any:
    return page.locator(f"[data-run-status] .badge[data-status={word}]")


def counts(page: Page) -> dict[str, int]:
    """What the page says of the items of the only fan-out, by status."""
    shown = page.locator("[data-count]:not([hidden])").all_inner_texts()
    return {text.split()[-1]: int(text.split()[0].replace(",", "")) for text in shown}


def start(visitor: Visitor, count: int) -> Page:
    page = visitor.go("/")
    page.get_by_role("row", name="nightly.yaml").get_by_role("link", name="nightly").click()
    page.get_by_label("COUNT").fill(str(count))
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/runs/*")
    return page


def test_a_run_is_started_watched_understood_and_mended(chromium: Browser, place: Place) -> None:
    count, failed = (200, 7) if isinstance(place, Laptop) else (40, 2)
    with served(place.folder, place.options) as address, visitor(chromium, address) as person:
        page = start(person, count)
        seen = set()
        page.locator(".cells a").first.wait_for(timeout=20_000)
        assert page.locator(".cells a").count() == count
        page.get_by_label("Find").fill("file-1")
        while not status(page, "partial").count():
            seen.add(counts(page).get("success", 0))
            page.wait_for_timeout(150)
        assert len(seen) >= 3, "the grid fills while one looks"
        page.get_by_role("button", name="Retry").wait_for()
        page.get_by_text(re.compile(rf"^\d+ of {count} items$")).wait_for()  # what was looked for is still looked for
        page.get_by_label("Find").fill("")
        page.locator(f".cells:has(a:nth-child({count}))").wait_for()
        assert counts(page) == {"failed": failed, "success": count - failed}
        assert page.locator(".cells a[data-s=f]").count() == failed
        assert [cell.get_attribute("data-s") for cell in page.locator(".cells a").all()[:failed]] == ["f"] * failed
        look(person, f"run-{type(place).__name__}")

        page.locator(".cells a[data-s=f]").first.click()
        panel = page.locator("#panel")
        panel.get_by_text("checksum of file-7.csv is wrong").wait_for()
        assert "step check: exit code 3" in panel.inner_text()
        look(person, f"panel-{type(place).__name__}")
        page.keyboard.press("Escape")

        (place.folder / "mended").touch()
        page.get_by_role("button", name="Retry").click()
        status(page, "success").wait_for(timeout=30_000)
        page.locator("main:has-text('attempt 2')").wait_for()
        assert counts(page) == {"success": count}
        assert page.locator(".cells a[data-s=s]").count() == count
        assert person.faults == []


def test_a_run_is_stopped(chromium: Browser, laptop: Laptop) -> None:
    laptop.write("nightly", NIGHTLY.replace(PAUSE, "sleep 30"))
    with served(laptop.folder, laptop.options) as address, visitor(chromium, address) as person:
        page = start(person, 20)
        page.locator(".cells a[data-s=r]").first.wait_for()
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Stop").click()
        status(page, "cancelled").wait_for(timeout=15_000)
        page.get_by_role("button", name="Retry").wait_for()
        assert counts(page) == {"cancelled": 20}


def test_a_page_whose_server_is_gone_says_so(chromium: Browser, laptop: Laptop) -> None:
    laptop.write("nightly", NIGHTLY.replace(PAUSE, "sleep 2"))
    with served(laptop.folder, laptop.options) as address, visitor(chromium, address) as person:
        page = start(person, 20)
        page.locator(".cells a[data-s=r]").first.wait_for()
        assert page.locator("#lost").is_hidden()
        os.kill(address.process, signal.SIGKILL)
        page.locator("#lost").wait_for(timeout=15_000)


def test_a_log_is_followed(chromium: Browser, laptop: Laptop) -> None:
    steps = "steps:\n  - {name: slow, command: 'for i in 1 2 3 4; do echo line $i; sleep 0.7; done; echo end'}\n"
    run = laptop.start("slow", steps)
    with served(laptop.folder, laptop.options) as address, visitor(chromium, address) as person:
        page = person.go(f"/runs/{run}/steps/slow")
        page.get_by_text("line 1").wait_for()
        assert page.get_by_text("end", exact=True).count() == 0
        page.locator(".log").get_by_text("end").wait_for()
        page.locator("[data-step=slow] .badge[data-status=success]").wait_for()
        assert re.findall(r"line \d", page.locator(".log").inner_text()) == ["line 1", "line 2", "line 3", "line 4"]


def test_items_are_found_sorted_and_filtered_at_an_address_of_their_own(chromium: Browser, laptop: Laptop) -> None:
    run = laptop.run("nightly", NIGHTLY.replace(PAUSE, "true"), "COUNT=60")
    with served(laptop.folder, laptop.options) as address, visitor(chromium, address) as person:
        page = person.go(f"/runs/{run}/steps/check")
        page.get_by_label("Find").fill("file-5")
        page.get_by_text("11 of 60 items").wait_for()
        page.get_by_label("Order").select_option("by item")
        page.wait_for_url("**by=item**")
        page.reload()
        assert page.locator(".cells a").count() == 11
        assert page.locator(".cells a").first.get_attribute("title") == "#4 file-5.csv · success"
        page.get_by_label("Find").fill("")
        page.get_by_role("combobox", name="Status").select_option("failed")
        page.get_by_text("2 of 60 items", exact=True).wait_for()
        page.get_by_text("Timeline of the items").click()
        page.locator(".lane-bars rect").first.wait_for()
        assert page.locator(".lane-bars rect").count() == 60
        assert person.faults == []


def test_the_keyboard_is_enough(chromium: Browser, laptop: Laptop) -> None:
    run = laptop.run("nightly", NIGHTLY.replace(PAUSE, "true"), "COUNT=60")
    with served(laptop.folder, laptop.options) as address, visitor(chromium, address) as person:
        page = person.go(f"/runs/{run}")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('.cells > a')"):
                break
        assert page.evaluate("document.activeElement.dataset.i") == "6"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.dataset.i") == "34"
        page.keyboard.press("Enter")
        page.locator("#panel").get_by_text("checksum of file-35.csv is wrong").wait_for()
        assert page.evaluate("document.activeElement.closest('#panel') !== null")
        page.keyboard.press("Escape")
        assert page.locator("#panel").is_hidden()
        assert page.evaluate("document.activeElement.dataset.i") == "34"
        page.keyboard.press("Tab")
        assert not page.evaluate("document.activeElement.matches('.cells > a')")


def addresses(laptop: Laptop) -> dict[str, str]:
    """Every view, by name."""
    nightly = laptop.run("nightly", NIGHTLY.replace(PAUSE, "true"), "COUNT=60")
    hostile = laptop.run("hostile", HOSTILE)
    nested = laptop.run("nested", NESTED)
    name = SCRIPT.replace("/", "~1").replace("<", "%3C").replace(">", "%3E")
    return {
        "index": "/", "runs": "/runs", "no-runs": "/runs?dag=none", "dag": "/dags/nightly", "flawed": "/dags/flawed",
        "run": f"/runs/{nightly}", "step": f"/runs/{nightly}/steps/check", "shell-step": f"/runs/{nightly}/steps/list",
        "item": f"/runs/{nightly}/steps/check/items/6", "document": f"/runs/{nightly}/steps/check/document",
        "nested": f"/runs/{nested}/steps/regions/items/1", "fault": "/runs/none",
        "nested-item": f"/runs/{nested}/steps/regions/items/1/steps/each/items/0",
        "hostile-dag": "/dags/hostile", "hostile": f"/runs/{hostile}", "hostile-step": f"/runs/{hostile}/steps/{name}",
        "hostile-item": f"/runs/{hostile}/steps/fan/items/0", "hostile-object": f"/runs/{hostile}/steps/fan/items/1",
        "hostile-document": f"/runs/{hostile}/steps/fan/document",
    }  # fmt: skip


def test_every_view_is_safe_accessible_and_fits(chromium: Browser, laptop: Laptop) -> None:
    from axe_playwright_python.sync_playwright import Axe

    views = addresses(laptop)
    with served(laptop.folder, laptop.options) as address:
        for width, scheme in ((1280, "light"), (1280, "dark"), (360, "light")):
            with visitor(chromium, address, width=width, scheme=scheme) as person:
                for name, path in views.items():
                    page = person.go(path)
                    page.locator("main h1").first.wait_for()
                    look(person, f"{name}-{scheme}-{width}")
                    if width > 400:
                        found = Axe().run(page, options=None if scheme == "light" else CONTRAST)
                        assert found.violations_count == 0, (name, scheme, found.generate_report())
                    overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    assert page.evaluate(overhang) == 0, (name, width)
                    assert page.evaluate("window.hacked") is None, name
                    if name.startswith("hostile") and name != "hostile-object":
                        assert SCRIPT in page.locator("main").inner_text(), name
                expected = "Failed to load resource: the server responded with a status of 404 (Not Found)"
                assert set(person.faults) == {expected}  # the view of a fault
                nested = person.go(views["nested-item"])
                assert "touched us-1" in nested.locator(".log").inner_text()
                assert "us-1" in person.go(views["nested"]).locator(".cells a").first.get_attribute("title")
                assert "did you mean 'command'?" in person.go("/dags/flawed").locator(".source").inner_text()
                person.go("/dags/nightly").get_by_role("button", name="Count").click()
                person.page.locator("#cost-told").get_by_text("in all").wait_for(timeout=20_000)
                person.page.get_by_text("Amazon States Language").click()
                person.page.get_by_text('"MaxConcurrency": 8').wait_for()


def test_a_document_is_downloaded(chromium: Browser, laptop: Laptop) -> None:
    run = laptop.run("nightly", NIGHTLY.replace(PAUSE, "true"), "COUNT=10")
    with served(laptop.folder, laptop.options) as address, visitor(chromium, address) as person:
        page = person.go(f"/runs/{run}/steps/check/document")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download JSON").click()
        document = json.loads(Path(download.value.path()).read_text())
    assert document["summary"] == {"total": 10, "succeeded": 9, "failed": 1, "cancelled": 0, "skipped": 0}
    assert [result["parameters"] for result in document["results"]] == [f"file-{n}.csv" for n in range(1, 11)]
