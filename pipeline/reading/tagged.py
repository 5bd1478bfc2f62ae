"""What the formats share that write one tag and value a line, and long values over several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mechtag.pipeline.reading.source import LONGEST_ENTRY, Entry, overlong


class Draft:
    """A record being read; the lines that continue its last field are kept apart until that is done."""

    __slots__ = ("_continued", "_fields", "_length", "ended", "line", "notes", "number")

    def __init__(self, number: int, line: int, notes: list[str] | None = None) -> None:
        self.number, self.line, self.notes, self.ended = number, line, notes or [], False
        self._fields: list[tuple[str, str]] = []
        self._continued: list[str] = []
        self._length = 0

    def add(self, tag: str, value: str) -> None:
        """Begin a field."""
        if self._continued:
            self._join()
        self._length += len(value)
        if self._length <= LONGEST_ENTRY:
            self._fields.append((tag, value))

    def continue_with(self, line: str) -> None:
        """Add a line to the last field; an empty one between two lines sets paragraphs apart."""
        self._length += len(line)
        if self._fields and self._length <= LONGEST_ENTRY:
            self._continued.append(line.strip())

    def tags(self) -> set[str]:
        """Give the tags of its fields."""
        return {tag for tag, _ in self._fields}

    def _join(self) -> None:
        tag, value = self._fields[-1]
        self._fields[-1] = (tag, "\n".join((value, *self._continued)).strip("\n"))
        self._continued.clear()

    def entry(self, stray: Draft | None = None) -> Entry:
        """Give the finished record, with the fields of ``stray`` after its own; values keep their lines."""
        for draft in (self, stray) if stray else (self,):
            if draft._continued:
                draft._join()
        if self._length > LONGEST_ENTRY:
            return overlong(self.number, self.line, "\n".join(f"{tag} {value}" for tag, value in self._fields))
        fields = [*self._fields, *stray._fields] if stray else self._fields
        return Entry(self.number, self.line, fields, "", tuple(self.notes))


def by_tag(fields: Sequence[tuple[str, Any]]) -> Mapping[str, list[str]]:
    """Values of each tag that is not empty, in their order; a tag that is missing has none."""
    values: dict[str, list[str]] = defaultdict(list)
    for tag, value in fields:
        if value:
            values[tag].append(value)
    return values


def first(values: Mapping[str, list[str]], *tags: str) -> str | None:
    """First value of the first tag that has any."""
    for tag in tags:
        if tag in values:
            return values[tag][0]
    return None


def lines_of(values: Sequence[str]) -> list[str]:
    """Cut lists that stand in one field, by semicolons or one a line."""
    if not values:
        return []
    joined = "\n".join(values)
    return (joined.replace(";", "\n") if ";" in joined else joined).split("\n")


def page_range(start: str | None, end: str | None) -> str | None:
    """Pages from the first and the last; some programs write the range to one of the two."""
    if start and end and "-" in start + end:
        if start.endswith(f"-{end}"):
            return start
        if end.startswith(f"{start}-"):
            return end
    return f"{start}-{end}" if start and end and start != end else start or end
