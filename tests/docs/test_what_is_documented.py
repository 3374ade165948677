"""What the documentation names against what there is: commands, keys, links, limits, Dagu's keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fanfold.asl.computes import LAMBDA_SECONDS
from fanfold.asl.fan_outs import (
    CALL_SECONDS,
    EXPRESS_SECONDS,
    GRACE_SECONDS,
    HISTORY_EVENTS,
    INLINE_CONCURRENCY,
    ITEM_SECONDS,
    MOST_IN_A_TASK,
    START_SECONDS,
    CallSeconds,
    worst_seconds,
)
from fanfold.asl.states import express_retries
from fanfold.cli.app import app
from fanfold.cli.cost import CALL, EXPRESS, EXPRESS_GB_SECOND, GB_HOUR, GB_SECOND, TRANSITION, VCPU_HOUR
from fanfold.dag.diagnostics import DagFileError
from fanfold.dag.document import DAG_KEYS, MAX_NAME, REFUSED_IN_DAG, REFUSED_IN_STEP, STEP_KEYS
from fanfold.dag.model import DEFAULT_CONCURRENCY, LARGEST_CONCURRENCY, LARGEST_FAN_OUT, MAX_ITEMS, MAX_OUTPUT
from fanfold.dag.read import read_document
from fanfold.dag.schema import schema
from fanfold.dag.yaml_source import MAX_BYTES, MAX_DEPTH, MAX_NODES
from fanfold.deploy.bundles import MAX_BUNDLE
from fanfold.deploy.machines import KEPT_VERSIONS
from fanfold.run.lifecycle import SHOWN_DOCUMENT
from fanfold.run.plan import ITEMS_BUDGET, RESULTS_BUDGET
from fanfold.run.scope import BRANCHES_BUDGET, SCOPE_BUDGET
from fanfold.run.shell import EXPORT_LIMIT, EXPORT_TOTAL
from pages import DOCS, ROOT, Page, pages
from test_dagu_records import DIFFERS, RECORDS

PAGES = {page.name: page for page in pages()}
DAGU = PAGES["docs/coming-from-dagu.md"]
KIB, MIB = 1024, 1024 * 1024


def row_with(page: str, text: str) -> str:
    """The one row of a page's tables that begins with this text."""
    (row,) = [line for line in PAGES[page].text.splitlines() if line.startswith(f"| {text}")]
    return row


@pytest.mark.parametrize("command", sorted(app.commands))
def test_every_command_is_documented(command: str) -> None:
    text = "\n".join(page.text for page in PAGES.values())
    assert re.search(rf"\bfanfold {command}\b", text)
    assert app.commands[command].get_short_help_str()


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (name, option)
        for name, command in app.commands.items()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    ],
)
def test_every_option_is_documented(command: str, option: str) -> None:
    assert any(re.search(rf"{option}\b", page.text) for page in PAGES.values()), f"fanfold {command} {option}"


def keys_of(part: Any) -> Iterator[str]:
    """Every key that the schema knows, at any depth."""
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict):
            yield from part["properties"]
        for value in part.values():
            yield from keys_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from keys_of(value)


def test_every_key_of_the_format_is_on_the_page_about_it() -> None:
    page = PAGES["docs/writing-dags.md"]
    code = "\n".join([*re.findall(r"`[^`\n]+`", page.prose), *(block.text for block in page.blocks)])
    keys = set(keys_of(schema()))
    assert {"maxConcurrent", "markSuccess", "tolerateFailed", "suffix"} <= keys
    assert {key for key in keys if not re.search(rf"(?<![\w-]){key}(?![\w-])", code)} == set()


@pytest.mark.parametrize("page", [pytest.param(page, id=name) for name, page in PAGES.items()])
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        target, _, anchor = link.partition("#")
        if target.startswith("https:"):
            continue
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), link
        assert page.path == ROOT / "README.md" or path.is_relative_to(DOCS), f"{link} is not on the site"
        if anchor:
            assert anchor in Page(path).anchors, link


def test_no_cell_of_a_table_holds_a_bar() -> None:
    """A site shows the backslash before it, a repository's page needs it."""
    assert [name for name, page in PAGES.items() if name.startswith("docs/") and "\\|" in page.text] == []


class TestKeysOfDagu:
    """The tables of *Coming from Dagu*, against the reader."""

    def table(self, heading: str) -> dict[str, tuple[str, str]]:
        """By key: works, differs or refused; and the words about it."""
        rows = DAGU.table_rows(heading)
        return {key: (verdict, note) for keys, verdict, note in rows for key in re.findall(r"`(\w+)`", keys)}

    @pytest.mark.parametrize(
        ("heading", "known", "refused"),
        [("Keys of a DAG", DAG_KEYS, REFUSED_IN_DAG), ("Keys of a step", STEP_KEYS, REFUSED_IN_STEP)],
    )
    def test_the_table_has_the_keys_of_the_reader(self, heading: str, known: set[str], refused: dict[str, str]) -> None:
        table = self.table(heading)
        assert {verdict for verdict, _ in table.values()} == {"works", "differs", "refused"}
        assert {key for key, (verdict, _) in table.items() if verdict != "refused"} == known - {"x-fanfold"}
        assert {key for key, (verdict, _) in table.items() if verdict == "refused"} == refused.keys()

    @pytest.mark.parametrize(
        ("heading", "text"),
        [
            ("Keys of a DAG", "{}: x\nsteps: [{{name: a, command: x}}]"),
            ("Keys of a step", "steps: [{{{}: x, name: a}}]"),
        ],
    )
    def test_what_is_refused_is_refused_with_advice(self, heading: str, text: str) -> None:
        for key, (verdict, note) in self.table(heading).items():
            if verdict != "refused":
                continue
            with pytest.raises(DagFileError) as refused:
                read_document("dag.yaml", "dag", text.format(key))
            (problem,) = [found for found in refused.value.problems if repr(key) in found.message]
            assert problem.message == f"{key!r} is not supported"
            assert ("does not know it yet" in problem.hint) == (note == "nothing yet"), key

    def test_the_behaviours_are_counted(self) -> None:
        recorded = len(list(RECORDS.glob("*.yaml")))
        assert f"Of {recorded} behaviours recorded from Dagu 1.30.2, {recorded - len(DIFFERS)} are matched" in DAGU.text


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ("items of a `parallel` step", (MAX_ITEMS, LARGEST_FAN_OUT)),
        ("items at a time, `maxConcurrent`", (DEFAULT_CONCURRENCY, MAX_ITEMS, LARGEST_CONCURRENCY)),
        ("a captured output", (MAX_OUTPUT,)),
        ("a step's name", (MAX_NAME,)),
        ("a DAG file", (f"{MAX_BYTES // MIB} MiB", MAX_DEPTH, MAX_NODES)),
        ("files beside DAG files", (f"{MAX_BUNDLE // MIB} MB",)),
        ("a variable that programs see", (f"{EXPORT_LIMIT // KIB} KiB", f"{EXPORT_TOTAL // KIB} KiB")),
        ("the document in", (f"{SHOWN_DOCUMENT // MIB} MiB",)),
        ("input and output of a state", [f"{budget // KIB} KiB" for budget in (
            SCOPE_BUDGET, ITEMS_BUDGET, RESULTS_BUDGET, BRANCHES_BUDGET)]),
        ("history of an execution", (HISTORY_EVENTS,)),
        ("items at a time of an inline Map", (INLINE_CONCURRENCY,)),
        ("starts of a Map Run", (f"{EXPRESS_SECONDS} seconds", MOST_IN_A_TASK)),
        ("versions of a machine", (KEPT_VERSIONS,)),
        ("a call", (f"{LAMBDA_SECONDS // 60} minutes",)),
    ],
)  # fmt: skip
def test_limits_are_those_of_the_code(row: str, numbers: Any) -> None:
    text = row_with("docs/limits.md", row)
    for number in numbers:
        shown = f"{number:,}" if isinstance(number, int) else number
        assert re.search(rf"(?<![\d,]){shown}(?![\d,]\d)", text), (shown, text)


def test_the_times_of_an_express_execution_are_those_of_the_code() -> None:
    def longest(timeout: float) -> float:
        seconds = CALL_SECONDS + timeout + GRACE_SECONDS + ITEM_SECONDS
        return worst_seconds(CallSeconds(seconds, seconds), express_retries(None, several=False))

    waits = worst_seconds(CallSeconds(0, 0), express_retries(None, several=False)) - START_SECONDS
    text = (ROOT / "docs/large-fan-outs.md").read_text("utf-8")
    for said in (
        f"An EXPRESS execution ends at {EXPRESS_SECONDS} seconds",
        f"{START_SECONDS} seconds to start and end it, {CALL_SECONDS} for a cold start",
        f"{GRACE_SECONDS + ITEM_SECONDS:g} an item besides its `timeoutSec` ({GRACE_SECONDS:g} until",
        f"{waits:g} of waits before calls that were refused",
    ):
        assert said in text, said
    assert longest(103) < EXPRESS_SECONDS <= longest(104)
    assert "an item may take 103 seconds" in text


@pytest.mark.parametrize(
    ("row", "prices"),
    [
        ("Step Functions, a state transition", (f"${TRANSITION * 1000:g} for 1,000",)),
        ("an EXPRESS execution", (f"${EXPRESS * 1e6:.2f} for a million", f"${EXPRESS_GB_SECOND:.8f}")),
        ("Lambda, a call", (f"${CALL * 1e6:.2f} for a million",)),
        ("Lambda, duration", [f"${price:.10f}" for price in GB_SECOND.values()]),
        ("Fargate", [f"${price:g}" for prices in (VCPU_HOUR, GB_HOUR) for price in prices.values()]),
    ],
)
def test_prices_are_those_that_the_cost_is_worked_out_with(row: str, prices: Any) -> None:
    assert [price for price in prices if price not in row_with("docs/cost.md", row)] == []
