"""Create temporary folders that a later run deletes if the process that created them was killed."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

_PREFIX = ".mechtag-"
# The names that `tempfile.mkdtemp` chooses.
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
# The process that owns a folder locks the file. The system releases the lock when the process ends, even if it is
# killed. The other files are in a folder next to it, so that they can be deleted before it.
_LOCK, _FILES = "lock", "files"


@contextmanager
def temporary_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """Create an empty folder within ``parent``, yield its path, and delete the folder at the end.

    Temporary folders that killed processes left in ``parent`` are deleted first. The folders of running processes are
    locked, and are kept. If files cannot be locked on this system, all folders are kept.

    Parameters
    ----------
    parent
        Folder in which the temporary folder is created. Default: the system's folder for temporary files.
    """
    parent = Path(parent or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _delete_abandoned(parent)
    folder, lock = _create(parent)
    with lock:
        try:
            (folder / _FILES).mkdir()
            yield folder / _FILES
        finally:
            _delete(folder)


def _create(parent: Path) -> tuple[Path, IO[bytes]]:
    """Create a temporary folder with a lock file; return the folder and the open lock file."""
    # Another process may delete the folder before it is locked; then the next one is tried.
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with suppress(FileNotFoundError), ExitStack() as stack:
            lock = stack.enter_context((folder / _LOCK).open("ab"))
            _lock(lock, wait=True)
            if os.path.samestat(os.fstat(lock.fileno()), (folder / _LOCK).stat()):
                stack.pop_all()
                return folder, lock


def _delete_abandoned(parent: Path) -> None:
    if sys.platform == "win32":
        return
    with os.scandir(parent) as entries:
        found = [entry for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    for folder in map(Path, found):
        # Another process may delete the folder at the same time.
        with suppress(OSError):
            # In a shared folder, the owner of a folder could exchange it for a link while it is being deleted.
            if folder.lstat().st_uid != os.getuid():
                continue
            if (folder / _LOCK).exists():
                with (folder / _LOCK).open("ab") as lock:
                    if _lock(lock, wait=False):
                        _delete(folder)
            else:
                folder.rmdir()  # fails unless the folder is empty


def _delete(folder: Path) -> None:
    shutil.rmtree(folder / _FILES, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    """Lock a file, and return whether this succeeded.

    If another process has locked the file, ``wait`` decides: if true, wait for the process; if false, return ``False``.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also on network drives that do not support locks
        return False
    return True
