"""Read reviewers' decisions on relevance, in the order in which they were made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Row
from mechtag.core.source import Source
from mechtag.core.tables import NOTES, TableRow, Value, read_table
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.record_finder import IDENTIFIERS, Finder, cited_in, identifying, name_of
from mechtag.pipeline.reading.archives import unpack

# Columns that may contain the decision. The first one found is used.
_VALUES = ("decision", "value", "relevant", "included", "label")
_WORDS: Mapping[str, Literal[0, 1]] = {
    **dict.fromkeys(("relevant", "include", "included"), 1),
    **dict.fromkeys(("irrelevant", "exclude", "excluded"), 0),
}


class Judgements(Row):
    """Decisions of reviewers on the relevance of records.

    Each record has an identifier, which is the key in ``values``, ``papers`` and ``notes``.

    Attributes
    ----------
    path
        Path of the file from which the decisions were read, for error messages.
    values
        Decisions in the order of the file: ``1`` for relevant, ``0`` for irrelevant, ``None`` if not judged.
    papers
        Details that identify each record, such as its title and DOI.
    notes
        Reviewers' notes on records.
    """

    path: str
    values: dict[str, Value]
    papers: dict[str, CitedPaper]
    notes: dict[str, str] = Field(default_factory=dict)

    def notes_on(self, records: Sequence[Record]) -> dict[str, str]:
        """Return the reviewers' notes on records, keyed by record id.

        Raises the same errors as `labels`.
        """
        rows = self._rows(records)
        return {records[rows[name]].record_id: note for name, note in self.notes.items() if name in rows}

    def labels(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Return the decision on each record as an array: 1 for relevant, 0 for irrelevant, NaN if not judged.

        Raises
        ------
        MechtagError
            If no decision is about a record in ``records``; if an identifier belongs to several records; or if one
            record has contradictory decisions under two identifiers.
        """
        found = np.full(len(records), np.nan)
        for row, value in self._placed(records):
            found[row] = value
        return found

    def order(self, records: Sequence[Record]) -> NDArray[np.int64]:
        """Return the indices of the judged records in the order of judgement.

        Raises the same errors as `labels`.
        """
        return np.array([row for row, _ in self._placed(records)], dtype=np.int64)

    def reading_order(self, records: Sequence[Record]) -> list[int]:
        """Return the indices of the records that were judged relevant, followed by the records that were not judged.

        Both groups are in the order of the file of decisions. Records that are not in this file are left out. Raises
        the same errors as `labels`.
        """
        rows, labels = self._rows(records), self.labels(records)
        named = list(dict.fromkeys(rows[name] for name in self.values if name in rows))
        return [row for row in named if labels[row] == 1] + [row for row in named if np.isnan(labels[row])]

    def unknown(self, records: Sequence[Record]) -> list[str]:
        """Return the identifiers of those judged records that are not in ``records``.

        Raises the same errors as `labels`.
        """
        rows = self._rows(records)
        return [name for name, value in self.values.items() if value is not None and name not in rows]

    def _placed(self, records: Sequence[Record]) -> Iterator[tuple[int, int]]:
        """Yield the index and the decision (``1`` or ``0``) of each judged record, in the order of judgement."""
        rows = self._rows(records)
        for name, value in self.values.items():
            if value is not None and name in rows:
                yield rows[name], value

    def _rows(self, records: Sequence[Record]) -> dict[str, int]:
        finder, place = Finder(records), {record.record_id: row for row, record in enumerate(records)}
        rows: dict[str, int] = {}
        names: dict[int, str] = {}
        for name, paper in self.papers.items():
            found = finder.find(paper)
            if found.several:
                raise MechtagError(
                    f"{self.path}: {name!r} belongs to two records: {_place(found.candidates[0])} "
                    f"and {_place(found.candidates[1])}; remove duplicates first ('mechtag dedupe')"
                )
            if found.record is None:
                continue
            rows[name] = row = place[found.record.record_id]
            values = self.values[names.setdefault(row, name)], self.values[name]
            if None not in values and len(set(values)) > 1:
                raise MechtagError(
                    f"{self.path}: {names[row]!r} and {name!r} are the same record ({found.record.record_id}), but "
                    f"their decisions differ ({values[0]} and {values[1]}); correct one of the two rows"
                )
        if not rows:
            first = next(iter(self.papers.values()))
            raise MechtagError(
                f"{self.path}: none of the {len(self.values)} records in this file is among the {len(records)} records "
                f"of the search. For example, {next(iter(self.values))!r} was not found "
                f"({'; '.join(finder.find(first).tried)}). Pass the records that these decisions are about, or "
                "identify the records in this file by record_id, DOI, PubMed id or title"
            )
        return rows


def _place(record: Record) -> str:
    return f"record {record.source_index} of {record.source_file}"


def read_judgements(path: str | Path, relevance_key: str) -> Judgements:
    """Read decisions on relevance from a table in CSV, XLSX or JSON lines, which may be gzipped.

    Each row identifies its record in one or more of the columns ``record_id``, ``key``, ``id``, ``doi``, ``pmid`` and
    ``title``; see `record_finder.Finder`. The decision is in a column ``decision``, ``value``, ``relevant``,
    ``included`` or ``label``, or in a column whose name is ``relevance_key``.

    A decision is one of the following (see `tables.read_tick`):

    - relevant, for example ``1``, ``yes`` or ``included``;
    - irrelevant, for example ``0``, ``no`` or ``excluded``;
    - not judged, for example an empty cell.

    A table of codings has the columns ``label`` and ``value``; only its rows on relevance are read.

    Raises
    ------
    MechtagError
        If the file is missing, empty or in a different format; if a column is missing; if a decision has an unknown
        value; if two decisions on a record contradict each other; or if no row is about relevance.
    """
    path = Path(path)
    values: dict[str, Value] = {}
    places: dict[str, str] = {}
    notes: dict[str, str] = {}
    papers: dict[str, CitedPaper] = {}
    for row in _rows(path, relevance_key):
        if not identifying(list(row.cells)):
            _column(row, IDENTIFIERS, "identifies the record")
        value_column = _column(row, (*_VALUES[:2], relevance_key, *_VALUES[2:]), "contains the decision")
        if value_column == "value" and row.cells.get("label", relevance_key) != relevance_key:
            continue
        name = name_of(row)
        if not name:
            raise MechtagError(
                f"{row.place}: the record is not identified; fill in one of these columns: {', '.join(IDENTIFIERS)}"
            )
        papers.setdefault(name, cited_in(row))
        value = row.tick(value_column, _WORDS)
        if name in values and None not in (value, values[name]) and value != values[name]:
            raise MechtagError(
                f"{row.place}: the decision on {name!r} is {value} here, but {values[name]} at {places[name]}; "
                "correct one of the two rows"
            )
        if values.get(name) is None:
            values.pop(name, None)  # The record takes the position of its decision.
            values[name], places[name] = value, row.place
        if note := row.cells.get(NOTES, ""):
            notes[name] = note if notes.get(name, note) == note else f"{notes[name]}; {note}"
    if not values:
        raise MechtagError(f"{path} contains no decisions on '{relevance_key}'; add one row per judged record")
    return Judgements(path=str(path), values=values, papers=papers, notes=notes)


def _column(row: TableRow, allowed: Sequence[str], what: str) -> str:
    for name in allowed:
        if name in row.cells:
            return name
    found = ", ".join(row.cells)[:200] or "none"
    raise MechtagError(
        f"{row.place}: no column {what}; add one of the columns {', '.join(allowed)} (columns found: {found})"
    )


def _rows(path: Path, relevance_key: str) -> Iterable[TableRow]:
    expected = "decisions on records, as CSV, XLSX or JSON lines"
    if not path.is_file():
        raise MechtagError(f"{path}: no such file (expected {expected}); check the path")
    source, *others = (source for _, source in unpack(Source(path)))
    if others:
        raise MechtagError(
            f"{path} is an archive of {len(others) + 1} files, but mechtag expects one file of {expected}; "
            "pass only the file with the decisions"
        )
    if ".jsonl" in path.suffixes:
        return _json_rows(path, source.text)
    return read_table(source, expected, (*IDENTIFIERS, *_VALUES, relevance_key)).rows


def _json_rows(path: Path, text: str) -> Iterator[TableRow]:
    # Do not use splitlines, because JSON strings may contain U+2028 and other Unicode line separators.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MechtagError(f"{place} is not valid JSON: {error}; expected one object per line") from None
        if not isinstance(row, dict):
            raise MechtagError(
                f"{place}: found a value of type {type(row).__name__}, but expected one JSON object; correct the line"
            )
        cells = {name: "" if value is None else str(value).strip() for name, value in row.items()}
        yield TableRow(number, place, cells)
