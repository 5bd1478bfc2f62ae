"""Tag the missing chunks of records of a run with Ray Data, in worker processes on one or more machines."""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.settings import Settings
from mechtag.core.temporary import temporary_folder
from mechtag.models.model_folder import Model
from mechtag.pipeline.tagging.chunks import Chunk
from mechtag.pipeline.tagging.run import ChunkScorer, Progress
from mechtag.pipeline.tagging.start import Job, read_chunks

# Maximum number of attempts at a chunk whose worker dies.
_TRIES = 5
_ENVIRONMENT = {
    # By default, workers on this machine run at a lower priority than everything else.
    "RAY_worker_niceness": "0",
    # Suppress the warning that arguments of actors may be lost; this process keeps those of Ray Data's actors.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_enable_output_error_log_if_still_retry": "0",
}


class Tries:
    """Counts the attempts at each chunk of records; Ray would retry forever if a chunk always killed its worker."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count an attempt to tag a chunk of records, and return the number of attempts at this chunk."""
        self._begun[number] += 1
        return self._begun[number]


class Worker:
    """A Ray actor that tags chunks of records in a separate process."""

    def __init__(self, job: Job, load: Callable[[], Model], settings: Settings, tries: Any) -> None:
        self._job, self._load, self._settings, self._tries = job, load, settings, tries

    @cached_property
    def _scorer(self) -> ChunkScorer:
        # Load on the first call, because Ray reports errors of calls but not of the constructor.
        # The table of full texts stays open until this process ends.
        self._opened = ExitStack()
        full_texts = self._opened.enter_context(self._job.open_full_texts())
        return ChunkScorer(self._job, self._load(), self._settings, full_texts)

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """Tag chunk number ``row["item"]``, and return a dict with the pickled result under the key ``made``.

        A chunk consists of records that are tagged together. The result is a `Chunk` or an error. Errors are returned
        instead of raised, because Ray would wrap a raised error in an error of its own.
        """
        try:
            return {"made": pickle.dumps(self._make(int(row["item"])))}
        except (MechtagError, OSError) as error:
            return {"made": pickle.dumps(error)}

    def _make(self, number: int) -> Chunk:
        """Tag one chunk of records, write the results, and return the description of the chunk."""
        import ray

        job = self._job
        # If a worker dies while it processes a chunk, another worker processes the chunk again.
        if ray.get(self._tries.begin.remote(number)) > _TRIES:
            start, stop = job.manifest.bounds(number)
            raise MechtagError(
                f"chunk {number} (records {start + 1} to {stop} of {job.records}): {_TRIES} workers died while they "
                "processed this chunk, possibly because memory ran out. Continue the run with fewer workers; "
                "or set a smaller tag.chunk_records in params.yaml, and tag the records again into a new folder",
                options="to continue, add --resume and lower --workers",
            )
        (given,) = read_chunks(job.records, job.manifest, [number], self._settings.sentences)
        return self._scorer.write(given, self._scorer.score(given))


def run_ray(
    job: Job,
    load: Callable[[], Model],
    settings: Settings,
    workers: int | None = None,
    on_progress: Progress = lambda _: None,
) -> None:
    """Tag the unfinished chunks of records of a run on the Ray cluster at ``RAY_ADDRESS``.

    If ``RAY_ADDRESS`` is not set, the workers run on this machine. If a worker dies, a different worker processes its
    chunk again. All workers must have access to the records, the chunks and the model.

    Parameters
    ----------
    load
        Loads the model; called once in each worker.
    workers
        Number of workers, with one core each; by default, the number of cores in the cluster.
    on_progress
        Called with the number of records processed since the last call.

    Raises
    ------
    MechtagError
        If Ray is not installed or its cluster cannot be reached; if the run has precomputed sentences, which workers
        cannot use; if a chunk repeatedly killed its worker; or for the same reasons as in `run_local`.
    """
    if job.sentences:
        raise MechtagError(
            "precomputed sentences cannot be used with the Ray engine, because each Ray worker splits its own records "
            "into sentences; tag the records without this table",
            options="omit --sentences",
        )
    if not job.todo:
        return
    with _connected(workers) as ray:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(job.todo))
        tries = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tries).remote()
        # Ray Data restarts actors and repeats their chunks by itself.
        rows = ray.data.from_items(job.todo, override_num_blocks=len(job.todo)).map(
            Worker,
            fn_constructor_args=(replace(job, finished={}), load, settings, tries),
            # A worker gets one chunk at a time, so that no chunk waits for a slow one.
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
        )
        for row in rows.iter_rows():
            chunk = pickle.loads(row["made"])
            if isinstance(chunk, Exception):
                raise chunk
            job.finished[chunk.part] = chunk
            on_progress(chunk.stop - chunk.start)


@contextmanager
def _connected(workers: int | None) -> Iterator[Any]:
    """Context manager: start or join a Ray cluster, and yield the module ``ray``."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        from ray._private.node import Node
    except ImportError:
        raise MechtagError(
            "the Ray engine needs Ray, which is not installed; run pip install -c constraints.txt -e '.[ray]'"
        ) from None
    # Do not start the process for usage statistics: even if these are off, it contacts the metadata services of clouds.
    Node.start_api_server = lambda *_, **__: None  # type: ignore[method-assign]
    address = os.environ.get("RAY_ADDRESS") or "local"
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # No time limit for a chunk.
    context.execution_no_progress_timeout_s = -1
    context.max_consecutive_actor_init_deaths = _TRIES
    # Do not use $TMPDIR, whose path may be long, because socket paths are limited to about a hundred characters.
    near = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.path.isdir("/tmp") else None)
    with temporary_folder(near) as folder:
        # This machine may have more workers than cores; a cluster knows its own cores.
        own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False, "_temp_dir": str(folder)}
        try:
            # Ray writes its log level to standard error on every start.
            with _silent():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **(own if address == "local" else {}),
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise MechtagError(
                f"RAY_ADDRESS={address}: cannot connect to a Ray cluster: {error}; correct the address, or "
                "unset RAY_ADDRESS to run on this machine"
            ) from None
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _silent() -> Iterator[None]:
    """Context manager: discard what is written to standard error."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
