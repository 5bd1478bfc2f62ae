import csv
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decisions import write_groups
from pipeline.dedupe import Deduped, dedupe
from pipeline.ingest import ingest
from pipeline.records import Record, make_record_id
from pipeline.settings import DedupeSettings

UPDATE = Path(__file__).parents[1] / "data" / "raw" / "search_update.ris"
SETTINGS = DedupeSettings()
LONG = "Sharing the lead in stroke care networks: a qualitative study"
SMITH = ("Marchetti, Lucia", "O'Neill, Peter J.")
TEXT = "Three networks of hospitals were studied for two years. " * 4


def record(index: int = 1, **values: Any) -> Record:
    """An article with everything in its place, but for ``values``."""
    whole: dict[str, Any] = {
        **{"title": LONG, "authors": SMITH, "year": 2017, "journal": "Journal of Invented Care", "volume": "12"},
        **{"issue": "3", "pages": "45-58", "doi": None, "pmid": None, "type": "JOUR", **values},
    }
    names = ("doi", "pmid", "title", "year", "authors")
    record_id = make_record_id(**{name: whole[name] for name in names})
    return Record(record_id=record_id, source_file="a.ris", source_index=index, **whole)


def bare(index: int = 1, **values: Any) -> Record:
    """An article of which nothing is known but title and authors, and ``values``."""
    return record(index, **{**dict.fromkeys(("year", "journal", "volume", "issue", "pages", "type")), **values})


def partition(found: Deduped) -> set[frozenset[tuple[str, int]]]:
    return {frozenset((member.source_file, member.source_index) for member in group.members) for group in found.groups}


SAME: dict[str, tuple[Record, Record]] = {
    "same DOI, title in capitals": (
        record(doi="10.5555/a.1", title=LONG.upper()),
        record(doi="10.5555/a.1", authors=("Marchetti, L.",), year=2016, volume=None, pages=None),
    ),
    "same PubMed id": (bare(pmid="123456"), record(pmid="123456", doi="10.5555/a.1")),
    "DOI in one only, initials, abbreviated journal": (
        record(doi="10.5555/a.1", journal="J Invent Care", pages="45-8"),
        record(authors=("Marchetti, L", "O'Neill, PJ")),
    ),
    "hyphens, accents, Greek letters, markup, British spelling of nothing": (
        record(title="Effects of α-blockers on <i>naïve</i> self-care in older people"),
        record(title="Effects of alpha blockers on naive selfcare in older people"),
    ),
    "subtitle left out, same page": (record(title="Sharing the lead in stroke care networks"), record()),
    "leading article": (record(title=f"The {LONG}", pages=None), record()),
    "notes of Ovid behind the title": (record(title=f"{LONG}. [Review] [33 refs]"), record()),
    "note of an erratum elsewhere": (record(title=f"{LONG}. [Erratum appears in J Invent Care. 2018;13:1]"), record()),
    "online first": (record(pages="1-14", volume=None, issue=None, year=2016), record()),
    "article number online": (record(pages="e1001"), record()),
    "supplement page as Ovid writes it": (record(pages="S17-S29"), record(pages="Suppl-29")),
    "year and month apart": (record(year=2018), record()),
    "no place known": (bare(year=2017), bare(year=2017, doi="10.5555/a.1")),
    "one place known": (bare(year=2017), record()),
    "authors missing": (record(authors=()), record(pages=None)),
    "family and given name changed places": (
        record(authors=("Lucia, Marchetti", "Peter, O'Neill"), pages=None),
        record(volume=None),
    ),
    "first author missing": (record(authors=("O'Neill, Peter J.",), pages=None), record()),
    "spelling": (
        record(title="Organisation of labour in care teams", volume=None),
        record(title="Organization of labor in care teams"),
    ),
    "a digit lost": (record(title="Use of p16 tests in care"), record(title="Use of p6 tests in care")),
    "footnote mark": (record(title=f"{LONG}1"), record()),
    "translated title": (record(title="Gemeinsam führen in Netzen der Versorgung nach Schlaganfall"), record()),
    "translated title, same DOI": (
        record(title="Gemeinsam führen in Netzen der Versorgung", doi="10.5555/a.1", pages="45"),
        record(doi="10.5555/a.1"),
    ),
    "one DOI wrong": (record(doi="10.5555/a.1"), record(doi="10.5555/wrong.7")),
    "editorial on the same page": (record(title="Editorial"), record(title="EDITORIAL", doi="10.5555/a.1")),
    "meeting abstract, journal with the name of the meeting": (
        record(journal="Circulation. Conference: Invented Sessions", issue="22 SUPPL. 1", pages=None),
        record(journal="Circulation", issue="22 Suppl. 1", pages=None),
    ),
    "proceedings": (
        bare(year=2017, type="CONF", journal="Proceedings of the 50th Annual Conference on Invented Systems"),
        bare(year=2017, type="CPAPER", journal="Conference on Invented Systems", pages="10-19"),
    ),
    "meeting abstract, which one database calls an article": (
        record(journal="Invented Care. Conference: 7th Invented Sessions", volume=None, issue=None, pages=None),
        record(journal="Invented Care", volume=None, issue=None, pages=None),
    ),
    "meeting abstract, by two names of its kind": (
        record(type="CONF", issue="Suppl 1", pages=None),
        record(type="JOUR", issue="Suppl 1", pages=None, volume=None),
    ),
    "a letter lost": (
        record(title="Tolerance of strain in stroke teams", pages=None),
        record(title="Tolrance of strain in stroke teams", volume=None),
    ),
    "ampersand": (
        record(title="Trust & power among nurses of three stroke units", pages=None),
        record(title="Trust and power among nurses of three stroke units", volume=None, year=2018),
    ),
    "authors missing, a word misspelt, same pages": (
        record(title=LONG.replace("study", "sutdy"), authors=()),
        record(),
    ),
    "same DOI, subtitle that says what it is": (
        record(title=f"{LONG}: study protocol", doi="10.5555/a.1"),
        record(doi="10.5555/a.1"),
    ),
    "a word left out, journal unknown, same pages": (
        bare(year=2017, pages="45-58", title="Moral hazards and effects of digital monitoring in labour markets"),
        bare(
            year=2017, pages="45-58", title="Moral hazards and effects of enhanced digital watching in labour markets"
        ),
    ),
    "pages cut short": (record(pages="123-9", volume=None), record(pages="123-129", issue=None)),
    "translated title in brackets, pages cut short": (
        record(title="[Leading together in networks of care].", pages="123-9"),
        record(title="Gemeinsam führen in Netzen der Versorgung nach Schlaganfall", pages="123-129"),
    ),
    "title in two languages": (record(title=f"Gemeinsam führen [{LONG}]", pages=None), record(title=f"[{LONG}].")),
    "title cut in the middle of a word": (
        record(title=f"{LONG} of rehab", pages=None, volume=None),
        record(title=f"{LONG} of rehabilitation wards in three countries"),
    ),
    "entities": (
        record(title="Teams &amp; trust in stroke&nbsp;care at home"),
        record(title="Teams & trust in stroke care at home."),
    ),
    "subtitle left out, journal unknown, same pages": (
        bare(year=2017, pages="45-58", title="Sharing the lead in stroke care networks"),
        bare(year=2017, pages="45-58"),
    ),
    "printed again in the next volume": (
        record(doi="10.5555/a.1", abstract=TEXT),
        record(doi="10.5555/a.2", abstract=TEXT, volume="13", issue="1", pages="2-15", year=2018),
    ),
    "one DOI, journal and number of a Cochrane review": (
        record(doi="10.1002/14651858.cd001234.pub2", pages="CD001234", issue="1"),
        record(doi="10.1002/14651858.cd001234.pub2", pages="CD001234", issue=None, year=2016),
    ),
    "one registration, twice": (
        bare(title=LONG, journal="ClinicalTrials.gov", authors=("NCT01234567",), year=2017),
        bare(title=LONG, journal="https://clinicaltrials.gov/show/NCT01234567", authors=("NCT01234567",), year=2017),
    ),
    "journal abbreviated to initials": (record(journal="BMJ", pages=None), record(journal="British Medical Journal")),
}
DIFFERENT: dict[str, tuple[Record, Record]] = {
    "same page of the next volume": (record(pages="45-50"), record(pages="45-58", volume="13", year=2018)),
    "meeting abstract and article, titles alike": (
        record(issue="Suppl 1", pages="S7", abstract=TEXT),
        record(title="Sharing the lead in stroke care networks", volume=None, issue=None, pages=None, abstract=TEXT),
    ),
    "part I and part II, pages unknown": (
        record(title=f"{LONG} of wards: part I", pages=None, volume=None),
        record(title=f"{LONG} of wards: part II", pages=None, volume=None),
    ),
    "typical and atypical": (
        record(title="Care of typical strokes in old age", pages=None),
        record(title="Care of atypical strokes in old age", pages=None),
    ),
    "yearly report of two people, volumes unknown": (
        record(volume=None, issue=None, abstract=TEXT),
        record(volume=None, issue=None, year=2018, pages="101-120", abstract=TEXT),
    ),
    "issue that means nothing": (
        record(title="Annual report of the network", issue="unknown", pages=None),
        record(title="Annual report of the network", issue="unknown", pages=None, doi="10.5555/a.1"),
    ),
    "update of a Cochrane review": (
        record(doi="10.1002/14651858.cd001234.pub2", pages="CD001234", issue="1"),
        record(doi="10.1002/14651858.cd001234.pub3", pages="CD001234", issue="1"),
    ),
    "update of a Cochrane review, DOIs unknown": (
        record(pages="CD001234", issue=None, volume=None),
        record(pages="CD001234", issue=None, volume=None, year=2018),
    ),
    "versions of a preprint": (
        bare(doi="10.21203/rs.3.rs-123456/v1", year=2021, journal="Research Square"),
        bare(doi="10.21203/rs.3.rs-123456/v2", year=2021, journal="Research Square"),
    ),
    "registration and publication": (bare(journal="ClinicalTrials.gov", authors=(), year=2017), bare(year=2017)),
    "two registrations": (
        bare(journal="https://clinicaltrials.gov/show/NCT01234567", authors=("NCT01234567",), year=2017),
        bare(journal="https://clinicaltrials.gov/show/NCT01234568", authors=("NCT01234568",), year=2017),
    ),
    "two errata": (
        record(title=f"Erratum to: {LONG}", pages="99"),
        record(title=f"Erratum to: {LONG}", pages="150"),
    ),
    "correction of a paper that was corrected before": (
        record(title=f"{LONG}. [Erratum appears in J Invent Care. 2018;13:1]"),
        record(title=f"{LONG}. [Erratum appears in J Invent Care. 2018;13:1] (Erratum)"),
    ),
    "correction named at the end": (record(), record(title=f"{LONG} (Correction)")),
    "reply named at the end": (record(), record(title=f"{LONG}: authors' reply")),
    "preprint and a paper of which no type is known": (
        bare(year=2017, journal="Invented Care", type=None),
        bare(year=2017, doi="10.1101/2017.01.02.345678"),
    ),
    "preprint and nothing": (bare(year=2017, doi="10.1101/2017.01.02.345678"), bare(year=2017)),
    "meeting abstract and article in one journal, pages unknown": (
        record(journal="Blood. Conference: Invented Meeting", volume=None, issue=None, pages=None, year=2016),
        record(journal="Blood", pages=None),
    ),
    "supplement and article in one journal": (
        record(issue="Suppl 1", volume=None, pages=None, year=2016),
        record(issue=None, pages=None),
    ),
    "abstract shown two years running": (
        record(issue="Suppl 1", pages="S12-S14", abstract=TEXT),
        record(issue="Suppl 1", pages="S40-S42", abstract=TEXT, volume="13", year=2018),
    ),
    "reply with the abstract of what it answers": (
        record(doi="10.5555/a.1", abstract=TEXT),
        record(doi="10.5555/a.2", abstract=TEXT, pages="59-72"),
    ),
    "one abstract in two volumes, other number of pages": (
        record(doi="10.5555/a.1", abstract=TEXT),
        record(doi="10.5555/a.2", abstract=TEXT, volume="13", issue="1", pages="2-5", year=2018),
    ),
    "column of one author": (
        record(title="Case of the month", pages="45-6", issue=None),
        record(title="Case of the month", pages="90-1", issue=None),
    ),
    "report of a body, year after year": (
        bare(title="Standards of care at home", authors=("Invented Association",), journal="Care", year=2017),
        bare(title="Standards of care at home", authors=("Invented Association",), journal="Care", year=2018),
    ),
    "authors with one particle": (
        record(authors=("van der Berg, J.",), pages=None),
        record(authors=("van Dijk, K.",), pages=None),
    ),
    "values that mean nothing": (
        record(journal="UNKNOWN", volume="NA", issue="unknown", pages=None, title="Leading a team"),
        record(journal="UNKNOWN", volume="NA", issue="unknown", pages=None, title="Leading a team", authors=()),
    ),
    "different DOIs": (record(doi="10.5555/a.1"), record(doi="10.5555/a.2", pages="101-120", year=2018, volume="13")),
    "different DOIs, nothing else known": (bare(doi="10.5555/a.1"), bare(doi="10.5555/a.2")),
    "different PubMed ids": (bare(pmid="123456"), bare(pmid="654321")),
    "erratum": (record(), record(title=f"Erratum to: {LONG}", pages="99")),
    "author correction, same page": (record(), record(title=f"Author Correction: {LONG}")),
    "erratum by type": (record(), record(type="Published Erratum", pages="99")),
    "correction as Web of Science names it": (record(), record(title=f"{LONG} (vol 12, pg 45, 2017)", pages=None)),
    "retraction": (record(), record(title=f"Retraction: {LONG}", pages=None)),
    "reply": (record(), record(title=f"Reply to: {LONG}", pages="60")),
    "letter about it": (record(), record(title=f"Re: {LONG}", pages="60", authors=("Doe, Ann",))),
    "comment, same DOI by mistake": (record(doi="10.5555/a.1"), record(doi="10.5555/a.1", title=f"Comment on {LONG}")),
    "protocol": (record(title=f"{LONG}: study protocol"), record()),
    "preprint": (
        bare(year=2016, journal="medRxiv", doi="10.1101/2016.01.02.345678"),
        record(),
    ),
    "preprint known by its DOI only": (bare(year=2017, doi="10.1101/2016.01.02.345678"), record()),
    "conference abstract": (
        record(type="CONF", journal="Proceedings of the Invented Congress", volume=None, issue=None, pages="7"),
        record(),
    ),
    "abstract in a supplement of the same volume": (record(issue="Suppl 1", pages="S112"), record()),
    "thesis": (bare(year=2017, type="THES"), record()),
    "part I and part II": (record(title=f"{LONG}. Part I"), record(title=f"{LONG}. Part II", pages="59-70")),
    "part 1 and part 2, pages unknown": (
        record(title=f"{LONG}. Part 1", pages=None),
        record(title=f"{LONG}. Part 2", pages=None),
    ),
    "whole and part": (
        record(pages=None, abstract=TEXT),
        record(title=f"{LONG}: part 2", pages=None, abstract=TEXT),
    ),
    "yearly report": (
        record(title="Annual report of the network"),
        record(title="Annual report of the network", year=2018, volume="13", pages="40-51"),
    ),
    "yearly report, place unknown": (
        record(title="Annual report of the network", volume=None, pages=None, issue=None),
        record(title="Annual report of the network", volume=None, pages=None, issue=None, year=2018),
    ),
    "figures of two years": (
        record(title="Leadership in figures 2016", pages="5"),
        record(title="Leadership in figures 2017", pages="5"),
    ),
    "editorials of two issues": (
        record(title="Editorial", pages=None),
        record(title="Editorial", pages=None, issue="4"),
    ),
    "editorials, nothing else known": (bare(title="Editorial"), bare(title="Editorial", year=2017)),
    "letters on one page": (record(title="Letters", pages=None), record(title="Letters", authors=("Doe, Ann",))),
    "men and women": (
        record(title="Leading styles of men in nursing homes", pages=None),
        record(title="Leading styles of women in nursing homes", pages=None),
    ),
    "abstracts of one meeting on one page, same DOI": (
        record(title="Trust in teams of nurses in stroke care", doi="10.5555/all", issue="Suppl 1", pages="S99"),
        record(title="Rounds led by pharmacists in stroke care", doi="10.5555/all", issue="Suppl 1", pages="S99"),
    ),
    "abstracts of one meeting with one DOI, titles alike": (
        record(title="Trust and leading in hospital teams of men", doi="10.5555/all", pages="S9"),
        record(title="Trust and leading in hospital teams of women", doi="10.5555/all", pages="S30"),
    ),
    "parts of one volume with one DOI": (
        record(title=f"{LONG}. Part 1", doi="10.5555/all", pages=None),
        record(title=f"{LONG}. Part 2", doi="10.5555/all", pages=None),
    ),
    "words that look alike": (
        record(title="Care of hypertension in older people at home", pages=None),
        record(title="Care of hypotension in older people at home", pages=None),
    ),
    "abstracts of one meeting, titles alike": (
        record(title="Trust and leading in hospital teams of men", issue="Suppl 1", pages="S99"),
        record(title="Trust and leading in hospital teams of women", issue="Suppl 1", pages="S99"),
    ),
    "other authors": (record(authors=("Doe, Ann",), pages=None), record()),
    "edition of ten years later": (record(year=2007, volume=None, pages=None), record()),
    "published twice in other journals": (record(), record(journal="Annals of Nothing", volume="3", pages="9-20")),
}  # fmt: skip


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_duplicates(pair: tuple[Record, Record]) -> None:
    left, right = pair[0], pair[1].model_copy(update={"source_index": 2})
    assert partition(dedupe([left, right], SETTINGS)) == {frozenset({("a.ris", 1), ("a.ris", 2)})}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_different_papers_stay_apart(pair: tuple[Record, Record]) -> None:
    left, right = pair[0], pair[1].model_copy(update={"source_index": 2})
    found = dedupe([left, right], SETTINGS)
    assert found.groups == ()
    assert len({record.record_id for record in found.unique}) == 2


def test_the_four_repeated_records_of_the_shipped_export() -> None:
    records = ingest([UPDATE]).records
    found = dedupe(records, SETTINGS)
    assert (found.read, len(found.unique), found.duplicates) == (30, 26, 4)
    # Read off the file by hand.
    assert partition(found) == {
        frozenset({("search_update.ris", left), ("search_update.ris", right)})
        for left, right in [(1, 13), (11, 30), (25, 26), (27, 29)]
    }
    assert [record.source_index for record in found.unique] == sorted(set(range(1, 31)) - {1, 11, 25, 29})


def test_the_fullest_record_is_kept_as_it_is() -> None:
    lean, full, middling = record(1, pages=None), record(2, abstract=TEXT, doi="10.5555/a.1"), record(3, abstract=TEXT)
    found = dedupe([lean, full, middling], SETTINGS)
    assert found.unique == (full,)
    assert found.groups[0].members == (full, middling, lean)
    assert found.groups[0].kept is found.unique[0]


def test_a_bare_record_does_not_join_two_papers() -> None:
    first = record(1, doi="10.5555/a.1")
    second = record(2, doi="10.5555/a.2", volume="30", pages="300-310")
    between = bare(3, year=2017)
    found = dedupe([first, second, between], SETTINGS)
    assert len(found.unique) == 2
    assert [len(group.members) for group in found.groups] == [2]


def test_the_surer_claim_to_a_record_wins() -> None:
    first = record(1)
    second = record(2, doi="10.5555/a.2", volume="30", pages="300-310")
    claimed = bare(3, year=2017, doi="10.5555/a.2")
    found = dedupe([first, second, claimed], SETTINGS)
    assert partition(found) == {frozenset({("a.ris", 2), ("a.ris", 3)})}


def test_a_record_without_pages_does_not_join_two_titles() -> None:
    first = record(1, abstract=TEXT)
    second = record(2, title=f"{LONG}: a second study", abstract=TEXT, pages="101-120")
    without_pages = record(3, abstract=TEXT, pages=None)
    found = dedupe([first, second, without_pages], SETTINGS)
    assert partition(found) == {frozenset({("a.ris", 1), ("a.ris", 3)})}


def test_a_slip_in_a_longer_title_does_not_keep_records_apart() -> None:
    short, long = record(1, title="Sharing the lead in stroke care networks", pages="45"), record(2)
    with_slip = record(3, title=LONG.replace("networks", "netwrks"), doi="10.5555/a.1")
    found = dedupe([short, with_slip, long], SETTINGS)
    assert len(found.unique) == 1


def test_confidence_is_that_of_the_weakest_link() -> None:
    records = [
        bare(1, doi="10.5555/a.1", year=2017),
        bare(2, doi="10.5555/a.1", journal="Care"),
        bare(3, year=2017),
    ]
    (group,) = dedupe(records, SETTINGS).groups
    assert group.reason == "same DOI and title; same title and authors, place of publication missing"
    assert group.confidence == 0.85


records_of_few_papers = st.lists(
    st.builds(
        lambda title, year, volume, pages, doi, authors: record(
            title=title, year=year, volume=volume, pages=pages, doi=doi, authors=authors
        ),
        title=st.sampled_from(
            [LONG, LONG.upper(), "Sharing the lead in stroke care networks", "Editorial", f"Reply: {LONG}"]
        ),
        year=st.sampled_from([None, 2016, 2017, 2018]),
        volume=st.sampled_from([None, "12", "13"]),
        pages=st.sampled_from([None, "45-58", "1-14", "S3", "90"]),
        doi=st.sampled_from([None, None, "10.5555/a.1", "10.5555/a.2"]),
        authors=st.sampled_from([(), SMITH, ("Marchetti, L.",), ("Doe, Ann",)]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(records=records_of_few_papers, seed=st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_and_nothing_vanishes(records: list[Record], seed: random.Random) -> None:
    records = [one.model_copy(update={"source_index": index}) for index, one in enumerate(records)]
    shuffled = seed.sample(records, len(records))
    found, again = dedupe(records, SETTINGS), dedupe(shuffled, SETTINGS)
    assert set(found.unique) == set(again.unique)
    assert found.groups == again.groups
    assert [one.source_index for one in found.unique] == sorted(one.source_index for one in found.unique)
    seen = [one.source_index for one in found.unique] + [
        one.source_index for group in found.groups for one in group.members[1:]
    ]
    assert sorted(seen) == list(range(len(records)))
    assert found.read == len(found.unique) + found.duplicates
    assert len({one.record_id for one in found.unique}) == len(found.unique)


def test_papers_with_one_identifier_get_ids_of_their_own() -> None:
    first = record(1, title="Trust in teams of nurses", doi="10.5555/all", pages="S9")
    second = record(2, title="Rounds led by pharmacists", doi="10.5555/all", pages="S10")
    other = record(3, doi="10.5555/b")
    ids = {one.title: one.record_id for one in dedupe([first, second, other], SETTINGS).unique}
    again = {one.title: one.record_id for one in dedupe([other, second, first], SETTINGS).unique}
    assert ids == again
    assert ids[LONG] == "doi:10.5555/b"
    assert all(ids[one.title].startswith("doi:10.5555/all#") for one in (first, second))
    # Records alike in every word, that may be two papers all the same.
    twins = [bare(1, title="Editorial"), bare(2, title="Editorial")]
    for order in (twins, twins[::-1]):
        unique = sorted(dedupe(order, SETTINGS).unique, key=lambda one: one.source_index)
        assert unique[1].record_id == f"{unique[0].record_id}-2"


def test_each_setting_is_read() -> None:
    apart = [record(1, volume=None, pages=None), record(2, year=2019, volume=None, pages=None)]
    assert dedupe(apart, SETTINGS).duplicates == 0
    assert dedupe(apart, DedupeSettings(year_gap=2)).duplicates == 1
    spelt = [record(1, pages="45"), record(2, pages="45", title=LONG.replace("stroke care", "stoke caer"))]
    assert dedupe(spelt, SETTINGS).duplicates == 1
    assert dedupe(spelt, DedupeSettings(title_similarity=1)).duplicates == 0
    # Between two records of a paper stands one of other authors with the same title.
    three = [
        record(1, authors=("Abt, Ann",), pages=None),
        record(2, authors=("Doe, Bob",), pages=None),
        record(3, authors=("Zorn, Cy", "Abt, Ann"), pages=None),
    ]
    assert dedupe(three, SETTINGS).duplicates == 1
    assert dedupe(three, DedupeSettings(window=1)).duplicates == 0


def test_groups_file(tmp_path: Path) -> None:
    found = dedupe([record(1), record(2, abstract=TEXT), record(3, title="Another paper", pages="9")], SETTINGS)
    write_groups(tmp_path / "groups.csv", found)
    with (tmp_path / "groups.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["source_file"], row["source_index"], row["kept"]) for row in rows] == [
        ("1", "a.ris", "2", "yes"),
        ("1", "a.ris", "1", "no"),
    ]
    assert rows[0]["record_id"] == found.unique[0].record_id
    assert (rows[0]["confidence"], rows[0]["reason"]) == ("0.98", "same title, volume and first page")


def test_nothing_to_do() -> None:
    assert dedupe([], SETTINGS) == Deduped((), (), (), (), 0)


def test_many_records_of_one_title_take_no_square_of_time() -> None:
    copies = [record(index) for index in range(3000)]
    assert dedupe(copies, SETTINGS).duplicates == 2999
    editorials = [bare(index, title="Editorial") for index in range(3000)]
    assert dedupe(editorials, SETTINGS).duplicates == 0
    broken = {"pages": "a" * 9999 + "9" * 9999, "journal": "J" * 9999}
    hostile = [record(index, title="[a] " * 300 + str(index), **broken) for index in range(60)]
    assert len(dedupe(hostile, SETTINGS).unique) > 1
