"""Leave out what was fetched without a licence to publish it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mechtag.core.records import Basis, Prediction, Record
from mechtag.core.tables import read_table

# Fields of ``fetched.csv`` with text, and the basis of the sentences that are quoted from them.
_BASES: dict[str, Basis] = {"abstract": "abstract", "full-text": "full-text"}


def leave_out(
    fetched: Path, records: Iterable[Record], predictions: Iterable[Prediction]
) -> tuple[list[Record], list[Prediction]]:
    """Return records without abstracts, and predictions without quoted sentences, that may not be published.

    These are the ones that were fetched and have no Creative Commons licence.

    Parameters
    ----------
    fetched
        Table ``fetched.csv`` that ``mechtag fetch`` wrote.

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
        [_without_abstract(record) if (record.record_id, "abstract") in closed else record for record in records],
        [
            row.model_copy(
                update={"evidence": tuple(one for one in row.evidence if (row.record_id, one.basis) not in closed)}
            )
            for row in predictions
        ],
    )


def _without_abstract(record: Record) -> Record:
    return record.model_copy(update={"abstract": ""})


def is_open(licence: str) -> bool:
    """Return whether a licence is one of Creative Commons, such as ``cc-by``, ``CC BY`` or its web address."""
    return licence.casefold().startswith("cc") or "creativecommons.org" in licence.casefold()
