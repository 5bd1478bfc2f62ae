"""Start the review page: one process serves the pages, and another process runs long computations."""

from __future__ import annotations

import ipaddress
import multiprocessing
import os
import secrets
import socket
import sqlite3
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import select

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.settings import PARAMS
from mechtag.core.words import counted
from mechtag.project import Project, open_project
from mechtag.review.app import create_app
from mechtag.review.jobs.worker import work
from mechtag.review.journal import Journal, back_up, lacks_events
from mechtag.review.restoring import restore
from mechtag.review.setup import Switch, create_setup
from mechtag.review.store import schema
from mechtag.review.store.accounts import INVITATION_DAYS, LOST, invite
from mechtag.review.store.engine import Damaged
from mechtag.review.workspace import DATABASE, FOLDER, Workspace

HOST = "127.0.0.1"
PORT = 8765
# Number of ports that are tried, beginning with the requested port.
_TRIES = 20
# Time between two checks whether the worker is running, in seconds.
_LOOK = 1.0


@dataclass(frozen=True)
class Team:
    """Settings for serving the review page to a team.

    Attributes
    ----------
    host
        Address to listen on, such as ``0.0.0.0`` for all networks of this computer.
    names
        Host names under which people open the page in their browsers.
    certificate, private_key
        PEM files for HTTPS.
    proxy
        Address of a reverse proxy that provides HTTPS. Forwarded headers are trusted only from this address.
    insecure
        Whether to serve without HTTPS. Without HTTPS, others on the network can read passwords and codes.
    owner_link
        Whether to print a link with which a new owner can join. This helps if the owner has lost the password.
    """

    host: str
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None
    proxy: str | None = None
    insecure: bool = False
    owner_link: bool = False

    @property
    def secure(self) -> bool:
        """Return whether browsers reach the page over HTTPS."""
        return self.certificate is not None or self.proxy is not None

    def check(self) -> None:
        """Check that the files for HTTPS exist, and that passwords are not sent over a network without HTTPS.

        Raises
        ------
        MechtagError
            If the certificate or the private key is missing, or if the page would be served on a network without HTTPS
            although ``insecure`` is not set.
        """
        if (self.certificate is None) != (self.private_key is None):
            raise MechtagError(
                "HTTPS needs both a certificate and its private key; pass the paths of both files",
                options="--certificate, --private-key",
            )
        for path in (self.certificate, self.private_key):
            if path is not None and not path.is_file():
                raise MechtagError(
                    f"{path}: this file does not exist; pass the paths of the certificate and of its private key (PEM)"
                )
        if not self.secure and not self.insecure and not _is_loopback(self.host):
            raise MechtagError(
                f"without HTTPS, everybody on the network of {self.host} could read passwords and codes; pass "
                "a certificate and its private key, pass the address of a reverse proxy that provides HTTPS, or accept "
                "this risk",
                options="--certificate and --private-key, --behind-proxy, or --insecure",
            )

    def hosts(self, port: int) -> frozenset[str]:
        """Return the host names and addresses under which people may open the page, each with and without the port."""
        names = {*self.names, socket.gethostname(), socket.getfqdn(), "localhost", HOST}
        if not ipaddress.ip_address(self.host).is_unspecified:
            names.add(self.host)
        return frozenset(name for each in names for name in (each, f"{each}:{port}"))


def serve(
    root: Path,
    *,
    port: int = PORT,
    browser: bool = True,
    team: Team | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the review page of a project until the process is interrupted.

    If another process already serves the page of this project, the address of this page is printed and opened instead.
    If the folder is not a project yet, a form for creating the project is served first.

    Parameters
    ----------
    root
        Folder of the project.
    port
        Port to use. If the port is taken and the page is not served to a team, the next free port is used.
    browser
        Whether to open the page in a browser.
    team
        Settings for serving the page to a team; by default, the page is served only to this computer.
    say
        Function that is called with each line for the terminal.

    Raises
    ------
    MechtagError
        If `Team.check` refuses the settings in ``team``; if the page would be served to a team before the project is
        created; if ``root`` is a file; if the port is taken; if another process is opening or rebuilding the review; or
        if events of the log are missing from the database.
    """
    if team is not None:
        team.check()
    project = open_project(root) if (root / PARAMS).exists() else None
    if project is None and root.exists() and not root.is_dir():
        raise MechtagError(f"{root} is a file; choose a folder for the review")
    if project is None and team is not None:
        raise MechtagError(f"{root} is not a project yet; run 'mechtag review {root}' first to create the review")
    folder = root / FOLDER
    new = _missing_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / "running.json"
    lock = FileLock(folder / "running.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not running.exists():
            raise MechtagError(
                f"{root}: another mechtag command is opening or rebuilding this review; wait a moment, then run this "
                "command again"
            ) from None
        address = str(read_json(running)["address"])
        say(f"{root}: the review page is already open at {address}")
        if browser and team is None:
            webbrowser.open(address)
        return
    try:
        with lock:
            try:
                # A server that was killed leaves its address behind.
                running.unlink(missing_ok=True)
                if lacks_events(folder / DATABASE, folder / "log"):
                    raise MechtagError(
                        f"{folder / DATABASE}: this database is missing, damaged or older than the log of events; run "
                        f"'mechtag review {root} --rebuild', which creates a new database from the log"
                    )
                _run(root, project, running, port, browser, team, say)
            finally:
                running.unlink(missing_ok=True)
    finally:
        if not (root / PARAMS).exists():
            # Nothing was created; leave nothing behind.
            (folder / "running.lock").unlink(missing_ok=True)
            with suppress(OSError):
                for path in new:
                    path.rmdir()


def rebuild(root: Path, say: Callable[[str], None] = print) -> None:
    """Compute all derived tables of a review again from its log of events.

    If the database is missing, damaged, or older than the text files of the log, it is replaced by a new database that
    is created from these files.

    Raises
    ------
    MechtagError
        If the folder contains no review, the log is damaged, or the review page is open.
    """
    project, folder = open_project(root), root / FOLDER
    if not folder.is_dir():
        raise MechtagError(
            f"{root}: this project has no log of events, because its review page has never been opened; there is "
            "nothing to rebuild"
        )
    try:
        with FileLock(folder / "running.lock", blocking=False):
            (folder / "running.json").unlink(missing_ok=True)  # from a server that was killed
            workspace = _open_intact(project)
            if workspace is None:
                _restore_database(project, say)
                return
            back_up(workspace)
            wrong = workspace.store.rebuild()
            workspace.store.close()
    except Timeout:
        raise MechtagError(
            f"{root}: the review page of this project is open; stop it with Ctrl-C, then run this command again"
        ) from None
    if wrong:
        say(f"{root}: computed all states again from the log; corrected these tables: {', '.join(wrong)}")
    else:
        say(f"{root}: computed all states again from the log; all states were already correct")


def _open_intact(project: Project) -> Workspace | None:
    """Open a project, or return ``None`` if its database is damaged or lacks events that the log contains."""
    folder = project.root / FOLDER
    if lacks_events(folder / DATABASE, folder / "log"):
        return None
    try:
        return Workspace.open(project)
    except Damaged:
        return None


def _restore_database(project: Project, say: Callable[[str], None]) -> None:
    """Restore the database of a review from the log, and keep the old database in the folder ``backups``."""
    root, folder = project.root, project.root / FOLDER
    new, old = folder / f"new-{DATABASE}", folder / DATABASE
    for path in _files_of(new):
        path.unlink(missing_ok=True)
    found = restore(new, folder / "log", project.settings.seed)
    kept = folder / "backups" / f"replaced-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.sqlite3"
    if old.exists():
        kept.parent.mkdir(exist_ok=True)
        for path, target in zip(_files_of(old), _files_of(kept), strict=True):
            if path.exists():
                path.replace(target)
        say(f"{kept}: kept the old database under this name")
    new.replace(old)
    say(
        f"{root}: created a new database from the log, with {counted(found.events, 'event')} and "
        f"{counted(found.records, 'imported record')}; actions of the last seconds before the database was lost may be "
        "missing"
    )
    say(
        "Passwords and PINs are not in the log. On this computer, "
        f"{found.owner} can open the page without a password; if the page is served to a team, mechtag prints a link "
        f"at its next start, with which {found.owner} can choose a new password."
    )
    if found.others:
        say(
            "Before the following people can sign in again, an owner must create a link for each of them on the page "
            f"Team: {', '.join(found.others)}."
        )


def _files_of(database: Path) -> list[Path]:
    """Return the paths of a SQLite database and of the files that SQLite may create next to it."""
    return [database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-shm", "")]


def _missing_folders(folder: Path) -> list[Path]:
    """Return the missing folders among ``folder`` and its parents; the innermost folder comes first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _run(
    root: Path,
    project: Project | None,
    running: Path,
    port: int,
    browser: bool,
    team: Team | None,
    say: Callable[[str], None],
) -> None:
    import uvicorn

    switch = Switch()
    listener = _listen(team.host if team else HOST, port, 1 if team else _TRIES)
    port = listener.getsockname()[1]
    options: dict[str, Any] = {}
    key: str | None
    place = ""
    if team is None:
        key = secrets.token_urlsafe(32)
        hosts = frozenset(f"{name}:{port}" for name in (HOST, "localhost", "[::1]"))
        address = f"http://{HOST}:{port}/start?key={key}"
    else:
        name = team.names[0] if team.names else socket.gethostname()
        place = f"https://{name}" if team.proxy else f"{'https' if team.secure else 'http'}://{name}:{port}"
        address, key, hosts = f"{place}/", None, team.hosts(port)
        options = {
            "ssl_certfile": team.certificate,
            "ssl_keyfile": team.private_key,
            "proxy_headers": team.proxy is not None,
            "forwarded_allow_ips": team.proxy or "",
        }
    write_json(running, {"address": address, "process": os.getpid()})
    os.chmod(running, 0o600)
    if team is not None and not team.secure:
        say("WARNING: without HTTPS, everybody on the network can read passwords and codes.")
    say(f"review page: {address}")
    say("Press Ctrl-C to stop. Everything is saved as you work.")
    config = uvicorn.Config(
        switch, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3, **options
    )
    with ExitStack() as stack:

        def start(project: Project) -> Workspace:
            workspace = Workspace.open(project)
            stack.callback(workspace.store.close)
            _back_up(workspace, say)
            stack.enter_context(Journal(workspace).kept(say))
            stack.enter_context(_worker(project.root))
            secure = team is not None and team.secure
            switch.pages = create_app(workspace, hosts=hosts, start_key=key, secure=secure, port=port)
            return workspace

        if project is None:
            assert key is not None
            switch.setup = create_setup(root, hosts=hosts, start_key=key, port=port, open_project=start)
        else:
            workspace = start(project)
            if team is not None:
                _announce_owner(workspace, place, team, say)
        if browser and team is None:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        uvicorn.Server(config).run(sockets=[listener])


def _back_up(workspace: Workspace, say: Callable[[str], None]) -> None:
    try:
        back_up(workspace)
    except (OSError, sqlite3.Error) as error:
        say(
            f"{workspace.folder / 'backups'}: the daily backup of the database could not be created ({error}); check "
            "that mechtag may write to the folder and that the disk is not full"
        )


def _announce_owner(workspace: Workspace, root: str, team: Team, say: Callable[[str], None]) -> None:
    """Print a link for choosing an owner's password, if no owner has a password or if the link was requested."""
    table = schema.account
    with workspace.store.write() as connection:
        owner = connection.execute(
            select(table.c.id).where(table.c.role == "owner", table.c.state == "active", table.c.password != LOST)
        ).first()
        if owner is not None and not team.owner_link:
            return
        # An owner who has worked alone so far has no password yet.
        alone = connection.execute(
            select(table.c.id).where(table.c.role == "owner", table.c.state == "active", table.c.password.is_(None))
        ).scalar()
        token = invite(connection, "owner", None, resets=alone)
    say(f"link for the owner, valid once and for {INVITATION_DAYS} days: {root}/join?token={token}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise MechtagError(
            f"{host!r} is not an IP address; pass an address of this computer, such as 0.0.0.0 or 192.168.1.5",
            options="--serve",
        ) from None


def _listen(host: str, port: int, tries: int) -> socket.socket:
    for candidate in range(port, min(port + tries, 65_536)):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError:
            listener.close()
            continue
        return listener
    last = min(port + tries, 65_536) - 1
    ports = f"port {port} on {host} is" if last == port else f"ports {port} to {last} on {host} are"
    raise MechtagError(f"{ports} already in use or not allowed; choose a different port", options="--port")


@contextmanager
def _worker(root: Path) -> Iterator[None]:
    """Run the worker process during the ``with`` block, and restart the process whenever it ends."""
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
