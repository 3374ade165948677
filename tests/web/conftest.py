"""Fixtures of the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from served import CHROMIUM, browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """For one module: as long as Playwright is there, an event loop runs in this thread, and no other can."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with browser() as found:
        yield found
