"""A review page that is served by a thread of the tests, so that a browser can open it."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

import uvicorn

from mechtag.review.app import create_app
from mechtag.review.workspace import Workspace

KEY = "start-key"


class Served:
    """A server of a review page on a free port. It can be stopped and started again on the same port.

    Parameters
    ----------
    team
        Whether people sign in with passwords, as on a page that is served to a team.
    """

    def __init__(self, workspace: Workspace, *, team: bool = False) -> None:
        self._workspace, self._team = workspace, team
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        hosts = frozenset((f"127.0.0.1:{self.port}",))
        app = create_app(self._workspace, hosts=hosts, start_key=None if self._team else KEY, port=self.port)
        config = uvicorn.Config(app, port=self.port, log_level="critical", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server, so that connections are refused."""
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Served:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
