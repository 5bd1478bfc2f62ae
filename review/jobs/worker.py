"""Run the worker process, which takes jobs from the database and runs one job at a time.

Only the worker imports torch and other large libraries; the process that serves the pages does not. If a job is
interrupted, even by a crash, it is repeated from the beginning, with the same result.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import case, select, update
from sqlalchemy.exc import OperationalError

from mechtag.core.errors import MechtagError
from mechtag.project import open_project
from mechtag.review import full_texts as uploads
from mechtag.review.acts import utc_now
from mechtag.review.import_log import write_imports
from mechtag.review.jobs import (
    accuracy,
    calibration,
    codings,
    curve,
    exporting,
    fetching,
    full_texts,
    importing,
    learning,
    merging,
    ranking,
    tagging,
)
from mechtag.review.jobs.progress import FIRST, Cancelled, Progress
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.workspace import STOPPING, Workspace

# Time between two checks for a new job, and between two checks of the parent process, in seconds.
_PAUSE = 0.2
_LOOK = 1.0

# Messages about errors of the file system that people can fix.
_CURABLE = {
    errno.ENOSPC: "the disk of the computer that runs mechtag is full; free some space there",
    errno.EDQUOT: "the disk of the computer that runs mechtag is full; free some space there",
    errno.EACCES: "mechtag may not write to a folder of the review; allow it to write there",
    errno.EROFS: "mechtag may not write to a folder of the review; allow it to write there",
}

Job = Callable[[Workspace, dict[str, Any], Progress], dict[str, Any]]
#: Functions that undo what a cancelled job has done so far, by kind of job. They get the arguments and the number of
#: the job. Jobs of other kinds change nothing before their end.
TAKE_BACK: Mapping[str, Callable[[Workspace, dict[str, Any], int], None]] = {
    **importing.TAKE_BACK,
    **codings.TAKE_BACK,
    fetching.KIND: fetching.take_back,
    **full_texts.TAKE_BACK,
}


def jobs() -> dict[str, Job]:
    """Return the functions that run jobs, keyed by the kind of job."""
    return {
        ranking.KIND: ranking.Ranking(),
        tagging.KIND: tagging.Tagging(),
        exporting.KIND: exporting.run,
        accuracy.KIND: accuracy.run,
        calibration.KIND: calibration.run,
        curve.KIND: curve.run,
        **codings.JOBS,
        **merging.JOBS,
        uploads.READ: full_texts.read,
        fetching.KIND: fetching.fetch,
        learning.KIND: learning.run,
        learning.ROLL_BACK: learning.roll_back,
        **importing.JOBS,
    }


def work(root: Path, parent: int) -> None:
    """Run jobs until the parent process ends.

    A job that is running at that time is interrupted.

    Parameters
    ----------
    root
        Folder of the project.
    parent
        Process id of the parent process, which serves the pages.
    """
    with suppress(AttributeError, OSError):
        os.nice(10)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    workspace = Workspace.open(open_project(root))
    known = jobs()
    complained = False
    while os.getppid() == parent:
        try:
            _begin(workspace)
            while os.getppid() == parent:
                if not do_next(workspace, known):
                    time.sleep(_PAUSE)
                complained = False
        except (OperationalError, OSError) as error:
            if not complained:
                sys.stderr.write(f"{_stopped(error)}\n")
            complained = True
            time.sleep(_LOOK)


def _begin(workspace: Workspace) -> None:
    """Set a job that was interrupted to ``waiting`` again, and update the log files of imports."""
    table = schema.job
    with workspace.store.write() as connection:
        # The time at which an interrupted job was started is kept: such a job may have done a part of its work.
        connection.execute(update(table).where(table.c.state == "running").values(state="waiting"))
    write_imports(workspace)


def _stopped(error: Exception) -> str:
    reason = error.orig if isinstance(error, OperationalError) else error
    return (
        f"Background work has paused, because nothing can be written to the folder of the review ({reason}); it "
        "continues by itself once the disk has free space and mechtag may write to the folder"
    )


def end_with(parent: int) -> None:
    """End this process, even in the middle of a job, once the parent process has ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def do_next(workspace: Workspace, known: Mapping[str, Job]) -> bool:
    """Run the next job, and return whether there was one.

    A cancelled job comes first: its work is undone. Rankings come next, followed by all other jobs in the order of
    their numbers.

    Parameters
    ----------
    known
        Function that does the work of a job, keyed by kind of job.
    """
    table = schema.job
    with workspace.store.read() as connection:
        row = connection.execute(
            select(table)
            .where(table.c.state.in_(("waiting", STOPPING)))
            .order_by(case((table.c.state == STOPPING, 0), (table.c.kind == FIRST, 1), else_=2), table.c.id)
        ).first()
    if row is None:
        return False
    if row.state == STOPPING:
        _cancel(workspace, row)
        return True
    with workspace.store.write() as connection:
        still = update(table).where(table.c.id == row.id, table.c.state == "waiting")
        if connection.execute(still.values(state="running", started=utc_now())).rowcount == 0:
            return True  # Somebody has just cancelled the job.
    try:
        result = known[row.kind](workspace.again(), json.loads(row.arguments), Progress(workspace.store, row.id))
    except Cancelled:
        _cancel(workspace, row)
    except MechtagError as error:
        _set(workspace.store, row.id, state="failed", ended=utc_now(), message=str(error))
    except OperationalError:
        raise  # The database cannot be written, so the job is done again later.
    except Exception as error:
        # The reason is for the terminal; pages must not show paths or code.
        traceback.print_exc()
        message = "mechtag failed because of an internal error; the terminal in which mechtag runs shows the reason"
        if isinstance(error, OSError) and error.errno in _CURABLE:
            message = f"a file could not be written: {_CURABLE[error.errno]}, then start this step again"
        _set(workspace.store, row.id, state="failed", ended=utc_now(), message=message)
    else:
        text = json.dumps(result, ensure_ascii=False)
        _set(workspace.store, row.id, state="done", ended=utc_now(), message="", result=text)
    return True


def _cancel(workspace: Workspace, row: Any) -> None:
    """Undo what a cancelled job has done so far, and record that the job was cancelled."""
    if row.kind in TAKE_BACK:
        TAKE_BACK[row.kind](workspace.again(), json.loads(row.arguments), row.id)
    message = "this work was cancelled before it was finished; you can start it again"
    _set(workspace.store, row.id, state="cancelled", ended=utc_now(), message=message)


def _set(store: Store, job: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(schema.job).where(schema.job.c.id == job).values(values))
