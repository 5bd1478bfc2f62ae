"""``tagged.csv``: one row a record, for Excel and for people who read from the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.records import Prediction, Record
from pipeline.store import write_csv

_BIBLIOGRAPHIC = ("record_id", "title", "authors", "year", "journal", "doi", "pmid")

# https://support.microsoft.com/office/excel-specifications-and-limits: total characters in a cell,
# which Excel counts in UTF-16 units. It cuts the rest away without a word, so we do it with one.
_CELL_LIMIT = 32_767
_CUT = " [cut: a cell holds 32,767 characters]"


def excel_cell(text: str) -> str:
    """Put text on one line and, if Excel would cut it, cut it openly."""
    text = " ".join(text.split())
    room = _CELL_LIMIT - 1  # the apostrophe that write_csv may put before a formula
    units = text.encode("utf-16-le", errors="replace")
    if len(units) <= 2 * room:
        return text
    return units[: 2 * (room - len(_CUT))].decode("utf-16-le", errors="ignore") + _CUT


def _quote(prediction: Prediction) -> str:
    """Evidence in quotation marks, the strongest first."""
    strongest = sorted(prediction.evidence, key=lambda evidence: -evidence.score)
    return excel_cell(" ".join(f"“{evidence.text}”" for evidence in strongest))


def write(
    records: Sequence[Record],
    predictions: Mapping[tuple[str, str], Prediction],
    labels: Sequence[tuple[str, str]],
    path: Path,
) -> None:
    """Write a CSV table (UTF-8 with byte order mark), the most relevant record first.

    Bibliographic columns, then for each label ``KEY_probability``, ``KEY_decision`` and
    ``KEY_evidence``. Rows run by the probability of the first label, relevance, from
    high to low, then by ``record_id``; records without one come last. Parameters as in
    `pipeline.exporters.export`.
    """
    relevance = labels[0][0]

    def rank(record: Record) -> tuple[float, str]:
        prediction = predictions.get((record.record_id, relevance))
        probability = prediction.probability if prediction else None
        return (1.0 if probability is None else -probability, record.record_id)

    def row(record: Record) -> list[object]:
        cells: list[object] = [
            excel_cell(record.record_id),
            excel_cell(record.title),
            excel_cell("; ".join(record.authors)),
            record.year,
            excel_cell(record.journal or ""),
            excel_cell(record.doi or ""),
            excel_cell(record.pmid or ""),
        ]
        for key, _ in labels:
            prediction = predictions.get((record.record_id, key))
            if prediction is None:
                cells += [None, None, None]
            else:
                probability = None if prediction.probability is None else round(prediction.probability, 4)
                cells += [probability, prediction.decision, _quote(prediction)]
        return cells

    header = [
        *_BIBLIOGRAPHIC,
        *(f"{key}_{part}" for key, _ in labels for part in ("probability", "decision", "evidence")),
    ]
    write_csv(path, header, (row(record) for record in sorted(records, key=rank)), bom=True)
