"""Chunks of a tagging run that can be interrupted and resumed: manifest, storage and locking."""

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
from mechtag.core.parquet import pack_predictions
from mechtag.core.records import Prediction
from mechtag.pipeline.tagging.storage import StoragePath

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CHUNK_FOLDER = "parts"
_LOCK = ".lock"
_PART = re.compile(r"predictions-\d{5,}\.(parquet|json)")
_NOTE = re.compile(r"predictions-\d{5,}\.json")
_READERS = 16


class Identity(Strict):
    """Everything that the predictions depend on.

    Attributes
    ----------
    input
        SHA-256 of each source by the name that the user gave; in an object store, its size
        and modification time.
    model_id, codebook
        Id of the model, and SHA-256 of the codebook.
    settings
        Values of the settings that affect the predictions.
    """

    input: dict[str, str]
    model_id: str
    codebook: str
    settings: dict[str, Any]

    def changes(self, now: Identity) -> Iterator[str]:
        """Yield a description of each difference between the started run (``self``) and the resumed one (``now``)."""
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
                    how = f"was {before}, is {after}"
                yield " ".join(filter(None, (what, name, how)))


class RunManifest(Strict):
    """Content of ``manifest.json``, which does not change during a run.

    Chunk ``n`` has the records from ``n * chunk_records`` up to but not including
    ``(n + 1) * chunk_records``, counted from 0. ``intake`` holds the counts made before
    tagging (`inputs.Inputs`), for the summary.
    """

    format_version: int = FORMAT_VERSION
    identity: Identity
    records: int
    chunk_records: int
    intake: dict[str, Any]

    @property
    def chunks(self) -> int:
        """Return the number of chunks of the run."""
        return -(-self.records // self.chunk_records)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the number of the first record of a chunk, and that after its last record."""
        start = number * self.chunk_records
        return start, min(start + self.chunk_records, self.records)


class Chunk(Strict):
    """Description of a finished chunk: its number, records, file and decisions.

    Attributes
    ----------
    part
        Number of the chunk, from 0.
    start, stop
        Number of its first record, and that after its last.
    rows, sha256
        Number of predictions, and hash of their file.
    decisions
        Number of records by label and decision; ``not_scored`` counts the part of ``no`` that was not scored.
    unlike
        Number of records that are not clearly irrelevant but unlike the training texts.
    """

    part: int
    start: int
    stop: int
    rows: int
    sha256: str
    decisions: dict[str, dict[str, int]]
    unlike: int


class ChunkStore:
    """The chunks of a run, stored in a folder.

    A chunk consists of two files: ``predictions-00000.parquet``, and ``predictions-00000.json`` (`Chunk`),
    which is written last. A chunk without the second file, or with another SHA-256, is unfinished.
    So writers of chunks on different machines need no coordination.
    """

    def __init__(self, folder: StoragePath) -> None:
        self.folder = folder

    def begun(self) -> RunManifest | None:
        """Return the manifest of the run in this folder, or ``None``.

        Raises
        ------
        MechtagError
            The manifest is damaged, or has another format version.
        """
        place = self.folder / MANIFEST
        if not place.exists():
            return None
        try:
            data = json.loads(place.read())
            if data.get("format_version") != FORMAT_VERSION:
                raise MechtagError(
                    f"{place}: format {data.get('format_version')!r} is not supported; this version of mechtag reads "
                    f"{FORMAT_VERSION}; resume with the version that started the run, or delete {self.folder}"
                )
            return RunManifest.model_validate(data)
        except ValidationError as error:
            raise MechtagError(
                f"{describe_validation(str(place), error)}\nDelete {self.folder} to start over"
            ) from None
        except (ValueError, AttributeError) as error:
            raise MechtagError(f"{place}: not readable: {error}; delete {self.folder} to start over") from None

    def begin(self, manifest: RunManifest) -> None:
        """Start a new run, and delete what an earlier one left."""
        self.delete()
        (self.folder / MANIFEST).write(json_bytes(manifest.model_dump(mode="json")))

    def delete(self) -> None:
        """Delete the manifest and then the chunks, which are useless without it."""
        for name in sorted(self.folder.names(), key=lambda name: name != MANIFEST):
            if name == MANIFEST or _PART.fullmatch(name):
                (self.folder / name).delete()
        if self.folder.local:
            with suppress(OSError):  # missing, or not empty
                self.folder.local.rmdir()

    def write(self, manifest: RunManifest, number: int, predictions: Iterable[Prediction], unlike: int) -> Chunk:
        """Write a finished chunk; ``unlike`` as in `Chunk`."""
        rows = list(predictions)
        data = pack_predictions(rows)
        decisions: dict[str, Counter[str]] = {}
        for row in rows:
            decisions.setdefault(row.label, Counter())[row.decision] += 1
            if row.score is None:
                decisions[row.label]["not_scored"] += 1
        start, stop = manifest.bounds(number)
        sha256 = hashlib.sha256(data).hexdigest()
        chunk = Chunk(
            part=number, start=start, stop=stop, rows=len(rows), sha256=sha256, decisions=decisions, unlike=unlike
        )
        self._table(number).write(data)
        self._note(number).write(json_bytes(chunk.model_dump(mode="json")))
        return chunk

    def written(self) -> int:
        """Return the number of written chunks, without checking their content."""
        return sum(bool(_NOTE.fullmatch(name)) for name in self.folder.names())

    def finished(self, manifest: RunManifest) -> dict[int, Chunk]:
        """Return the descriptions of complete chunks by number; all others must be processed again."""
        names = self.folder.names()

        def whole(number: int) -> Chunk | None:
            note, table = self._note(number), self._table(number)
            if {_name(note), _name(table)} <= names:
                with suppress(ValidationError, MechtagError, OSError):
                    chunk = Chunk.model_validate_json(note.read())
                    # Object stores keep files intact; a disk that was full or lost power may not.
                    intact = not table.local or table.sha256() == chunk.sha256
                    if intact and (chunk.start, chunk.stop) == manifest.bounds(number):
                        return chunk
            return None

        # Read in parallel, because object stores respond slowly.
        with ThreadPoolExecutor(_READERS) as pool:
            return {chunk.part: chunk for chunk in pool.map(whole, range(manifest.chunks)) if chunk}

    def read(self, chunk: Chunk) -> bytes:
        """Return the file of a chunk as it was written.

        Raises
        ------
        MechtagError
            The file has changed since.
        """
        data = self._table(chunk.part).read()
        if hashlib.sha256(data).hexdigest() != chunk.sha256:
            raise MechtagError(
                f"{self._table(chunk.part)}: changed since it was written; run again with --resume to recreate it"
            )
        return data

    def _table(self, number: int) -> StoragePath:
        return self.folder / f"predictions-{number:05d}.parquet"

    def _note(self, number: int) -> StoragePath:
        return self.folder / f"predictions-{number:05d}.json"


def _name(place: StoragePath) -> str:
    return place.path.rpartition("/")[2]


def total_decisions(chunks: Iterable[Chunk]) -> Mapping[str, Counter[str]]:
    """Return the decisions of all chunks added up by label."""
    totals: dict[str, Counter[str]] = {}
    for chunk in chunks:
        for label, counts in chunk.decisions.items():
            totals.setdefault(label, Counter()).update(counts)
    return totals


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create and lock a folder; the lock of a process that died is ignored.

    Raises
    ------
    MechtagError
        Another run is writing to the folder.
    """
    from filelock import FileLock, Timeout

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise MechtagError(
            f"{folder}: another run of mechtag is writing to it; wait until that run ends, or choose another folder"
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
