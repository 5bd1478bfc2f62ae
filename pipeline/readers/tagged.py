"""What the formats share that write one tag and value a line, and long values over several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.readers.base import Entry


@dataclass
class Draft:
    """A record being read: values keep their continuation lines apart until it is done."""

    number: int
    line: int
    notes: list[str] = field(default_factory=list)
    fields: list[tuple[str, list[str]]] = field(default_factory=list)
    ended: bool = False

    def add(self, tag: str, value: str) -> None:
        """Begin a field."""
        self.fields.append((tag, [value]))

    def continue_with(self, line: str) -> None:
        """Add a line to the last field; empty lines say nothing."""
        if self.fields and (line := line.strip()):
            lines = self.fields[-1][1]
            lines[:] = [line] if lines == [""] else [*lines, line]

    def entry(self) -> Entry:
        """Give the finished record; its values have one line each line they had."""
        pairs = [(tag, "\n".join(lines)) for tag, lines in self.fields]
        return Entry(self.number, self.line, pairs, notes=tuple(self.notes))


def by_tag(fields: Sequence[tuple[str, Any]]) -> Mapping[str, list[str]]:
    """Values of each tag that is not empty, in their order; a tag that is missing has none."""
    values: dict[str, list[str]] = defaultdict(list)
    for tag, value in fields:
        if value:
            values[tag].append(value)
    return values


def first(values: Mapping[str, list[str]], *tags: str) -> str | None:
    """First value of the first tag that has any."""
    return next((values[tag][0] for tag in tags if tag in values), None)


def lines_of(values: Sequence[str]) -> list[str]:
    """Cut lists that stand in one field, by semicolons or one a line."""
    joined = "\n".join(values)
    return (joined.replace(";", "\n") if ";" in joined else joined).split("\n")


def page_range(start: str | None, end: str | None) -> str | None:
    """Pages from the first and the last."""
    return f"{start}-{end}" if start and end and start != end else start or end
