"""The rows that stages pass to one another: records, sentences, predictions, codings."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: What a printed heading says: one of `ROLES`, a note (funding, registration, copyright ...), or nothing.
Role = Literal["background", "methods", "results", "note", ""]

#: What a sentence can be.
ROLES = ("background", "methods", "results")


Decision = Literal["yes", "no", "refer"]

# A DOI, whatever resolver or prefix stands before it; https://www.doi.org/doi_handbook section 2.2.
_DOI = re.compile(r"10\.\d{4,9}/\S+", re.IGNORECASE)
_PMID = re.compile(r"\d{1,9}")
_WORD = re.compile(r"\w+")


class Row(BaseModel):
    """A row that cannot be changed and has no other fields than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def normalise_doi(value: str | None) -> str | None:
    """Cut a DOI out of whatever it is wrapped in and lower its case; ``None`` where there is none."""
    match = _DOI.search(unquote(value or ""))
    if not match:
        return None
    doi = match.group().lower().rstrip(".,;>\"'")
    # A closing bracket belongs to the DOI only where it was opened in it, as in 10.1016/s0140-6736(05)67889-7.
    while doi.endswith((")", "]")) and doi.count("(") + doi.count("[") < doi.count(")") + doi.count("]"):
        doi = doi[:-1]
    return doi


def normalise_pmid(value: str | None) -> str | None:
    """Digits of a PubMed identifier; ``None`` where the value is anything else."""
    text = (value or "").strip()
    text = re.sub(r"(?i)^pmid\s*:?\s*", "", text)
    return text.lstrip("0") or None if _PMID.fullmatch(text) else None


def normalise_title(value: str) -> str:
    """Fold case, accents, punctuation and spacing, so that the same title compares equal."""
    text = value.casefold()
    if not value.isascii():  # Most titles are, and have nothing to decompose.
        text = unicodedata.normalize("NFKD", value).casefold()
        text = "".join(char for char in text if not unicodedata.combining(char))
    return " ".join(_WORD.findall(text))


class Record(Row):
    """One bibliographic record, whatever file it came from.

    Attributes
    ----------
    record_id
        Same paper data, same id, on every machine; see `make_record_id`.
    authors
        ``Family, Given`` where the source tells them apart.
    doi, pmid
        In the form of `normalise_doi` and `normalise_pmid`.
    source_file, source_index
        Name of the file it was read from, and its number there, from 1.
    raw
        All fields as read, in file order, as pairs of name and value; a repeated
        field is a repeated pair. Export writes from it what mechtag has no name for.
    """

    record_id: str
    title: str
    abstract: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    journal: str | None = None
    volume: str | None = None
    issue: str | None = None
    pages: str | None = None
    doi: str | None = None
    pmid: str | None = None
    keywords: tuple[str, ...] = ()
    type: str | None = None
    language: str | None = None
    url: str | None = None
    source_file: str = ""
    source_index: int = 0
    raw: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def unchecked(cls, values: dict[str, Any]) -> Record:
        """Make a record of values for all fields, in their order and of the right types, without looking at them.

        For readers, which make the values themselves. It does what `model_construct` does; that looks every
        field up for aliases and defaults, and takes ten times as long.
        """
        record = cls.__new__(cls)
        _set_values(record, values)
        _set_fields(record, _ALL_FIELDS)
        _set_extra(record, None)
        _set_private(record, None)
        return record


# One for all records, which nobody changes: a set of its own would make each a kilobyte larger.
_ALL_FIELDS = set(Record.model_fields)
# What makes up a model, set without a look at whether it may be changed.
_set_values, _set_fields, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def make_record_id(*, doi: str | None, pmid: str | None, title: str, year: int | None, authors: tuple[str, ...]) -> str:
    """Name a record by its DOI, else its PubMed id, else by title, year and first author.

    Parameters
    ----------
    doi, pmid
        Already normalised.

    Returns
    -------
    str
        ``doi:...``, ``pmid:...`` or ``text:`` and 16 hexadecimal digits.
    """
    if doi:
        return f"doi:{doi}"
    if pmid:
        return f"pmid:{pmid}"
    family = normalise_title(authors[0].split(",")[0]) if authors else ""
    text = "\n".join((normalise_title(title), str(year or ""), family))
    return f"text:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Rejected(Row):
    """What was read but could not become a record, and why.

    ``record`` and ``line`` count from 1; either is ``None`` where the fault is the file's.
    """

    file: str
    record: int | None = None
    line: int | None = None
    reason: str
    raw: tuple[tuple[str, Any], ...] = ()


class Sentence(Row):
    """A sentence of an abstract.

    ``abstract[start:end] == text`` holds exactly. ``sentence`` numbers the sentences of
    a record from 0. ``section`` is the heading above it in lower case, or ``""``.
    """

    record_id: str
    sentence: int
    section: str
    start: int
    end: int
    text: str


class Evidence(Row):
    """A sentence that speaks for a label: offsets into the abstract, and its share in the score."""

    sentence: int
    start: int
    end: int
    text: str
    score: float


def _nan_to_none(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


class Prediction(Row):
    """What a model, a baseline or a person's rule says of one label of one record.

    Attributes
    ----------
    score
        Orders records within a label; any scale. ``None`` where relevance was a clear no and the label was not
        scored: its decision is then a no.
    probability
        Calibrated probability that the label holds; ``None`` where the method has none, or did not score it.
    given_relevant
        The same if the record is relevant; ``None`` for relevance itself, and for methods that do not tell the two
        apart.
    threshold
        Probability from which the label is suggested.
    decision
        ``refer`` where the probability is too near the threshold to decide.
    """

    record_id: str
    label: str
    score: Annotated[float | None, BeforeValidator(_nan_to_none)]
    probability: Annotated[float | None, BeforeValidator(_nan_to_none)] = Field(default=None, ge=0, le=1)
    given_relevant: Annotated[float | None, BeforeValidator(_nan_to_none)] = Field(default=None, ge=0, le=1)
    threshold: Annotated[float | None, BeforeValidator(_nan_to_none)] = Field(default=None, ge=0, le=1)
    decision: Decision
    evidence: tuple[Evidence, ...] = ()
    model_id: str


class Coding(Row):
    """What one coder said of one label of one paper.

    ``record_id`` or ``key`` (the name of the paper in the coders' own list) says which
    paper. ``value`` is 1, 0, or ``None`` for not judged, which is never taken for 0.
    """

    record_id: str | None = None
    key: str | None = None
    coder: str
    label: str
    value: Literal[0, 1] | None
    basis: Literal["full-text", "abstract"]
    evidence: str | None = None
    date: str | None = None
    codebook_version: str | None = None
