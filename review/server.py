"""Start the review page: one process that serves it, and one that computes."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from filelock import FileLock, Timeout

from mechtag.core.files import read_json, write_json
from mechtag.project import Project
from mechtag.review.jobs.worker import work
from mechtag.review.workspace import FOLDER, Workspace

HOST = "127.0.0.1"
PORT = 8765
# Ports that are tried after one that is taken.
_TRIES = 20
_LOOK = 1.0


def serve(project: Project, *, port: int = PORT, browser: bool = True, say: Callable[[str], None] = print) -> None:
    """Serve the review page of a project on this computer until it is interrupted.

    If the page of the project is already being served, its address is opened instead.

    Parameters
    ----------
    port
        Port to use; if it is taken, the next free one.
    browser
        Whether to open the page in a browser.
    say
        Called with each line for the terminal.
    """
    import uvicorn

    from mechtag.review.app import create_app

    folder = project.root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / "running.json"
    lock = FileLock(folder / "running.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        address = str(read_json(running)["address"])
        say(f"{project.root}: the review page is already open at {address}")
        if browser:
            webbrowser.open(address)
        return
    with lock:
        workspace = Workspace.open(project)
        listener = _listen(port)
        port = listener.getsockname()[1]
        key = secrets.token_urlsafe(32)
        address = f"http://{HOST}:{port}/start?key={key}"
        hosts = frozenset(f"{name}:{port}" for name in (HOST, "localhost", "[::1]"))
        app = create_app(workspace, hosts=hosts, start_key=key, port=port)
        write_json(running, {"address": address, "process": os.getpid()})
        os.chmod(running, 0o600)
        say(f"review page: {address}")
        say("Press Ctrl-C to stop. Everything is saved as you work.")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        try:
            with _worker(project.root):
                if browser:
                    threading.Timer(0.5, webbrowser.open, [address]).start()
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            running.unlink(missing_ok=True)
            workspace.store.close()


def _listen(port: int) -> socket.socket:
    for candidate in [*range(port, min(port + _TRIES, 65_536)), 0]:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
        except OSError:
            listener.close()
            continue
        return listener
    raise OSError("no free port")


@contextmanager
def _worker(root: Path) -> Iterator[None]:
    """Run the worker process, and start it again if it dies."""
    stopped = threading.Event()
    context = multiprocessing.get_context("spawn")
    current: list[BaseProcess] = []

    def start() -> None:
        process = context.Process(target=work, args=(root.resolve(), os.getpid()), name="mechtag worker", daemon=True)
        process.start()
        current[:] = [process]

    def watch() -> None:
        while not stopped.wait(_LOOK):
            if not current[0].is_alive():
                start()

    start()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()
        current[0].terminate()
        current[0].join(timeout=5)
