"""From search exports to records, with a count of everything that was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import MechtagError
from pipeline.readers import find_format
from pipeline.readers.base import Source
from pipeline.readers.construct import construct
from pipeline.records import Record, Rejected


@dataclass(frozen=True)
class Note:
    """Something odd that did not keep a record, or a whole file, from being read."""

    file: str
    text: str
    record: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f": record {self.record}, line {self.line}" if self.record else ""
        return f"{self.file}{place}: {self.text}"


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
    """Records and rejected entries in the order of the files."""

    records: tuple[Record, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[Note, ...]
    sources: tuple[SourceCounts, ...]

    def summary(self) -> dict[str, Any]:
        """Count entries, for ``ingest.json`` and ``summary.json``: read = kept + rejected."""
        return {
            "read": len(self.records) + len(self.rejected),
            "kept": len(self.records),
            "rejected": len(self.rejected),
            "sources": [{**asdict(source), "read": source.read} for source in self.sources],
            "notes": [str(note) for note in self.notes],
        }


def _files(sources: Sequence[str | Path]) -> Iterator[Path]:
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
            if not found:
                raise MechtagError(f"{source}: the folder holds no files")
            yield from found
        elif source.is_file():
            yield source
        else:
            raise MechtagError(f"{source}: no such file or folder")


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


def ingest(sources: Sequence[str | Path]) -> Ingested:
    """Read search exports of any known format.

    Parameters
    ----------
    sources
        Files, or folders whose files are read in the order of their names; hidden files
        and folders in folders are left out.

    Raises
    ------
    MechtagError
        A file is missing, empty, binary, of no known format or given twice, or a table
        has no column with titles.
    """
    paths = list(_files(sources))
    if twice := [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]:
        raise MechtagError(f"{twice[0]}: given twice; name each file once")
    records: list[Record] = []
    rejected: list[Rejected] = []
    notes: list[Note] = []
    counts = []
    for path, name in zip(paths, _names(paths), strict=True):
        source = Source(path)
        form = find_format(source)
        kept: list[Record] = []
        refused: list[Rejected] = []
        for entry in form.read(source):
            built = construct(entry, form.clean(entry.fields), name)
            if isinstance(built, Record):
                kept.append(built)
            else:
                refused.append(built)
            notes += (Note(name, text, entry.number, entry.line) for text in entry.notes)
        notes += (Note(name, text) for text in source.notes)
        if not kept and not refused:
            notes.append(Note(name, "holds no records"))
        bare = sum(not record.abstract for record in kept)
        counts.append(SourceCounts(name, form.name, len(kept), len(refused), bare))
        records += kept
        rejected += refused
    return Ingested(tuple(records), tuple(rejected), tuple(notes), tuple(counts))
