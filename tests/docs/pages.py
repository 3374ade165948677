"""The pages of the documentation, taken apart: fenced blocks, links, tables; and what a block stands for.

A block with a file's name as its title is a file, other YAML a part of one. ``sh`` is run; ``text`` and ``json`` below
are what it prints, ``…`` in them standing for anything. ``json`` whose title is a step's name is that step's document
in the latest run. A command that must fail ends with ``# exit code N``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>```+)(?P<info>.*)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_EXIT_CODE = re.compile(r"#.*\bexit code (\d+)\s*$")
_CHANGES = re.compile(r"\d+(\.\d+)?s\b|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def is_file(self) -> bool:
        """Whether the title is a file's name."""
        return "." in self.title

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of an ``sh`` block."""

    text: str
    code: int
    """The exit code that it must have."""


class Page:
    """A page in Markdown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text("utf-8")

    @cached_property
    def blocks(self) -> Sequence[Block]:
        return tuple(self._find_blocks())

    def _find_blocks(self) -> Iterator[Block]:
        lines = self.text.splitlines()
        position = 0
        while position < len(lines):
            match = _FENCE.fullmatch(lines[position])
            position += 1
            if match is None:
                continue
            start, indent = position, len(match["indent"])
            while lines[position].strip() != match["ticks"]:
                position += 1
            language, *attributes = shlex.split(match["info"].strip()) or [""]
            titles = [word.removeprefix("title=") for word in attributes if word.startswith("title=")]
            text = "".join(f"{line[indent:]}\n" for line in lines[start:position])
            yield Block(self.name, start, language, (titles or [""])[0], text)
            position += 1

    @cached_property
    def prose(self) -> str:
        """The text outside of fenced blocks."""
        return re.sub(r"^( *)(```+).*?^\1\2$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    @property
    def links(self) -> Sequence[str]:
        return _LINK.findall(re.sub(r"`[^`]*`", "code", self.prose))

    @property
    def anchors(self) -> set[str]:
        """What a link into the page may name."""
        return {slug(match[1]) for match in re.finditer(r"^#+ (.+)$", self.prose, re.MULTILINE)}

    def table_rows(self, heading: str) -> list[list[str]]:
        """The cells of the table below a heading, without its head."""
        section = self.text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
        rows = [line for line in section.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def pages() -> list[Page]:
    """The README and every page of ``docs/``."""
    return [Page(path) for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))]


def slug(heading: str) -> str:
    """A heading's anchor, as the site makes it."""
    text = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", text)


def commands(text: str) -> Iterator[Command]:
    """The commands of an ``sh`` block: a line each, and what a backslash continues."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            match = _EXIT_CODE.search(line)
            yield Command(line, int(match[1]) if match else 0)


def assert_printed(expected: str, printed: str, where: str) -> None:
    """`printed` is `expected`, in which ``…`` is any text, a line of it any lines, and times may differ."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "…":
            pattern += "(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, _steady(line.rstrip()).split("…"))) + "\n"
    found = "".join(f"{_steady(line.rstrip())}\n" for line in printed.splitlines())
    assert re.fullmatch(pattern, found), f"{where}: this is printed:\n{printed}"


def _steady(line: str) -> str:
    """A line without what differs from run to run."""
    return _CHANGES.sub("#", line)


def assert_holds(expected: Any, found: Any, where: str) -> None:
    """`found` is `expected`, in which ``…`` is anything and objects may lack entries."""
    if expected == "…":
        return
    if isinstance(expected, dict) and isinstance(found, dict):
        assert expected.keys() <= found.keys(), (where, found)
        for key, value in expected.items():
            assert_holds(value, found[key], f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        assert len(expected) == len(found), (where, found)
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            assert_holds(one, other, f"{where}[{index}]")
    else:
        assert expected == found, where
