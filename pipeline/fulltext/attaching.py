"""Attach full texts to records: find the record of each file, and choose one file for each record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath
from mechtag.core.full_text import Format, FullText
from mechtag.core.parquet import iterate_full_texts, write_full_texts
from mechtag.core.printable import printable_name
from mechtag.core.records import Record, Rejected
from mechtag.core.tables import TableRow, read_table
from mechtag.core.temporary import temporary_folder
from mechtag.pipeline.annotations.record_finder import Finder, cited_in
from mechtag.pipeline.dedupe.merged import MergedRecords
from mechtag.pipeline.fulltext.identity import TITLED, Beginning, Identifier, Match
from mechtag.pipeline.fulltext.preference import preference
from mechtag.pipeline.fulltext.reading import ReadFile
from mechtag.pipeline.fulltext.recorded_paths import RecordedPaths
from mechtag.pipeline.reading.ingest import distinct_names

# Extensions of the files in a folder that are read; other files are read only if they begin like a PDF.
_ENDINGS = frozenset(
    (".pdf", ".xml", ".nxml", ".tei", ".docx", ".doc", ".rtf", ".html", ".htm", ".xhtml", ".epub", ".txt")
)
_SHOWN = 150
_FILE, _RECORD = "file", "record_id"


class FileFound(NamedTuple):
    """A file to read: its path, and its name in tables and messages."""

    path: Path
    name: str


class FilesFound(NamedTuple):
    """The files to read (``files``), and the number of ignored files, keyed by file name extension (``ignored``)."""

    files: tuple[FileFound, ...]
    ignored: Mapping[str, int]


def find_files(sources: Sequence[Path], excluded: Sequence[Path] = ()) -> FilesFound:
    """Find the files to read.

    A file in ``sources`` is read, whatever its extension. From a folder in ``sources`` and its subfolders, only full
    texts are read; they are recognised by their extensions, and PDFs also by their content. All other files in the
    folder are counted as ignored. Hidden files in folders are left out. Files in ``excluded`` are left out everywhere.
    Links to folders are not followed.

    Raises
    ------
    MechtagError
        If a source does not exist, or if no full texts are found.
    """
    left_out = {path.resolve() for path in excluded}
    found: dict[Path, Path] = {}
    ignored: dict[Path, str] = {}
    for source in sources:
        if not os.path.lexists(source):
            raise MechtagError(f"{source}: no such file or folder; check the path")
        for path in _within(source) if source.is_dir() else [source]:
            real = _resolved(path)
            if real in left_out or real in found:
                continue
            if path == source or path.suffix.lower() in _ENDINGS or _is_pdf(path):
                found[real] = path
            else:
                ignored[real] = path.suffix.lower() or "without an ending"
    if not found:
        raise MechtagError(
            f"{', '.join(map(str, sources))}: no full texts were found; expected files in PDF, JATS or TEI XML, DOCX, "
            "HTML, EPUB or plain text. Check the path"
        )
    paths = list(found.values())
    names = map(printable_name, distinct_names(paths))
    kinds = Counter(ending for real, ending in ignored.items() if real not in found)
    return FilesFound(tuple(map(FileFound, paths, names)), dict(kinds.most_common()))


def _within(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return path.absolute()


def _is_pdf(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(5) == b"%PDF-"
    except OSError:
        return False


class Assigned(NamedTuple):
    """The record that a person assigned to a file.

    Attributes
    ----------
    duplicate
        Id of the merged duplicate that the person named; ``""`` if the person named the record itself.
    """

    record: Record
    duplicate: str = ""


def read_map(
    path: StrPath, records: Sequence[Record], files: Sequence[FileFound], merged: MergedRecords | None = None
) -> dict[str, Assigned]:
    """Read a table in which a person assigned records to files.

    Rows without a file or a record are skipped, and so are rows about files that are not in ``files``.

    Parameters
    ----------
    merged
        Duplicates that were merged into ``records``. A row may name a duplicate instead of the kept record.

    Returns
    -------
    dict
        Records that the person assigned, keyed by the name of the file.

    Raises
    ------
    MechtagError
        If the column ``file`` or ``record_id`` is missing; if a row names an unknown record, or fits several records or
        several files; or if two rows assign different records to the same file.
    """
    table = read_table(path, f"a table with the columns {_FILE} and {_RECORD}", needed=())
    if missing := [name for name in (_FILE, _RECORD) if name not in table.names]:
        raise MechtagError(f"{path}: the column {missing[0]!r} is missing; the table needs {_FILE!r} and {_RECORD!r}")
    finder = Finder(records)
    by_id = {record.record_id: record for record in records}
    assigned: dict[str, Assigned] = {}
    for row in table.rows:
        if not (row.cells[_FILE] and row.cells[_RECORD]):
            continue
        for name in _files_named(row, files):
            found = _record_named(row, finder, by_id, merged or MergedRecords())
            if assigned.setdefault(name, found).record != found.record:
                raise MechtagError(
                    f"{row.place}: a different row assigns the file {name} to {assigned[name].record.record_id}; "
                    "delete one of the rows"
                )
    return assigned


def _record_named(row: TableRow, finder: Finder, records: Mapping[str, Record], merged: MergedRecords) -> Assigned:
    """Return the record that a row of the user's table names.

    Raises `MechtagError` if the row names no record, or could name several records.
    """
    name = row.cells[_RECORD]
    found = finder.find(cited_in(TableRow(row.number, row.place, {_RECORD: name})))
    if found.record:
        # The kept record may have taken its identifier from the merged record.
        return Assigned(found.record, name if name in merged else "")
    kept = merged.kept(name)
    if len(kept) == 1:
        return Assigned(records[kept[0]], name)
    if several := [record.record_id for record in found.candidates] if found.several else kept:
        raise MechtagError(
            f"{row.place}: {name!r} belongs to several records ({', '.join(several)}); enter the record_id of one of "
            "them"
        )
    raise MechtagError(f"{row.place}: there is no record {name!r} in this review; enter the record_id of a record")


def _files_named(row: TableRow, files: Sequence[FileFound]) -> list[str]:
    """Return the names of the files to which a row of the user's table refers.

    Raises `MechtagError` if the row contains only a file name, and several files have this name.
    """
    value = row.cells[_FILE]
    exact = [file.name for file in files if value in (file.name, printable_name(str(file.path)))]
    if exact:
        return exact
    named = [file.name for file in files if printable_name(file.path.name) == value]
    if len(named) > 1:
        raise MechtagError(
            f"{row.place}: {len(named)} files are named {value}; enter the path of one of them: {', '.join(named)}"
        )
    return named


class Row(NamedTuple):
    """A full text that was read, with what ``attached.csv`` or ``unmatched.csv`` states about it.

    Attributes
    ----------
    match
        Result of searching for the record of the file.
    pages, chars
        Number of pages, and number of characters.
    begins
        First words of the file.
    used
        Name of the file that was attached to the record instead of this file; ``""`` if there is none.
    """

    file: str
    match: Match
    format: Format
    pages: int
    chars: int
    warnings: tuple[str, ...]
    begins: str
    used: str = ""


@dataclass(frozen=True)
class Attached:
    """The result of attaching files to records.

    Every file is in exactly one of the tuples ``attached``, ``duplicates``, ``unmatched`` and ``rejected``.

    Attributes
    ----------
    files
        Number of all files.
    attached
        Files that were attached, each to a different record.
    duplicates
        Files that were not attached, because a different file was attached to their record.
    unmatched
        Files for which no record was found, and files whose record a person has to confirm.
    rejected
        Files that cannot be read.

    Raises
    ------
    RuntimeError
        If the number of files in the four tuples differs from ``files``.
    """

    files: int
    attached: tuple[Row, ...]
    duplicates: tuple[Row, ...]
    unmatched: tuple[Row, ...]
    rejected: tuple[Rejected, ...]

    def __post_init__(self) -> None:
        listed = len(self.attached) + len(self.duplicates) + len(self.unmatched) + len(self.rejected)
        if listed != self.files:
            raise RuntimeError(
                f"internal error: {self.files} files were read, but the results account for {listed}; please report it"
            )

    @property
    def uncertain(self) -> tuple[Row, ...]:
        """Return the unmatched files for which a possible record was found. A person has to confirm the record."""
        return tuple(row for row in self.unmatched if row.match.record or row.match.candidates)


class Matcher:
    """Finds the record to which each file belongs.

    Parameters
    ----------
    records
        Records without duplicates.
    files
        All files for which `find` will be called.
    assigned
        Records that a person assigned to files, keyed by the name of the file; see `read_map`.
    merged
        Duplicates that were merged into ``records``. A file of a duplicate is attached to the kept record.
    """

    def __init__(
        self,
        records: Sequence[Record],
        files: Sequence[FileFound],
        assigned: Mapping[str, Assigned],
        merged: MergedRecords | None = None,
    ) -> None:
        self._records = {record.record_id: record for record in records}
        self._assigned = assigned
        duplicates = [(row.paths, kept, row.record_id) for row, kept in merged or ()]
        self._recorded = RecordedPaths(records, [file.path for file in files], duplicates)
        self._identifier = Identifier(records, merged)

    def find(self, file: FileFound, read: ReadFile) -> Match:
        """Find the record to which a file belongs.

        If a person assigned a record to the file, this record is used. Otherwise, a record that contains the path of
        the file is used. If no record contains the path, the content of the file is searched for identifiers and
        titles.

        Parameters
        ----------
        read
            Content of the file.
        """
        beginning = Beginning(read)
        if assigned := self._assigned.get(file.name):
            likeness = self._identifier.likeness(assigned.record, beginning)
            return Match(assigned.record, "map", likeness, duplicate=assigned.duplicate)
        if recorded := self._recorded.find(file.path):
            record_id, duplicate = recorded
            record = self._records[record_id]
            other = self._identifier.by_identifier(beginning)
            doubt = self._identifier.doubt_of_supplement(record, beginning)
            if other and other.record and not other.doubt and other.record.record_id != record_id:
                named_by = f"A duplicate of the record, {duplicate}," if duplicate else "The record"
                doubt = (
                    f"{named_by} names this file, but the file contains the {other.by} and the title of a different "
                    f"record, {other.record.record_id}."
                )
            return Match(record, "path", self._identifier.likeness(record, beginning), doubt, duplicate=duplicate)
        return self._identifier.find(beginning, file.path.stem)


def attach(
    files: Sequence[FileFound],
    matcher: Matcher,
    read: Callable[[Path, str], ReadFile | Rejected],
    output: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Attached:
    """Read files, choose one file for each record, write the full texts, and return the outcome for each file.

    If several files belong to one record, the best file is chosen; see `preference`. Only a few full texts are in
    memory at the same time.

    Parameters
    ----------
    read
        Function that reads a file; its arguments are the path and the name. See `isolated.IsolatedReader.read`.
    output
        Parquet file to which the full texts are written.
    on_progress
        Function that is called with the number of files that were read since the last call.
    """
    rows: list[Row] = []
    rejected: list[Rejected] = []

    def matched() -> Iterator[FullText]:
        for file in files:
            found = read(file.path, file.name)
            on_progress(1)
            if isinstance(found, Rejected):
                rejected.append(found)
                continue
            match, text = matcher.find(file, found), found.full_text
            begins = " ".join(text.text[: 2 * _SHOWN].split())[:_SHOWN]
            rows.append(Row(file.name, match, text.format, len(text.pages), len(text.text), text.warnings, begins))
            if match.record and not match.doubt:
                yield text.model_copy(update={"record_id": match.record.record_id})

    with temporary_folder(output.parent) as folder:
        write_full_texts(folder / "matched.parquet", matched())
        sure = [row for row in rows if row.match.record and not row.match.doubt]
        best = _best(sure)
        texts = zip(sure, iterate_full_texts(folder / "matched.parquet"), strict=True)
        write_full_texts(output, (text for row, text in texts if row is best[text.record_id]))
    used = [(row, best[row.match.record.record_id]) for row in sure if row.match.record]
    return Attached(
        files=len(files),
        attached=tuple(row for row, other in used if row is other),
        duplicates=tuple(row._replace(used=other.file) for row, other in used if row is not other),
        unmatched=tuple(row for row in rows if not row.match.record or row.match.doubt),
        rejected=tuple(rejected),
    )


def _best(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the row of the preferred file for each record, keyed by record id."""

    def rank(row: Row) -> tuple[bool, int, int]:
        return preference((row.match.likeness or 0) >= TITLED, row.format, row.chars)

    best: dict[str, Row] = {}
    for row in rows:
        if row.match.record:
            record_id = row.match.record.record_id
            best[record_id] = max((best.get(record_id, row), row), key=rank)
    return best
