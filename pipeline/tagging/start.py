"""Start a run of tagging, or resume one that was interrupted."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import RecordTable
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings, Settings
from mechtag.pipeline.export import EXPORTERS
from mechtag.pipeline.tagging.chunks import PARTS, Identity, Manifest, Part, Parts, locked
from mechtag.pipeline.tagging.inputs import (
    RECORDS,
    GivenSentences,
    Intake,
    fingerprints,
    survey,
    table_among,
    take_in_exports,
    take_in_table,
)
from mechtag.pipeline.tagging.storage import Place, is_remote, locate
from mechtag.pipeline.text.cleaning import clean_record
from mechtag.pipeline.text.sentences import split

if TYPE_CHECKING:  # the process that cuts sentences needs nothing that it imports, a second's worth
    from mechtag.models.model_folder import ModelConfig

SUMMARY = "summary.json"
PREDICTIONS = "predictions.parquet"
# A full disk, or a full share of it; Windows has no shares.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_ANEW = "or delete that folder to begin anew"


class Chunk(NamedTuple):
    """The records of one part, with their sentences."""

    part: int
    records: list[Record]
    sentences: list[Sentence]


@dataclass(frozen=True)
class Job:
    """Records to tag, and where their predictions go.

    Attributes
    ----------
    records
        Table of the records.
    sentences
        Table of sentences that were cut before.
    output
        Folder of the results.
    finished
        Parts that are done; whoever makes one adds it.
    """

    records: Place
    sentences: Path | None
    output: Place
    parts: Parts
    manifest: Manifest
    finished: dict[int, Part]

    @property
    def intake(self) -> Intake:
        """What was counted before tagging."""
        return Intake.model_validate(self.manifest.intake)

    @property
    def todo(self) -> list[int]:
        """Parts that are still to be made."""
        return [number for number in range(self.manifest.parts) if number not in self.finished]

    @property
    def done(self) -> int:
        """How many records have their predictions written."""
        return sum(part.stop - part.start for part in self.finished.values())


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes
    ----------
    sources
        Exports or folders of them; or one parquet table of records, which is taken as it
        is, and may have a URI.
    output
        Folder; or its URI, for a table only.
    sentences
        Table of sentences that were cut before.
    runtime
        What the encoder runs in, for another one gives slightly other scores.
    """

    sources: Sequence[str]
    output: str
    settings: Settings
    model: ModelConfig
    sentences: Path | None = None
    runtime: str = "torch"

    def identity(self, table: Place | None) -> Identity:
        """Tell all that the predictions depend on."""
        blocks = ("sentences", "tag") if table else ("dedupe", "sentences", "tag")
        values = {block: getattr(self.settings, block).model_dump() for block in blocks}
        return Identity(
            input=fingerprints(self.sources, table, self.sentences),
            model_id=self.model.model_id,
            codebook=self.model.codebook_sha256,
            settings={
                **{f"{block}.{key}": value for block in blocks for key, value in values[block].items()},
                "runtime": self.runtime,
            },
        )


@contextmanager
def opened(request: Request, *, resume: bool = False) -> Iterator[Job]:
    """Begin to tag, or go on, and keep other runs out of the output meanwhile.

    An object store has no locks, so there it is for the user to see that no two runs write
    to one folder.

    Parameters
    ----------
    resume
        Go on with the unfinished run that is there, if there is one.

    Raises
    ------
    MechtagError
        As the readers of exports and tables; sentences are given with anything but a
        table, or belong to other records; another run writes to the output; there is an
        unfinished run and ``resume`` is not set; or it is set, and a source, the model,
        the codebook or a setting has changed. The run was stopped with Ctrl-C, or the disk
        is full: what is finished is kept.
    """
    table = table_among(request.sources, request.sentences)
    if not table and is_remote(request.output):
        raise MechtagError(
            f"{request.output}: only the tags of one table of records (.parquet) can be written to a URI; "
            "make one with 'mechtag ingest' and 'mechtag dedupe'"
        )
    output = locate(request.output)
    parts = Parts(output / PARTS)
    with locked(output.local) if output.local else nullcontext():
        try:
            manifest = _resume(request, table, parts, resume) or _begin(request, table, parts, output)
            records = table if table and not output.local else output / RECORDS
            yield Job(records, request.sentences, output, parts, manifest, parts.finished(manifest))
        except KeyboardInterrupt:
            raise MechtagError(f"stopped. {_state(parts)}") from None
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise MechtagError(f"{output}: no space is left on the disk. {_state(parts)}") from None


def _state(parts: Parts) -> str:
    manifest = parts.begun()
    if not manifest:
        return "Nothing was tagged yet; run the same command again"
    return f"{parts.written()} of {manifest.parts} parts are written; go on with --resume"


def _resume(request: Request, table: Place | None, parts: Parts, resume: bool) -> Manifest | None:
    manifest = parts.begun()
    if not manifest:
        return None
    if not resume:
        raise MechtagError(
            f"{parts.folder}: a run is there, with {parts.written()} of {manifest.parts} parts written; "
            f"go on with --resume, {_ANEW}"
        )
    if changes := "; ".join(manifest.identity.changes(request.identity(table))):
        raise MechtagError(
            f"{parts.folder}: this run cannot go on, for its parts would not fit together: {changes}. "
            f"Change that back, {_ANEW}"
        )
    return manifest


def _begin(request: Request, table: Place | None, parts: Parts, output: Place) -> Manifest:
    if table:
        intake = survey(table)
        if request.sentences:
            _check_sentences(table, request.sentences, clean=output.local is not None)
        if output.local:
            take_in_table(table, output.local)
    else:
        assert output.local
        intake = take_in_exports(request.sources, request.settings, output.local)
    identity = request.identity(table)
    # What an earlier run wrote is of other records.
    for name in (SUMMARY, PREDICTIONS, *(f"tagged.{form}" for form in EXPORTERS)):
        (output / name).delete()
    manifest = Manifest(
        identity=identity,
        records=intake.records,
        chunk_records=request.settings.tag.chunk_records,
        intake=intake.model_dump(mode="json"),
    )
    parts.begin(manifest)
    return manifest


def _check_sentences(table: Place, sentences: Path, clean: bool) -> None:
    """Look that sentences are of these records; ``clean`` says that they are cleaned when they are copied."""
    given = GivenSentences(sentences)
    with RecordTable(table.open(), str(table)) as records:
        for start in range(0, records.count, 1000):
            own = records.read(start, start + 1000)
            given.of(map(clean_record, own) if clean else own)
    given.end()


def read_chunks(
    records: Place, manifest: Manifest, parts: Sequence[int], settings: SentenceSettings, sentences: Path | None = None
) -> Iterator[Chunk]:
    """Read the records of parts, in rising order, and cut them into sentences if that was not done before."""
    with RecordTable(records.open(), str(records)) as table:
        if not sentences:
            for number in parts:
                own = table.read(*manifest.bounds(number))
                yield Chunk(number, own, list(split(own, settings)))
            return
        given, wanted = GivenSentences(sentences), set(parts)
        for number in range(manifest.parts):
            own = table.read(*manifest.bounds(number))
            cut = given.of(own)
            if number in wanted:
                yield Chunk(number, own, cut)
