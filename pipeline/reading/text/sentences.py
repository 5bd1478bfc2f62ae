"""Split abstracts into sentences with exact offsets, and separate the headings from the sentences.

spaCy splits the text, either with the rules in this module or with an installed model. The rules need no download.
spaCy is imported only when the first abstract is split, so that the command line starts fast.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import SentenceSettings
from mechtag.pipeline.reading.text.headings import OPENERS, Heading, find_headings
from mechtag.pipeline.reading.text.sections import (
    NOTICE,
    Tail,
    find_content,
    is_keywords,
    is_note,
    keywords_of,
    note_of,
)

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# Abbreviations after which a sentence always continues.
_GOES_ON = frozenset(
    "approx. assoc. avg. ca. capt. cf. col. dept. dr. drs. e.g. eg. eq. eqs. esp. excl. fig. figs. gen. gov. hon. "
    "i.e. ie. incl. lt. maj. messrs. mr. mrs. ms. mt. prof. ref. refs. rev. sen. sgt. st. univ. v. viz. "
    "vs.".split()
)
# Abbreviations after which a sentence continues if a number follows ("No. 5", "Sept. 2019"); "no." may also end it.
_BEFORE_NUMBER = frozenset(
    "apr. aug. ch. chap. dec. feb. jan. jul. jun. mar. max. min. n. no. nos. nov. nr. oct. p. pp. pt. sec. sect. "
    "sep. sept. vol. vols.".split()
)
# Abbreviations, like U.K. and Ph.D., after which a sentence ends only if the next word typically opens sentences.
_MAY_END = frozenset("al. assn. bros. co. corp. ed. eds. etc. inc. jr. ltd. plc. pty. resp. sp. spp. sr.".split())
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.){2,}")
_INITIAL = re.compile(r"[^\W\d_a-z]\.")  # "24 h. Staff" ends a sentence, "J. Smith" does not
# Words after which a single letter is part of a term, not an initial: "hepatitis B. Patients were".
_LETTERED = frozenset(
    "appendix arm arms category class cohort condition factor figure grade group groups hepatitis influenza level "
    "model option panel part phase plan scenario site stage table theory type types version virus vitamin".split()
)

_OPENING = "\"'‘“„«([{¿¡"
_CLOSING = "\"'’”»)\\]};"  # ".;" joins the sections of structured abstracts in some exports
_MARKER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.)]")
_SIGNS = frozenset("•·▪■●*–—-©")  # a bullet, or the sign before a publisher
_LINE_END = re.compile(r"[\n\r\u2029]\s*")
_BLANK_LINE = re.compile(r"\n\s*\n|\r\s*\r|\u2029")
# Reference numbers may follow a full stop: "at any time.1,2", "was found.[3]".
_END = re.compile(
    rf"(?P<stop>(?<![.!?…])[.!?…]++|[。！？])(?:(?<=[^\W\d_]{{4}}\.)\d{{1,3}}(?:[,–-]\d{{1,3}})*|\[[\d,–-]+\])?[{_CLOSING}]*$"
)
# Exports lose the space between sentences ("of care.The nurses"). Split only where no name or address looks
# like this: a word, acronym, number or bracket, then a full stop, then a capitalised word of letters.
_GLUED = re.compile(
    r"(?<=[A-Za-z][a-z][.!?])(?=[A-Z](?!\.)[A-Za-z]*+(?!\.?\w|[/@]))"
    r"|(?<=[A-Z]{2}[.!?])(?=[A-Z][a-z]++(?!\.?\w|[/@]))"
    r"|(?<=[\d%)\]][.!?])(?=[A-Z][a-z]++(?!\.?\w|[/@]))"
    r"|(?<=[a-z]{3}\.)(?=\d{1,2}\.$)"  # "of care.2. The nurses"
    rf"|(?<=[。！？])(?![{_CLOSING}])"
)
_ADDRESS = re.compile(r"://|www\.|@")


def _ends(earlier: str, word: str, following: str) -> bool:
    """Return whether a sentence ends after ``word``, judging by this word and the words before and after it."""
    tail = word[-40:]  # enough for every rule, and bounds the search in a text without spaces
    match = _END.search(tail)
    if not match:
        return False
    if match["stop"] in "。！？":
        return True
    first = next((char for char in following if char.isalnum()), "")
    if not first:
        return following in _SIGNS
    listed = following.endswith(")") and _MARKER.fullmatch(following)
    if first.islower() and not listed and not any(map(str.isupper, following)):  # "mHealth" may open a sentence
        return False
    if match["stop"] != ".":
        return not (first.isdigit() and "?" not in match["stop"] and "!" not in match["stop"])
    cased = re.split(r"[(\[/;,<=>–—-]", tail[: match.end("stop")].lstrip(_OPENING))[-1]
    bare = cased.lower()
    letters = re.search(r"[^\W\d_]+", following)
    opener = letters is not None and letters.group() in OPENERS
    if bare in _GOES_ON or (bare == "0." and first.isdigit()):
        return False
    if bare in _BEFORE_NUMBER:
        return not first.isdigit() and not re.match(r"[IVXLC]+\b", following)
    if bare in _MAY_END:
        return opener
    if _ACRONYM.fullmatch(cased):
        return opener or (cased.islower() and not first.isdigit())
    if _INITIAL.fullmatch(cased):
        return opener or earlier.lower() in _LETTERED
    return True


def _openings(words: Iterable[tuple[int, str]]) -> Iterator[int]:
    """Yield the position of each word that starts a sentence, except the first word.

    Each item of ``words`` is the position and the text of a word.
    """
    earlier = word = ""
    opening = True
    for place, text in words:
        if text.isspace():
            continue
        # A list marker ("1.", "(a)") belongs to the sentence after it.
        marks = opening and _MARKER.fullmatch(word) is not None
        opening = not word or (not marks and _ends(earlier, word, text))
        if opening and word:
            yield place
        earlier, word = word, text


def _mark_sentences(doc: Doc) -> Doc:
    """Mark the starts of sentences in a spaCy document by the rules of this module."""
    # Use arrays, because creating spaCy's token objects would take longer than everything else.
    strings = doc.vocab.strings
    words = ((index, strings[orth]) for index, orth in enumerate(doc.to_array("ORTH").tolist()))
    starts = np.full(len(doc), -1, dtype=np.int64)
    starts[list(_openings(words))] = 1
    return doc.from_array(["SENT_START"], starts.astype(np.uint64))  # type: ignore[arg-type]


def _words(passage: str) -> Iterator[tuple[int, str]]:
    """Yield the offset and text of each word, and divide text such as "care.The" into two words."""
    # The spaCy tokenizer of this module divides words in the same way.
    for found in re.finditer(r"\S+", passage):
        word, start = found[0], 0
        for glue in () if _ADDRESS.search(word) else _GLUED.finditer(word):
            if start < glue.start() < len(word):
                yield found.start() + start, word[start : glue.start()]
                start = glue.start()
        yield found.start() + start, word[start:]


def _load_rules() -> Language:
    import spacy
    from spacy.language import Language
    from spacy.tokenizer import Tokenizer  # type: ignore[import-not-found]

    nlp = spacy.blank("en")
    # The rules only need words separated by spaces. The English tokenizer strips punctuation one
    # character at a time, which takes half a minute for a line of 20,000 brackets.
    nlp.tokenizer = Tokenizer(nlp.vocab, infix_finditer=_GLUED.finditer, token_match=_ADDRESS.search)
    Language.component("mechtag_sentences", func=_mark_sentences)
    nlp.add_pipe("mechtag_sentences")
    return nlp


def _load_model(name: str) -> Language:
    import spacy

    try:
        nlp = spacy.load(name, exclude=["ner", "tagger", "morphologizer", "attribute_ruler", "lemmatizer"])
    except (OSError, ValueError, ImportError) as error:
        raise MechtagError(
            f"sentences.spacy_model: the spaCy model {name!r} cannot be loaded ({' '.join(str(error).split())[:200]}). "
            f"Install it with 'python -m spacy download {name}', or set sentences.spacy_model to '' to use the "
            "built-in rules"
        ) from None
    if not nlp("One sentence. Another one.").has_annotation("SENT_START"):
        raise MechtagError(
            f"sentences.spacy_model: {name!r} has no component that finds sentences (its components: "
            f"{', '.join(nlp.pipe_names) or 'none'}). Choose a model with a parser, senter or sentencizer, or set "
            "sentences.spacy_model to '' to use the built-in rules"
        )
    return nlp


def prepare(settings: SentenceSettings) -> None:
    """Load the spaCy pipeline for `split` in advance, which takes a few seconds.

    Raises
    ------
    MechtagError
        For the same reasons as in `split`.
    """
    _pipeline(settings.spacy_model)


@lru_cache(maxsize=2)
def _pipeline(name: str) -> Language:
    nlp = _load_model(name) if name else _load_rules()
    nlp.max_length = sys.maxsize  # spaCy raises an error above 1,000,000 characters by default
    return nlp


def _gaps(abstract: str, start: int, stop: int) -> Iterator[re.Match[str]]:
    """Yield the line ends in ``abstract[start:stop]`` that also end a sentence."""
    for gap in _LINE_END.finditer(abstract, start, stop):
        # Some exports break lines within sentences.
        if _BLANK_LINE.search(gap[0]) or not abstract[gap.end() : gap.end() + 1].islower():
            yield gap


def _sections(abstract: str) -> Iterator[tuple[int, int, Heading | Tail]]:
    """Yield the sections of an abstract.

    An item consists of the offset at which the preceding section ends, the offset at which the text of this section
    starts, and the heading of this section. Keyword lists and notices have a `Tail` instead of a heading.
    """
    content = find_content(abstract)
    ends = [Tail(0, content.start, NOTICE), *content.tails] if content.start else list(content.tails)
    breaks: list[tuple[int, int, Heading | Tail]] = [(end.start, end.start, end) for end in ends]
    if content.start:
        breaks.append((content.start, content.start, Heading(0, 0, "")))
    starts = [end.start for end in ends]
    for heading in find_headings(abstract):
        place = bisect_right(starts, heading.start) - 1
        inside = place >= 0 and heading.start < ends[place].end
        breaks.append((heading.start, heading.end, ends[place] if inside else heading))
    last = 0
    for place, below, above in sorted(breaks, key=lambda one: one[:2]):
        place, last = max(place, last), max(below, last)
        yield place, last, above


def _passages(abstract: str) -> Iterator[tuple[Heading | Tail, int, str]]:
    """Split an abstract at its headings and line ends, and yield the heading, the offset and the text of each passage.

    Passages of keyword lists and notices have a `Tail` instead of a heading.
    """
    above: Heading | Tail = Heading(0, 0, "")
    start = 0
    for place, below, part in [*_sections(abstract), (len(abstract), len(abstract), above)]:
        for gap in [*_gaps(abstract, start, place), None]:
            stop = gap.start() if gap else place
            if not abstract[start:stop].isspace() and start < stop:
                yield above, start, abstract[start:stop]
            start = gap.end() if gap else below
        above = part


def section_of(sentence: str, heading: str = "", first: bool = True) -> str:
    """Return the name of the section that a sentence belongs to.

    Usually, the section is the heading above the sentence. There are two exceptions:

    - If the whole sentence is a note, such as a statement on funding, the section is the kind of note
      (see `sections.note_of`). Below a heading on ethics, the section is the heading, however.
    - A heading that announces a note, such as "Trial registration:", applies only to the first sentence below it.
      Later sentences have no section unless they are notes. The reason is that exports may print such a heading in the
      middle of an abstract.

    Parameters
    ----------
    heading
        Name of the heading above the sentence, or ``""``.
    first
        Whether the sentence is the first one below that heading.
    """
    note = note_of(sentence)
    if not is_note(heading):
        # A statement on approval under a heading on ethics, as in protocols, keeps that heading.
        return heading if not note or "ethics" in heading else note
    if first:
        return heading if not is_keywords(heading) or keywords_of(sentence) is not None else note
    return note


def _starts(doc: Doc) -> list[int]:
    """Return the offsets at which spaCy marked the start of a sentence, except offset 0."""
    opens, offsets = doc.to_array(["SENT_START", "IDX"]).T
    starts: list[int] = offsets[(opens == 1) & (offsets > 0)].tolist()
    return starts


def _spans(passage: str, starts: Iterable[int]) -> list[tuple[int, int]]:
    """Return the start and end of each sentence in a passage, without surrounding spaces.

    ``starts`` are the offsets of all sentences after the first sentence. Text without letters, such as "2.", is
    joined to the sentence before it.
    """
    spans: list[tuple[int, int]] = []
    begin = 0
    for stop in [*starts, len(passage)]:
        text = passage[begin:stop]
        start, end = stop - len(text.lstrip()), begin + len(text.rstrip())
        begin = stop
        if start >= end:
            continue
        # Text without a letter ("2.", "***") is not a sentence and is joined to the one before it.
        if spans and not any(map(str.isalpha, text)):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def split(records: Iterable[Record], settings: SentenceSettings) -> Iterator[Sentence]:
    """Split the abstracts of records into sentences, lazily and in order.

    Headings are not sentences; all other words are in exactly one sentence. The section of a sentence is:

    - in a list of keywords, ``keywords``;
    - in a notice, such as a copyright notice, ``notice``;
    - otherwise, the result of `section_of`, usually the heading above the sentence.

    Offsets refer to the abstract as passed.

    Parameters
    ----------
    records
        Records to split; records without an abstract yield no sentences.

    Yields
    ------
    Sentence
        Sentences in the order of the records and of the text.

    Raises
    ------
    MechtagError
        If ``settings.spacy_model`` is not installed or has no component that finds sentences.
    """
    nlp = _pipeline(settings.spacy_model)
    passages = (
        (text, (index, record.record_id, above, offset, text))
        for index, record in enumerate(records)
        for above, offset, text in _passages(record.abstract)
    )
    current, number = -1, 0
    last: Heading | Tail | None = None
    # Pass the text along, because spaCy would rebuild it from its tokens.
    for doc, (index, record_id, above, offset, passage) in nlp.pipe(passages, as_tuples=True, batch_size=256):
        if index != current:
            current, number, last = index, 0, None
        for start, end in _spans(passage, _starts(doc)):
            if isinstance(above, Tail):
                section = above.kind
            else:
                section = section_of(passage[start:end], above.name, first=last is not above)
            last = above
            yield Sentence(
                record_id=record_id,
                sentence=number,
                section=section,
                start=offset + start,
                end=offset + end,
                text=passage[start:end],
            )
            number += 1


def sentence_before(abstract: str, offset: int) -> str:
    """Return the last sentence of an abstract that ends at ``offset`` or before it; ``""`` if there is none.

    The sentences are those that `split` yields with the built-in rules.
    """
    # Importing spaCy, and PyTorch with it, would need more than a third of the memory of an export.
    last = ""
    for _, place, passage in _passages(abstract):
        for start, end in _spans(passage, _openings(_words(passage))):
            if place + end > offset:
                return last
            last = passage[start:end]
    return last


def split_each(records: Sequence[Record], settings: SentenceSettings) -> dict[str, list[Sentence]]:
    """Split the abstracts of records, and return the sentences of each record, keyed by record id.

    The list of a record without sentences is empty. If ``records`` is empty, spaCy is not loaded.

    Raises
    ------
    MechtagError
        For the same reasons as in `split`.
    """
    found: dict[str, list[Sentence]] = {record.record_id: [] for record in records}
    for sentence in split(records, settings) if records else ():
        found[sentence.record_id].append(sentence)
    return found
