"""Remove abstracts and quotations that were fetched from web services and must not be published."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mechtag.core.parquet import Rows
from mechtag.core.records import Basis, Prediction, Record
from mechtag.core.tables import read_table

# Fields of ``fetched.csv`` with text, and the basis of the sentences that are quoted from them.
_BASES: dict[str, Basis] = {"abstract": "abstract", "full-text": "full-text"}


def leave_out(
    fetched: Path, records: Iterable[Record], predictions: Iterable[Prediction]
) -> tuple[Iterable[Record], Iterable[Prediction]]:
    """Remove abstracts and quoted sentences that must not be published, and return the records and predictions.

    Records and predictions are changed while the results are iterated, so they need not fit into memory.

    An abstract or full text must not be published if it was fetched and has no Creative Commons licence. Records are
    returned without such abstracts, and predictions without the sentences quoted from such abstracts and full texts.

    Parameters
    ----------
    fetched
        Table ``fetched.csv`` that 'mechtag fetch' wrote, which states the licences.

    Raises
    ------
    MechtagError
        If the table cannot be read.
    """
    table = read_table(fetched, "the table fetched.csv that 'mechtag fetch' wrote", ("record_id", "field", "licence"))
    closed = {
        (row.cells["record_id"], _BASES[row.cells["field"]])
        for row in table.rows
        if row.cells["field"] in _BASES and not is_open(row.cells["licence"])
    }
    return (
        Rows(
            lambda: (
                _without_abstract(record) if (record.record_id, "abstract") in closed else record for record in records
            )
        ),
        Rows(
            lambda: (
                row.model_copy(
                    update={"evidence": tuple(one for one in row.evidence if (row.record_id, one.basis) not in closed)}
                )
                for row in predictions
            )
        ),
    )


def _without_abstract(record: Record) -> Record:
    return record.model_copy(update={"abstract": ""})


def is_open(licence: str) -> bool:
    """Return whether a licence is a Creative Commons licence, named like ``cc-by`` or ``CC BY`` or by its URL."""
    return licence.casefold().startswith("cc") or "creativecommons.org" in licence.casefold()
