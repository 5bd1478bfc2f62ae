"""Write ``tagged.csv``, a table with one row per record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mechtag.core.files import write_csv
from mechtag.pipeline.export.sorting import Row


def write(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    """Write the rows of tagged records to a CSV file with a header and a byte order mark; see `review_rows.ranking`."""
    write_csv(path, names, rows, bom=True)
