"""Score the chunks of records of a tagging run, and write the result tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from typing import Any, NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.files import json_bytes, write_json
from mechtag.core.full_text import FullTextTagging
from mechtag.core.parquet import FullTextTable, RecordTable, joining_predictions
from mechtag.core.records import ABSTRACTS_ALONE, DEFINITIONS_ALONE, Prediction, Sentence, decisive
from mechtag.core.settings import Settings
from mechtag.core.words import counted
from mechtag.models.model_folder import Model
from mechtag.models.scoring import Calibration
from mechtag.models.tagger import Scored
from mechtag.pipeline.export import review_workbook
from mechtag.pipeline.export.tagged import NAMES, writing
from mechtag.pipeline.reading.text.sign import ReadSigns, by_words
from mechtag.pipeline.tagging.chunks import Chunk, total_decisions
from mechtag.pipeline.tagging.full_texts import TaggedAbstract, full_text_rows, tag_full_texts
from mechtag.pipeline.tagging.predict import documents_of, prediction_rows
from mechtag.pipeline.tagging.prefetch import Runner, directly
from mechtag.pipeline.tagging.start import PREDICTIONS, SUMMARY, ChunkInput, Job, read_chunks

Progress = Callable[[int], None]


class ScoredChunk(NamedTuple):
    """The sentences and scores of each record in a chunk of records that are tagged together.

    Attributes
    ----------
    sentences
        For each record, the sentences of the abstract.
    abstracts
        For each record, the scores of the title and abstract.
    full_texts
        For each full text, its predictions and how it was tagged, keyed by record id. ``None`` if only abstracts are
        tagged.
    """

    sentences: list[tuple[Sentence, ...]]
    abstracts: list[Scored]
    full_texts: dict[str, tuple[list[Prediction], FullTextTagging]] | None = None


class ChunkScorer:
    """Scores the records of a chunk (records that are tagged together), and writes their predictions.

    Parameters
    ----------
    full_texts
        The open table of full texts, or ``None`` if only abstracts are tagged.
    """

    def __init__(self, job: Job, model: Model, settings: Settings, full_texts: FullTextTable | None) -> None:
        self._job, self._model, self._settings, self._full_texts = job, model, settings, full_texts

    def score(self, given: ChunkInput) -> ScoredChunk:
        """Score the abstracts and full texts of a chunk of records; `write` writes the result."""
        pairs, tagger = documents_of(given.records, given.sentences), self._model.tagger
        sentences = [own for _, own in pairs]
        scored = tagger.tag([document for document, _ in pairs])
        if self._full_texts is None:
            return ScoredChunk(sentences, scored)
        abstracts = list(map(TaggedAbstract, given.records, sentences, scored))
        limit = self._settings.tag.full_text_evidence_sentences
        full_texts = {
            # The rows are made here, because they take less memory than the sentences and scores of a full text.
            record.record_id: (
                list(full_text_rows(tagger, self._model.config.model_id, record, tagged, limit)),
                tagged.tagging,
            )
            for record, tagged in tag_full_texts(tagger, abstracts, self._full_texts, self._settings)
        }
        return ScoredChunk(sentences, scored, full_texts)

    def write(self, given: ChunkInput, scored: ScoredChunk) -> Chunk:
        """Write the output of `score` as a finished chunk of records, and return the description of the chunk."""
        unlike = sum(one.unlike and one.decisions[0] != "no" for one in scored.abstracts)
        full_texts = None
        if scored.full_texts is not None:
            full_texts = {record_id: tagging for record_id, (_, tagging) in scored.full_texts.items()}
        rows = self._rows(given, scored)
        return self._job.chunks.write(self._job.manifest, given.number, rows, unlike, full_texts)

    def _rows(self, given: ChunkInput, scored: ScoredChunk) -> Iterator[Prediction]:
        """Yield each record's predictions: first those from the abstract, then those from the full text."""
        tagger, model_id, settings = self._model.tagger, self._model.config.model_id, self._settings.tag
        full_texts = scored.full_texts or {}
        for record, own, one in zip(given.records, scored.sentences, scored.abstracts, strict=True):
            yield from prediction_rows(tagger, model_id, [record], [own], [one], settings.evidence_sentences)
            if record.record_id in full_texts:
                yield from full_texts[record.record_id][0]


def run_local(
    job: Job,
    model: Model,
    settings: Settings,
    on_progress: Progress = lambda _: None,
    run: Runner = directly,
) -> None:
    """Tag the unfinished chunks of records of a tagging run on this machine.

    While a chunk is scored, a thread writes the previous chunk. If ``run`` is from `prefetch.prefetch`, a separate
    process splits the next chunk into sentences at the same time.

    Parameters
    ----------
    on_progress
        Called with the number of records processed since the last call.
    run
        Function that runs `read_chunks`, which reads chunks and splits their records into sentences. By default,
        `read_chunks` runs in the current process.
    """

    def note(writing: Future[Chunk] | None) -> None:
        if writing:
            chunk = writing.result()
            job.finished[chunk.part] = chunk
            on_progress(chunk.stop - chunk.start)

    stream = run(read_chunks, job.records, job.manifest, job.todo, settings.sentences, job.sentences)
    with job.open_full_texts() as full_texts, ThreadPoolExecutor(1) as writer:
        scorer = ChunkScorer(job, model, settings, full_texts)
        writing = None
        try:
            for given in stream:
                scored = scorer.score(given)
                note(writing)
                writing = writer.submit(scorer.write, given, scored)
        finally:
            note(writing)


def finish(
    job: Job,
    codebook: Codebook,
    calibration: Calibration,
    on_progress: Progress = lambda _: None,
    read_signs: ReadSigns = by_words,
) -> dict[str, Any]:
    """Write the result tables of a tagging run, then ``summary.json``; return the content of ``summary.json``.

    If the output folder is on this machine, the chunks of results are joined into one table and then deleted. If it is
    in an object store, the chunks are kept, and no joined table is written.

    Parameters
    ----------
    calibration
        Calibration of the model. The workbook states the bounds of each label.
    on_progress
        Called with the number of records written since the last call.
    read_signs
        Function that returns the sign of each sentence of evidence: ``present`` or ``absent``. The signs are written to
        the tables.
    """
    chunks = [job.finished[number] for number in range(job.manifest.chunks)]
    unlike = sum(chunk.unlike for chunk in chunks)
    summary = job.inputs.summary(job.manifest.identity.model_id, codebook, total_decisions(chunks), unlike)
    if job.full_texts:
        full_texts = {record_id: own for chunk in chunks for record_id, own in (chunk.full_texts or {}).items()}
        summary["full_texts"] = {record_id: own.model_dump(mode="json") for record_id, own in full_texts.items()}
        summary["notes"] += _notes_on_full_texts(full_texts, job.manifest.records, job.manifest.identity.model_id)
        summary["notes"] += job.merged.notes() if job.merged else ()
    if folder := job.output.local:
        if note := review_workbook.too_long(job.manifest.records):
            summary["notes"].append(note)
        labels = [(entry.key, entry.name) for entry in codebook.entries]
        with ExitStack() as stack:
            table = stack.enter_context(RecordTable(job.records.open(), str(job.records)))
            by_basis = job.full_texts is not None
            join = stack.enter_context(joining_predictions(folder / PREDICTIONS, by_basis=by_basis))
            bounds = list(zip(calibration.low.tolist(), calibration.high.tolist(), strict=True))
            guide = review_workbook.guide_to(codebook, bounds)
            paths = {form: folder / name for form, name in NAMES.items()}
            add = stack.enter_context(writing(paths, labels, guide, by_basis=by_basis, read_signs=read_signs))
            for chunk in chunks:
                predictions = _by_record(decisive(join(job.chunks.read(chunk))))
                for record in table.read(chunk.start, chunk.stop):
                    add(record, predictions[record.record_id])
                on_progress(chunk.stop - chunk.start)
        write_json(folder / SUMMARY, summary)
        job.chunks.delete()
    else:
        (job.output / SUMMARY).write(json_bytes(summary))
    return summary


def _notes_on_full_texts(full_texts: Mapping[str, FullTextTagging], records: int, model_id: str) -> Iterator[str]:
    yield (
        f"{len(full_texts)} of {records} records were also tagged from their full text. Relevance was judged by title "
        "and abstract"
    )
    if model_id.startswith(DEFINITIONS_ALONE):
        yield (
            "The probabilities of labels in full texts are even rougher than those in abstracts, because the "
            "correction for the length of a text comes from other codebooks"
        )
    if model_id.startswith(ABSTRACTS_ALONE):
        yield (
            "Every label in full texts needs review, because the coded records are too few to decide labels in long "
            "texts, or do not contain relevant papers without the label"
        )
    if unusual := sum(bool(own.notes) for own in full_texts.values()):
        yield f"See 'full_texts' in {SUMMARY} for notes on {counted(unusual, 'full text')}"


def _by_record(predictions: Iterable[Prediction]) -> Mapping[str, Mapping[str, Prediction]]:
    groups = groupby(predictions, key=lambda prediction: prediction.record_id)
    return {record_id: {row.label: row for row in group} for record_id, group in groups}
