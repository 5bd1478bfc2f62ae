"""Store the results of a tagging run in chunks of records, so that an interrupted run can be resumed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mechtag.core.codebook import Strict, describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import json_bytes
from mechtag.core.full_text import FullTextTagging
from mechtag.core.parquet import pack_predictions
from mechtag.core.records import Prediction, decisive
from mechtag.pipeline.tagging.storage import StoragePath

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CHUNK_FOLDER = "parts"
_LOCK = ".lock"
_PART = re.compile(r"predictions-\d{5,}\.(parquet|json)")
_NOTE = re.compile(r"predictions-\d{5,}\.json")
_READERS = 16


class Identity(Strict):
    """Everything that the predictions of a tagging run depend on.

    Attributes
    ----------
    input
        SHA-256 of each input file, keyed by the name of the file. For a file in an object store, its size and
        modification time are used instead.
    model_id, codebook
        Id of the model, and SHA-256 hash of the codebook.
    settings
        Values of the settings that affect the predictions.
    """

    input: dict[str, str]
    model_id: str
    codebook: str
    settings: dict[str, Any]

    def changes(self, now: Identity) -> Iterator[str]:
        """Yield a message for each difference between the run that was started and the current request.

        ``self`` describes the run that was started, and ``now`` describes the current request.
        """
        for what, mine, other in (
            ("source", self.input, now.input),
            ("model", {"": self.model_id}, {"": now.model_id}),
            ("codebook", {"": self.codebook[:12]}, {"": now.codebook[:12]}),
            ("setting", self.settings, now.settings),
        ):
            for name in [*mine, *(name for name in other if name not in mine)]:
                before, after = mine.get(name), other.get(name)
                if before == after:
                    continue
                if what == "source":
                    how = "is new" if before is None else "is missing" if after is None else "has different content"
                else:
                    how = f"was {before} and is now {after}"
                yield " ".join(filter(None, (what, name, how)))


class RunManifest(Strict):
    """Content of ``manifest.json``, which describes a tagging run and does not change during the run.

    The records are tagged in chunks of ``chunk_records`` records; the last chunk may be smaller. Chunks and records are
    numbered from 0. ``intake`` describes the input; it contains the fields of `inputs.Inputs`.
    """

    format_version: int = FORMAT_VERSION
    identity: Identity
    records: int
    chunk_records: int
    intake: dict[str, Any]

    @property
    def chunks(self) -> int:
        """Return the number of chunks of records in the run."""
        return -(-self.records // self.chunk_records)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the number of the first record in a chunk of records, and of the first record after the chunk."""
        start = number * self.chunk_records
        return start, min(start + self.chunk_records, self.records)


class Chunk(Strict):
    """Description of a finished chunk (records that were tagged together).

    Attributes
    ----------
    part
        Number of the chunk, starting at 0.
    start, stop
        Number of the first record in the chunk, and number of the first record after the chunk.
    rows, sha256
        Number of predictions in the chunk, and SHA-256 of the file that contains the predictions.
    decisions
        How many records got each decision, keyed by label and then by decision. The further key ``not_scored`` counts
        those records that were decided ``no`` without scoring.
    unlike
        Number of records that may be relevant but are unlike the training texts.
    full_texts
        How each full text was tagged, keyed by record id; ``None`` if only abstracts were tagged.
    """

    part: int
    start: int
    stop: int
    rows: int
    sha256: str
    decisions: dict[str, dict[str, int]]
    unlike: int
    full_texts: dict[str, FullTextTagging] | None = None


class ChunkStore:
    """The chunks of a tagging run, stored in a folder.

    A chunk consists of two files: its predictions (``predictions-00000.parquet``) and its description
    (``predictions-00000.json``, see `Chunk`). The description is written last, so a chunk counts as finished if its
    description exists. On this machine, the predictions must also have the SHA-256 in the description. In an object
    store, the SHA-256 is not checked until the predictions are read. Several processes can write chunks at the same
    time without coordination.
    """

    def __init__(self, folder: StoragePath) -> None:
        self.folder = folder

    def begun(self) -> RunManifest | None:
        """Return the manifest of the unfinished run in this folder, or ``None`` if there is no such run.

        Raises
        ------
        MechtagError
            If the manifest is damaged or has an unsupported format version.
        """
        place = self.folder / MANIFEST
        if not place.exists():
            return None
        try:
            data = json.loads(place.read())
            if data.get("format_version") != FORMAT_VERSION:
                raise MechtagError(
                    f"{place}: format {data.get('format_version')!r} is not supported, because this version of mechtag "
                    f"reads only format {FORMAT_VERSION}; resume with the version of mechtag that started the run, or "
                    f"delete {self.folder}"
                )
            return RunManifest.model_validate(data)
        except ValidationError as error:
            raise MechtagError(
                f"{describe_validation(str(place), error)}\nDelete {self.folder} to start the run again"
            ) from None
        except (ValueError, AttributeError, RecursionError) as error:
            raise MechtagError(
                f"{place}: the file is not readable: {error}; delete the folder {self.folder}, and start the run again"
            ) from None

    def begin(self, manifest: RunManifest) -> None:
        """Delete the files of any earlier run in this folder, and write the manifest of a new run."""
        self.delete()
        (self.folder / MANIFEST).write(json_bytes(manifest.model_dump(mode="json")))

    def delete(self) -> None:
        """Delete the manifest of a tagging run, and then the chunks of the run."""
        # The chunks are useless without the manifest, so they may be left if this is interrupted.
        for name in sorted(self.folder.names(), key=lambda name: name != MANIFEST):
            if name == MANIFEST or _PART.fullmatch(name):
                (self.folder / name).delete()
        if self.folder.local:
            with suppress(OSError):  # missing, or not empty
                self.folder.local.rmdir()

    def write(
        self,
        manifest: RunManifest,
        number: int,
        predictions: Iterable[Prediction],
        unlike: int,
        full_texts: dict[str, FullTextTagging] | None = None,
    ) -> Chunk:
        """Write the predictions and the description of a finished chunk of records, and return the description.

        Parameters
        ----------
        unlike
            Number of records that may be relevant, but whose texts are unlike the training texts.
        full_texts
            How each full text was tagged, keyed by record id; ``None`` if only abstracts were tagged.
        """
        rows = list(predictions)
        data = pack_predictions(rows, by_basis=full_texts is not None)
        decisions: dict[str, Counter[str]] = {}
        for row in decisive(rows):
            decisions.setdefault(row.label, Counter())[row.decision] += 1
            if row.score is None:
                decisions[row.label]["not_scored"] += 1
        start, stop = manifest.bounds(number)
        sha256 = hashlib.sha256(data).hexdigest()
        chunk = Chunk(
            part=number,
            start=start,
            stop=stop,
            rows=len(rows),
            sha256=sha256,
            decisions=decisions,
            unlike=unlike,
            full_texts=full_texts,
        )
        self._table(number).write(data)
        self._note(number).write(json_bytes(chunk.model_dump(mode="json")))
        return chunk

    def written(self) -> int:
        """Return the number of chunks that were written, without checking their content."""
        return sum(bool(_NOTE.fullmatch(name)) for name in self.folder.names())

    def finished(self, manifest: RunManifest) -> dict[int, Chunk]:
        """Return the descriptions of the finished chunks of records, keyed by the number of the chunk."""
        names = self.folder.names()

        def whole(number: int) -> Chunk | None:
            note, table = self._note(number), self._table(number)
            if {_name(note), _name(table)} <= names:
                with suppress(ValidationError, MechtagError, OSError):
                    chunk = Chunk.model_validate_json(note.read())
                    # Object stores keep files intact, but a file may be damaged if a disk was full or lost power.
                    intact = not table.local or table.sha256() == chunk.sha256
                    if intact and (chunk.start, chunk.stop) == manifest.bounds(number):
                        return chunk
            return None

        # Read in parallel, because object stores respond slowly.
        with ThreadPoolExecutor(_READERS) as pool:
            return {chunk.part: chunk for chunk in pool.map(whole, range(manifest.chunks)) if chunk}

    def read(self, chunk: Chunk) -> bytes:
        """Return the content of the predictions file of a chunk of records, after checking the SHA-256 of the file.

        Raises
        ------
        MechtagError
            If the file has changed since it was written.
        """
        data = self._table(chunk.part).read()
        if hashlib.sha256(data).hexdigest() != chunk.sha256:
            raise MechtagError(
                f"{self._table(chunk.part)}: this file was changed after it was written; continue the "
                "run to recreate it",
                options="--resume",
            )
        return data

    def _table(self, number: int) -> StoragePath:
        return self.folder / f"predictions-{number:05d}.parquet"

    def _note(self, number: int) -> StoragePath:
        return self.folder / f"predictions-{number:05d}.json"


def _name(place: StoragePath) -> str:
    return place.path.rpartition("/")[2]


def total_decisions(chunks: Iterable[Chunk]) -> Mapping[str, Counter[str]]:
    """Return how many records of a tagging run got each decision, keyed by label and then by decision."""
    totals: dict[str, Counter[str]] = {}
    for chunk in chunks:
        for label, counts in chunk.decisions.items():
            totals.setdefault(label, Counter()).update(counts)
    return totals


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder if necessary, and lock the folder until the context ends.

    If the folder was created and is still empty at the end, it is deleted. A lock left by a process that has died is
    ignored.

    Raises
    ------
    MechtagError
        If a different run is writing to the folder.
    """
    from filelock import FileLock, Timeout

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise MechtagError(
            f"{folder}: another run of mechtag is writing to this folder; wait until it ends, or choose a different "
            "folder"
        ) from None
    try:
        yield
    finally:
        # Delete before releasing: afterwards the file may belong to another run. Windows cannot delete an open file.
        with suppress(PermissionError):
            (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # not empty
            for path in made:
                path.rmdir()
