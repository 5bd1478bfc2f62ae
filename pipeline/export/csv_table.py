"""Write ``tagged.csv``, a table with one row per record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mechtag.core.files import write_csv
from mechtag.pipeline.export.review_rows import header
from mechtag.pipeline.export.sorting import Row


def write(path: Path, labels: Sequence[tuple[str, str]], rows: Iterable[Row]) -> None:
    """Write the rows that `review_rows.ranking` yields as a CSV table (UTF-8 with byte order mark)."""
    write_csv(path, header(labels), rows, bom=True)
