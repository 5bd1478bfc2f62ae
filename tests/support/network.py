"""Record the network access of processes, or forbid it during a test."""

import os
import socket
from pathlib import Path

import pytest

from tests.support.entry_points import declare_plugins
from tests.support.paths import ROOT

# Python runs this module at the start of each process, including child processes.
_WATCH = """
import ipaddress, os, sys

LOG, HERE = {log!r}, os.path.dirname(os.path.abspath(__file__))

def write(*words):
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(" ".join([*map(str, words), *sys.argv]) + "\\n")

def is_local(host):
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost"

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        environment = arguments[-1]
        if environment is not None and HERE not in str(environment):
            write("unwatched", arguments[1])
        return
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not is_local(host):
        write(event, host)

sys.addaudithook(watch)
"""


class Watch:
    """An environment for processes that records each address outside this machine that they contact or look up.

    A child process that is started without this environment is recorded as well. Variables of the current process that
    switch off telemetry or mark a test run are not passed on.
    """

    def __init__(self, folder: Path) -> None:
        modules, home = folder / "watch", folder / "home"
        modules.mkdir()
        home.mkdir()
        self._log = folder / "contacted.txt"
        (modules / "sitecustomize.py").write_text(_WATCH.format(log=str(self._log)), encoding="utf-8")
        declare_plugins(modules)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
        paths = os.pathsep.join(map(str, (modules, ROOT)))
        self.environment = {**kept, "HOME": str(home), "PYTHONPATH": paths}

    @property
    def contacted(self) -> list[str]:
        """One line per contacted address or unrecorded child process, with the command that caused it."""
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.is_file() else []


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a connection or looks up a host name, even on this machine."""

    def refuse(*_: object) -> None:
        raise AssertionError("the test opened a connection or looked up a host name")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
