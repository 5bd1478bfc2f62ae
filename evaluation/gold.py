"""The gold standard of a benchmark: its papers, what text of them we have, and its known faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pipeline.gold import GoldNotes, GoldStandard
from pipeline.records import Record, normalise_title

TextBasis = Literal["abstract", "synopsis", "title_only", "none"]


def text_basis(record: Record | None) -> TextBasis:
    """Tell what text of a paper the system saw.

    A synopsis that came with the record counts as such until another abstract, fetched or
    exported, has taken its place.
    """
    if record is None:
        return "none"
    if not record.abstract:
        return "title_only"
    raw = dict(record.raw)
    synopsis = raw.get("synopsis") or record.abstract
    same = normalise_title(str(synopsis)) == normalise_title(record.abstract)
    return "synopsis" if raw.get("text_basis") == "synopsis" and same else "abstract"


def coverage(gold: GoldStandard) -> dict[str, int]:
    """Count papers by what text of them there is."""
    found = [text_basis(gold.records.get(key)) for key in gold.matrix.keys]
    names: tuple[TextBasis, ...] = ("abstract", "synopsis", "title_only", "none")
    return {name: found.count(name) for name in names}


def _list(keys: Sequence[str]) -> str:
    return f"{len(keys)} paper{'' if len(keys) == 1 else 's'} ({', '.join(keys)})"


def _words(name: str) -> str:
    return name.replace("_", " ")


def describe(gold: GoldStandard, labels: Sequence[str]) -> dict[str, Any]:
    """Tell what is odd in the gold standard; nothing in it is mended.

    Returns
    -------
    dict
        Column sums beside the counts printed, papers that carry no label, columns that should
        be empty and are not, columns that are no label, and each fault as a sentence.
    """
    matrix, notes = gold.matrix, gold.notes or GoldNotes(source="")
    codes = {label: matrix.values(label) for label in labels}
    counted = {label: sum(value == 1 for value in values) for label, values in codes.items()}
    faults = []
    for label, printed in notes.printed_counts.items():
        ticked = sum(value == 1 for value in matrix.values(label))
        if ticked != printed:
            faults.append(
                f"{_words(label)}: the table ticks {ticked} papers, the text of the publication counts {printed}; "
                "the table is used as it is."
            )
    ticks = dict(zip(matrix.keys, zip(*codes.values(), strict=True), strict=True))
    without = [key for key, row in ticks.items() if 0 in row and 1 not in row]
    if without:
        faults.append(f"{_list(without)} carry none of the labels; they count as 0 throughout.")
    filled = {}
    for column, why in notes.expected_empty.items():
        keys = [key for key, value in zip(matrix.keys, matrix.values(column), strict=True) if value == 1]
        if keys:
            filled[column] = keys
            faults.append(f"{_words(column)}: {_list(keys)} ticked, though {why}.")
    return {
        "source": notes.source,
        "papers": len(matrix.keys),
        "column_sums": {
            label: {"counted": counted[label], "printed": notes.printed_counts.get(label)} for label in labels
        },
        "without_label": without,
        "expected_empty": filled,
        "other_columns": [column for column in matrix.columns if column not in labels],
        "faults": faults,
        "notes": list(notes.notes),
    }
