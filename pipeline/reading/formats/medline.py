"""Read PubMed's tagged format (.nbib, .txt); see https://www.nlm.nih.gov/bsd/mms/medlineelements.html.

The library Bio.Medline is not used, because it requires all of Biopython, drops everything before the first PubMed id,
and reports neither line numbers nor the order of tags. Tests compare the results with Bio.Medline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.tagged import Draft, Entry, Format, Outside, by_tag, first, numbered

# Up to four letters, padded with spaces, and a hyphen; continuation lines are indented by six spaces.
_TAG = re.compile(r"\ufeff?([A-Z][A-Z0-9]{1,3}) {0,2}-(?!-) ?(.*)")
# Tags that may start a record after an empty line.
_OPENING = ("PMID", "PMC", "PMCR", "OWN")
# ERIC's records have no PubMed id and begin with OWN.
_START = re.compile(r"^\ufeff?(?:PMID ?|PMC |PMCR)- ?\S|^\ufeff?OWN {1,2}- ?ERIC\b", re.M)
_RIS = re.compile(r"[^\n]*\n(?:(?!PMID|TY|\n)[^\n]*\n){0,50}TY  -")
_NOT_AVAILABLE = re.compile(r"\[?not available\]?\.?", re.I)
_MARKED_DOI = re.compile(r"(10\.\d{4,9}/\S+)(?: \[doi\]|$)|^doi:(\S+)", re.I | re.M)
_LONGEST_DOI = 500
# The year in 'J Care. 2017 Sep;12(3):45-58', for records without a date of publication.
_SOURCE_YEAR = re.compile(r"\. (\d{4})\b")


def recognise(source: Source) -> bool:
    """Return whether a file has a line that starts a record from PubMed or ERIC."""
    found = _START.search(source.head)
    # RIS may have the PubMed id in front of TY.
    return bool(found) and not _RIS.match(source.head, found.end() if found else 0)


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per record.

    A new record starts in three cases:

    - at the tag PMID;
    - at the tag PMC, PMCR or OWN after an empty line;
    - at a second tag OWN in the same record.
    """
    return numbered(_drafts(source), ("TI",))


def _drafts(source: Source) -> Iterator[Draft]:
    draft: Draft | None = None
    outside = Outside()
    after_gap = True
    for line_number, line in enumerate(map(str.rstrip, source.lines()), start=1):
        if not line.strip():
            after_gap = True
            if draft:
                draft.continue_with(line)
            continue
        found = _TAG.match(line)
        if found:
            tag = found[1]
            again = tag == "OWN" and draft is not None and tag in draft.tags()
            if draft is None or tag == "PMID" or again or (after_gap and tag in _OPENING):
                if draft:
                    yield draft
                draft = Draft(line_number)
            draft.add(tag, found[2].strip())
        elif draft:
            if not line.startswith(" "):
                draft.notes.append(f"line {line_number} has no tag; it was read as part of the field above")
            draft.continue_with(line)
        else:
            outside.add(line_number, line)
        after_gap = False
    if draft:
        yield draft
    source.notes += outside.notes()


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the tags of a MEDLINE record to attributes of `records.Record`.

    Full names of authors are preferred to names with initials.
    """
    values = by_tag(fields)
    titles = [title for title in values.get("TI", ()) if not _NOT_AVAILABLE.fullmatch(title)]
    # The DOI at the end of the source line is ignored, because it may belong to a comment on the article.
    dois = (_MARKED_DOI.search(value[:_LONGEST_DOI]) for tag in ("LID", "AID") for value in values.get(tag, ()))
    doi = next(filter(None, dois), None)
    source = _SOURCE_YEAR.search(first(values, "SO") or "")
    return {
        "title": " ".join(titles) or first(values, "BTI", "TT"),
        "abstract": " ".join(values.get("AB") or values.get("OAB") or ()),
        "authors": _authors(fields),
        "year": first(values, "DP", "DEP", "DA") or (source and source[1]),
        "journal": first(values, "JT", "TA", "BTI" if titles else "CTI"),
        "volume": first(values, "VI"),
        "issue": first(values, "IP"),
        "pages": first(values, "PG"),
        "doi": doi and (doi[1] or doi[2]),
        "pmid": (first(values, "PMID") or "").split("\n")[0],
        "keywords": [*values.get("OT", ()), *values.get("MH", ())],
        "type": "; ".join(values.get("PT", ())),
        "language": "; ".join(values.get("LA", ())),
        # ERIC writes addresses of the full text and of its own page.
        "url": next(
            (value for tag in ("AID", "LID") for value in values.get(tag, ()) if value.startswith("http")), None
        ),
    }


def _authors(fields: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the authors and groups in file order; for an author without a full name, return the short name."""
    names: list[str] = []
    full = False
    for tag, value in fields:
        if tag in ("FAU", "CN") or (tag == "AU" and not full):
            names.append(value)
        full = tag == "FAU"
    return names


FORMAT = Format("PubMed/MEDLINE (nbib)", recognise, read, clean)
