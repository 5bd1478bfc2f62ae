"""Tagging with Ray Data: the parts to make are its data set, actors on one machine or many hold the model."""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.settings import Settings
from mechtag.models.model_folder import Model
from mechtag.pipeline.tagging.chunks import Part
from mechtag.pipeline.tagging.run import Progress, Scorer
from mechtag.pipeline.tagging.start import Job, read_chunks

# How often a part is begun whose process dies.
_TRIES = 5
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers on this machine would stand back behind all else on it.
    "RAY_worker_niceness": "0",
    # Ray warns of arguments of actors that may get lost, which those of Ray Data's actors do not: we hold them.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_enable_output_error_log_if_still_retry": "0",
}


class Tries:
    """Counts how often each part was begun; Ray itself would try for ever one that makes its worker die."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count, and tell the count."""
        self._begun[number] += 1
        return self._begun[number]


class Worker:
    """Makes parts in a process of its own."""

    def __init__(self, job: Job, load: Callable[[], Model], settings: Settings, tries: Any) -> None:
        self._job, self._load, self._settings, self._tries = job, load, settings, tries

    @cached_property
    def _scorer(self) -> Scorer:
        # Not when the worker is made: Ray tells what went wrong in a call, but not what went wrong there.
        return Scorer(self._job, self._load(), self._settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """Make the part whose number is in ``item``; in ``made`` is its `Part`, or the error, for Ray adds to those."""
        try:
            return {"made": pickle.dumps(self._make(int(row["item"])))}
        except (MechtagError, OSError) as error:
            return {"made": pickle.dumps(error)}

    def _make(self, number: int) -> Part:
        """Make one part; made twice, it is the same."""
        import ray

        job = self._job
        if ray.get(self._tries.begin.remote(number)) > _TRIES:
            start, stop = job.manifest.bounds(number)
            raise MechtagError(
                f"part {number} (records {start + 1} to {stop} of {job.records}): its worker died {_TRIES} times, "
                "perhaps for want of memory. Take fewer workers, or a smaller tag.chunk_records; then go on with "
                "--resume"
            )
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
    with _connected(workers) as ray:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(job.todo))
        tries = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tries).remote()
        # Ray Data starts actors anew, and makes their parts again, without being told.
        rows = ray.data.from_items(job.todo, override_num_blocks=len(job.todo)).map(
            Worker,
            fn_constructor_args=(replace(job, finished={}), load, settings, tries),
            # A worker gets its next part when it has made one, so that none waits behind a slow one.
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
        )
        for row in rows.iter_rows():
            part = pickle.loads(row["made"])
            if isinstance(part, Exception):
                raise part
            job.finished[part.part] = part
            on_progress(part.stop - part.start)


@contextmanager
def _connected(workers: int | None) -> Iterator[Any]:
    """Import Ray and connect to it; it sends no usage statistics, and shows no dashboard, log or bars."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MechtagError(
            "--engine ray needs Ray, which is not installed: pip install -c constraints.txt -e '.[ray]'"
        ) from None
    address = os.environ.get("RAY_ADDRESS") or "local"
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # A part takes as long as it takes.
    context.execution_no_progress_timeout_s = -1
    context.max_consecutive_actor_init_deaths = _TRIES
    # Not in $TMPDIR, which may be long: the sockets in it may have names of a hundred characters.
    near = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.path.isdir("/tmp") else None)
    with TemporaryDirectory(prefix="mechtag-", dir=near, ignore_cleanup_errors=True) as folder:
        # On this machine, more workers than cores are possible; a cluster knows its own cores.
        own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False, "_temp_dir": folder}
        try:
            with _silent():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **(own if address == "local" else {}),
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise MechtagError(
                f"RAY_ADDRESS={address}: no Ray cluster to be had: {error}; correct it, or unset it to run on this "
                "machine"
            ) from None
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep from the user what is not written by Python: Ray tells each time that its log has a level."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
