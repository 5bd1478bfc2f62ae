"""Tagging with Ray: processes on one machine or many, each of which holds the model and makes whole parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from models.artifact import Model
from pipeline.batch import Progress, Scorer
from pipeline.errors import MechtagError
from pipeline.parts import Part
from pipeline.runs import Job, read_chunks
from pipeline.settings import Settings

_QUIET = {
    # Nothing is sent to anyone, whatever the user's own settings of Ray say.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "1",
    # Workers run the code that is installed with them.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
# How often a part is tried again whose process died.
_RETRIES = 5


class Worker:
    """Makes parts in a process of its own."""

    def __init__(self, job: Job, load: Callable[[], Model], settings: Settings) -> None:
        self._job, self._settings = job, settings
        self._scorer = Scorer(job, load(), settings)

    def make(self, number: int) -> Part:
        """Make one part; made twice, it is the same."""
        job = self._job
        (chunk,) = read_chunks(job.records, job.manifest, [number], self._settings.sentences)
        return self._scorer.write(chunk, *self._scorer.score(chunk))
