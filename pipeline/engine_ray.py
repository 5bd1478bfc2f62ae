"""Tagging with Ray: processes on one machine or many, each of which holds the model and makes whole parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from models.artifact import Model
from pipeline.batch import Progress, Scorer
from pipeline.errors import MechtagError
from pipeline.parts import Part
from pipeline.runs import Job, read_chunks
from pipeline.settings import Settings

# How often a part is tried again whose process died. Processes are started anew without limit.
_RETRIES = 4


class Worker:
    """Makes parts in a process of its own."""

    def __init__(self, job: Job, load: Callable[[], Model], settings: Settings) -> None:
        self._job, self._load, self._settings = job, load, settings

    @cached_property
    def _scorer(self) -> Scorer:
        # Not when the worker is made: Ray tells what went wrong in a call, but not what went wrong there.
        return Scorer(self._job, self._load(), self._settings)

    def make(self, number: int) -> Part:
        """Make one part; made twice, it is the same."""
        job = self._job
        (chunk,) = read_chunks(job.records, job.manifest, [number], self._settings.sentences)
        return self._scorer.write(chunk, *self._scorer.score(chunk))


def run_ray(
    job: Job,
    load: Callable[[], Model],
    settings: Settings,
    workers: int | None = None,
    on_progress: Progress = lambda _: None,
) -> None:
    """Make the parts that are missing, on the cluster that ``RAY_ADDRESS`` names, or on this machine.

    A part whose worker dies is made again by another. Records, parts and model must be
    within reach of all workers.

    Parameters
    ----------
    load
        Loads the model; called once in each worker.
    workers
        How many, of one core each; by default, as many as the cluster has cores.
    on_progress
        Called with the number of records done since the last call.

    Raises
    ------
    MechtagError
        Ray is not installed, or its cluster cannot be reached; sentences are given, which
        workers cut themselves; a part made its worker die again and again; or as in `run_local`.
    """
    if job.sentences:
        raise MechtagError("--sentences does not go with --engine ray: workers cut sentences themselves; leave it out")
    if not job.todo:
        return
    ray = _start(workers)
    try:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(job.todo))
        make = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=_RETRIES)(Worker)
        todo = iter(job.todo)
        idle = [make.remote(replace(job, finished={}), load, settings) for _ in range(count)]
        running: dict[Any, tuple[Any, int]] = {}
        while True:
            # A worker without work is let go with its handle, so that one that waits for a core gets its place.
            while idle:
                worker = idle.pop()
                if (number := next(todo, None)) is not None:
                    running[worker.make.remote(number)] = worker, number
            if not running:
                return
            (ready, *_), _ = ray.wait(list(running))
            worker, number = running.pop(ready)
            part = _get(ray, ready, job, number)
            idle.append(worker)
            job.finished[number] = part
            on_progress(part.stop - part.start)
    finally:
        ray.shutdown()


def _start(workers: int | None) -> Any:
    """Import Ray and connect to it; it sends no usage statistics and shows no dashboard."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MechtagError("--engine ray needs Ray, which is not installed: pip install 'mechtag[ray]'") from None
    address = os.environ.get("RAY_ADDRESS") or "local"
    # On this machine, more workers than cores are possible; a cluster knows its own cores.
    own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise MechtagError(
            f"RAY_ADDRESS={address}: no Ray cluster to be had: {error}; correct it, or unset it to run on this machine"
        ) from None
    return ray


def _get(ray: Any, ready: Any, job: Job, number: int) -> Part:
    try:
        part: Part = ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        # What the worker raised, without its traceback.
        if isinstance(error.cause, MechtagError | OSError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        start, stop = job.manifest.bounds(number)
        raise MechtagError(
            f"part {number} (records {start + 1} to {stop} of {job.records}): its worker died {_RETRIES + 1} times, "
            f"perhaps for want of memory: {str(error).splitlines()[0]}. Take fewer workers, or a smaller "
            "tag.chunk_records; then go on with --resume"
        ) from None
    return part
