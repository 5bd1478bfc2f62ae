"""Define coded papers, the form to which decisions and codings are converted before most exports."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import (
    BETWEEN_QUOTES,
    Answer,
    Basis,
    Coding,
    Evidence,
    Prediction,
    Record,
    Sentence,
    Sign,
    name_answer,
    passages_of,
)
from mechtag.core.settings import SentenceSettings
from mechtag.core.tables import Value
from mechtag.pipeline.export.documents import legal_text
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.pipeline.export.review_rows import column_names
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sentences import split_each
from mechtag.pipeline.reading.text.sign import ReadSigns, by_words

#: Value of a code by its answer in words; see `name_answer`.
VALUES: dict[str, Value] = {"yes": 1, "no": 0, "needs review": None, "not judged": None}
#: What an export contains: the decisions of a model, the codings of people, or both.
What = Literal["decisions", "codings", "both"]

# First characters of the coder name under which the decisions of a model are exported.
_MODEL = "mechtag ("


class Quote(NamedTuple):
    """A passage that supports a code.

    Attributes
    ----------
    start, end
        Offsets of the passage into the abstract or the full text (see ``basis``); ``None`` if the text does not contain
        the passage.
    basis
        Text that the passage was quoted from: ``abstract`` or ``full-text``.
    score
        Score of the passage if a model chose it, otherwise ``None``.
    sign
        Sign of the passage: ``present``, ``absent`` or ``unclear``; see `mechtag.core.records.Sign`. ``None`` if the
        coder set no sign. If a model chose the passage, the sign is ``absent`` or ``None``.
    """

    text: str
    start: int | None = None
    end: int | None = None
    basis: Basis = "abstract"
    page: str | None = None
    section: str | None = None
    score: float | None = None
    sign: Sign | None = None


class Code(NamedTuple):
    """The answer of a coder or a model for one label of a paper.

    Attributes
    ----------
    coder
        Name of the coder. For a model, it is the result of `model_coder`.
    value
        ``1`` for yes, ``0`` for no, ``None`` if the label was not judged or needs review.
    quotes
        Passages that support the answer. If a model answers no, there are no passages.
    refer
        Whether the label needs review.
    probability
        Probability of the label; ``None`` if a person coded the label.
    threshold
        Lowest probability at which the model suggests the label; ``None`` if a person coded the label.
    model_id
        Id of the model; ``None`` if a person coded the label.
    source
        Coding from which this answer was made; ``None`` for the answer of a model.
    """

    label: str
    coder: str
    value: Value
    basis: Basis
    quotes: tuple[Quote, ...] = ()
    refer: bool = False
    probability: float | None = None
    threshold: float | None = None
    date: str | None = None
    model_id: str | None = None
    source: Coding | None = None

    @property
    def answer(self) -> Answer:
        """Return the code as words: ``yes``, ``no``, ``not judged`` or ``needs review``."""
        return name_answer(self.value, self.refer)


class CodedPaper(NamedTuple):
    """A paper with its codes and its full text.

    Attributes
    ----------
    codes
        At most one code per coder and label.
    full_text
        Full text of the paper; ``""`` if it is not known.
    """

    record: Record
    codes: tuple[Code, ...]
    full_text: str = ""

    def of_label(self, label: str) -> tuple[Code, ...]:
        """Return the codes of all coders for a label."""
        return tuple(code for code in self.codes if code.label == label)


@dataclass(frozen=True)
class CodedPapers:
    """The papers to export.

    Attributes
    ----------
    codebook
        Codebook that defines the labels.
    passages
        Passages with a role of evidence.
    """

    codebook: Codebook
    papers: tuple[CodedPaper, ...]
    passages: tuple[RolePassage, ...] = ()

    @cached_property
    def names(self) -> dict[str, str]:
        """Return a unique name for each label, keyed by label key.

        If a name is not unique, the key of the label is appended to the name.
        """
        return column_names(self.codebook.names)

    @cached_property
    def coders(self) -> tuple[str, ...]:
        """Return the names of all coders: first people, then models, both in alphabetical order."""
        models = {passage.coder: False for passage in self.passages if passage.coder}
        models |= {code.coder: code.model_id is not None for paper in self.papers for code in paper.codes}
        return tuple(sorted(models, key=lambda name: (models[name], name)))

    @property
    def codes(self) -> Iterator[Code]:
        """Yield the codes of all papers."""
        return (code for paper in self.papers for code in paper.codes)


def model_coder(model_id: str) -> str:
    """Return the coder name under which the decisions of a model are exported."""
    return f"{_MODEL}{model_id})"


def is_model(coder: str) -> bool:
    """Return whether a coder name in an exported file stands for a model."""
    return coder.startswith(_MODEL)


def from_predictions(
    records: Sequence[Record],
    predictions: Iterable[Prediction],
    codebook: Codebook,
    full_texts: Mapping[str, str] | None = None,
    basis: Basis | None = None,
    read_signs: ReadSigns = by_words,
) -> CodedPapers:
    """Return records and their predictions as coded papers, in the order of the records.

    Parameters
    ----------
    full_texts
        Full texts, keyed by record id.
    basis
        Basis of the decisions to return. If ``None``, decisions based on the full text take precedence over decisions
        based on the abstract.
    read_signs
        Function that returns the sign of each sentence of evidence: ``present`` or ``absent``. See
        `mechtag.pipeline.reading.text.sign`.

    Raises
    ------
    MechtagError
        If a prediction refers to an unknown label or record, or if no prediction has the requested basis.
    """
    found: dict[str, list[Prediction]] = {record.record_id: [] for record in records}
    for row in predictions:
        if row.record_id not in found or row.label not in codebook.all_keys:
            known = row.record_id in found
            what = "the codebook has no such label" if known else "this record is not among the records to export"
            raise MechtagError(
                f"the prediction of label {row.label!r} for record {row.record_id} cannot be exported: {what}; use the "
                "records and the codebook with which the predictions were made"
            )
        found[row.record_id].append(row)
    decided = (
        decided_paper(
            record, found[record.record_id], codebook, (full_texts or {}).get(record.record_id, ""), basis, read_signs
        )
        for record in records
    )
    papers = tuple(paper for paper in decided if paper is not None)
    if not papers:
        raise no_decisions(basis)
    return CodedPapers(codebook, papers)


def decided_paper(
    record: Record,
    predictions: Iterable[Prediction],
    codebook: Codebook,
    full_text: str = "",
    basis: Basis | None = None,
    read_signs: ReadSigns = by_words,
) -> CodedPaper | None:
    """Return a record and its predictions as a coded paper; ``None`` if no prediction has the requested basis.

    Parameters
    ----------
    basis
        Basis of the decisions to return. If ``None``, decisions based on the full text take precedence over decisions
        based on the abstract.
    read_signs
        Function that returns the sign of each sentence of evidence: ``present`` or ``absent``. See
        `mechtag.pipeline.reading.text.sign`.
    """
    texts: dict[Basis, str] = {"abstract": record.abstract, "full-text": full_text}
    codes = [_decision(row, texts, read_signs) for row in predictions if basis in (None, row.basis)]
    return _paper(record, codes, codebook, full_text, basis)


def no_decisions(basis: Basis | None) -> MechtagError:
    """Return the error to raise if no prediction has the requested basis."""
    if basis is None:
        return MechtagError("the predictions are empty; run 'mechtag tag' again")
    return _none_based_on("decisions of the model", basis)


def _none_based_on(what: str, basis: Basis) -> MechtagError:
    read = basis.replace("-", " ")
    message = f"no {what} are based on the {read}; export those based on the other text, or on both texts"
    return MechtagError(message, options="change or omit --basis")


def _decision(row: Prediction, texts: Mapping[Basis, str], read_signs: ReadSigns) -> Code:
    quotes = sorted(row.evidence, key=lambda evidence: -evidence.score) if row.decision != "no" else ()
    signs = read_signs([one.text for one in quotes])
    values: dict[str, Value] = {"yes": 1, "no": 0, "refer": None}
    return Code(
        label=row.label,
        coder=model_coder(row.model_id),
        value=values[row.decision],
        basis=row.basis,
        quotes=tuple(_placed(one, texts[one.basis], sign) for one, sign in zip(quotes, signs, strict=True)),
        refer=row.decision == "refer",
        probability=row.probability,
        threshold=row.threshold,
        model_id=row.model_id,
    )


def _placed(one: Evidence, text: str, read: Sign) -> Quote:
    """Convert evidence to a quote; the offsets are dropped if ``text`` does not contain the sentence there."""
    sign: Sign | None = "absent" if read == "absent" else None
    quote = Quote(one.text, one.start, one.end, one.basis, one.page, one.section, one.score, sign)
    return quote if text[one.start : one.end] == one.text else quote._replace(start=None, end=None)


def from_codings(
    codings: Sequence[Coding],
    records: Sequence[Record],
    codebook: Codebook,
    full_texts: Mapping[str, str] | None = None,
    basis: Basis | None = None,
    coder: str = "",
    settings: SentenceSettings | None = None,
) -> CodedPapers:
    """Return codings as coded papers, in the order of the records.

    The passages that coders marked or quoted are looked up in the abstract and the full text. Papers without a record
    come last. Their title is the key by which the codings name the paper.

    Parameters
    ----------
    codings
        Codings to return. If the record of a coding is known, ``record_id`` must be set; see
        `coding_table.read_codings`.
    full_texts
        Full texts, keyed by record id.
    basis
        Basis of the codings to return. If ``None``, a code based on the full text takes precedence over the same
        coder's code based on the abstract.
    coder
        Coder of the codings to return. By default, the codings of all coders are returned.
    settings
        Settings with which the texts were split into sentences when the coders read them.

    Raises
    ------
    MechtagError
        If there are no codings, or if no coding has the given basis or coder.
    """
    if not codings:
        raise MechtagError("there are no codings to export; code papers first")
    coders = sorted({row.coder for row in codings})
    if coder and coder not in coders:
        raise MechtagError(f"there are no codings by {coder!r}; use one of: {', '.join(coders)}", options="--coder")
    own = [row for row in codings if not coder or row.coder == coder]
    texts = full_texts or {}
    known = {record.record_id: clean_record(record) for record in records}
    for row in own:
        name = row.record_id or row.key or ""
        known.setdefault(name, Record(record_id=name, title=row.key or name))
    marked = {row.record_id for row in own if row.sentences and row.basis == "abstract"}
    sentences = split_each([known[name] for name in known if name in marked], settings or SentenceSettings())
    found: dict[str, list[Code]] = {name: [] for name in known}
    for row in own:
        name = row.record_id or row.key or ""
        quotes = _quotes(row, known[name], texts.get(name, ""), sentences.get(name, ()))
        found[name].append(
            Code(row.label, row.coder, row.value, row.basis, quotes, row.refer, date=row.date, source=row)
        )
    coded = (_paper(known[name], codes, codebook, texts.get(name, ""), basis) for name, codes in found.items())
    papers = tuple(paper for paper in coded if paper is not None)
    if basis and not papers:
        raise _none_based_on("codings", basis)
    return CodedPapers(codebook, papers)


def _quotes(row: Coding, record: Record, full_text: str, sentences: Sequence[Sentence]) -> tuple[Quote, ...]:
    if row.basis == "abstract" and row.sentences and max(row.sentences) < len(sentences):
        own = [sentences[number] for number in row.sentences]
        signs = row.signs or [None] * len(own)
        return tuple(Quote(one.text, one.start, one.end, sign=sign) for one, sign in zip(own, signs, strict=True))
    passages = passages_of(row.evidence)
    # Only evidence with one passage per sentence can be matched to the signs of the sentences.
    signs = row.signs if len(row.signs) == len(passages) else [None] * len(passages)
    return tuple(
        _located(text, record, full_text)._replace(sign=sign) for text, sign in zip(passages, signs, strict=True)
    )


def _located(text: str, record: Record, full_text: str) -> Quote:
    """Return a passage as a quote, with offsets if the abstract or the full text contains the passage."""
    # Abstracts and full texts are in normalisation form C.
    pattern = re.compile(r"\s+".join(map(re.escape, unicodedata.normalize("NFC", text).split())))
    places: tuple[tuple[Basis, str], ...] = (("abstract", record.abstract), ("full-text", full_text))
    for basis, where in places:
        if place := pattern.search(where):
            return Quote(place[0], place.start(), place.end(), basis)
    return Quote(text)


def locate_passage(passage: RolePassage, paper: CodedPaper) -> Quote:
    """Convert a passage that has a role of evidence to a quote.

    The quote has offsets if the abstract or the full text contains the passage.
    """
    if passage.start is not None and passage.end is not None:
        basis = passage.basis or "abstract"
        text = paper.record.abstract if basis == "abstract" else paper.full_text
        if text[passage.start : passage.end].split() == passage.text.split():
            return Quote(text[passage.start : passage.end], passage.start, passage.end, basis, passage.page)
    return _located(passage.text, paper.record, paper.full_text)


def _paper(
    record: Record, codes: Iterable[Code], codebook: Codebook, full_text: str, basis: Basis | None
) -> CodedPaper | None:
    """Return a record with its codes on the given basis; ``None`` if there are no such codes.

    If ``basis`` is ``None``, a code based on the full text takes precedence over the same coder's code based on the
    abstract.
    """
    keys = codebook.all_keys
    kept: dict[tuple[int, str], Code] = {}
    for code in codes:
        name = (keys.index(code.label), code.coder)
        # If a coder has two codes for a label, the code based on the full text is kept.
        if basis in (None, code.basis) and (name not in kept or code.basis == "full-text"):
            kept[name] = code
    return CodedPaper(record, tuple(kept[name] for name in sorted(kept)), full_text) if kept else None


def joined(first: CodedPapers, second: CodedPapers) -> CodedPapers:
    """Combine two sets of coded papers; the papers of ``first`` come first.

    If a paper is in both sets, its codes are combined.
    """
    papers = {paper.record.record_id: paper for paper in first.papers}
    for paper in second.papers:
        other = papers.get(paper.record.record_id)
        papers[paper.record.record_id] = joined_paper(other, paper, first.codebook) if other else paper
    return CodedPapers(first.codebook, tuple(papers.values()), (*first.passages, *second.passages))


def joined_paper(first: CodedPaper, second: CodedPaper, codebook: Codebook) -> CodedPaper:
    """Combine the codes of two coded papers that have the same record."""
    keys = codebook.all_keys
    codes = sorted((*first.codes, *second.codes), key=lambda code: (keys.index(code.label), code.coder))
    return CodedPaper(first.record, tuple(codes), first.full_text or second.full_text)


def paper_text(paper: CodedPaper) -> tuple[str, dict[Basis, int]]:
    """Return the title, abstract and full text of a paper as one text.

    Characters that other programs might remove, such as carriage returns, are replaced by spaces. Offsets are therefore
    valid in these programs, too.

    Returns
    -------
    text : str
        Title, abstract and full text.
    starts : dict
        Positions in ``text`` at which the abstract and the full text begin, keyed by ``abstract`` and ``full-text``. An
        empty abstract or full text has no position.
    """
    text = " ".join(paper.record.title.split())
    starts: dict[Basis, int] = {}
    parts: tuple[tuple[Basis, str], ...] = (("abstract", paper.record.abstract), ("full-text", paper.full_text))
    for basis, part in parts:
        if part:
            text += "\n\n"
            starts[basis] = len(text)
            text += part
    return legal_text(text.replace("\r", " ").replace("\ufeff", " "), " "), starts


def codings_of(coded: CodedPapers) -> list[Coding]:
    """Return the codes of people as codings, ordered by paper, label and coder."""
    return [
        code.source.model_copy(
            update={
                "record_id": paper.record.record_id,
                "evidence": BETWEEN_QUOTES.join(quote.text for quote in code.quotes) or None,
            }
        )
        for paper in coded.papers
        for code in paper.codes
        if code.source is not None
    ]


def agreed(codes: Iterable[Code]) -> Answer:
    """Return the answer on which all coders of a label agree; ``needs review`` if their answers differ.

    Coders who did not judge the label are ignored. If no coder judged the label, the answer is ``not judged``.
    """
    answers = {code.answer for code in codes} - {"not judged"}
    if len(answers) > 1:
        return "needs review"
    return answers.pop() if answers else "not judged"
