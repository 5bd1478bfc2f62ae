"""From search exports to records, with a count of everything that was read."""

from __future__ import annotations

import gc
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Rejected
from mechtag.pipeline.reading.archives import refuse_nested, unpack
from mechtag.pipeline.reading.build_record import construct
from mechtag.pipeline.reading.formats import find_format
from mechtag.pipeline.reading.source import Source
from mechtag.pipeline.text.sections import is_cut


@dataclass(frozen=True)
class Note:
    """Something odd that did not keep a record from being read, or a file that could not be.

    ``record`` and ``line`` are those of the first record of which it is true, ``count``
    is the number of such records.
    """

    file: str
    text: str
    record: int | None = None
    line: int | None = None
    count: int = 1

    def __str__(self) -> str:
        place = f": record {self.record}, line {self.line}" if self.record else ""
        more = f" (and in {self.count - 1} more records)" if self.count > 1 else ""
        return f"{self.file}{place}: {self.text}{more}"


@dataclass(frozen=True)
class SourceCounts:
    """What became of the entries of one file."""

    file: str
    format: str
    kept: int
    rejected: int
    without_abstract: int

    @property
    def read(self) -> int:
        """Every entry was either kept or rejected."""
        return self.kept + self.rejected


@dataclass(frozen=True)
class Ingested:
    """Records and rejected entries in the order of the files.

    ``unread`` are files of folders and archives that could not be read, with the reason.
    """

    records: tuple[Record, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[Note, ...]
    sources: tuple[SourceCounts, ...]
    unread: tuple[Note, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Count entries, for ``ingest.json`` and ``summary.json``: read = kept + rejected."""
        cut = sum(is_cut(record.abstract) for record in self.records)
        return _summary(len(self.records), len(self.rejected), cut, self.sources, self.notes, self.unread)


def _summary(
    kept: int, rejected: int, cut: int, sources: Sequence[SourceCounts], notes: Sequence[Note], unread: Sequence[Note]
) -> dict[str, Any]:
    return {
        "read": kept + rejected,
        "kept": kept,
        "rejected": rejected,
        "abstracts_cut": cut,
        "sources": [{**asdict(source), "read": source.read} for source in sources],
        "unread": [str(note) for note in unread],
        "notes": [str(note) for note in notes],
    }


def cut_note(abstracts: int) -> str:
    """Say how many abstracts end in mid-sentence; ``""`` where none does."""
    if abstracts == 1:
        return "1 abstract ends in mid-sentence: the export cut it off"
    return f"{abstracts} abstracts end in mid-sentence: the export cut them off" if abstracts else ""


class Reading:
    """Search exports, read record by record, so that not all of them need be in memory.

    Parameters
    ----------
    sources
        As for `ingest`.

    Attributes
    ----------
    size
        Bytes of all the files.
    rejected, notes, counts, unread
        As in `Ingested`; complete when all records were read.
    abstracts_cut
        How many abstracts end in mid-sentence; complete then, too.

    Raises
    ------
    MechtagError
        A source is missing, no file or folder, or given twice.
    """

    def __init__(self, sources: Sequence[str | Path]) -> None:
        self.rejected: list[Rejected] = []
        self.abstracts_cut = 0
        self.counts: list[SourceCounts] = []
        self.unread: list[Note] = []
        self._notes: dict[tuple[str, str], Note] = {}
        self._groups = [(Path(source), list(self._files(Path(source)))) for source in sources]
        paths = [path for _, files in self._groups for path in files]
        if twice := [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]:
            raise MechtagError(f"{twice[0]}: given twice; name each file once")
        self._names = dict(zip(paths, _names(paths), strict=True))
        self.size = sum(path.stat().st_size for path in paths)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was odd, file by file; the same of many records is one note."""
        return tuple(self._notes.values())

    def summary(self) -> dict[str, Any]:
        """Count entries, as `Ingested.summary` does; complete when all records were read."""
        kept = sum(source.kept for source in self.counts)
        return _summary(kept, len(self.rejected), self.abstracts_cut, self.counts, self.notes, self.unread)

    def _files(self, source: Path) -> Iterator[Path]:
        if (fault := _fault(source)) != _FOLDER:
            if fault:
                raise MechtagError(f"{source}: {fault}")
            yield source
            return
        try:
            found = sorted(path for path in source.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise MechtagError(f"{source}: cannot be read: {error.strerror}") from None
        if not found:
            raise MechtagError(f"{source}: the folder holds no files")
        for path in found:
            if fault := _fault(path):
                self.unread.append(Note(f"{source.name}/{path.name}", _NOT_READ + fault))
            else:
                yield path

    def records(self, on_progress: Callable[[int], None] = lambda _: None) -> Iterator[Record]:
        """Read the files one after the other.

        Parameters
        ----------
        on_progress
            Called with a number of bytes of the files; all in all, with `size`.

        Raises
        ------
        MechtagError
            As `ingest`.
        """
        for argument, paths in self._groups:
            read, unread = len(self.counts), len(self.unread)
            for path in paths:
                meter = _Meter(path.stat().st_size, on_progress)
                with self._sparing(path != argument, self._names[path], path):
                    for member, source in unpack(Source(path, on_read=meter)):
                        name = "/".join(filter(None, (self._names[path], member)))
                        with self._sparing(path != argument or bool(member), name, source.path):
                            if member:
                                refuse_nested(source)
                            yield from self._read(source, name)
                meter.finish()
            if len(self.counts) == read:
                first = (self.unread[unread:] or self.unread)[0]
                raise MechtagError(f"{argument}: no file in it could be read; the first: {first}")

    @contextmanager
    def _sparing(self, spare: bool, name: str, path: Path) -> Iterator[None]:
        """Go on after a fault, if the file is one of many that a folder or archive holds; the fault is told."""
        try:
            yield
        except MechtagError as error:
            if not spare:
                raise
            self.unread.append(Note(name, _NOT_READ + str(error).removeprefix(f"{path}: ")))

    def _read(self, source: Source, name: str) -> Iterator[Record]:
        form = find_format(source)
        kept = bare = 0
        rejected = len(self.rejected)
        try:
            for entry in form.read(source):
                told = list(entry.notes)
                built = construct(entry, form.clean(entry.fields), name, told)
                for text in told:
                    self._note(Note(name, text, entry.number, entry.line))
                if isinstance(built, Record):
                    kept += 1
                    bare += not built.abstract
                    self.abstracts_cut += is_cut(built.abstract)
                    yield built
                else:
                    self.rejected.append(built)
        finally:
            # Also of a file that breaks off, for what was read of it is kept.
            refused = len(self.rejected) - rejected
            self.counts.append(SourceCounts(name, form.name, kept, refused, bare))
        for text in source.notes:
            self._note(Note(name, text))
        if not kept and not refused:
            self._note(Note(name, "holds no records"))

    def _note(self, note: Note) -> None:
        first = self._notes.get((note.file, note.text))
        self._notes[note.file, note.text] = replace(first, count=first.count + 1) if first else note


_NOT_READ = "not read: "


class _Meter:
    """Passes progress on, up to the size of a file."""

    def __init__(self, size: int, on_progress: Callable[[int], None]) -> None:
        self._left, self._on_progress = size, on_progress

    def __call__(self, done: int) -> None:
        done = min(done, self._left)
        self._left -= done
        self._on_progress(done)

    def finish(self) -> None:
        self(self._left)


_FOLDER = "a folder in a folder; name it to have its files read"


def _fault(path: Path) -> str:
    """Why a path is no file that can be read, or ``""``."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"a link to {path.readlink()}, which does not exist" if path.is_symlink() else "no such file or folder"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return _FOLDER
    return "" if stat.S_ISREG(mode) else "a pipe, socket or device; save what comes from it to a file, and give that"


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, with as many folders before them as tell the files apart."""
    names = [path.name for path in paths]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        shared = Counter(names)
        names = [
            "/".join(path.resolve().parts[-depth:]) if shared[name] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names


def ingest(sources: Sequence[str | Path], on_progress: Callable[[int], None] = lambda _: None) -> Ingested:
    """Read search exports of any known format.

    Parameters
    ----------
    sources
        Files, folders, or zip and gzip files of them. The files of a folder or an archive
        are read in the order of their names; one that cannot be read is told in
        ``unread`` and does not stop the others. Hidden files are left out.
    on_progress
        Called with a number of bytes of the files; all in all, with their size.

    Raises
    ------
    MechtagError
        A source is missing, no file or folder, or given twice. A file is empty, binary,
        damaged, too large, or of no known format, or a table has no column with titles;
        of a folder or an archive, all files are.
    """
    reading = Reading(sources)
    # Records have no cycles; to look for some among ever more of them takes as long as the reading.
    collecting = gc.isenabled()
    gc.disable()
    try:
        records = tuple(reading.records(on_progress))
    finally:
        if collecting:
            gc.enable()
    return Ingested(records, tuple(reading.rejected), reading.notes, tuple(reading.counts), tuple(reading.unread))
