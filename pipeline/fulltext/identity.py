"""Find the record of a full text by the identifiers and the title on the first page of the text."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from rapidfuzz import fuzz

from mechtag.core.records import Record, normalise_doi, normalise_pmid, normalise_title
from mechtag.pipeline.dedupe.merged import MergedRecords
from mechtag.pipeline.fulltext.reading import ReadFile
from mechtag.pipeline.fulltext.sections import kind_of

# Similarity (0 to 100) of a title and the text in which it was found. Unrelated texts reach 50, because letters of a
# title occur in any text in nearly the same order.
_FOUND, _UNRELATED = 92.0, 50.0
#: Likeness from which a title counts as found.
TITLED = (_FOUND - _UNRELATED) / (100 - _UNRELATED)
#: Likeness below which an identifier on the first page may be that of a cited paper.
UNLIKE = 0.5
# A shorter title occurs in other papers too.
_SHORTEST_TITLE = 30
_SEARCHED = 4_000
# Number of characters at the beginning that contain the authors, whose names decide between equal titles.
_FRONT = 1_500
_DOI_START = re.compile(r"10\.\d{4,9}/", re.I)
_LONGEST_DOI = 200
_MARKED_PMID = re.compile(r"\b(?:PMID|PubMed ?ID)\s{0,9}+:?\s{0,9}+(\d{4,9})\b", re.I)
_PMCID = re.compile(r"\bPMC\d{4,9}\b")
_LONGEST_HEADING = 40
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,40}>")
# Hyphens that are printed, and marks that pdfium writes for a hyphen at the end of a line.
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d\x02\ufffe"), "-")
# Letters before a title, and a word after it, that show that a file is only about the paper with this title.
_NOTICES = (
    *("correctionto", "correction", "corrigendumto", "corrigendum", "erratumto", "erratum", "retractionof"),
    *("retractionnote", "retractionnoteto", "retraction", "expressionofconcern", "commenton", "commentaryon"),
    *("responseto", "replyto", "authorreply", "authorsreply", "commentson", "aresponseto"),
    *("addendumto", "addendum", "regarding", "letterabout", "letteron", "editorabout", "editoron"),
    *("peerreviewof", "peerreviewfor", "reviewerreportsfor", "reviewerreportson", "summaryof", "bookreviewof"),
)
# Letters with which a supplement of a paper begins. An article in the supplement of a journal may begin 'Supplement'.
_SUPPLEMENTS = (
    *("supplementarymaterial", "supplementaryappendix", "supplementaryinformation", "supplementarydata"),
    *("supplementalmaterial", "supplementalappendix", "supplementalinformation", "supplementaldata"),
    *("supplementaryfile", "supplementalfile", "supportinginformation"),
    *("onlinesupplement", "onlineappendix", "webappendix", "additionalfile"),
)
_SUPPLEMENT_TO = (
    "supplementto",
    *(f"{what}{word}" for what in _SUPPLEMENTS for word in ("", "s", "to", "for", "sfor")),
)
_PROTOCOL, _BEHIND = "protocol", 50
# Numbers in titles, and numerals that count the parts of a series.
_NUMERALS = "i ii iii iv v vi vii viii ix x".split()
_NUMBER = re.compile(rf"\d+|(?:(?<=\bpart )|(?<=\bphase )|(?<=\bstudy ))(?:{'|'.join(reversed(_NUMERALS))})\b")
_TO_NEXT_WORD = re.compile(r"[^\W\d_]*[\W\d_]*[^\W\d_]*")
# A word of a title with at least so many letters is missing in a similar text if its own similarity is lower.
_LONG_WORD, _PRESENT = 5, 60.0


class Match(NamedTuple):
    """The result of searching for the record to which a file belongs.

    Attributes
    ----------
    record
        The record; ``None`` if no record was found. If ``doubt`` is not ``""``, a person has to confirm the record.
    by
        Detail by which the record was found, such as ``DOI`` or ``title``.
    likeness
        Similarity of the record's title and the beginning of the file, from ``0`` (no more similar than unrelated
        texts) to ``1`` (the beginning contains the title). ``None`` if no record was found, or if it has no title.
    doubt
        Sentence that states why a person has to confirm the record; ``""`` if there is no doubt.
    candidates
        The possible records, if several records match the file equally well.
    duplicate
        If ``record`` was found by a detail of a duplicate that was merged into it, such as a file path: the id of this
        duplicate. Otherwise ``""``.
    """

    record: Record | None
    by: str = ""
    likeness: float | None = None
    doubt: str = ""
    candidates: tuple[Record, ...] = ()
    duplicate: str = ""


class Beginning:
    """The beginning of a full text, in which titles and identifiers can be searched for.

    The list of references is left out, because it contains titles and identifiers of other papers.
    """

    def __init__(self, read: ReadFile) -> None:
        self.text = "\n".join((read.title, _before_references(read.beginning))).translate(_HYPHENS)
        self.letters = letters_of(self.text)[:_SEARCHED]
        self.pmids = [read.pmid] if read.pmid else _MARKED_PMID.findall(self.text)
        self.pmcids = [read.pmcid.upper()] if read.pmcid else _PMCID.findall(self.text)
        # The DOI in the metadata of a file comes before all others.
        stated = [(0, (read.doi,))] if read.doi else []
        self.dois = [*stated, *_dois(self.text)]

    def letters_before(self, place: int) -> int:
        """Return how many letters precede a position in `Beginning.text`."""
        return len(letters_of(self.text[:place]))

    def similarity(self, title: str, cutoff: float = 0) -> float:
        """Compare a title with the passage of this text that is most similar to the title.

        The result is the similarity, from 0 to 100; ``0`` if it is below ``cutoff``. ``title`` must consist of letters
        only; see `letters_of`.
        """
        if title in self.letters:
            return 100.0
        # The beginning of an empty or very short text would be similar to a part of any title.
        scorer = fuzz.partial_ratio if len(self.letters) > len(title) else fuzz.ratio
        return scorer(title, self.letters, score_cutoff=cutoff)

    def place(self, title: str) -> tuple[int, int] | None:
        """Return the start and end of a title, or of a very similar text, in `Beginning.letters`.

        If the title does not occur, the result is ``None``. ``title`` must consist of letters only; see `letters_of`.
        """
        if not title:
            return None
        if (start := self.letters.find(title)) >= 0:
            return start, start + len(title)
        found = fuzz.partial_ratio_alignment(title, self.letters, score_cutoff=_FOUND)
        return (found.dest_start, found.dest_end) if found and len(self.letters) > len(title) else None

    def passage(self, start: int, end: int) -> str:
        """Return the text between two positions in `Beginning.letters`, in lower case.

        Numbers in front of the text, the rest of its last word, and the next word are included.
        """
        text = _plain(self.text)
        places = [place for place, char in enumerate(text) if char.isalpha()]
        first, last = places[start], places[min(end, len(places)) - 1] + 1
        while first and not text[first - 1].isalpha():
            first -= 1
        return text[first : cast("re.Match[str]", _TO_NEXT_WORD.match(text, last)).end()]


class Identifier:
    """Finds the record of a full text by the identifiers and the title at the beginning of the text.

    Parameters
    ----------
    records
        Records without duplicates.
    merged
        Duplicates that were merged into ``records``. The DOI or PubMed id of a duplicate leads to the kept record.
    """

    def __init__(self, records: Sequence[Record], merged: MergedRecords | None = None) -> None:
        self._records = {record.record_id: record for record in records}
        self._letters = {record.record_id: letters_of(_MARKUP.sub("", record.title)) for record in records}
        self._dois = {record.doi: record for record in records if record.doi}
        self._pmids = {record.pmid: record for record in records if record.pmid}
        for duplicate, kept in merged or ():
            if duplicate.doi:
                self._dois.setdefault(duplicate.doi, self._records[kept])
            if duplicate.pmid:
                self._pmids.setdefault(duplicate.pmid, self._records[kept])
        self._pmcids = {pmcid: record for record in records for pmcid in pmcids_of(record)}

    def likeness(self, record: Record, beginning: Beginning) -> float | None:
        """Return the similarity of a record's title and the beginning of a file; ``None`` if the record has no title.

        The value ``0`` means no more similar than unrelated texts; ``1`` means that the beginning contains the title.
        """
        title = self._letters[record.record_id]
        return _scaled(beginning.similarity(title)) if title else None

    def find(self, beginning: Beginning, name: str) -> Match:
        """Find the record of a file by the beginning of its text.

        ``name`` is the name of the file. It is used only if the beginning contains the titles of several records.
        """
        return self.by_identifier(beginning) or self._by_title(beginning, name)

    def by_identifier(self, beginning: Beginning) -> Match | None:
        """Find the record whose DOI, PMC id or PubMed id is in the beginning of a file.

        If the beginning contains no identifier of any record, the result is ``None``.
        """
        dois = [(place, record) for place, forms in beginning.dois if (record := self._with_doi(forms))]
        pmcids = [(0, self._pmcids[pmcid]) for pmcid in beginning.pmcids if pmcid in self._pmcids]
        pmids = [(0, self._pmids[pmid]) for pmid in map(normalise_pmid, beginning.pmids) if pmid in self._pmids]
        for by, found in (("DOI", dois), ("PMC id", pmcids), ("PubMed id", pmids)):
            if found:
                return self._checked(self._titled_or_first(found, beginning), by, beginning)
        return None

    def _with_doi(self, forms: Sequence[str]) -> Record | None:
        known = [form for form in forms if form in self._dois]
        return self._dois[max(known, key=len)] if known else None

    def _titled_or_first(self, found: Sequence[tuple[int, Record]], beginning: Beginning) -> Record:
        """Return the record in ``found`` whose title is in the beginning of a file.

        If the beginning contains no title or several titles, the first record in ``found`` is returned.
        """
        records = list({record.record_id: record for _, record in found}.values())
        titled = [record for record in records if beginning.place(self._letters[record.record_id])]
        return titled[0] if len(titled) == 1 else records[0]

    def _checked(self, record: Record, by: str, beginning: Beginning) -> Match:
        likeness = self.likeness(record, beginning)
        if likeness is not None and likeness < UNLIKE:
            doubt = (
                f"The beginning of the file contains the {by} of the record, but not its title, so the paper may only "
                "cite the record."
            )
        else:
            doubt = self._doubt(record, beginning)
        return Match(record, by, likeness, doubt)

    def _doubt(self, record: Record, beginning: Beginning) -> str:
        """Return the reason why a file may not be the paper of a record; ``""`` if there is no such reason."""
        title = self._letters[record.record_id]
        place = beginning.place(title)
        foreign = self._foreign_doi(record, beginning)
        if foreign and not (place and place[0] < beginning.letters_before(foreign[0])):
            return f"The file begins with a different DOI, {foreign[1]}, so the paper may only cite the record."
        if place:
            before, behind = beginning.letters[: place[0]], beginning.letters[place[1] : place[1] + _BEHIND]
            notice = before.endswith(_NOTICES) and not title.startswith(_NOTICES)
            if notice or (_PROTOCOL in behind and _PROTOCOL not in title):
                return (
                    "The words next to the title suggest that the file is not the paper of the record, but a paper "
                    "about it, such as a correction, reply or protocol."
                )
        return self.doubt_of_supplement(record, beginning)

    def doubt_of_supplement(self, record: Record, beginning: Beginning) -> str:
        """Return a sentence if a file seems to be a supplement of the paper of a record; otherwise ``""``."""
        title = self._letters[record.record_id]
        place = beginning.place(title)
        if not place or title.startswith(_SUPPLEMENTS):
            return ""
        before = beginning.letters[: place[0]]
        begins = before.startswith(_SUPPLEMENTS) or "supplementaryappendix" in before
        if not (begins or before.endswith(_SUPPLEMENT_TO)):
            return ""
        return "The file begins like a supplement of the record's paper, so it may not be the paper itself."

    def _difference(self, record: Record, beginning: Beginning) -> str:
        """Return a sentence about a number or word of a record's title that the title in a file lacks.

        The letters of the two titles are the same or nearly the same. The result is ``""`` if there is no difference.
        """
        title = _MARKUP.sub("", record.title)
        place = beginning.place(self._letters[record.record_id])
        if not place:
            return ""
        passage = beginning.passage(*place)
        letters = letters_of(passage)
        lacks = [
            word
            for word in words_of(title)
            if len(word) >= _LONG_WORD and word.isalpha() and fuzz.partial_ratio(word, letters) < _PRESENT
        ]
        if not _same_numbers(_numbers(_plain(title)), _numbers(passage)):
            return (
                "The numbers in the title of the file differ from those in the title of the record, so the file may be "
                "a different paper, such as a different part of a series."
            )
        if lacks:
            return (
                f"The title in the file is similar to the title of the record, but lacks {', '.join(lacks)}, so the "
                "file may be a different paper."
            )
        return ""

    def _foreign_doi(self, record: Record, beginning: Beginning) -> tuple[int, str] | None:
        """Return the position and text of a file's first DOI if it is not a DOI of ``record``; otherwise ``None``.

        If the file or ``record`` has no DOI, the result is ``None``, too.
        """
        if not record.doi or not beginning.dois:
            return None
        place, forms = beginning.dois[0]
        # A shorter DOI is cut off at the end of a line. Merged records have DOIs of their own.
        own = record.doi in forms or record.doi.startswith(forms[0]) or self._with_doi(forms) is record
        return None if own else (place, forms[0])

    def _by_title(self, beginning: Beginning, name: str) -> Match:
        scores = {
            record_id: score
            for record_id, title in self._letters.items()
            if len(title) >= _SHORTEST_TITLE and (score := beginning.similarity(title, _FOUND)) >= _FOUND
        }
        similar = [self._records[record_id] for record_id in scores]
        similar = [record for record in similar if not self._difference(record, beginning)] or similar
        titles = {record.record_id: self._letters[record.record_id] for record in similar}
        whole = [title for record_id, title in titles.items() if scores[record_id] == 100]
        # The title of a paper with a subtitle contains the title without it.
        found = [
            record
            for record in similar
            if not any(titles[record.record_id] != title and titles[record.record_id] in title for title in whole)
        ]
        by = "title"
        if len(found) > 1:
            front, stem = words_of(beginning.text[:_FRONT]), words_of(re.sub(r"[_.]", " ", name))
            if described := _described(found, front, years=False):
                found, by = [described], "title and author"
            elif described := _described(found, stem, years=True):
                found, by = [described], "title and file name"
        if len(found) == 1:
            doubt = self._difference(found[0], beginning) or self._doubt(found[0], beginning)
            return Match(found[0], by, _scaled(scores[found[0].record_id]), doubt)
        if found:
            return Match(
                None,
                by,
                max(map(_scaled, scores.values())),
                f"The titles of {len(found)} records are in the beginning of the file.",
                tuple(found),
            )
        return Match(
            None, doubt="The beginning of the file contains neither an identifier nor the title of any record."
        )


def letters_of(text: str) -> str:
    """Return only the letters of a text, in lower case and without accents; a ligature becomes separate letters."""
    return "".join(filter(str.isalpha, _plain(text)))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKD", text).casefold()


def _numbers(text: str) -> list[str]:
    """Return the numbers in a text in lower case, including the Roman numerals that count the parts of a series."""
    found = _NUMBER.findall(" ".join(text.split()))
    return [str(_NUMERALS.index(number) + 1) if number in _NUMERALS else number for number in found]


def _same_numbers(title: Sequence[str], passage: Sequence[str]) -> bool:
    """Return whether the passage of a file that is similar to a title contains the numbers in the title.

    Superscript numbers may follow a number directly, and other numbers may be between those of the title.
    """
    rest = iter(passage)
    in_order = all(any(printed.startswith(number) for printed in rest) for number in title)
    # One of the two may have a separator or a line end within a number.
    return in_order or "".join(passage).startswith("".join(title))


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case and without accents."""
    return normalise_title(text).split()


def pmcids_of(record: Record) -> list[str]:
    """Return the PMC ids in a record; all original fields are searched, because few formats have a PMC id field."""
    return [found[0] for value in _strings(record.raw) if (found := _PMCID.fullmatch(value.strip()))]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _scaled(similarity: float) -> float:
    return round(max(0.0, (similarity - _UNRELATED) / (100 - _UNRELATED)), 2)


def _before_references(text: str) -> str:
    place = 0
    for line in text.splitlines(keepends=True):
        if len(line) <= _LONGEST_HEADING and kind_of(line.strip()) == "references":
            return text[:place]
        place += len(line)
    return text


def _dois(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the position of each DOI in a text, and the possible spellings of this DOI, the most likely first."""
    for found in _DOI_START.finditer(text):
        # A line end may divide a DOI, and other characters may follow a DOI without a space.
        words = text[found.start() : found.start() + _LONGEST_DOI].split(maxsplit=2)[:2]
        written = [words[0], "".join(words)]
        if words[0].endswith("-"):
            written.append("".join((words[0][:-1], *words[1:])))
        forms = list(filter(None, map(normalise_doi, written)))
        forms += [form[: end.start()] for form in forms for end in reversed(list(re.finditer(r"[^a-z0-9]", form)))]
        # A prefix of a registrant is not a DOI.
        if whole := tuple(dict.fromkeys(form for form in forms if "/" in form)):
            yield found.start(), whole


def _described(records: Sequence[Record], words: Collection[str], *, years: bool) -> Record | None:
    """Return the record that the words of a text or file name describe best.

    The words describe a record by the family name of its first author and, if ``years`` is true, by its year. Name and
    year together are better than one of them. If no record is described, or if several records are described equally
    well, the result is ``None``.
    """
    ranked: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        family = words_of(record.authors[0].split(",")[0]) if record.authors else []
        named = bool(family) and all(word in words for word in family)
        ranked[named + (years and str(record.year) in words)].append(record)
    best = max(ranked)
    return ranked[best][0] if best and len(ranked[best]) == 1 else None
