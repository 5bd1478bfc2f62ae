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
    """Return records without unpublishable abstracts, and predictions without unpublishable quotations.

    A fetched abstract or full text must not be published if it has no Creative Commons licence. Such abstracts are
    removed from the records. Sentences quoted from such abstracts or full texts are removed from the predictions.
    Records and predictions are computed during iteration, so they need not fit into memory.

    Parameters
    ----------
    fetched
        Table ``fetched.csv`` that 'mechtag fetch' wrote. It states the licences.

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
    """Return whether a text names a Creative Commons licence, for example by ``cc-by``, ``CC BY`` or a URL."""
    return licence.casefold().startswith("cc") or "creativecommons.org" in licence.casefold()
