"""Find records by their id, or by the name that reviewers know them by in their own list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from mechtag.core.records import Record

#: Field of a source file that holds the reviewers' own name of a paper.
KEY = "key"
_ATTRIBUTES = frozenset(("record_id", "doi", "pmid"))


def value_of(record: Record, field: str) -> str | None:
    """Value of a record's identifier, or of a field of its source file; ``None`` where it is empty or missing."""
    value = getattr(record, field) if field in _ATTRIBUTES else dict(record.raw).get(field)
    return None if value is None or value == "" else str(value)  # JSON may have numbers for keys.


class RecordIndex:
    """Finds records by any identifier, and by any field of the files they came from.

    Parameters
    ----------
    records
        In any order; several may have one name.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._rows: dict[str, Mapping[str, Sequence[int]]] = {}

    def rows(self, field: str, value: str) -> Sequence[int]:
        """Positions of the records with this value in ``record_id``, ``doi``, ``pmid`` or a field of their file."""
        if field not in self._rows:
            found: dict[str, list[int]] = defaultdict(list)
            for row, record in enumerate(self.records):
                if (own := value_of(record, field)) is not None:
                    found[own].append(row)
            self._rows[field] = dict(found)
        return self._rows[field].get(value, ())

    def by(self, field: str, value: str) -> list[Record]:
        """Find the records with this value in a field; see `rows`."""
        return [self.records[row] for row in self.rows(field, value)]

    def named(self, name: str) -> list[Record]:
        """Find the records with this record id or, where there are none, with this key."""
        return self.by("record_id", name) or self.by(KEY, name)

    def find(self, name: str) -> Record | None:
        """Find the record of this id or key; ``None`` where there is none, or a key of two papers."""
        found = self.named(name)
        return found[-1] if len({record.record_id for record in found}) == 1 else None
