"""A run of tagging that can be interrupted: its parts, what decides their content, and who may write them."""

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

from pydantic import BaseModel, ConfigDict, ValidationError

from mechtag.core.codebook import describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import json_bytes
from mechtag.core.parquet import pack_predictions
from mechtag.core.records import Prediction
from mechtag.pipeline.tagging.storage import Place

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
PARTS = "parts"
_LOCK = ".lock"
_PART = re.compile(r"predictions-\d{5,}\.(parquet|json)")
_NOTE = re.compile(r"predictions-\d{5,}\.json")
_READERS = 16


class Frozen(BaseModel):
    """What stands in a JSON file of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(Frozen):
    """All that the predictions depend on.

    Attributes
    ----------
    input
        Each source, by the name the user gave, and its SHA-256; in an object store its size
        and time of change.
    model_id, codebook
        Id of the model, and SHA-256 of the codebook.
    settings
        Values of the settings that decide the outcome.
    """

    input: dict[str, str]
    model_id: str
    codebook: str
    settings: dict[str, Any]

    def changes(self, now: Identity) -> Iterator[str]:
        """Tell in what a run to be resumed differs from the one that was begun."""
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
                    how = "is new" if before is None else "is missing" if after is None else "has another content"
                else:
                    how = f"was {before}, is {after}"
                yield " ".join(filter(None, (what, name, how)))


class Manifest(Frozen):
    """What ``manifest.json`` says of a run; it does not change while the run goes on.

    Part ``n`` is of the records from ``n * chunk_records`` up to but not including
    ``(n + 1) * chunk_records``, counted from 0. ``intake`` is what was counted before
    tagging, for the summary.
    """

    format_version: int = FORMAT_VERSION
    identity: Identity
    records: int
    chunk_records: int
    intake: dict[str, Any]

    @property
    def parts(self) -> int:
        """How many parts the run has."""
        return -(-self.records // self.chunk_records)

    def bounds(self, number: int) -> tuple[int, int]:
        """First record of a part, and the one after its last."""
        start = number * self.chunk_records
        return start, min(start + self.chunk_records, self.records)


class Part(Frozen):
    """What is known of a finished part: its file's SHA-256, rows, and what was decided.

    Attributes
    ----------
    decisions
        By label, how many records were decided how; ``not_scored`` counts those of the no that were not scored.
    unlike
        How many of the records that are not clearly irrelevant are unlike those that the model learned from.
    """

    part: int
    start: int
    stop: int
    rows: int
    sha256: str
    decisions: dict[str, dict[str, int]]
    unlike: int


class Parts:
    """The parts of a run, in their folder.

    A part is two files: ``predictions-00000.parquet``, and ``predictions-00000.json`` (`Part`),
    which is written after it. A part without the second, or whose SHA-256 is another, is
    not finished. So whoever writes parts, on whatever machine, needs to agree with nobody.
    """

    def __init__(self, folder: Place) -> None:
        self.folder = folder

    def begun(self) -> Manifest | None:
        """Read the manifest of the run that lies here, if there is one.

        Raises
        ------
        MechtagError
            It is damaged, or of another version.
        """
        place = self.folder / MANIFEST
        if not place.exists():
            return None
        try:
            data = json.loads(place.read())
            if data.get("format_version") != FORMAT_VERSION:
                raise MechtagError(
                    f"{place}: format {data.get('format_version')!r} is not known to this version, which reads "
                    f"{FORMAT_VERSION}; go on with the version that began the run, or delete {self.folder}"
                )
            return Manifest.model_validate(data)
        except ValidationError as error:
            raise MechtagError(
                f"{describe_validation(str(place), error)}\nDelete {self.folder} to begin anew"
            ) from None
        except (ValueError, AttributeError) as error:
            raise MechtagError(f"{place}: not readable: {error}; delete {self.folder} to begin anew") from None

    def begin(self, manifest: Manifest) -> None:
        """Set out on a new run; what another left here is deleted."""
        self.delete()
        (self.folder / MANIFEST).write(json_bytes(manifest.model_dump(mode="json")))

    def delete(self) -> None:
        """Delete the manifest, and then the parts, which are nothing without it."""
        for name in sorted(self.folder.names(), key=lambda name: name != MANIFEST):
            if name == MANIFEST or _PART.fullmatch(name):
                (self.folder / name).delete()
        if self.folder.local:
            with suppress(OSError):  # not there, or not empty
                self.folder.local.rmdir()

    def write(self, manifest: Manifest, number: int, predictions: Iterable[Prediction], unlike: int) -> Part:
        """Write a finished part; ``unlike`` as in `Part`."""
        rows = list(predictions)
        data = pack_predictions(rows)
        decisions: dict[str, Counter[str]] = {}
        for row in rows:
            decisions.setdefault(row.label, Counter())[row.decision] += 1
            if row.score is None:
                decisions[row.label]["not_scored"] += 1
        start, stop = manifest.bounds(number)
        sha256 = hashlib.sha256(data).hexdigest()
        part = Part(
            part=number, start=start, stop=stop, rows=len(rows), sha256=sha256, decisions=decisions, unlike=unlike
        )
        self._table(number).write(data)
        self._note(number).write(json_bytes(part.model_dump(mode="json")))
        return part

    def written(self) -> int:
        """Count the parts that have been written, without a look into them."""
        return sum(bool(_NOTE.fullmatch(name)) for name in self.folder.names())

    def finished(self, manifest: Manifest) -> dict[int, Part]:
        """Find the parts that are whole, and read what is known of them; the others are to be made again."""
        names = self.folder.names()

        def whole(number: int) -> Part | None:
            note, table = self._note(number), self._table(number)
            if {_name(note), _name(table)} <= names:
                with suppress(ValidationError, MechtagError, OSError):
                    part = Part.model_validate_json(note.read())
                    # An object store keeps what it has; a disk that was full, or lost its power, may not.
                    intact = not table.local or table.sha256() == part.sha256
                    if intact and (part.start, part.stop) == manifest.bounds(number):
                        return part
            return None

        # An object store takes its time to answer.
        with ThreadPoolExecutor(_READERS) as pool:
            return {part.part: part for part in pool.map(whole, range(manifest.parts)) if part}

    def read(self, part: Part) -> bytes:
        """Read a part, as it was written.

        Raises
        ------
        MechtagError
            It was changed since.
        """
        data = self._table(part.part).read()
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise MechtagError(
                f"{self._table(part.part)}: changed since it was written; run again with --resume, which makes it anew"
            )
        return data

    def _table(self, number: int) -> Place:
        return self.folder / f"predictions-{number:05d}.parquet"

    def _note(self, number: int) -> Place:
        return self.folder / f"predictions-{number:05d}.json"


def _name(place: Place) -> str:
    return place.path.rpartition("/")[2]


def total(parts: Iterable[Part]) -> Mapping[str, Counter[str]]:
    """Add up the decisions of parts, by label."""
    totals: dict[str, Counter[str]] = {}
    for part in parts:
        for label, counts in part.decisions.items():
            totals.setdefault(label, Counter()).update(counts)
    return totals


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made; the lock of a process that died does not count.

    Raises
    ------
    MechtagError
        Another run is writing there.
    """
    from filelock import FileLock, Timeout

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise MechtagError(
            f"{folder}: another run of mechtag is writing there; wait until it has ended, or name another folder"
        ) from None
    try:
        yield
    finally:
        # While it is held: once it is free, the file may be another run's. Windows deletes no open file.
        with suppress(PermissionError):
            (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # not empty
            for path in made:
                path.rmdir()
