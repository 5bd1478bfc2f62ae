"""What every reader of codings shares: papers, codes, entries, and what the user says of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline.annotations import Basis
from pipeline.cleaning import clean_text
from pipeline.coding_import.formats.content import NAMES, Content, fold
from pipeline.coding_import.labels import LabelMap
from pipeline.readers import columns
from pipeline.readers.base import Entry
from pipeline.readers.construct import clean_author, clean_year
from pipeline.records import normalise_doi, normalise_pmid

Value = Literal[0, 1] | None
#: What a label that was not ticked means.
Unticked = Literal["no", "not-judged"]

_CITATION = re.compile(r"\s*(\D{2,60}?)(?:\s+et al\.?)?[\s,_-]*\(?((?:19|20)\d\d)[a-z]?\)?\s*")
_LONGEST = 500


class Paper(NamedTuple):
    """How a source names a paper.

    Attributes
    ----------
    names
        Each may be a record id, or a key of the reviewers' own list.
    doi, pmid, authors, year
        In the form of `pipeline.records.Record`.
    text
        What the coder saw, where the source holds it.
    """

    names: tuple[str, ...] = ()
    doi: str | None = None
    pmid: str | None = None
    title: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    text: str = ""


class Code(NamedTuple):
    """What a source says of one label of one paper.

    Attributes
    ----------
    label
        As the tool writes it; ``None`` for the decision whether the paper is relevant.
    value
        1 ticked, 0 said to be unticked, ``None`` not judged.
    coder, basis
        Empty where the source does not say.
    """

    label: str | None
    value: Value
    coder: str = ""
    evidence: str = ""
    date: str = ""
    basis: Basis | None = None
    codebook_version: str = ""


class Item(NamedTuple):
    """One entry of a source: a row, an answered task, a coded reference.

    Attributes
    ----------
    number, line
        Of the entry in the file, from 1.
    finished
        Coders who went through the labels and left those unticked that have no code here.
    offered
        Labels that they had to choose from; ``None`` where the source does not say.
    fault
        Why it cannot be used, or ``""``.
    """

    number: int
    line: int
    paper: Paper = Paper()
    codes: tuple[Code, ...] = ()
    finished: tuple[str, ...] = ()
    offered: tuple[str, ...] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Asked:
    """What the user says of files that do not say it themselves."""

    labels: LabelMap
    coder: str = ""
    basis: Basis | None = None
    unticked: Unticked | None = None


@dataclass(frozen=True)
class CodingFormat:
    """How the codings of one program are told from others, and read.

    `recognise` looks at names of columns and at the first entry; `read` gives the items in file order.
    """

    name: str
    recognise: Callable[[Content], bool]
    read: Callable[[Content, Asked], Iterator[Item]]


def text_of(value: Any) -> str:
    """Text on one line; nothing for what is neither text nor number."""
    return " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """Members of a JSON list that are objects; nothing for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Texts of a JSON list, or the one text; nothing for anything else."""
    values = value if isinstance(value, list) else [value]
    return [text for item in values if (text := text_of(item))]


def date_of(value: Any) -> str:
    """Day, where a text begins with one (ISO 8601)."""
    match = re.match(r"\d{4}-\d\d-\d\d", text_of(value))
    return match[0] if match else ""


def paper_of(fields: Sequence[tuple[str, Any]], cleaned: Mapping[str, Any] | None = None, text: Any = "") -> Paper:
    """Find what names a paper among columns, or keys of an object.

    Parameters
    ----------
    cleaned
        What a reader of records made of the fields; by default they are read as columns of a table.
    text
        What the coder saw.
    """
    plain = [(name, value) for name, field in fields if (value := _plain(field))]
    cleaned = columns.clean(plain) if cleaned is None else cleaned
    named = {fold(name): value for name, value in plain}
    authors = cleaned.get("authors") or []
    title, year = clean_text(cleaned.get("title")), clean_year(cleaned.get("year"))
    names = tuple(dict.fromkeys(clean_text(named[name])[:_LONGEST] for name in NAMES if named.get(name)))
    author_names = tuple(filter(None, map(clean_author, authors)))
    for name in names:
        # 'Aitken (2014)', which helps to suggest papers.
        if not author_names and not title and (cited := _CITATION.fullmatch(name)):
            author_names, year = (cited[1],), year or int(cited[2])
    return Paper(
        names=names,
        doi=normalise_doi(clean_text(cleaned.get("doi"))[:_LONGEST]),
        pmid=normalise_pmid(clean_text(cleaned.get("pmid"))[:_LONGEST]),
        title=title,
        authors=author_names,
        year=year,
        text=text if isinstance(text, str) else "",
    )


def _plain(value: Any) -> str:
    """Text of a field; names in a list are separated by semicolons, as `columns.clean` takes them."""
    return "; ".join(texts(value)) if isinstance(value, list) else text_of(value)


def faulty(entry: Entry) -> Item:
    """Refuse an entry that could not be read."""
    return Item(entry.number, entry.line, fault=entry.fault)
