"""Write ``tagged.csv``, a table with one row per record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mechtag.core.files import write_csv
from mechtag.core.records import Prediction, Record
from mechtag.pipeline.export.review_rows import header, ranking


@contextmanager
def writing(
    labels: Sequence[tuple[str, str]], path: Path
) -> Iterator[Callable[[Record, Mapping[str, Prediction]], None]]:
    """Yield a function that adds a tagged record to a CSV table (UTF-8 with byte order mark) in reading order.

    The columns are those of `review_rows.header`. The parameters are those of `export.Exporter`.
    """
    with ranking(labels, path.parent) as (add, ranked):
        yield add
        write_csv(path, header(labels), ranked(), bom=True)
