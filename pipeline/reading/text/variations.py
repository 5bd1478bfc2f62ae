"""Vary the text of records in ways that should not change the predicted labels.

Each variation is a function of a record, its sentences and a random number generator. It returns a copy of the record
with a changed text, or the same record if there is nothing to change. The rest of the text remains identical. All
inserted sentences are invented.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby, pairwise

import numpy as np

from mechtag.core.records import Record, Sentence
from mechtag.models.text import to_american, to_british
from mechtag.pipeline.reading.text.headings import OPENERS, Heading, find_headings

#: Plain sentences on how a study was done, without its topic or findings.
METHODS = (
    "A qualitative design was used.",
    "This was a cross-sectional study.",
    "We carried out a longitudinal study over three years.",
    "A multiple case study was conducted at six sites.",
    "A mixed-methods design combined a survey with interviews.",
    "Participants were selected by purposive sampling.",
    "Snowball sampling was used until saturation was reached.",
    "A convenience sample of 214 respondents was recruited by e-mail.",
    "Semi-structured interviews were held with 32 participants.",
    "Interviews lasted between 40 and 75 minutes, were audio-recorded and were transcribed verbatim.",
    "Five focus groups of six to nine people were held between March and October.",
    "Data were analysed thematically by two researchers independently.",
    "Transcripts were coded in NVivo, and disagreements were settled by discussion.",
    "We used the constant comparative method of grounded theory.",
    "Documents and field notes were subjected to content analysis.",
    "An online questionnaire with 28 items was sent to all eligible respondents.",
    "Items were rated on a five-point Likert scale.",
    "The response rate was 61%.",
    "Data were collected at baseline and after 6, 12 and 18 months.",
    "Associations were tested by multivariable logistic regression, adjusted for age and sex.",
    "Odds ratios are given with 95% confidence intervals.",
    "Means were compared by paired t-tests, and p values below 0.05 were considered significant.",
    "A multilevel model allowed for clustering within sites.",
    "MEDLINE, CINAHL, Embase and Scopus were searched from inception to June 2018.",
    "Two reviewers independently screened titles and abstracts and extracted the data.",
    "The review followed the PRISMA statement.",
    "Study quality was appraised with the Mixed Methods Appraisal Tool.",
    "Experts took part in a Delphi survey of three rounds.",
    "Ethical approval was obtained, and all participants gave written consent.",
    "Participants were randomly allocated in a ratio of 1:1, and outcome assessors were blinded.",
    "We did a cluster randomised trial with a waiting-list control group.",
    "Analysis was by intention to treat.",
)

#: Notices like those that publishers and funders append.
NOTICES = (
    "© 2017 The Authors. Published by Elsevier Ltd.",
    "© 2020 John Wiley & Sons Ltd.",
    "Copyright © 2014 Elsevier Inc. All rights reserved.",
    "(c) 2012 Wiley Periodicals, Inc.",
    "This is an open access article distributed under the terms of the Creative Commons Attribution License.",
    "Published by Oxford University Press. All rights reserved.",
    "This work was supported by a grant from the National Institute for Health Research.",
    "Funding: Canadian Institutes of Health Research.",
    "This research received no specific grant from any funding agency.",
    "The authors declare that they have no competing interests.",
    "Trial registration: ISRCTN40123456.",
    "Trial registration number: NCT01234567.",
    "PROSPERO registration number: CRD42018012345.",
)

#: Keywords that fit any paper on health services.
KEYWORDS = (
    *("qualitative research", "health services research", "interviews", "surveys and questionnaires", "case studies"),
    *("humans", "adult", "female", "male", "cross-sectional studies", "primary care", "hospitals", "United Kingdom"),
    *("Canada", "Australia", "evaluation", "health policy", "systematic review", "implementation", "nursing"),
)

_CUE = re.compile(
    r"""
    \b(?: semi-?\s?structured | in-depth | face-to-face )\ interviews?
    | \b(?:interviews?|focus\ groups?)\ (?: were | was | with | of )\b
    | \b(?: interviewed | surveyed | recruited | randomi[sz]ed | transcribed | audio-?recorded | screened
      | purposive(?:ly)? | snowball | convenience\ sample | questionnaires? | ethnograph\w+ | thematic(?:ally)?
      | grounded\ theory
      | (?:content|documentary|regression|multivariate|statistical|comparative|secondary)\ analys[ei]s
      | regressions? | t-tests? | Likert | Delphi | mixed[- ]methods? | multi-?methods? | cross-sectional
      | longitudinal | (?:multiple\ |single\ |embedded\ )?case\ stud(?:y|ies)\ (?:was|were|of|at|in)
      | (?:were|was)\ (?:\w+ly\ )?(?:searched|collected|gathered|analysed|analyzed|coded|sampled|selected|administered)
      | (?:systematic|scoping|literature)\ (?:review|search)
      | MEDLINE | PubMed | CINAHL | Embase | EMBASE | Scopus | PsycINFO | Cochrane | Web\ of\ Science | PRISMA
      | ethic(?:s|al)\ approval | informed\ consent | control\ group | response\ rate )\b
    """,
    re.VERBOSE,
)
# A sentence with one of these words may report a finding.
_FINDING = re.compile(
    r"""
    \b(?: f[io]unds? | shows? | show(?:ed|n|ing) | reveal\w* | suggest\w* | indicat\w* | emerg\w* | identif\w+ | themes?
      | improv\w* | increas\w* | reduc\w* | associat\w+ | led | helped | help | needs? | needed | should | must | may
      | barriers? | facilitat\w* | enabl\w* | conclu\w+ | because | lack\w* | result\w* | demonstrat\w* | highlight\w*
      | agreed | said | felt | saw | described | reported | stressed | called | thought | perceived | valued | trust
      | aim(?:s|ed)? | sought | asks | asked | how | whether | why | looks | explor\w+ | related | predict\w*
      | effect\w* | support\w* | challeng\w* | conflict\w* | success\w* | important | significant\w*
      | power | shared | sharing )\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SECTION = re.compile(
    r"\b(?:method\w*|design|sampl\w+|setting|participants|data (?:collection|sources?|extraction)|patients|subjects)\b"
)


def is_methods(text: str, section: str = "") -> bool:
    """Return whether a sentence describes only how a study was done.

    Parameters
    ----------
    section
        Heading above the sentence, as in `records.Sentence`. If there is a heading, only the heading decides.
        Otherwise, the words of the sentence decide, and a doubtful sentence does not count as methods.
    """
    if section:
        return _SECTION.search(section) is not None
    return _CUE.search(text) is not None and _FINDING.search(text) is None


_ADDED_METHODS, _ADDED_NOTICES = 3, 2
_TITLE_KEYWORDS, _OTHER_KEYWORDS = 3, 3
_KEYWORD_LISTS = (("Keywords: ", "; ", ""), ("KEYWORDS: ", ", ", "."), ("Key words: ", ", ", ""))
_TITLE_WORD = re.compile(r"(?<![\w-])[A-Za-z][A-Za-z-]{4,}(?![\w-])")
_COMMON = frozenset(
    "about after among between during their these those through towards under using where which".split()
)
# Minimum number of words in a sentence to split, and in each resulting part.
_LONG, _SHORTEST = 20, 5
# The word after "and" must start a clause, or the second part would not be a sentence.
_BREAK = re.compile(
    r"; |, and (?=(?:the|they|we|it|this|these|those|their|its|a|an|some|most|many|both|each|all|no|few|others)\b)"
)


def with_abstract(record: Record, abstract: str) -> Record:
    """Return a copy of a record with ``abstract`` as its abstract; return the record itself if nothing changes."""
    return record if abstract == record.abstract else record.model_copy(update={"abstract": abstract})


def cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Remove spans from a text.

    The space after each span is also removed. If a span is at the end of the text, the space before it is removed.
    """
    parts, start = [], 0
    for begin, end in spans:
        parts.append(text[start:begin])
        start = end + len(text[end:]) - len(text[end:].lstrip())
    kept = "".join(parts)
    return kept + text[start:] if start < len(text) else kept.rstrip()


def methods_added(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Insert three invented sentences on methods between two sentences of the abstract."""
    places = [sentence.end for sentence in sentences[:-1] if sentence.text.endswith((".", "!", "?"))]
    if not places:
        return record
    place = places[generator.integers(len(places))]
    chosen = generator.choice(len(METHODS), _ADDED_METHODS, replace=False)
    added = "".join(f" {METHODS[number]}" for number in chosen)
    return with_abstract(record, record.abstract[:place] + added + record.abstract[place:])


def methods_removed(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Remove all sentences on methods from the abstract.

    If all sentences of a section are on methods, its heading is also removed. If all sentences of the abstract are on
    methods, the record is returned unchanged.
    """
    gone = [sentence for sentence in sentences if is_methods(sentence.text, sentence.section)]
    if not gone or len(gone) == len(sentences):
        return record
    spans = {(sentence.start, sentence.end) for sentence in gone}
    headings = [*find_headings(record.abstract), Heading(len(record.abstract), len(record.abstract), "")]
    for heading, end in ((one, following.start) for one, following in pairwise(headings)):
        own = {(one.start, one.end) for one in sentences if heading.end <= one.start < end}
        if own and own <= spans:
            spans.add((heading.start, heading.end))
    return with_abstract(record, cut(record.abstract, sorted(spans)))


def keywords_added(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Append a keyword list to the abstract.

    The list contains words from the title, and general keywords that fit any paper.
    """
    if not record.abstract:
        return record
    words = [word for word in dict.fromkeys(_TITLE_WORD.findall(record.title)) if word.lower() not in _COMMON]
    own = generator.permutation(len(words))[:_TITLE_KEYWORDS]
    others = generator.choice(len(KEYWORDS), _OTHER_KEYWORDS, replace=False)
    keywords = [*(words[number].lower() for number in own), *(KEYWORDS[number] for number in others)]
    opening, between, closing = _KEYWORD_LISTS[generator.integers(len(_KEYWORD_LISTS))]
    return with_abstract(record, f"{record.abstract} {opening}{between.join(keywords)}{closing}")


def notices_added(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Append two notices by publishers or funders to the abstract."""
    if not record.abstract:
        return record
    chosen = generator.choice(len(NOTICES), _ADDED_NOTICES, replace=False)
    return with_abstract(record, " ".join([record.abstract, *(NOTICES[number] for number in chosen)]))


def sentences_joined(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Join two neighbouring sentences of the abstract with a semicolon."""
    text = record.abstract
    pairs = [
        (first, second)
        for first, second in pairwise(sentences)
        if first.text.endswith(".") and not first.text.endswith("..") and text[first.end : second.start] == " "
    ]
    if not pairs:
        return record
    first, second = pairs[generator.integers(len(pairs))]
    word = re.match(r"[A-Za-z]*", second.text)
    # Other words might be names, which keep their capital.
    small = word is not None and word.group() in OPENERS
    joined = second.text[0].lower() + second.text[1:] if small else second.text
    return with_abstract(record, f"{text[: first.end - 1]}; {joined}{text[second.end :]}")


def sentences_split(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Split a long sentence of the abstract at a semicolon, or before a clause that starts with "and"."""
    text = record.abstract
    places = [
        (sentence.start + match.start(), sentence.start + match.end())
        for sentence in sentences
        if len(sentence.text.split()) >= _LONG
        for match in _BREAK.finditer(sentence.text)
        if _can_split(sentence.text[: match.start()], sentence.text[match.end() :])
    ]
    if not places:
        return record
    start, end = places[generator.integers(len(places))]
    return with_abstract(record, f"{text[:start]}. {text[end].upper()}{text[end + 1 :]}")


def _can_split(left: str, right: str) -> bool:
    """Return whether a sentence can be split into ``left`` and ``right``: both are long, and no bracket is open."""
    whole = left.count("(") == left.count(")") and left.count("[") == left.count("]")
    return whole and min(len(left.split()), len(right.split())) >= _SHORTEST


#: Styles of a heading, including the separator between it and the text.
CAPITALS, FULL_STOP, GLUED = "{upper}: ", "{capital}. ", "{capital}"
# No journal divides fewer sentences into four sections.
_FEWEST = 4


def _written(style: str, name: str) -> str:
    return style.format(upper=name.upper(), capital=name[:1].upper() + name[1:].lower())


def _places(sentences: Sequence[Sentence]) -> Mapping[int, str]:
    """Return headings to insert into an abstract, keyed by the number of the sentence that follows each heading."""
    last = len(sentences) - 1
    methods = [number for number in range(1, last - 1) if is_methods(sentences[number].text)]
    begin = methods[0] if methods else max(1, last // 3)
    end = begin + 1
    while end in methods:
        end += 1
    return {0: "background", begin: "methods", min(end, last - 1): "results", last: "conclusions"}


def headed(style: str, record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Rewrite the headings of the abstract in a style.

    An abstract without headings receives four headings, or remains unchanged if it has fewer than four sentences.

    Parameters
    ----------
    style
        `CAPITALS`, `FULL_STOP` or `GLUED`.
    """
    text, found = record.abstract, find_headings(record.abstract)
    parts, start = [], 0
    if found:
        for heading in found:
            name = text[heading.start : heading.end].strip(" \n\t()[].:：–—-0123456789")
            parts += [text[start : heading.start], _written(style, name)]
            start = heading.end + len(text[heading.end :]) - len(text[heading.end :].lstrip())
    elif len(sentences) >= _FEWEST:
        for number, name in _places(sentences).items():
            parts += [text[start : sentences[number].start], _written(style, name)]
            start = sentences[number].start
    return with_abstract(record, "".join([*parts, text[start:]]))


def headings_removed(record: Record, sentences: Sequence[Sentence], generator: np.random.Generator) -> Record:
    """Remove all headings from the abstract."""
    text = record.abstract
    parts, start = [], 0
    for heading in find_headings(text):
        before = text[start : heading.start]
        parts.append(before)
        if before and not before[-1].isspace():
            parts.append(" ")
        start = heading.end + len(text[heading.end :]) - len(text[heading.end :].lstrip())
    return with_abstract(record, "".join([*parts, text[start:]]))


#: Name for the unchanged text, in addition to the names in ``VARIATIONS``.
AS_IT_IS = "as_it_is"

Variation = Callable[[Record, Sequence[Sentence], np.random.Generator], Record]


def _respelt(
    respell: Callable[[str], str], record: Record, sentences: Sequence[Sentence], generator: np.random.Generator
) -> Record:
    texts = {"title": respell(record.title), "abstract": respell(record.abstract)}
    changed = texts != {"title": record.title, "abstract": record.abstract}
    return record.model_copy(update=texts) if changed else record


VARIATIONS: Mapping[str, Variation] = {
    "methods_added": methods_added,
    "methods_removed": methods_removed,
    "headings_capitals": partial(headed, CAPITALS),
    "headings_full_stop": partial(headed, FULL_STOP),
    "headings_glued": partial(headed, GLUED),
    "headings_removed": headings_removed,
    "keywords_added": keywords_added,
    "notices_added": notices_added,
    "sentences_joined": sentences_joined,
    "sentences_split": sentences_split,
    "spelling_american": partial(_respelt, to_american),
    "spelling_british": partial(_respelt, to_british),
}


def vary(name: str, records: Iterable[Record], sentences: Iterable[Sentence], seed: int) -> list[Record]:
    """Apply one variation to records, and return the records that it changed; their ids stay the same.

    Parameters
    ----------
    name
        One of the keys of ``VARIATIONS``.
    sentences
        Sentences of all records; the sentences of each record are consecutive.
    seed
        Seed for random choices. The choices depend only on the seed, the name of the variation and the id of the
        record.
    """
    own = {record_id: tuple(group) for record_id, group in groupby(sentences, lambda sentence: sentence.record_id)}
    varied = []
    for record in records:
        generator = np.random.default_rng([seed, zlib.crc32(f"{name} {record.record_id}".encode())])
        found = VARIATIONS[name](record, own.get(record.record_id, ()), generator)
        if found is not record:
            varied.append(found)
    return varied
