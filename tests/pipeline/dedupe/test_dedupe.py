import csv
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.dedupe.results import Deduped
from mechtag.pipeline.dedupe.review_tables import write_groups
from mechtag.pipeline.reading.ingest import ingest
from tests.support.papers import LONG, SETTINGS, SMITH, TEXT, bare, partition, record
from tests.support.paths import UPDATE


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
    assert group.reason == "same DOI and title; same title; same authors, year"
    assert group.confidence == 0.86


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
    assert (rows[0]["confidence"], rows[0]["reason"]) == (
        "0.98",
        "same title; same authors, journal, volume, issue, page, year",
    )


def test_nothing_to_do() -> None:
    assert dedupe([], SETTINGS) == Deduped((), (), (), (), 0)


@pytest.mark.slow
def test_many_records_of_one_title_take_no_square_of_time() -> None:
    copies = [record(index) for index in range(3000)]
    assert dedupe(copies, SETTINGS).duplicates == 2999
    editorials = [bare(index, title="Editorial") for index in range(3000)]
    assert dedupe(editorials, SETTINGS).duplicates == 0
    broken = {"pages": "a" * 9999 + "9" * 9999, "journal": "J" * 9999}
    hostile = [record(index, title="[a] " * 300 + str(index), **broken) for index in range(60)]
    assert dedupe(hostile, SETTINGS).read == 60


def test_a_record_in_many_pairs_is_held_once() -> None:
    papers = [bare(index, doi=f"10.5555/{index}") for index in range(100)]
    shown = [one for pair in dedupe(papers, SETTINGS).uncertain for one in (pair.left, pair.right)]
    assert len(shown) > 1000
    assert len({id(one) for one in shown}) == len(papers)
