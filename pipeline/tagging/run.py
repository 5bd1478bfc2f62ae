"""Tag a batch of any size: score its chunks, write the tables that people and programs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from typing import Any

from mechtag.core.codebook import Codebook
from mechtag.core.files import json_bytes, write_json
from mechtag.core.parquet import RecordTable, joining_predictions
from mechtag.core.records import Prediction, Sentence
from mechtag.core.settings import Settings
from mechtag.models.model_folder import Model
from mechtag.models.tagger import Scored
from mechtag.pipeline.export import EXPORTERS
from mechtag.pipeline.tagging.chunks import Part, total
from mechtag.pipeline.tagging.predict import documents_of, rows
from mechtag.pipeline.tagging.prefetch import Runner, directly
from mechtag.pipeline.tagging.start import PREDICTIONS, SUMMARY, Chunk, Job, read_chunks

Progress = Callable[[int], None]


class Scorer:
    """Scores the records of parts, and writes the parts."""

    def __init__(self, job: Job, model: Model, settings: Settings) -> None:
        self._job, self._model, self._settings = job, model, settings

    def score(self, chunk: Chunk) -> tuple[list[tuple[Sentence, ...]], list[Scored]]:
        """Give the sentences of each record, and what the tagger says of it."""
        pairs = documents_of(chunk.records, chunk.sentences)
        return [own for _, own in pairs], self._model.tagger.tag([document for document, _ in pairs])

    def write(self, chunk: Chunk, sentences: Sequence[tuple[Sentence, ...]], scored: Sequence[Scored]) -> Part:
        """Write what `score` gave."""
        model_id, limit = self._model.config.model_id, self._settings.tag.evidence_sentences
        predictions = rows(self._model.tagger, model_id, chunk.records, sentences, scored, limit)
        unlike = sum(one.unlike and one.decisions[0] != "no" for one in scored)
        return self._job.parts.write(self._job.manifest, chunk.part, predictions, unlike)


def run_local(
    job: Job,
    model: Model,
    settings: Settings,
    on_progress: Progress = lambda _: None,
    run: Runner = directly,
) -> None:
    """Make the parts that are missing, on this machine.

    While a part is scored, a thread writes the one before; and the next one is cut into
    sentences, if ``run`` is that of `prefetch.ahead`.

    Parameters
    ----------
    on_progress
        Called with the number of records done since the last call.
    run
        Runs what cuts the records into sentences.
    """
    scorer = Scorer(job, model, settings)

    def note(writing: Future[Part] | None) -> None:
        if writing:
            part = writing.result()
            job.finished[part.part] = part
            on_progress(part.stop - part.start)

    chunks = run(read_chunks, job.records, job.manifest, job.todo, settings.sentences, job.sentences)
    with ThreadPoolExecutor(1) as writer:
        writing = None
        try:
            for chunk in chunks:
                scored = scorer.score(chunk)
                note(writing)
                writing = writer.submit(scorer.write, chunk, *scored)
        finally:
            note(writing)


def finish(job: Job, codebook: Codebook, on_progress: Progress = lambda _: None) -> dict[str, Any]:
    """Write the tables that people and programs read; return the content of ``summary.json``, which comes last.

    On this machine the parts become one table and are deleted; in an object store they are
    the result.

    Parameters
    ----------
    on_progress
        Called with the number of records written since the last call.
    """
    parts = [job.finished[number] for number in range(job.manifest.parts)]
    unlike = sum(part.unlike for part in parts)
    summary = job.intake.summary(job.manifest.identity.model_id, codebook, total(parts), unlike)
    if folder := job.output.local:
        labels = [(entry.key, entry.name) for entry in codebook.entries]
        with ExitStack() as stack:
            table = stack.enter_context(RecordTable(job.records.open(), str(job.records)))
            join = stack.enter_context(joining_predictions(folder / PREDICTIONS))
            exports = [
                stack.enter_context(writing(labels, folder / f"tagged.{form}")) for form, writing in EXPORTERS.items()
            ]
            for part in parts:
                predictions = _by_record(join(job.parts.read(part)))
                for record in table.read(part.start, part.stop):
                    for add in exports:
                        add(record, predictions[record.record_id])
                on_progress(part.stop - part.start)
        write_json(folder / SUMMARY, summary)
        job.parts.delete()
    else:
        (job.output / SUMMARY).write(json_bytes(summary))
    return summary


def _by_record(predictions: Sequence[Prediction]) -> Mapping[str, Mapping[str, Prediction]]:
    groups = groupby(predictions, key=lambda prediction: prediction.record_id)
    return {record_id: {row.label: row for row in group} for record_id, group in groups}
