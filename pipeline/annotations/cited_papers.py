"""Extract the details that identify a paper (such as its DOI or title) from a table row or a JSON object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.pipeline.reading import columns
from mechtag.pipeline.reading.build_record import clean_author, clean_year
from mechtag.pipeline.reading.text.cleaning import clean_text

#: Columns and keys that identify a paper in the reviewers' own list.
NAMES = ("record_id", "key", "id", "paper_id", "paper", "study", "study_id", "ref", "covidence")


def fold(name: str) -> str:
    """Normalise the case, spaces and punctuation of a column name or key: 'Reviewer Name' becomes ``reviewer_name``."""
    return "_".join(re.findall(r"[a-z0-9]+", name.lower()))


_CITATION = re.compile(r"\s*+(\D{2,60}?)(?:\s++et al\.?)?[\s,_-]*+\(?((?:19|20)\d\d)[a-z]?\)?\s*")

_LONGEST = 500


class CitedPaper(NamedTuple):
    """The details, such as DOI and title, by which a table or file identifies a paper.

    Attributes
    ----------
    names
        Identifiers of the paper. Each may be a record id, or a key in the reviewers' own list.
    doi, pmid, authors, year
        Values in the same form as in `records.Record`.
    text
        Text shown to the coder; ``""`` if the source does not contain it.
    """

    names: tuple[str, ...] = ()
    doi: str | None = None
    pmid: str | None = None
    title: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    text: str = ""


def text_of(value: Any) -> str:
    """Return a string or number as text on one line, and ``""`` for any other value."""
    return " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def texts(value: Any) -> list[str]:
    """Return the strings and numbers of a JSON list as texts; a single value counts as a list of one item.

    In each text, white space is collapsed to single spaces. Empty texts and values of other types are left out.
    """
    values = value if isinstance(value, list) else [value]
    return [text for item in values if (text := text_of(item))]


def paper_of(fields: Sequence[tuple[str, Any]], cleaned: Mapping[str, Any] | None = None, text: Any = "") -> CitedPaper:
    """Extract the details that identify a paper from the fields of a table row or JSON object.

    Parameters
    ----------
    cleaned
        Attributes of a record, such as ``title`` and ``doi``, that the caller has already read from the fields. By
        default, the names of the fields are interpreted like column names of a table.
    text
        Text that was shown to the coder.
    """
    plain = [(name, value) for name, field in fields if (value := _plain(field))]
    cleaned = columns.clean(plain) if cleaned is None else cleaned
    named = {fold(name): value for name, value in plain}
    authors = cleaned.get("authors") or []
    title, year = clean_text(cleaned.get("title")), clean_year(cleaned.get("year"))
    names = tuple(dict.fromkeys(clean_text(named[name])[:_LONGEST] for name in NAMES if named.get(name)))
    author_names = tuple(filter(None, map(clean_author, authors)))
    for name in names:
        # A name such as 'Aitken (2014)' helps to suggest candidates.
        if not author_names and not title and (cited := _CITATION.fullmatch(name)):
            author_names, year = (cited[1],), year or int(cited[2])
    return CitedPaper(
        names=names,
        doi=normalise_doi(clean_text(cleaned.get("doi"))[:_LONGEST]),
        pmid=normalise_pmid(clean_text(cleaned.get("pmid"))[:_LONGEST]),
        title=title,
        authors=author_names,
        year=year,
        text=text if isinstance(text, str) else "",
    )


def _plain(value: Any) -> str:
    """Return the value of a field as text; the items of a list are joined with semicolons."""
    # `columns.clean` expects semicolons.
    return "; ".join(texts(value)) if isinstance(value, list) else text_of(value)
