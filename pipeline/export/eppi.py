"""Write coded papers as JSON for EPPI-Reviewer: a tree of codes, and references with their codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mechtag.core.files import write_json
from mechtag.core.records import BETWEEN_QUOTES
from mechtag.pipeline.export.coded_papers import Code, CodedPapers
from mechtag.pipeline.export.references import one_coder

_SELECTABLE = "Selectable (show checkbox)"


def write(path: Path, coded: CodedPapers) -> None:
    """Write coded papers to a JSON file for EPPI-Reviewer; the papers must have only one coder.

    Relevance is written as ``Included`` or ``Excluded``. All other labels are written only if their code is yes. If a
    code is based on the full text, its evidence is highlighted in the full text. If a code is based on the abstract,
    its evidence is written to the info box of the code.

    Raises
    ------
    MechtagError
        If the papers have several coders.
    """
    one_coder(coded, "EPPI-Reviewer")
    book = coded.codebook
    numbers = {key: number for number, key in enumerate(book.keys, start=3)}
    screening = [
        _attribute(1, "Included", "Include", book.relevance.definition),
        _attribute(2, "Excluded", "Exclude", ""),
    ]
    codes = [_attribute(numbers[one.key], coded.names[one.key], _SELECTABLE, one.definition) for one in book.labels]
    references = []
    for number, paper in enumerate(coded.papers, start=1):
        record = paper.record
        found = []
        for code in paper.codes:
            if code.label == book.relevance.key and code.value is not None:
                found.append(_code(code, 1 if code.value else 2))
            elif code.value == 1:
                found.append(_code(code, numbers[code.label]))
        references.append(
            {
                "ItemId": number,
                "OldItemId": record.record_id,
                "Title": record.title,
                "Abstract": record.abstract,
                "Authors": "; ".join(record.authors),
                "Year": str(record.year or ""),
                "ParentTitle": record.journal or "",
                "Volume": record.volume or "",
                "Issue": record.issue or "",
                "Pages": record.pages or "",
                "DOI": record.doi or "",
                "URL": record.url or "",
                "Codes": found,
            }
        )
    sets = [_set(1, "Screening", screening), _set(2, book.title or book.name, codes)]
    write_json(path, {"CodeSets": sets, "References": references})


def _set(number: int, name: str, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    kind = {"TypeName": "Screening" if number == 1 else "Standard"}
    return {"SetId": number, "SetName": name, "SetType": kind, "Attributes": {"AttributesList": attributes}}


def _attribute(number: int, name: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "AttributeId": number,
        "AttributeName": name,
        "AttributeType": kind,
        "AttributeSetDescription": " ".join(description.split()),
    }


def _code(code: Code, number: int) -> dict[str, Any]:
    quotes = [quote.text for quote in code.quotes]
    marked = code.basis == "full-text"
    return {
        "AttributeId": number,
        "AdditionalText": "" if marked else BETWEEN_QUOTES.join(quotes),
        "ItemAttributeFullTextDetails": [{"Text": f'[¬s]"{text}"[¬e]'} for text in quotes] if marked else [],
    }
