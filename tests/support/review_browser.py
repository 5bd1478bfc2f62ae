"""The review page as a person uses it: served by a process of its own, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, Request

# Longest wait for the server, for a page, or for the worker, in seconds.
PATIENCE = 60


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(folder: Path, log: Path, *options: str) -> Iterator[str]:
    """Serve the review page of a project with ``mechtag review``, and yield the address that the command prints."""
    command = [sys.executable, "-m", "mechtag", "review", str(folder), "--no-browser", "--port", str(free_port())]
    command += options
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)
        try:
            yield _address(process, log)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = re.search(r"review page: (\S+)", log.read_text())
        if found is not None:
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"the review page did not start within {PATIENCE} seconds: {log.read_text()}")


def watch(context: BrowserContext, address: str) -> list[str]:
    """Return a list that collects the browser's errors and console messages, and its requests to other hosts."""
    trouble: list[str] = []
    host = urlsplit(address).netloc
    context.set_default_timeout(PATIENCE * 1000)
    context.on("console", lambda message: trouble.append(f"console: {message.text} ({message.location})"))
    context.on("weberror", lambda error: trouble.append(f"error: {error.error}"))

    def note(asked: Request) -> None:
        if urlsplit(asked.url).netloc != host and not asked.url.startswith("data:"):
            trouble.append(f"request: {asked.url}")

    context.on("request", note)
    return trouble


@dataclass
class Visitor:
    """A person who uses the review page in a browser."""

    page: Page
    address: str

    @property
    def root(self) -> str:
        """The scheme, host and port of the page's address."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.address))

    def open(self, path: str) -> str:
        """Open a page and return its text."""
        self.page.goto(f"{self.root}{path}")
        return self.text()

    def text(self) -> str:
        """Return the main text of the page in one line."""
        return " ".join(self.page.inner_text("main").split())

    def press(self, key: str, *, until: str) -> None:
        """Press a key after a short pause, and wait until an element matches the selector ``until``."""
        self.page.locator("#main :focus").first.wait_for()
        self.page.wait_for_timeout(200)
        self.page.keyboard.press(key)
        self.page.locator(until).first.wait_for()

    def submit(self, button: Locator) -> None:
        """Press a button that sends a form, and wait for the server's response."""
        with self.page.expect_response(lambda answer: answer.request.method == "POST"):
            button.click()


def wait_for_worker(who: Visitor) -> None:
    """Wait until the worker has done all jobs, and check that none has failed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        who.open("/jobs")
        states = who.page.locator("tbody td:nth-child(3)").all_inner_texts()
        assert not [state for state in states if state.startswith("failed")], states
        if all(state == "done" for state in states):
            return
        time.sleep(0.5)
    raise AssertionError(f"the worker did not finish its jobs within {PATIENCE} seconds: {states}")
