"""Classes and functions for the readers of tagged formats, in which each field starts with a tag."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mechtag.core.delimited import LONGEST_ENTRY
from mechtag.core.source import Source
from mechtag.core.words import counted

_SHOWN, _SHOWN_OUTSIDE = 1000, 60
_LOST_START = (
    "the record has no start line; it was separated from the preceding record at an empty line, because it has its "
    "own title"
)
_TWO_TITLES = "the record has two titles; it may be two records, the second of which has no start line"


class Entry(NamedTuple):
    """One record of a search export, as it was read from the file.

    Attributes
    ----------
    number, line
        Position of the record in the file, and number of the line on which the record starts. Both are counted from 1.
    fields
        Pairs of field name and value, in file order. A field that occurs twice has two pairs. Values can have any JSON
        type.
    fault
        Reason why the entry cannot be read, or ``""`` if it can be read.
    notes
        Defects of the entry that did not prevent it from being read.
    """

    number: int
    line: int
    fields: Sequence[tuple[str, Any]]
    fault: str = ""
    notes: tuple[str, ...] = ()


# Lines that databases print above and between records: numbers, rules, searches with their number of hits. A line
# such as '1  - Trust' has a damaged tag, and one such as '12 teams in wards' may be a title.
_ROUTINE = re.compile(
    r"[\W\d_]*\Z|\s*(?:\d{1,3}\.?\s+(?!-\s)\S.*(?:\([\d,]+\)|\s\d+)\s*\Z|Record #\d"
    r"|(?:Provider|Database|Content|Search Strategy|Link to [^:\n]{1,60}):)",
    re.I,
)


class Outside:
    """Counts the unexpected lines outside of all records of a file, and describes the first of these lines."""

    def __init__(self) -> None:
        self._count, self._first = 0, ""

    def add(self, number: int, line: str) -> None:
        """Count a line that is outside all records, unless databases routinely write such lines.

        ``number`` is the number of the line in the file.
        """
        if not _ROUTINE.match(line):
            self._count += 1
            self._first = self._first or f"line {number}: {line.strip()[:_SHOWN_OUTSIDE]!r}"

    def notes(self) -> list[str]:
        """Return a list with one note about the unexpected lines, or an empty list if there are no such lines."""
        if not self._count:
            return []
        lines = f"{counted(self._count, 'line')} outside of records {'was' if self._count == 1 else 'were'}"
        return [f"{lines} not read; the first is {self._first}"]


def overlong(number: int, line: int, start: str) -> Entry:
    """Return an entry that reports a text as too long for a record, and shows the beginning of the text."""
    fault = (
        f"the entry has more than {LONGEST_ENTRY:,} characters, which is too long for a record; the file may be "
        "damaged or lack line ends; export it again"
    )
    return Entry(number, line, [("start", start[:_SHOWN])], fault=fault)


@dataclass(frozen=True)
class Format:
    r"""A file format of search exports: how it is recognised, read, and mapped to attributes of a record.

    Attributes
    ----------
    recognise
        Function that returns whether a file is of this format, judging by its content.
    read
        Function that yields the entries of a file, without checking them.
    clean
        Function that maps the fields of an entry to attributes of `records.Record`. ``authors`` and ``keywords`` are
        lists; the other values are text or ``None``. Values may contain markup, entities and superfluous spaces, which
        `build_record` removes. Line ends in the abstract may merely wrap the text. A blank line (``\n\n``) separates
        paragraphs, and a heading may be on a line of its own.
    """

    name: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Entry]]
    clean: Callable[[Sequence[tuple[str, Any]]], Mapping[str, Any]]


class Draft:
    """A record of a tagged format while it is being read line by line."""

    __slots__ = ("_continued", "_fields", "_gaps", "_length", "_lines", "ended", "line", "notes")

    def __init__(self, line: int, notes: list[str] | None = None) -> None:
        self.line, self.notes, self.ended = line, notes or [], False
        self._fields: list[tuple[str, str]] = []
        self._continued: list[str] = []
        # Number of lines read, and, for each field that follows an empty line, its index and its line.
        self._lines = self._length = 0
        self._gaps: list[tuple[int, int]] = []

    def add(self, tag: str, value: str) -> None:
        """Start a new field; ``value`` is the first line of the field's value."""
        if self._continued:
            if "" in self._continued:
                self._gaps.append((len(self._fields), self.line + self._lines))
            self._join()
        self._lines += 1
        self._length += len(value)
        if self._length <= LONGEST_ENTRY:
            self._fields.append((tag, value))

    def continue_with(self, line: str) -> None:
        """Add a line to the value of the last field; an empty line separates paragraphs.

        If there is no field yet, the line becomes a field without a name, so that its text is kept.
        """
        self._lines += 1
        self._length += len(line)
        if not self._fields and not _ROUTINE.match(line):
            self._fields.append(("", line.strip()))
        elif self._fields and self._length <= LONGEST_ENTRY:
            self._continued.append(line.strip())

    def tags(self) -> set[str]:
        """Return the tags of the fields added so far."""
        return {tag for tag, _ in self._fields if tag}

    def _join(self) -> None:
        tag, value = self._fields[-1]
        self._fields[-1] = (tag, "\n".join((value, *self._continued)).strip("\n"))
        self._continued.clear()

    def absorb(self, other: Draft) -> None:
        """Add the fields of another draft, which is the next part of the same record."""
        for tag, value in other._finished():
            self.add(tag, value)
        self.ended = self.ended or other.ended

    def _finished(self) -> Sequence[tuple[str, str]]:
        if self._continued:
            self._join()
        return self._fields

    def entries(self, titles: Collection[str]) -> Iterator[Entry]:
        """Yield the finished record; if it seems to consist of several records, yield each of them.

        A new record begins at an empty line if a tag in ``titles`` has different values before and after this line.
        Values keep their line ends.
        """
        fields = self._finished()
        if self._length > LONGEST_ENTRY:
            yield overlong(0, self.line, "\n".join(f"{tag} {value}" for tag, value in fields))
            return
        start, line, notes = 0, self.line, self.notes
        seen: dict[str, str] = {}
        gaps = dict(self._gaps)
        gap = 0
        for index, (tag, value) in enumerate(fields):
            gap = index if index in gaps else gap
            if tag not in titles or not value:
                continue
            if seen.setdefault(tag, value) == value:
                continue
            if gap > start:
                yield Entry(0, line, fields[start:gap], "", tuple(notes))
                start, line, notes, seen = gap, gaps[gap], [_LOST_START], {tag: value}
            elif _TWO_TITLES not in notes:
                notes = [*notes, _TWO_TITLES]
        yield Entry(0, line, fields[start:], "", tuple(notes))


def numbered(drafts: Iterable[Draft], titles: Collection[str]) -> Iterator[Entry]:
    """Yield the entries of all drafts, numbered from 1; see `Draft.entries`."""
    entries = (entry for draft in drafts for entry in draft.entries(titles))
    for number, entry in enumerate(entries, start=1):
        yield entry._replace(number=number)


def by_tag(fields: Sequence[tuple[str, Any]]) -> Mapping[str, list[str]]:
    """Return the non-empty values of each tag in file order, keyed by tag."""
    values: dict[str, list[str]] = defaultdict(list)
    for tag, value in fields:
        if value:
            values[tag].append(value)
    return values


def first(values: Mapping[str, list[str]], *tags: str) -> str | None:
    """Try the tags in order until one has a value, and return its first value; ``None`` if no tag has a value."""
    for tag in tags:
        if tag in values:
            return values[tag][0]
    return None


def lines_of(values: Sequence[str]) -> list[str]:
    """Split each value at semicolons and line ends, and return the items of all values in one list."""
    if not values:
        return []
    joined = "\n".join(values)
    return (joined.replace(";", "\n") if ";" in joined else joined).split("\n")


def page_range(start: str | None, end: str | None) -> str | None:
    """Combine the first and the last page into a range such as '12-19', or return ``None`` if both pages are missing.

    Either argument may already contain the whole range.
    """
    if start and end and "-" in start + end:
        if start.endswith(f"-{end}"):
            return start
        if end.startswith(f"{start}-"):
            return end
    return f"{start}-{end}" if start and end and start != end else start or end
