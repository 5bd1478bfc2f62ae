"""Define the rows that the steps of the pipeline exchange: records, sentences, predictions and codings."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import unquote

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

#: Role of a sentence according to its printed heading: one of `ROLES`, a note (such as funding), or none.
Role = Literal["background", "methods", "results", "note", ""]

#: Roles of a sentence in an abstract.
ROLES = ("background", "methods", "results")


Decision = Literal["yes", "no", "refer"]

#: Whether a passage says that what a label describes is there, or that it is lacking; ``unclear`` if it says both, or
#: neither.
Sign = Literal["present", "absent", "unclear"]

#: Signs that a coder can give to a passage.
SIGNS: tuple[Sign, ...] = get_args(Sign)

#: What a prediction or a coding is based on.
Basis = Literal["abstract", "full-text"]

# A DOI, without any resolver or prefix before it; see https://www.doi.org/doi_handbook, section 2.2.
_DOI = re.compile(r"10\.\d{4,9}/\S+", re.IGNORECASE)
# Characters that print nothing and come with identifiers copied from a page or a PDF: format characters such as
# zero-width spaces and direction marks, variation selectors, and blank letters.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]"
)
# What an address adds to a DOI: a query, a fragment, or the page of an article. A '#' at the end stays,
# because a DOI of the 1990s may end with one.
_ADDED = re.compile(r"(?:[?&](?:amp;)?[a-z_][\w.-]*=|#(?:[a-z]|:~:)).*$|\?$", re.S)
_PAGE = re.compile(r"/(?:full|fulltext|abstract|e?pdf|pdfdirect|meta|html)(?:/html)?$|\.pdf$")
# Trial registries; a registration often has the title of the paper that results from it.
_REGISTRY = re.compile(
    r"clinical ?trials\.gov|ictrp|trialsearch|isrctn|clinical ?trials? ?regist|trial regist|anzctr|drks\.de|chictr"
    r"|umin\.ac\.jp|jrct\b|ctri\.nic|irct\.ir|cris\.nih",
    re.I,
)
_REGISTRATION = re.compile(
    r"\b(?:NCT ?\d{8}|ISRCTN ?\d{8}|EUCTR ?\d{4}-\d{6}-\d\d|\d{4}-\d{6}-\d\d|ACTRN ?\d{14}|ChiCTR[-\w]{6,20}"
    r"|UMIN\d{9}|jRCT\w{10}|DRKS\d{8}|NTR\d{3,4}|CTRI/\d{4}/\d\d/\d{6}|IRCT\w{10,20}|KCT\d{7})",
    re.I,
)
_PMID = re.compile(r"\d{1,9}")
_WORD = re.compile(r"\w+")


class Row(BaseModel):
    """Base class of table rows: instances are immutable, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def normalise_doi(value: str | None) -> str | None:
    """Extract the DOI from a text and return it in lower case; return ``None`` if the text contains no DOI."""
    text = _INVISIBLE.sub("", unquote(value or ""))
    match = _DOI.search(text)
    if not match:
        return None
    doi = _ADDED.sub("", match.group().lower())
    if "://" in text[: match.start()]:
        doi = _PAGE.sub("", doi)
    doi = doi.rstrip(".,;>\"'/")
    # A closing bracket belongs to the DOI only if the opening bracket does too, as in 10.1016/s0140-6736(05)67889-7.
    while doi.endswith((")", "]")) and doi.count("(") + doi.count("[") < doi.count(")") + doi.count("]"):
        doi = doi[:-1]
    return doi


def normalise_pmid(value: str | None) -> str | None:
    """Return the digits of a PubMed identifier without leading zeros; return ``None`` for any other value."""
    text = _INVISIBLE.sub("", value or "").strip()
    text = re.sub(r"(?i)^pmid\s*:?\s*", "", text)
    return text.lstrip("0") or None if _PMID.fullmatch(text) else None


def normalise_title(value: str) -> str:
    """Return a title in lower case without accents and punctuation, for comparison with other titles."""
    text = value.casefold()
    if not value.isascii():  # Most titles are ASCII and need no decomposition.
        text = unicodedata.normalize("NFKD", value).casefold()
        text = "".join(char for char in text if not unicodedata.combining(char))
    return " ".join(_WORD.findall(text))


class Record(Row):
    """One bibliographic record, independent of the source format.

    Attributes
    ----------
    record_id
        Identifier that depends only on the data of the paper; see `make_record_id`.
    authors
        Names of the authors. They are written ``Family, Given`` if the source separates family and given names.
    doi, pmid
        Identifiers as returned by `normalise_doi` and `normalise_pmid`.
    source_file
        Name of the file from which the record was read.
    source_index
        Number of the record in this file, from 1.
    raw
        All fields of the record in the file, as pairs of name and value in file order. A repeated field has one pair
        per occurrence. Fields that mechtag does not use are also kept, for exports.
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
        """Create a record from the values of all fields, without validation.

        `model_construct` is equivalent but takes ten times as long.

        Parameters
        ----------
        values
            Valid values of all fields, in the order of the fields.
        """
        # `model_construct` looks up aliases and defaults of every field.
        record = cls.__new__(cls)
        _set_values(record, values)
        _set_fields(record, _ALL_FIELDS)
        _set_extra(record, None)
        _set_private(record, None)
        return record


# All records share this set, which is never modified: separate sets would add a kilobyte to each record.
_ALL_FIELDS = set(Record.model_fields)
# Setters of a model's attributes that bypass the check for immutability.
_set_values, _set_fields, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def registration_number(place: str, *texts: str) -> str | None:
    """Return the number of the trial registration that a record describes.

    The result is ``None`` if the record does not describe a trial registration. It is ``""`` if the record describes a
    registration without a number.

    Parameters
    ----------
    place
        Journal, web address and type of the record as one text. If this text names a trial registry, the record
        describes a registration.
    texts
        Other texts of the record that may contain the number.
    """
    if not _REGISTRY.search(place):
        return None
    number = _REGISTRATION.search(" ".join((place, *texts)))
    return number[0].replace(" ", "").upper() if number else ""


def make_record_id(
    *,
    doi: str | None,
    pmid: str | None,
    title: str,
    year: int | None,
    authors: tuple[str, ...],
    registration: str | None = None,
) -> str:
    """Return a record id made from the data of a paper.

    The id is made from the DOI. If there is no DOI, the PubMed id is used. If there is no PubMed id either, the title,
    year, first author and trial registration are used.

    Parameters
    ----------
    doi, pmid
        Normalised identifiers.
    registration
        Number of the trial registration (see `registration_number`). It distinguishes trials that have the same title
        and year.

    Returns
    -------
    str
        ``doi:`` and the DOI, ``pmid:`` and the PubMed id, or ``text:`` and 16 hexadecimal digits.
    """
    if doi:
        return f"doi:{doi}"
    if pmid:
        return f"pmid:{pmid}"
    family = normalise_title(authors[0].split(",")[0]) if authors else ""
    text = "\n".join((normalise_title(title), str(year or ""), family, *([registration] if registration else ())))
    return f"text:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Rejected(Row):
    """Input that could not be turned into a record, with the reason.

    ``record`` is the number of the record and ``line`` the number of the line, both from 1. They are ``None`` if the
    whole file was rejected.
    """

    file: str
    record: int | None = None
    line: int | None = None
    reason: str
    raw: tuple[tuple[str, Any], ...] = ()


class Sentence(Row):
    """A sentence of the abstract of a record.

    ``text`` is exactly ``abstract[start:end]``. ``sentence`` is the number of the sentence in the abstract, from 0.
    ``section`` is the heading above the sentence in lower case; it is ``""`` if there is no heading.
    """

    record_id: str
    sentence: int
    section: str
    start: int
    end: int
    text: str


class Evidence(Row):
    """A sentence that supports a label.

    Attributes
    ----------
    sentence
        Number of the sentence, from 0. All sentences of an abstract are numbered. In a full text, only the scored
        sentences are numbered.
    start, end
        Offsets of the sentence into the abstract or the full text, as ``basis`` states.
    score
        Score of the sentence for the label.
    basis
        Whether the sentence is from the abstract of the record or from the full text.
    page
        Label of the page on which the sentence begins. ``None`` if the sentence is from an abstract or the full text
        has no pages.
    section
        Title of the section that contains the sentence. ``None`` if the sentence is from an abstract or the section has
        no title.
    """

    sentence: int
    start: int
    end: int
    text: str
    score: float
    basis: Basis = "abstract"
    page: str | None = None
    section: str | None = None


def _nan_to_none(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


#: First characters of the id of a model that was made from the definitions of the codebook alone.
DEFINITIONS_ALONE = "definitions-"
#: First characters of the id of a trained model that leaves every label of a full text to people, because its coded
#: records are too few, or do not show how scores change with the length of a text.
ABSTRACTS_ALONE = "abstracts-"


def leaves_full_texts(model_id: str) -> bool:
    """Return whether a model leaves all labels of full texts to people, judging by the start of the model's id."""
    return model_id.startswith((DEFINITIONS_ALONE, ABSTRACTS_ALONE))


class Prediction(Row):
    """The prediction of a model, baseline or rule for one label of one record.

    Attributes
    ----------
    score
        Score that ranks records within a label, on any scale. ``None`` if the label was not scored because the record
        is clearly irrelevant; the decision is then ``no``.
    probability
        Calibrated probability that the record has the label. ``None`` if the method yields no probabilities or did not
        score the label.
    given_relevant
        Probability that the record has the label, given that the record is relevant. ``None`` for relevance itself, and
        for methods that do not model relevance separately.
    threshold
        Lowest probability at which the label is suggested.
    decision
        ``yes``, ``no`` or ``refer``. ``refer`` means that the decision needs review, because the probability is too
        close to the threshold.
    basis
        Text in which the label was looked for: abstract or full text. Relevance is judged by the title and abstract. If
        a record has no abstract, the start of its full text is used instead.
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
    basis: Basis = "abstract"


def decisive(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Yield the predictions that count for each record.

    If a record has predictions based on its full text, only these count. Otherwise, the predictions based on its
    abstract count.

    Parameters
    ----------
    predictions
        Predictions for one or more records. All predictions for a record must be consecutive.
    """
    for _, group in groupby(predictions, key=lambda row: row.record_id):
        rows = list(group)
        basis = "full-text" if any(row.basis == "full-text" for row in rows) else "abstract"
        yield from (row for row in rows if row.basis == basis)


def _false_if_empty(value: Any) -> Any:
    return False if value is None else value


def _numbers(value: Any) -> Any:
    """Split a text such as ``"0;3;4"`` into its numbers, still as strings; return a value of another type unchanged."""
    return tuple(re.split(r"[;,\s]+", value.strip())) if isinstance(value, str) else value


#: Text between the quotations in the field ``evidence`` of a coding.
BETWEEN_QUOTES = " […] "


def passages_of(evidence: str | None) -> list[str]:
    """Return the passages in the field ``evidence`` of a coding, where ``[…]`` separates one passage from the next."""
    passages = (text.strip() for text in (evidence or "").split(BETWEEN_QUOTES.strip()))
    return [text for text in passages if text]


def _signs(value: Any) -> Any:
    """Split a text such as ``"absent; ; present"`` into a tuple of signs, with ``None`` where a sign is missing.

    If there are no signs, the result is ``()``.
    """
    if isinstance(value, str):
        value = tuple(part.strip() or None for part in value.split(";"))
    return () if value is None or (isinstance(value, tuple | list) and not any(value)) else value


#: A code in words.
Answer = Literal["yes", "no", "needs review", "not judged"]


def name_answer(value: int | None, refer: bool = False) -> Answer:
    """Return a code in words: ``needs review`` if ``refer`` is true, otherwise ``yes``, ``no`` or ``not judged``."""
    if refer:
        return "needs review"
    return "not judged" if value is None else "yes" if value else "no"


#: First characters of the name of a coder that is a language model; the name of a person cannot begin like this.
LLM = "llm:"


#: Name of the coder of final codes in tables that the review page exports. They repeat codes that people agreed on, or
#: settle disagreements.
FINAL = "final"


def is_llm(coder: str) -> bool:
    """Return whether a coder is a language model or a vote of language models, judging by the name.

    Capitals, full-width letters, spaces and invisible characters in the name make no difference.
    """
    letters = unicodedata.normalize("NFKC", coder).casefold()
    return "".join(char for char in letters if char.isprintable() and not char.isspace()).startswith(LLM)


def is_person(name: str) -> bool:
    """Return whether a text can be the name of a person.

    A name of a person contains a letter or digit, and is not the name of a language model.
    """
    return any(map(str.isalnum, name)) and not is_llm(name)


class Coding(Row):
    """One coder's judgement on one label of one paper.

    Attributes
    ----------
    record_id
        Identifier of the record. It may be missing if ``key`` is set.
    key
        Identifier of the paper in the coders' own list. It may be missing if ``record_id`` is set.
    value
        ``1`` for yes, ``0`` for no, ``None`` if the label was not judged. A label that was not judged is never treated
        as a no.
    sentences
        Numbers, from 0, of the sentences of the abstract that the coder marked for the label. ``None`` if the coder did
        not mark sentences at all.
    sentences_complete
        Whether the coder has read all sentences, so that unmarked sentences count as not supporting the label.
    signs
        Sign of each passage: whether the passage says that what the label describes is ``present`` or ``absent``.
        ``unclear`` means both or neither. ``None`` stands for a missing sign. The passages are the marked
        ``sentences``, or the quotations in ``evidence`` if ``sentences`` is ``None``. The tuple is empty if no passage
        has a sign.
    refer
        Whether the coder referred the label to somebody else (needs review). If so, ``value`` is ``None``.
    role
        Key of the role of evidence, such as ``context``, that the coder gave to the passages in this coding. ``None``
        if the coding is the judgement on the label as a whole. A label has one coding without a role, and a further
        coding for each role.
    reason
        Reason for an exclusion. If the coder is a language model, it is the reason for the answer.
    assisted
        Whether the coder saw a suggestion of a model before giving the code; ``None`` if that is unknown.
    model_id
        Identifier of the model whose suggestion the coder saw. If the coder is a language model, it is the name of this
        model and the hash of the prompt.
    confirmed_by
        Name of the person who checked a coding by a language model and adopted it as their own.
    """

    record_id: str | None = None
    key: str | None = None
    coder: str
    label: str
    value: Literal[0, 1] | None
    basis: Basis
    evidence: str | None = None
    date: str | None = None
    codebook_version: str | None = None
    sentences: Annotated[tuple[Annotated[int, Field(ge=0)], ...] | None, BeforeValidator(_numbers)] = None
    sentences_complete: Annotated[bool, BeforeValidator(_false_if_empty)] = False
    signs: Annotated[tuple[Sign | None, ...], BeforeValidator(_signs)] = ()
    refer: Annotated[bool, BeforeValidator(_false_if_empty)] = False
    role: str | None = None
    reason: str | None = None
    assisted: bool | None = None
    model_id: str | None = None
    confirmed_by: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.refer and self.value is not None:
            raise ValueError("'refer' is set, but 'value' is not empty; leave one of the two empty")
        passages = len(passages_of(self.evidence) if self.sentences is None else self.sentences)
        if self.signs and len(self.signs) != passages:
            source = "passages in 'evidence'" if self.sentences is None else "sentences in 'sentences'"
            raise ValueError(
                f"'signs' has {len(self.signs)} entries, but there are {passages} {source}; enter one sign for each, "
                "separated by semicolons. Leave a missing sign empty, as in 'absent; ; present'"
            )
        if self.role and self.value != 1:
            raise ValueError("'role' is set, but 'value' is not 1; enter 1 in 'value', or leave 'role' empty")
        return self


#: Fields that were added to the contract later. Where they have their defaults, they are left out of hashes and tables.
LATER_FIELDS = frozenset(
    ("sentences", "sentences_complete", "signs", "refer", "role", "reason", "assisted", "model_id", "confirmed_by")
)


#: Field of a source file that contains the reviewers' own identifier of a paper.
KEY = "key"
# Names of this field in lower case, the best first: Zotero's column, the tag of RIS and the key of BibTeX.
_KEYS = (KEY, "id", "citation key", "citekey")


def keys_of(record: Record) -> list[str]:
    """Return the identifiers that reviewers use for a record, such as the citation key in a BibTeX file.

    The identifiers are the values of the fields ``key``, ``id``, ``citation key`` and ``citekey``, in this order.
    """
    fields = {name.casefold(): value for name, value in reversed(record.raw)}
    values = (fields.get(name) for name in _KEYS)
    # JSON sources may contain numbers as identifiers.
    return [str(value) for value in values if value is not None and value != ""]
