"""Read search exports into records, and count the entries that were kept and rejected."""

from __future__ import annotations

import gc
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json
from mechtag.core.parquet import RecordTable, Rows, iterate_records, read_records
from mechtag.core.printable import printable_name
from mechtag.core.records import Record, Rejected
from mechtag.core.source import Source
from mechtag.core.words import counted
from mechtag.pipeline.reading.archives import refuse_nested, unpack
from mechtag.pipeline.reading.build_record import build
from mechtag.pipeline.reading.formats import find_format
from mechtag.pipeline.reading.joined_files import further_records
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sections import is_cut


@dataclass(frozen=True)
class Note:
    """A defect that did not prevent a record from being read, or a file that could not be read.

    Attributes
    ----------
    record, line
        Number of the first affected record, and number of its first line. ``None`` if the note is about the file.
    count
        Number of affected records.
    """

    file: str
    text: str
    record: int | None = None
    line: int | None = None
    count: int = 1

    def __str__(self) -> str:
        place = f": record {self.record}, line {self.line}" if self.record else ""
        more = f" (and in {counted(self.count - 1, 'more record')})" if self.count > 1 else ""
        return f"{self.file}{place}: {self.text}{more}"


@dataclass(frozen=True)
class SourceCounts:
    """Counts of kept and rejected entries in one source file."""

    file: str
    format: str
    kept: int
    rejected: int
    without_abstract: int

    @property
    def read(self) -> int:
        """Return the number of entries that were read, which is the sum of kept and rejected entries."""
        return self.kept + self.rejected


@dataclass(frozen=True)
class Ingested:
    """The result of reading search exports: records, rejected entries, notes and counts, in file order.

    ``unread`` lists the unreadable files in folders and archives, with the reasons.
    """

    records: tuple[Record, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[Note, ...]
    sources: tuple[SourceCounts, ...]
    unread: tuple[Note, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the counts for ``ingest.json`` and ``summary.json``.

        ``read`` is the sum of ``kept`` and ``rejected``.
        """
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
    """Return a message about abstracts that end in mid-sentence, or ``""`` if their number is 0."""
    if not abstracts:
        return ""
    one = abstracts == 1
    found = "1 abstract ends" if one else f"{abstracts} abstracts end"
    cause = "it is" if one else "they are"
    return f"{found} in mid-sentence, because {cause} truncated in the export; if possible, export complete abstracts"


class Reading:
    """Reads search exports record by record, so that not all records have to be in memory at the same time.

    ``size`` and ``paths`` are known from the start. The other attributes are complete when all records have been read.

    Parameters
    ----------
    sources
        Paths of search exports; see `ingest`.

    Attributes
    ----------
    size
        Total size of the files in bytes.
    rejected
        Rejected entries.
    notes
        Notes on records and files.
    counts
        Counts of each file, as in `Ingested.sources`.
    unread
        Files that could not be read, with the reasons.
    abstracts_cut
        Number of abstracts that end in mid-sentence.
    paths
        Files to read: the sources, with each folder replaced by the files in it. Files that an earlier run of ``mechtag
        ingest`` wrote are left out.

    Raises
    ------
    MechtagError
        If a source is missing, is neither a file nor a folder, is an empty or unreadable folder, or is listed twice; or
        if an earlier run of ``mechtag ingest`` wrote all the files.
    """

    def __init__(self, sources: Sequence[str | Path]) -> None:
        self.rejected: list[Rejected] = []
        self.abstracts_cut = 0
        self.counts: list[SourceCounts] = []
        self.unread: list[Note] = []
        self._notes: dict[tuple[str, str], Note] = {}
        self._groups = [(Path(source), list(self._files(Path(source)))) for source in sources]
        own = _written_by_ingest([path for _, files in self._groups for path in files])
        for path in own:
            self._note(Note(printable_name(path.name), f"not read, because {_OWN}"))
        self._groups = [
            (source, [path for path in files if path not in own])
            for source, files in self._groups
            if not files or not set(files) <= set(own)
        ]
        self.paths = paths = [path for _, files in self._groups for path in files]
        if own and not paths:
            raise MechtagError(f"{own[0]}: {_OWN}; pass the search exports themselves instead")
        if twice := [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]:
            raise MechtagError(f"{twice[0]}: the file is listed more than once among the sources; list each file once")
        self._names = dict(zip(paths, map(printable_name, distinct_names(paths)), strict=True))
        self.size = sum(path.stat().st_size for path in paths)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return the notes on each file; equal notes on several records of a file are combined into one note."""
        return tuple(self._notes.values())

    def summary(self) -> dict[str, Any]:
        """Return the counts for ``ingest.json``; they are complete once all records have been read."""
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
            raise MechtagError(
                f"{source}: the folder cannot be read: {error.strerror}; check its permissions"
            ) from None
        if not found:
            raise MechtagError(
                f"{source}: the folder contains no files; put search exports into it, or name a different folder"
            )
        for path in found:
            if fault := _fault(path):
                self.unread.append(Note(printable_name(f"{source.name}/{path.name}"), _NOT_READ + fault))
            else:
                yield path

    def records(self, on_progress: Callable[[int], None] = lambda _: None) -> Iterator[Record]:
        """Yield the records of all files, in the order of the sources.

        Parameters
        ----------
        on_progress
            Called with the number of bytes read since the last call; the numbers add up to `size`.

        Raises
        ------
        MechtagError
            For the same reasons as in `ingest`.
        """
        for argument, paths in self._groups:
            read, unread = len(self.counts), len(self.unread)
            for path in paths:
                meter = _Meter(path.stat().st_size, on_progress)
                with self._noting_error(path != argument, self._names[path], path):
                    for member, source in unpack(Source(path, on_read=meter)):
                        name = "/".join(filter(None, (self._names[path], member)))
                        with self._noting_error(path != argument or bool(member), name, source.path):
                            if member:
                                refuse_nested(source)
                            yield from self._read(source, name)
                meter.finish()
            if len(self.counts) == read:
                first = (self.unread[unread:] or self.unread)[0]
                raise MechtagError(f"{argument}: none of its files could be read; the first fault is: {first}")

    @contextmanager
    def _noting_error(self, spare: bool, name: str, path: Path) -> Iterator[None]:
        """Context manager that adds a `MechtagError` to ``unread``, or raises the error if ``spare`` is false."""
        try:
            yield
        except MechtagError as error:
            if not spare:
                raise
            # An unreadable file does not stop the reading of other files in a folder or archive.
            self.unread.append(Note(name, _NOT_READ + str(error).removeprefix(f"{path}: ")))

    def _read(self, source: Source, name: str) -> Iterator[Record]:
        form = find_format(source)
        kept = bare = 0
        rejected = len(self.rejected)
        try:
            for entry in form.read(source):
                texts = list(entry.notes)
                built = build(form, entry, name, texts)
                for text in texts:
                    self._note(Note(name, text, entry.number, entry.line))
                if isinstance(built, Record):
                    kept += 1
                    bare += not built.abstract
                    self.abstracts_cut += is_cut(built.abstract)
                    yield built
                else:
                    self.rejected.append(built)
        finally:
            # Also count a file that fails midway, because the records read so far are kept.
            refused = len(self.rejected) - rejected
            self.counts.append(SourceCounts(name, form.name, kept, refused, bare))
        for text in filter(None, (*source.notes, further_records(source, form, kept + refused))):
            self._note(Note(name, text))
        if not kept and not refused:
            self._note(Note(name, "contains no records"))

    def _note(self, note: Note) -> None:
        first = self._notes.get((note.file, note.text))
        self._notes[note.file, note.text] = replace(first, count=first.count + 1) if first else note


_NOT_READ = "not read: "
_OWN = "an earlier run of 'mechtag ingest' wrote this file"
_COUNTS, _REJECTED = "ingest.json", "rejected.jsonl"


def _written_by_ingest(paths: Sequence[Path]) -> list[Path]:
    """Return the paths of files that should not be read, because an earlier run of ``mechtag ingest`` wrote them."""
    names = {printable_name(path.name) for path in paths}
    own: list[Path] = []
    for path in paths:
        if path.name not in (_COUNTS, _REJECTED) and path.suffix != ".parquet":
            continue
        files = _counted_files(path.with_name(_COUNTS))
        # The records of a table whose source files are not all in ``paths`` can be read only from the table.
        # A name may begin with folders and, for a file in an archive, end in the name of the member.
        read_again = all(names.intersection(file.split("/")) for file in files)
        if files and (path.name in (_COUNTS, _REJECTED) or (read_again and _files_of(path) <= files)):
            own.append(path)
    return own


def _counted_files(path: Path) -> set[str]:
    """Return the names of the source files that an ``ingest.json`` lists; return an empty set for any other file."""
    try:
        found = read_json(path)
        known = found.keys() == _summary(0, 0, 0, (), (), ()).keys()
        return {source["file"] for source in found["sources"]} if known else set()
    except (MechtagError, OSError, LookupError, TypeError):
        return set()


def _files_of(table: Path) -> set[str]:
    """Return the names of the source files in a table of records, or ``{""}`` if the file is not a table of records."""
    try:
        with RecordTable(table, str(table)) as records:
            return {str(row["source_file"]) for row in records.rows(["source_file"])}
    except MechtagError:
        return {""}


class _Meter:
    """Reports how many bytes of a file were read; the reports never add up to more than the size of the file."""

    def __init__(self, size: int, on_progress: Callable[[int], None]) -> None:
        self._left, self._on_progress = size, on_progress

    def __call__(self, done: int) -> None:
        done = min(done, self._left)
        self._left -= done
        self._on_progress(done)

    def finish(self) -> None:
        self(self._left)


_FOLDER = "this is a folder within a folder; to read its files, pass this folder too"


def _fault(path: Path) -> str:
    """Return the reason why a path does not lead to a file, or ``""`` if it leads to a file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return (
            f"this is a link to {path.readlink()}, which does not exist; pass the file itself"
            if path.is_symlink()
            else "no such file or folder; check the path"
        )
    except OSError as error:
        return f"this path cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return _FOLDER
    if stat.S_ISREG(mode):
        return ""
    return "this is a pipe, socket or device; save its content to a file and pass the file"


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return a distinct name for each file.

    Equal file names are preceded by as many folders as are needed to distinguish them.
    """
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
        Files, folders, or zip and gzip archives. The files in a folder or archive are read in the order of their names.
        Hidden files in it are skipped. Unreadable files in it are listed in ``unread``.
    on_progress
        Called with the number of bytes read since the last call. The numbers add up to the size of the files.

    Raises
    ------
    MechtagError
        In these cases:

        - A source is missing, is listed twice, is neither a file nor a folder, or is an empty or unreadable folder.
        - A source is itself an unreadable file. A file is unreadable if it is empty, binary, damaged, too large or of
          an unknown format, or if it is a table without a column of titles.
        - None of the files in a folder or archive is readable.
        - An earlier run of ``mechtag ingest`` wrote all the files.
    """
    reading = Reading(sources)
    # Records have no reference cycles, and searching ever more of them for cycles takes as long as the reading.
    collecting = gc.isenabled()
    gc.disable()
    try:
        records = tuple(reading.records(on_progress))
    finally:
        if collecting:
            gc.enable()
    return Ingested(records, tuple(reading.rejected), reading.notes, tuple(reading.counts), tuple(reading.unread))


_NAMED = 5


def read_sources(paths: Sequence[Path], on_note: Callable[[str], None]) -> list[Record]:
    """Read records from Parquet tables and search exports.

    The records of Parquet tables come first, and they keep their ids.

    Parameters
    ----------
    on_note
        Function that is called with a message if an export contains entries that cannot be read.

    Raises
    ------
    MechtagError
        For the same reasons as in `parquet.read_records` and `ingest.ingest`.
    """
    tables = [path for path in paths if path.suffix == ".parquet"]
    exports = [path for path in paths if path.suffix != ".parquet"]
    records = [clean_record(record) for path in tables for record in read_records(path)]
    if exports:
        ingested = ingest(exports)
        if note := lost_entries(ingested):
            on_note(note)
        records += ingested.records
    return records


def read_unique(path: Path, on_note: Callable[[str], None]) -> list[Record]:
    """Read one file in which each record describes a different paper; see `read_sources`.

    Raises
    ------
    MechtagError
        If the file contains no records, or two records of one paper; or for the same reasons as in `read_sources`.
    """
    records = read_sources([path], on_note)
    _check_unique(path, ((record.record_id, record.source_index) for record in records))
    return records


def stream_unique(path: Path, on_note: Callable[[str], None]) -> Iterable[Record]:
    """Return the records of one file as an iterable that can be read several times; see `read_unique`.

    In each iteration, the records of a Parquet table are read from the file in batches. The records of other files are
    in memory.

    Raises
    ------
    MechtagError
        For the same reasons as in `read_unique`. An invalid row of a Parquet table raises the error during iteration.
    """
    if path.suffix != ".parquet":
        return read_unique(path, on_note)
    with RecordTable(path, str(path)) as table:
        names = ("record_id", "source_index")
        _check_unique(path, ((row["record_id"], row["source_index"]) for row in table.rows(names)))
    return Rows(lambda: map(clean_record, iterate_records(path)))


def _check_unique(path: Path, records: Iterable[tuple[str, int]]) -> None:
    """Raise `MechtagError` if there are no records, or if two records have the same id.

    ``records`` yields the id of each record and the number of the record in its file.
    """
    first: dict[str, int] = {}
    for record_id, number in records:
        if record_id in first:
            raise MechtagError(
                f"{path}: record {number} is the same paper as record {first[record_id]} "
                f"({record_id}); run 'mechtag ingest', then 'mechtag dedupe', and use the output"
            )
        first[record_id] = number
    if not first:
        raise MechtagError(f"{path}: the file contains no records; check that you named the right file")


def lost_entries(ingested: Ingested) -> str:
    """Return a message that counts and lists unreadable entries and files, or ``""`` if there are none."""
    lost = [Note(one.file, one.reason, one.record, one.line) for one in ingested.rejected] + list(ingested.unread)
    if not lost:
        return ""
    named = "; ".join(map(str, lost[:_NAMED])) + (f"; and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
    entries = "1 entry" if len(lost) == 1 else f"{len(lost):,} entries"
    return (
        f"note: {entries} could not be read and will be ignored: {named}. "
        "'mechtag ingest' lists all unreadable entries in rejected.jsonl, and all unreadable files in ingest.json"
    )
