"""Start the browser in which tests open pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: Marks for modules whose tests need the browser.
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(_PROGRAM is None, reason="no Chromium on PATH: pages cannot be opened"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, or skip the test if Playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="install the extra 'test' to open pages")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=_PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()
