"""Tag full texts: choose the sections to score, divide them into windows, and find evidence with its page.

A window consists of consecutive sentences, which are scored in the same way as an abstract.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.full_text import FullText, FullTextTagging, Kind, Page, Section
from mechtag.core.parquet import FullTextTable
from mechtag.core.records import Evidence, Prediction, Record, Sentence
from mechtag.core.settings import SentenceSettings, Settings
from mechtag.models.encoder import RememberingEncoder
from mechtag.models.tagger import LongDocument, Scored, ScoredLong, Tagger
from mechtag.models.windows import windows
from mechtag.pipeline.reading.text.reference_numbers import without_reference_numbers
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import document_of, documents_of, evidence_of, prediction_of

TileT = TypeVar("TileT", Section, Page)

# Number of full texts that are tagged together.
BATCH = 50
# Number of sentence vectors that are kept while the full texts of a chunk are tagged: about 30 MB.
_REMEMBERED = 20_000
# Kinds of sections that show that the headings of a paper were recognised.
_RECOGNISED = frozenset(("introduction", "methods", "results", "discussion", "conclusion"))
# Kinds that are left out if no section was recognised; everything after the last references is left out, too.
_NEVER = frozenset(("title", "abstract", "back", "references", "table", "caption"))
# Tables and captions, which may be printed between two paragraphs of a section.
_BETWEEN = frozenset(("table", "caption"))
# Number of windows from which evidence is taken, and number of sentences from each window.
_WINDOWS, _PER_WINDOW = 3, 2

# What relevance was judged by, in addition to the title, if a record has no abstract.
_ABSTRACT, _OPENING = "abstract in the full text", "first sentences of the full text"


class Divided(NamedTuple):
    """A full text, divided into windows: groups of sentences that are scored together.

    Attributes
    ----------
    sentences
        Sentences of the scored sections; their offsets refer to the full text.
    windows
        One range per window: the positions of the window's sentences in ``sentences``.
    opening
        Sentences of the full text that are used if the table of records contains no abstract. They are the abstract in
        the full text, if there is one; otherwise the start of the introduction, or the first scored sentences.
    judged
        Words that describe ``opening`` in messages, such as 'abstract in the full text'.
    recognised
        Whether the heading of any section was recognised.
    """

    full_text: FullText
    sentences: tuple[Sentence, ...]
    windows: tuple[range, ...]
    opening: tuple[Sentence, ...]
    judged: str
    recognised: bool


@dataclass(frozen=True)
class TaggedFullText:
    """The result of tagging a full text.

    Attributes
    ----------
    divided
        The full text, divided into windows.
    first
        Sentences by which relevance was judged: the abstract of the record. If the record has no abstract, they are
        ``divided.opening``.
    has_abstract
        Whether the record has an abstract.
    scored
        Scores of ``first`` and of the windows.
    """

    divided: Divided
    first: tuple[Sentence, ...]
    has_abstract: bool
    scored: ScoredLong

    @property
    def tagging(self) -> FullTextTagging:
        """Return the number of scored windows of a paper, and notes on what it lacks, such as an abstract.

        The abstract, or the text that replaces a missing abstract, counts as one window.
        """
        found = (
            []
            if self.divided.recognised
            else ["no section was recognised by its heading, so all text before the references was scored"]
        )
        if not self.has_abstract:
            found.append(f"the record has no abstract, so relevance was judged by the {self.divided.judged}")
        return FullTextTagging(windows=1 + len(self.divided.windows), notes=tuple(found))


def check_full_texts(path: Path, tagger: Tagger, model: Path) -> None:
    """Raise `MechtagError` if the table of full texts at ``path`` or the model cannot be used to tag full texts.

    ``model`` is the folder from which ``tagger`` was loaded; it is named in the message.
    """
    if tagger.long is None:
        raise MechtagError(
            f"{model}: this model cannot tag full texts, because it was trained by an earlier version of mechtag; "
            "train again with 'mechtag train', or tag only abstracts",
            options="omit --full-texts",
        )
    FullTextTable(path, path).close()


def runs_of(full_text: FullText, kinds: Collection[str]) -> tuple[list[list[Section]], bool]:
    """Return the sections to score, grouped into runs, and whether any section was recognised by its heading.

    A run consists of neighbouring sections of the same kind. If no heading was recognised, all running text before the
    last list of references is scored.

    Parameters
    ----------
    kinds
        Kinds of the sections to score; ignored if no heading was recognised.
    """
    sections: Sequence[Section] = full_text.sections
    recognised = any(section.kind in _RECOGNISED for section in sections)
    if not recognised:
        # Each chapter may have a list of references of its own.
        last = max((place for place, one in enumerate(sections) if one.kind == "references"), default=len(sections))
        sections = sections[:last]
        kinds = {section.kind for section in sections} - _NEVER
    runs: list[list[Section]] = []
    before = None
    for section in sections:
        if section.kind in _BETWEEN:
            continue
        if section.kind in kinds:
            if section.kind != before:
                runs.append([])
            runs[-1].append(section)
        before = section.kind
    return runs, recognised


def _body(full_text: FullText, section: Section) -> tuple[int, str]:
    """Return the offset at which the text after the title of a section begins, and this text."""
    start = section.start
    if section.title and full_text.text.startswith(section.title, start):
        start += len(section.title)
    return start, full_text.text[start : section.end]


def _split(full_text: FullText, sections: Sequence[Section], settings: SentenceSettings) -> list[Sentence]:
    """Return the sentences of the given sections, with offsets into the full text."""
    bodies = [_body(full_text, section) for section in sections]
    records = [Record(record_id=str(place), title="", abstract=body) for place, (_, body) in enumerate(bodies)]
    return [
        sentence.model_copy(
            update={
                "record_id": full_text.record_id,
                "start": sentence.start + bodies[int(sentence.record_id)][0],
                "end": sentence.end + bodies[int(sentence.record_id)][0],
            }
        )
        for sentence in split(records, settings)
    ]


def sentences_to_code(full_text: FullText, settings: SentenceSettings) -> list[Evidence]:
    """Return the sentences of a full text that a person can mark as evidence, with their pages and sections.

    These are all sentences outside lists of references.
    """
    kept = [section for section in full_text.sections if section.kind != "references"]
    return [_placed(full_text, sentence, 0.0) for sentence in _split(full_text, kept, settings)]


def divide(full_text: FullText, size: int, kinds: Collection[str], settings: SentenceSettings) -> Divided:
    """Divide the sections of the given kinds into windows of ``size`` sentences; see `windows.windows`."""
    runs, recognised = runs_of(full_text, kinds)
    by_run = [_split(full_text, run, settings) for run in runs]
    sentences = tuple(sentence for run in by_run for sentence in run)
    opening, judged = _of_kind(full_text, "abstract", settings), _ABSTRACT
    if not opening:
        opening = (_of_kind(full_text, "introduction", settings) or list(sentences))[:size]
        judged = _OPENING
    return Divided(
        full_text=full_text,
        sentences=_numbered(sentences),
        windows=tuple(windows([len(run) for run in by_run], size)),
        opening=_numbered(opening),
        judged=judged,
        recognised=recognised,
    )


def _of_kind(full_text: FullText, kind: Kind, settings: SentenceSettings) -> list[Sentence]:
    return _split(full_text, [section for section in full_text.sections if section.kind == kind], settings)


def _numbered(sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
    return tuple(one.model_copy(update={"sentence": number}) for number, one in enumerate(sentences))


class TaggedAbstract(NamedTuple):
    """A record, the sentences of its abstract, and their scores."""

    record: Record
    sentences: tuple[Sentence, ...]
    scored: Scored


def tag_full_texts(
    tagger: Tagger, abstracts: Sequence[TaggedAbstract], table: FullTextTable, settings: Settings
) -> Iterator[tuple[Record, TaggedFullText]]:
    """Tag the full texts of records, and yield each record with its tagged full text.

    Records without a full text in ``table`` are left out. To limit memory, `BATCH` full texts are tagged at a time.
    """
    by_record = {abstract.record.record_id: abstract for abstract in abstracts}
    remembering = replace(tagger, encoder=RememberingEncoder(tagger.encoder, _REMEMBERED))
    for full_texts in table.read(by_record):
        ids = list(full_texts)
        for start in range(0, len(ids), BATCH):
            batch = [(by_record[record_id], full_texts[record_id]) for record_id in ids[start : start + BATCH]]
            yield from zip((own.record for own, _ in batch), _tag_batch(remembering, batch, settings), strict=True)


def _tag_batch(
    tagger: Tagger, batch: Sequence[tuple[TaggedAbstract, FullText]], settings: Settings
) -> Iterator[TaggedFullText]:
    assert tagger.long is not None, "see `check_full_texts`"
    texts = [divide(text, tagger.long.size, settings.tag.sections, settings.sentences) for _, text in batch]
    firsts = [own.sentences or divided.opening for (own, _), divided in zip(batch, texts, strict=True)]
    documents = [
        _document(own.record.title, first if own.sentences else _to_score(first), divided)
        for (own, _), first, divided in zip(batch, firsts, texts, strict=True)
    ]
    scored = tagger.tag_long(documents, [own.scored if own.sentences else None for own, _ in batch])
    for (own, _), divided, first, one in zip(batch, texts, firsts, scored, strict=True):
        yield TaggedFullText(divided, first, bool(own.sentences), one)


def predict_full_text(
    tagger: Tagger,
    model_id: str,
    record: Record,
    sentences: tuple[Sentence, ...],
    full_text: FullText,
    settings: Settings,
) -> list[Prediction]:
    """Return the predictions for one record based on its full text: relevance first, then labels in codebook order.

    Parameters
    ----------
    sentences
        Sentences of the abstract of the record; empty if the record has no abstract.
    """
    ((document, _),) = documents_of([record], sentences)
    (scored,) = tagger.tag([document])
    (tagged,) = _tag_batch(tagger, [(TaggedAbstract(record, sentences, scored), full_text)], settings)
    return list(full_text_rows(tagger, model_id, record, tagged, settings.tag.full_text_evidence_sentences))


def _document(title: str, first: Sequence[Sentence], divided: Divided) -> LongDocument:
    sentences = _to_score(divided.sentences)
    windows = (document_of(title, sentences[one.start : one.stop]) for one in divided.windows)
    return LongDocument(document_of(title, first), tuple(windows))


def _to_score(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Return copies of sentences without the reference numbers that are attached to words."""
    return [one.model_copy(update={"text": without_reference_numbers(one.text)}) for one in sentences]


def full_text_rows(
    tagger: Tagger, model_id: str, record: Record, tagged: TaggedFullText, evidence_sentences: int
) -> Iterator[Prediction]:
    """Yield the predictions for one record based on its full text: relevance first, then labels in codebook order."""
    for column in range(len(tagger.codebook.all_keys)):
        evidence = _evidence(tagged, column, evidence_sentences)
        yield prediction_of(tagger, model_id, record, tagged.scored.whole, column, evidence, "full-text")


def _evidence(tagged: TaggedFullText, column: int, limit: int) -> list[Evidence]:
    """Return at most ``limit`` pieces of evidence, the highest score first.

    ``column`` is 0 for evidence for relevance. Otherwise, it is the number of a label, counted from 1.
    """
    scored, divided = tagged.scored, tagged.divided
    # Evidence for relevance is taken from ``tagged.first``; that for a label from the windows with the highest scores.
    best = [0]
    if column:
        best = np.argsort(-scored.window_scores[:, column - 1], kind="stable")[:_WINDOWS].tolist()
    found: dict[tuple[bool, int], Evidence] = {}
    for window in best:
        of_abstract = window == 0
        scores = (scored.abstract.unit_scores if of_abstract else scored.windows[window - 1])[1:, column]
        own = tagged.first if of_abstract else [divided.sentences[row] for row in divided.windows[window - 1]]
        taken = 0
        for row in _ranked(scores):
            place = (of_abstract and tagged.has_abstract, own[row].start)
            if taken < _PER_WINDOW and place not in found:
                found[place] = _cited(tagged, own[row], float(scores[row]), of_abstract)
                taken += 1
    return sorted(found.values(), key=lambda one: -one.score)[:limit]


def _ranked(scores: Array) -> list[int]:
    """Return the indices of the sentences that have a score, the highest score first."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return [row for row in order if np.isfinite(scores[row])]


def _cited(tagged: TaggedFullText, sentence: Sentence, score: float, of_abstract: bool) -> Evidence:
    if of_abstract and tagged.has_abstract:
        return evidence_of(sentence, score)
    return _placed(tagged.divided.full_text, sentence, score)


def _placed(full_text: FullText, sentence: Sentence, score: float) -> Evidence:
    """Convert a sentence of a full text to evidence that states its section and page."""
    section = _at(full_text.sections, sentence.start)
    page = _at(full_text.pages, sentence.start) if full_text.pages else None
    named = {"page": page and (page.label or str(page.number)), "section": section.title or None}
    return evidence_of(sentence, score).model_copy(update={"basis": "full-text", **named})


def _at(tiles: Sequence[TileT], place: int) -> TileT:
    """Return the section or page that contains the character at offset ``place`` of the text."""
    return tiles[bisect_right(tiles, place, key=lambda tile: tile.start) - 1]
