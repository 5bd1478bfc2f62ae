"""Test that a file is attached by its identifiers or title, unless its first page suggests a different paper."""

from __future__ import annotations

from typing import Any

import pytest

from mechtag.core.full_text import FullText, Quality
from mechtag.core.records import Record
from mechtag.pipeline.fulltext.identity import Beginning, Identifier, Match, pmcids_of
from mechtag.pipeline.fulltext.reading import ReadFile

QUALITY = Quality(pages=1, chars=1, scanned_pages=0, ocr_pages=0, references_cut=False, headings=0, letters_share=1.0)
TEXT = FullText(
    record_id="", text="x", sections=(), pages=(), source_file="", format="pdf", sha256="", reader="", quality=QUALITY
)
TITLE = "How leaders build trust across the teams of primary care"
OTHER = "What managers do when partners disagree about budgets"
FILLER = (
    "We interviewed forty managers of networks in three regions and analysed what they said about money, time and "
    "the people with whom they worked. Most of them had changed employers at least once. "
) * 12


def record(name: str, title: str = TITLE, **fields: Any) -> Record:
    return Record(record_id=name, title=title, **fields)


TRUST = record("trust", doi="10.5555/lead-2020.17", pmid="31234567", raw=(("C2", "PMC7654321"),))
BUDGETS = record("budgets", OTHER, doi="10.5555/lead.2")


def find(page: str, *records: Record, name: str = "download", **stated: str) -> Match:
    found = Identifier(records or (TRUST, BUDGETS))
    return found.find(Beginning(ReadFile(full_text=TEXT, beginning=page, **stated)), name)


def sure(match: Match) -> tuple[str, str]:
    assert match.record
    assert not match.doubt
    return match.record.record_id, match.by


@pytest.mark.parametrize(
    "doi",
    [
        "https://doi.org/10.5555/lead-2020.17",
        "doi:10.5555/LEAD-2020.17.",
        "10.5555/lead-\n2020.17 Research article",
        "10.5555/\nlead-2020.17",
        "10.5555/lead\x022020.17",
        "10.5555/lead\u20102020.17",
        "10.5555/lead-20-\n20.17",
        "10.5555/lead-2020.17:research",
        "10.5555/lead-2020.17/full",
        "[10.5555/lead-2020.17]",
    ],
)
def test_a_doi_is_found_however_it_is_printed(doi: str) -> None:
    assert sure(find(f"{doi}\n{TITLE}\n{FILLER}")) == ("trust", "DOI")


def test_a_doi_that_only_begins_like_that_of_a_record_is_not_its() -> None:
    assert find(f"10.5555/lead-2020.178\n{FILLER}").record is None
    assert find(f"10.5555/\n{FILLER}").record is None
    assert find(f"{FILLER} 10.5555/").record is None


def test_other_identifiers_are_found() -> None:
    assert sure(find(f"PMID: 31234567\n{TITLE}\n{FILLER}")) == ("trust", "PubMed id")
    assert sure(find(f"PMC7654321\n{TITLE}\n{FILLER}")) == ("trust", "PMC id")
    assert sure(find(FILLER, title=TITLE, pmid="31234567")) == ("trust", "PubMed id")
    assert sure(find(FILLER, title=TITLE, pmcid="PMC7654321")) == ("trust", "PMC id")
    assert sure(find(FILLER, title=TITLE, doi="10.5555/lead-2020.17")) == ("trust", "DOI")
    # A number without a mark is not a PubMed id.
    assert find(f"31234567\n{FILLER}").record is None


def test_pmc_ids_are_found_in_nested_fields() -> None:
    nested = {"ArticleIdList": [{"ArticleId": [{"@IdType": "pmc", "#": "PMC1234567"}]}]}
    assert pmcids_of(record("x", raw=(("PubmedData", nested), ("AB", "See PMC7777777 for more.")))) == ["PMC1234567"]


def test_the_doi_of_a_cited_paper_needs_a_person() -> None:
    match = find(f"Sediment transport\nCorrespondence on doi:10.5555/lead-2020.17\n{FILLER}")
    assert (match.record, match.by) == (TRUST, "DOI")
    assert match.likeness is not None
    assert match.likeness < 0.5
    assert match.doubt.endswith("but not its title, so the paper may only cite the record.")


def test_the_first_doi_of_a_record_wins_unless_a_title_decides() -> None:
    dois = "10.5555/lead.2 10.5555/lead-2020.17"
    assert sure(find(f"{TITLE}\n{FILLER} {dois}")) == ("trust", "DOI")
    assert sure(find(f"{dois}\n{OTHER}\n{TITLE}\n{FILLER}")) == ("budgets", "DOI")


def test_a_different_doi_in_front_of_title_and_doi_needs_a_person() -> None:
    cited = f"10.9999/own\nSediment transport\nSee {TITLE}, 10.5555/lead-2020.17\n{FILLER}"
    assert find(cited).doubt == (
        "The file begins with a different DOI, 10.9999/own, so the paper may only cite the record."
    )
    assert find(f"10.9999/own\nSediment transport\nSee {TITLE}\n{FILLER}").doubt
    assert find(FILLER, title=TITLE, doi="10.9999/own").doubt
    # The DOI of a data set after the title, the DOI of a supplement of the paper, and a record without a DOI.
    assert sure(find(f"{TITLE}\nData: 10.9999/data\n{FILLER}")) == ("trust", "title")
    assert sure(find(f"10.5555/lead-2020.17.s001\n{TITLE}\n{FILLER}")) == ("trust", "DOI")
    assert sure(find(f"10.9999/own\n{TITLE}\n{FILLER}", record("bare"))) == ("bare", "title")
    # A DOI that other text interrupts is not a different DOI, but that of another paper in the same journal is.
    assert sure(find(f"10.5555/lead-\n12 Care 2020.17\n{TITLE}\n{FILLER}")) == ("trust", "title")
    assert find(f"10.5555/lead-2021.9\nSediment transport\nSee {TITLE}\n{FILLER}").doubt


def test_identifiers_and_titles_in_the_list_of_references_are_ignored() -> None:
    references = f"Sediment transport\n{FILLER[:300]}\nReferences\n1. Lee A. {TITLE}. 10.5555/lead-2020.17"
    assert find(references).record is None
    assert find(references.replace("References\n", "")).record


@pytest.mark.parametrize(
    "title",
    [
        TITLE.upper(),
        TITLE.replace("build", "bu\ufb01ld").replace("\ufb01", "i"),
        TITLE.replace("trust", "trust1,2").replace("teams", "te-\nams"),
        TITLE.replace("a", "\u00e1"),
        TITLE.replace("build", "buld"),
    ],
)
def test_a_title_is_found_however_it_is_set(title: str) -> None:
    match = find(f"Journal of Care 12 (3)\n{title}\nA. Lee\n{FILLER}")
    assert sure(match) == ("trust", "title")
    assert match.likeness is not None
    assert match.likeness >= 0.84


def test_a_similar_title_is_a_different_one() -> None:
    match = find(f"How leaders lose trust across the teams of acute care\n{FILLER}")
    assert match.record is None


def test_short_titles_and_short_texts_prove_nothing() -> None:
    short = record("short", "On trust in primary care")
    assert find(f"{short.title}\n{FILLER}", short).record is None
    assert find("trust", TRUST).record is None
    assert find("10.5555/lead-2020.17", TRUST).doubt


@pytest.mark.parametrize(
    "page",
    [
        f"Correction to: {TITLE}\n",
        f"Erratum\n{TITLE}\n",
        f"Comment on '{TITLE}'\n",
        f"Addendum to: {TITLE}\n",
        f"Letter to the editor regarding '{TITLE}'\n",
        f"Response to a letter about {TITLE}\n",
        f"Reviewer reports for: {TITLE}\n",
        f"Plain language summary of: {TITLE}\n",
        f"10.5555/lead-2020.17\nRetraction Note: {TITLE}\n",
        f"{TITLE}: a study protocol\n",
        f"{TITLE}: protocol for a systematic review\n",
    ],
)
def test_a_paper_about_the_paper_needs_a_person(page: str) -> None:
    match = find(page + FILLER)
    assert match.record == TRUST
    assert match.doubt.startswith("The words next to the title suggest that the file is not the paper of the record")


@pytest.mark.parametrize(
    "page",
    [
        f"Supplementary material\nA. Lee, B. Ito\n{TITLE}\n",
        f"Supplemental Materials for: {TITLE}\n",
        f"10.5555/lead-2020.17\nSupplementary appendix\nSupplement to: Lee A. {TITLE}\n",
        f"Journal of Care\nSupplement to {TITLE}\n",
        f"Additional file 1\n{TITLE}\n",
    ],
)
def test_a_supplement_needs_a_person(page: str) -> None:
    match = find(page + FILLER)
    assert match.record == TRUST
    assert match.doubt == "The file begins like a supplement of the record's paper, so it may not be the paper itself."


def test_a_paper_in_a_supplement_or_with_supplements_is_no_supplement() -> None:
    assert sure(find(f"SUPPLEMENT ARTICLE\n{TITLE}\nSupplementary material is online.\n{FILLER}")) == ("trust", "title")
    own = record("own", f"Supplementary material to improve leaflets: {TITLE}")
    assert sure(find(f"{own.title}\n{FILLER}", own)) == ("own", "title")


SERIES = "Leading teams of primary care through a crisis: "


@pytest.mark.parametrize(
    ("of_record", "of_file"),
    [
        (f"{SERIES}part 1", f"{SERIES}part 2"),
        (f"{SERIES}part 1", f"{SERIES}Part II"),
        (f"{SERIES}part I", f"{SERIES}part II"),
        (f"{SERIES}part II", f"{SERIES}part I"),
        (f"2009: {SERIES}a survey", f"2010: {SERIES}a survey"),
        (f"{SERIES}12 lessons of managers", f"{SERIES}10 lessons of managers"),
    ],
)
def test_a_title_with_different_numbers_needs_a_person(of_record: str, of_file: str) -> None:
    match = find(f"{of_file}\nIda Ivens\n{FILLER}", record("first", of_record))
    assert match.record
    assert match.doubt.startswith("The numbers in the title of the file differ from those in the title of the record")
    both = (record("first", of_record), record("second", of_file))
    assert sure(find(f"{of_file}\nIda Ivens\n{FILLER}", *both)) == ("second", "title")


@pytest.mark.parametrize(
    ("of_record", "of_file"),
    [
        (f"{SERIES}part 1", f"{SERIES}part 1\u00b9,\u00b2"),
        (f"{SERIES}part 1", f"{SERIES}Part\nI"),
        (f"{SERIES}2,000 managers", f"{SERIES}2000 managers"),
        (f"In 2010: {SERIES}a survey", f"14 In2 2010: {SERIES}a survey"),
        (f"2010: {SERIES}a survey", f"12 (3) 2010: {SERIES}a survey"),
    ],
)
def test_numbers_of_a_title_are_found_however_they_are_printed(of_record: str, of_file: str) -> None:
    assert sure(find(f"{of_file}\nIda Ivens\n{FILLER}", record("first", of_record))) == ("first", "title")


def test_a_similar_title_that_lacks_a_word_needs_a_person() -> None:
    title = "Leadership between professions in the rehabilitation of strokes: an interview study of {}"
    match = find(f"{title.format('doctors')}\n{FILLER}", record("nurses", title.format("nurses")))
    assert match.doubt == (
        "The title in the file is similar to the title of the record, but lacks nurses, so the file may be a different "
        "paper."
    )
    printed = title.replace("professions", "profesions").replace("Leadership", "Leadrship").format("nurses")
    assert sure(find(f"{printed}\n{FILLER}", record("nurses", title.format("nurses")))) == ("nurses", "title")


def test_a_protocol_is_found_for_its_own_record() -> None:
    protocol = record("protocol", f"{TITLE}: a study protocol")
    assert sure(find(f"{protocol.title}\n{FILLER}", protocol)) == ("protocol", "title")
    named = record("named", f"Protocol of a study: {TITLE[0].lower()}{TITLE[1:]}")
    assert sure(find(f"{named.title}\nThis protocol describes a study.\n{FILLER}", named)) == ("named", "title")
    # The longer of two titles that are both in the file.
    assert sure(find(f"{protocol.title}\n{FILLER}", TRUST, protocol)) == ("protocol", "title")


def test_a_correction_is_found_for_its_own_record() -> None:
    corrigendum = record("corrigendum", f"Corrigendum to '{TITLE}'")
    assert sure(find(f"Corrigendum\n{corrigendum.title}\n{FILLER}", corrigendum)) == ("corrigendum", "title")


def test_equal_titles_are_distinguished_by_author_then_file_name() -> None:
    lee = record("lee", authors=("Lee, Ann",), year=2019)
    ito = record("ito", authors=("Ito, Ben",), year=2021)
    page = f"{TITLE}\n{FILLER}"
    assert sure(find(f"{TITLE}\nBen Ito\n{FILLER}", lee, ito)) == ("ito", "title and author")
    assert sure(find(page, lee, ito, name="lee_trust")) == ("lee", "title and file name")
    assert sure(find(page, lee, ito, name="Trust.2021")) == ("ito", "title and file name")
    match = find(page, lee, ito, name="ito 2019")
    assert (match.record, match.candidates) == (None, (lee, ito))
    assert match.doubt == "The titles of 2 records are in the beginning of the file."
    # The name of a file is not enough without the title.
    assert find(FILLER, lee, ito, name="lee 2019").record is None
