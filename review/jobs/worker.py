"""Run the worker process, which takes jobs from the database, one at a time.

Only this process of the review page imports torch and other large libraries. A job that was interrupted, even by a
crash, is repeated from the beginning, with the same result.
"""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import case, select, update

from mechtag.core.errors import MechtagError
from mechtag.project import open_project
from mechtag.review import full_texts as uploads
from mechtag.review.acts import utc_now
from mechtag.review.jobs import (
    accuracy,
    calibration,
    codings,
    curve,
    exporting,
    full_texts,
    learning,
    ranking,
    tagging,
)
from mechtag.review.jobs.importing import JOBS
from mechtag.review.jobs.progress import FIRST, Progress
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.workspace import Workspace

# Time between two looks at the database, and between two looks at the parent process, in seconds.
_PAUSE = 0.2
_LOOK = 1.0

Job = Callable[[Workspace, dict[str, Any], Progress], dict[str, Any]]


def jobs() -> dict[str, Job]:
    """Return the functions of the worker, keyed by kind of job."""
    return {
        ranking.KIND: ranking.Ranking(),
        tagging.KIND: tagging.Tagging(),
        exporting.KIND: exporting.run,
        accuracy.KIND: accuracy.run,
        calibration.KIND: calibration.run,
        curve.KIND: curve.run,
        **codings.JOBS,
        uploads.READ: full_texts.read,
        learning.KIND: learning.run,
        learning.ROLL_BACK: learning.roll_back,
        **JOBS,
    }


def work(root: Path, parent: int) -> None:
    """Run jobs until the parent process ends; a job that is running then is interrupted.

    Parameters
    ----------
    root
        Folder of the project.
    parent
        Process id of the server of the pages.
    """
    with suppress(AttributeError, OSError):
        os.nice(10)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    workspace = Workspace.open(open_project(root))
    table = schema.job
    with workspace.store.write() as connection:
        connection.execute(update(table).where(table.c.state == "running").values(state="waiting", started=None))
    known = jobs()
    while os.getppid() == parent:
        if not do_next(workspace, known):
            time.sleep(_PAUSE)


def end_with(parent: int) -> None:
    """End this process, even in the middle of a job, once the parent process has ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def do_next(workspace: Workspace, known: Mapping[str, Job]) -> bool:
    """Run the next job, rankings before all other jobs; return whether there was a job."""
    table = schema.job
    with workspace.store.read() as connection:
        row = connection.execute(
            select(table)
            .where(table.c.state == "waiting")
            .order_by(case((table.c.kind == FIRST, 0), else_=1), table.c.id)
        ).first()
    if row is None:
        return False
    _set(workspace.store, row.id, state="running", started=utc_now())
    try:
        result = known[row.kind](workspace.again(), json.loads(row.arguments), Progress(workspace.store, row.id))
    except MechtagError as error:
        _set(workspace.store, row.id, state="failed", ended=utc_now(), message=str(error))
    except Exception:
        # The reason is for the terminal; pages must not show paths or code.
        traceback.print_exc()
        message = "mechtag failed at this step; the terminal in which it runs shows the reason"
        _set(workspace.store, row.id, state="failed", ended=utc_now(), message=message)
    else:
        text = json.dumps(result, ensure_ascii=False)
        _set(workspace.store, row.id, state="done", ended=utc_now(), message="", result=text)
    return True


def _set(store: Store, job: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(schema.job).where(schema.job.c.id == job).values(values))
