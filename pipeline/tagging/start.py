"""Start a tagging run, or resume a run that was interrupted."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.outputs import check_outputs
from mechtag.core.parquet import FullTextTable, RecordTable
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings, Settings
from mechtag.pipeline.dedupe.merged import read_merged
from mechtag.pipeline.export.tagged import NAMES
from mechtag.pipeline.reading.ingest import Reading
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.chunks import CHUNK_FOLDER, Chunk, ChunkStore, Identity, RunManifest, locked
from mechtag.pipeline.tagging.inputs import (
    RECORDS,
    GivenSentences,
    Inputs,
    copy_table,
    find_table,
    fingerprints,
    ingest_exports,
    input_files,
    survey,
)
from mechtag.pipeline.tagging.storage import StoragePath, is_remote, locate

if TYPE_CHECKING:  # the process that splits sentences does not need it, and importing it takes a second
    from mechtag.models.model_folder import ModelConfig
    from mechtag.pipeline.tagging.merged_full_texts import MergedFullTexts

SUMMARY = "summary.json"
PREDICTIONS = "predictions.parquet"
_RESULTS = (SUMMARY, PREDICTIONS, *NAMES.values())
# A full disk or an exceeded quota; Windows has no EDQUOT.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_RESUME = "add --resume to continue"
_START_OVER = "or delete this folder to start over"


class ChunkInput(NamedTuple):
    """The number, records and sentences of one chunk of records that are tagged together."""

    number: int
    records: list[Record]
    sentences: list[Sentence]


@dataclass(frozen=True)
class Job:
    """A tagging run that was started or resumed: its input, its output folder, and its progress.

    Attributes
    ----------
    records
        Table of the records to tag.
    sentences
        Table of precomputed sentences, or ``None``.
    output
        Folder for the results.
    finished
        Finished chunks of records, keyed by chunk number. The caller adds each chunk that it finishes.
    full_texts
        Table of full texts, or ``None`` if only abstracts are tagged.
    merged
        Full texts of the duplicates that were merged into the records; ``None`` if only abstracts are tagged.
    """

    records: StoragePath
    sentences: Path | None
    output: StoragePath
    chunks: ChunkStore
    manifest: RunManifest
    finished: dict[int, Chunk]
    full_texts: StoragePath | None = None
    merged: MergedFullTexts | None = None

    @contextmanager
    def open_full_texts(self) -> Iterator[FullTextTable | None]:
        """Open the table of full texts, and yield the open table.

        If only abstracts are tagged, ``None`` is yielded.
        """
        if self.full_texts is None:
            yield None
            return
        used = self.merged.used if self.merged else {}
        with self.full_texts.open() as file, FullTextTable(file, str(self.full_texts), used) as table:
            yield table

    @property
    def inputs(self) -> Inputs:
        """Return the counts that describe the input, such as the number of records without an abstract."""
        return Inputs.model_validate(self.manifest.intake)

    @property
    def todo(self) -> list[int]:
        """Return the numbers of the unfinished chunks of records; the first chunk has the number 0."""
        return [number for number in range(self.manifest.chunks) if number not in self.finished]

    @property
    def done(self) -> int:
        """Return the number of records in finished chunks."""
        return sum(chunk.stop - chunk.start for chunk in self.finished.values())


@dataclass(frozen=True)
class Request:
    """A user's request for a tagging run.

    Attributes
    ----------
    sources
        Search exports or folders of search exports, or the path or URI of one Parquet table of records. The records of
        a table are not deduplicated.
    output
        Folder for the results. It may be a URI if the source is a table.
    sentences
        Table of precomputed sentences, or ``None``.
    full_texts
        Table of full texts, or ``None``.
    groups
        Table of the duplicates that were merged into the records of the source table, or ``None``; see
        `mechtag.pipeline.dedupe.merged`. It is used only with full texts.
    runtime
        Runtime of the encoder. It is recorded because scores differ slightly between runtimes.
    """

    sources: Sequence[str]
    output: str
    settings: Settings
    model: ModelConfig
    sentences: Path | None = None
    full_texts: Path | None = None
    groups: Path | None = None
    runtime: str = "torch"

    def identity(self, table: StoragePath | None) -> Identity:
        """Return the sources, model, codebook and settings that the predictions of this run depend on."""
        blocks = ("sentences", "tag") if table else ("dedupe", "sentences", "tag")
        # The method that reads the signs of evidence changes only the tables, which are written at the end.
        values = {block: getattr(self.settings, block).model_dump(mode="json", exclude={"sign"}) for block in blocks}
        return Identity(
            input=fingerprints(self.sources, table, self.sentences, self.full_texts, self.groups),
            model_id=self.model.model_id,
            codebook=self.model.codebook_sha256,
            settings={
                **{f"{block}.{key}": value for block in blocks for key, value in values[block].items()},
                "runtime": self.runtime,
            },
        )


def check_folder(sources: Sequence[str], output: str, *tables: Path | None) -> None:
    """Raise `MechtagError` if a run would overwrite one of its inputs, or a file with a person's decisions.

    If the folder ``output`` contains an unfinished run, only the results are checked for decisions: the run may have
    been interrupted after it wrote them, and a person may have filled them in. The inputs were checked at the start.
    """
    folder = None if is_remote(output) else locate(output).local
    if not folder:
        return
    results = [folder / name for name in _RESULTS]
    if ChunkStore(locate(output) / CHUNK_FOLDER).begun():
        check_outputs(results)
    else:
        read = (locate(source).local for source in sources if not is_remote(source))
        check_outputs((*input_files(folder), *results), (*read, *tables))


def check_sources(sources: Sequence[str], output: str, sentences: Path | None) -> None:
    """Raise `MechtagError` if a source is missing, or cannot be used with the others or with the output.

    No record is read, so the check takes little time.
    """
    if table := _table(sources, output, sentences):
        table.open().close()
    else:
        Reading(sources)


@contextmanager
def opened(request: Request, *, resume: bool = False) -> Iterator[Job]:
    """Start or resume a tagging run, and lock its output folder against other runs.

    A folder in an object store cannot be locked. Users must make sure that no two runs write to it at the same time.

    Parameters
    ----------
    resume
        Whether to resume the unfinished run in the output folder, if there is one.

    Raises
    ------
    MechtagError
        In these cases:

        - The sources cannot be read.
        - The output is a URI, but the source is not a table of records.
        - Sentences are passed without a table of records, or do not belong to the records in the table.
        - A different run is writing to the output folder.
        - The folder contains an unfinished run, and ``resume`` is false.
        - ``resume`` is true, but a source, the model, the codebook or a setting has changed.
        - The run is stopped with Ctrl-C, or the disk is full. The finished chunks are kept.
    """
    table = _table(request.sources, request.output, request.sentences)
    output = locate(request.output)
    chunks = ChunkStore(output / CHUNK_FOLDER)
    with locked(output.local) if output.local else nullcontext():
        try:
            manifest = _resume(request, table, chunks, resume) or _begin(request, table, chunks, output)
            records = table if table and not output.local else output / RECORDS
            full_texts = locate(request.full_texts) if request.full_texts else None
            job = Job(records, request.sentences, output, chunks, manifest, chunks.finished(manifest), full_texts)
            groups = request.groups if table else input_files(output.local)[1] if output.local else None
            yield replace(job, merged=_merged(job, groups))
        except KeyboardInterrupt:
            raise _unfinished("the run was stopped", chunks) from None
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise _unfinished(f"{output}: there is no space left on the disk", chunks) from None


def _table(sources: Sequence[str], output: str, sentences: Path | None) -> StoragePath | None:
    table = find_table(sources, sentences)
    if not table and is_remote(output):
        raise MechtagError(
            f"{output}: output can go to a URI only if the input is a single table of records (.parquet); create such "
            "a table with 'mechtag ingest' and 'mechtag dedupe'"
        )
    return table


def _merged(job: Job, groups: Path | None) -> MergedFullTexts | None:
    """Assign full texts of merged duplicates to the records that were kept; ``None`` if only abstracts are tagged."""
    from mechtag.pipeline.tagging.merged_full_texts import merged_full_texts

    if job.full_texts is None:
        return None
    merged = read_merged([groups]) if groups else []
    with (
        job.open_full_texts() as full_texts,
        RecordTable(job.records.open(), str(job.records)) as records,
    ):
        assert full_texts
        return merged_full_texts(full_texts, records, merged)


def _unfinished(why: str, chunks: ChunkStore) -> MechtagError:
    manifest = chunks.begun()
    if not manifest:
        return MechtagError(f"{why}. No records have been tagged yet; run the same command again")
    return MechtagError(
        f"{why}. {chunks.written()} of {manifest.chunks} chunks are done; continue the run", options=_RESUME
    )


def _resume(request: Request, table: StoragePath | None, chunks: ChunkStore, resume: bool) -> RunManifest | None:
    manifest = chunks.begun()
    if not manifest:
        return None
    if not resume:
        raise MechtagError(
            f"{chunks.folder}: this folder contains an unfinished run, with {chunks.written()} of {manifest.chunks} "
            f"chunks done; continue this run, {_START_OVER}",
            options=_RESUME,
        )
    if changes := "; ".join(manifest.identity.changes(request.identity(table))):
        raise MechtagError(
            f"{chunks.folder}: this run cannot be resumed, because the following has changed since it was started: "
            f"{changes}. Undo the change, {_START_OVER}"
        )
    return manifest


def _begin(request: Request, table: StoragePath | None, chunks: ChunkStore, output: StoragePath) -> RunManifest:
    if table:
        inputs = survey(table)
        if request.sentences:
            _check_sentences(table, request.sentences, clean=output.local is not None)
        if output.local:
            copy_table(table, output.local)
    else:
        assert output.local
        inputs = ingest_exports(request.sources, request.settings, output.local)
    identity = request.identity(table)
    # Results of an earlier run belong to other records.
    for name in _RESULTS:
        (output / name).delete()
    manifest = RunManifest(
        identity=identity,
        records=inputs.records,
        chunk_records=request.settings.tag.chunk_records,
        intake=inputs.model_dump(mode="json"),
    )
    chunks.begin(manifest)
    return manifest


def _check_sentences(table: StoragePath, sentences: Path, clean: bool) -> None:
    """Raise an error if a precomputed sentence is not in the abstract of its record.

    ``clean`` states whether the abstracts are cleaned first.
    """
    given = GivenSentences(sentences)
    with RecordTable(table.open(), str(table)) as records:
        for start in range(0, records.count, 1000):
            own = records.read(start, start + 1000)
            given.of(map(clean_record, own) if clean else own)
    given.end()


def read_chunks(
    records: StoragePath,
    manifest: RunManifest,
    chunks: Sequence[int],
    settings: SentenceSettings,
    sentences: Path | None = None,
) -> Iterator[ChunkInput]:
    """Yield the number, records and sentences of each chunk whose number is in ``chunks``, in ascending order.

    If ``sentences`` is ``None``, the abstracts are split into sentences.
    """
    with RecordTable(records.open(), str(records)) as table:
        if not sentences:
            for number in chunks:
                own = table.read(*manifest.bounds(number))
                yield ChunkInput(number, own, list(split(own, settings)))
            return
        given, wanted = GivenSentences(sentences), set(chunks)
        for number in range(manifest.chunks):
            own = table.read(*manifest.bounds(number))
            cut = given.of(own)
            if number in wanted:
                yield ChunkInput(number, own, cut)
