"""Test the page *Duplicates*: people decide on uncertain pairs and take records out of groups.

Later imports keep these decisions.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from mechtag.core.parquet import read_records
from mechtag.core.tables import read_table
from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs.ranking import KIND as RANK
from mechtag.review.store import schema
from mechtag.review.store.events import derive_everything, family_of
from mechtag.review.store.families import count_papers
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace
from tests.support.review_imports import OWNER, TITLES, bring, ris, titles, work
from tests.support.review_site import Browser, add_person, copy_review, make_review, texts

TITLE = "Leadership of integrated care teams in rural districts: a qualitative study"
OTHER = ris(TITLE, doi="10.1000/b2", extra="VL  - 13\nSP  - 9\nEP  - 20", abstract="We studied apples and pears.")
OTHER = OTHER.replace(b"JO  - Fruit", b"JO  - Annals").replace(b"PY  - 2020", b"PY  - 2021")
ONE = ris(TITLE, doi="10.1000/a1", extra="VL  - 12\nSP  - 101\nEP  - 110", abstract="We studied apples.")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Make a review with an uncertain pair (records 1 and 2) and a group (record 3 and its duplicate)."""
    review = make_review(tmp_path_factory.mktemp("duplicates"), [], coders_screen=1)
    browser = Browser(review, OWNER)
    bring(review, browser, ("a.ris", ONE), ("b.ris", OTHER + ris(TITLES[0])), ("c.ris", ris(TITLES[0], abstract="")))
    return review


@pytest.fixture
def review(prepared: Workspace, tmp_path: Path) -> Workspace:
    return copy_review(prepared, tmp_path)


@pytest.fixture
def owner(review: Workspace) -> Browser:
    return Browser(review, OWNER)


def counts(review: Workspace, browser: Browser) -> tuple[int, ...]:
    """Return the four counts on the page *Duplicates*: records read, unique, duplicates and not readable."""
    page = texts(browser.get("/duplicates"))
    found = re.search(r"([\d,]+) read = ([\d,]+) unique \+ ([\d,]+) duplicates \+ ([\d,]+) not readable", page)
    assert found is not None
    read, *parts = (int(number) for number in found.groups())
    assert read == sum(parts)
    return read, *parts


def files(review: Workspace) -> tuple[list[str], int, int]:
    """Return the record ids in unique.parquet, and the numbers of rows of groups.csv and uncertain.csv."""
    data = review.project.root / "data"
    unique = sorted(record.record_id for record in read_records(data / "unique.parquet"))
    rows = [len(read_table(data / name, "", ()).rows) for name in ("groups.csv", "uncertain.csv")]
    return unique, rows[0], rows[1]


def test_a_pair_is_shown_field_by_field_with_differing_words(owner: Browser) -> None:
    page = owner.get("/duplicates")
    assert "mechtag did not join them: same title" in texts(page)
    assert "<del>2020</del>" in page
    assert "<ins>2021</ins>" in page
    assert re.search(r"We studied <del>apples.</del>.*We studied <ins>apples and pears.</ins>", page, re.DOTALL)
    rows = dict(re.findall(r'<th scope="row">(\w+)(.*?)</th>', page))
    assert "differs" in rows["Year"]
    assert "differs" not in rows["Title"]
    assert "differs" not in rows["File"]


def test_the_same_paper_is_joined_and_undone(review: Workspace, owner: Browser) -> None:
    assert counts(review, owner) == (4, 3, 1, 0)
    before = files(review)
    answer = owner.post("/duplicates", pair=1, answer="same")
    assert "No pairs to check" in texts(answer.text)
    assert counts(review, owner) == (4, 2, 2, 0)
    work(review)
    unique, groups, uncertain = files(review)
    assert (len(unique), groups, uncertain) == (2, 4, 0)
    answer = owner.post("/undo")
    assert answer.url.path == "/duplicates"
    assert "Are these the same paper?" in texts(answer.text)
    work(review)
    assert counts(review, owner) == (4, 3, 1, 0)
    assert files(review) == before
    owner.post("/redo")
    assert counts(review, owner) == (4, 2, 2, 0)


def test_different_papers_stay_apart_and_the_answer_is_undone(review: Workspace, owner: Browser) -> None:
    owner.post("/duplicates", pair=1, answer="different")
    assert counts(review, owner) == (4, 3, 1, 0)
    assert "No pairs to check" in texts(owner.get("/duplicates"))
    work(review)
    assert files(review)[2] == 0
    with pytest.raises(Refused, match="somebody has marked these records as different papers"):
        review.acts.join(Stamp(OWNER), 1, 2)
    owner.post("/undo")
    assert "Are these the same paper?" in texts(owner.get("/duplicates"))
    owner.post("/redo")
    assert "No pairs to check" in texts(owner.get("/duplicates"))


def test_a_pair_can_be_put_off(owner: Browser) -> None:
    page = owner.get("/duplicates")
    address = re.search(r'href="(/duplicates\?after=[^"]+)"', page)
    assert address is not None
    assert "You put aside 1 pair" in texts(owner.get(address.group(1)))
    assert "Are these the same paper?" in texts(owner.get("/duplicates"))
    owner.get("/duplicates?after=x.9999999999999999999999.-1")


def test_an_answer_that_is_sent_twice_counts_once(review: Workspace, owner: Browser) -> None:
    for answer, pair in (("same", 1), ("different", 1)):
        for _ in range(2):
            sent = owner.post("/duplicates", pair=pair, answer=answer, client_id=f"id-{answer}")
            assert sent.status_code == 200, texts(sent.text)
        owner.post("/undo")
    for _ in range(2):
        sent = owner.post("/duplicates/split", copy=1, client_id="id-split")
        assert sent.status_code == 200, texts(sent.text)
    assert counts(review, owner) == (4, 4, 0, 0)


def test_a_record_is_taken_out_of_its_group_and_put_back(review: Workspace, owner: Browser) -> None:
    page = texts(owner.get("/duplicates/groups"))
    assert "1 paper was found more than once" in page
    assert "c.ris, record 1" in page
    before = files(review)
    answer = owner.post("/duplicates/split", copy=1)
    assert "No records have been joined" in texts(answer.text)
    assert counts(review, owner) == (4, 4, 0, 0)
    work(review)
    unique, groups, _ = files(review)
    assert (len(unique), groups) == (4, 0)
    assert titles(review) == [TITLE, TITLE, TITLES[0], TITLES[0]]
    with review.store.read() as connection:
        head, copy = read_entry(connection, 3), read_entry(connection, 4)
        needs = connection.execute(select(schema.need.c.state).where(schema.need.c.record == 4)).scalars().all()
    assert head is not None
    assert copy is not None
    assert (head.copies, copy.copies, needs) == (1, 1, ["open"])
    # The page does not ask about the pair again.
    assert "To check (1)" in texts(owner.get("/duplicates"))
    owner.post("/undo")
    work(review)
    assert counts(review, owner) == (4, 3, 1, 0)
    assert files(review) == before


def test_a_pair_that_was_joined_and_separated_is_not_asked_about_again(review: Workspace, owner: Browser) -> None:
    owner.post("/duplicates", pair=1, answer="same")
    owner.post("/duplicates/split", member=2)
    assert counts(review, owner) == (4, 3, 1, 0)
    assert "No pairs to check" in texts(owner.get("/duplicates"))
    owner.post("/undo")
    assert counts(review, owner) == (4, 2, 2, 0)
    owner.post("/undo")
    assert "Are these the same paper?" in texts(owner.get("/duplicates"))


def test_an_abstract_that_came_from_a_record_goes_with_it(review: Workspace, owner: Browser) -> None:
    bring(review, owner, ("d.ris", ris(TITLES[1], abstract="")))
    bring(review, owner, ("e.ris", ris(TITLES[1], abstract="Pears were pressed. It was cold.")))
    number = 4

    def abstract() -> tuple[str, int]:
        with review.store.read() as connection:
            entry = read_entry(connection, number)
        assert entry is not None
        return entry.abstract, len(entry.sentences)

    full = ("Pears were pressed. It was cold.", 2)
    assert abstract() == full
    assert "Fields filled from this record: abstract" in texts(owner.get("/duplicates/groups"))
    owner.post("/duplicates/split", copy=2)
    assert abstract() == ("", 0)
    owner.post("/undo")
    assert abstract() == full


def test_decisions_on_both_records_of_a_pair_are_kept(review: Workspace, owner: Browser) -> None:
    bob = add_person(review, "Bob", "coder")
    review.acts.decide(Stamp(OWNER), 1, 1)
    review.acts.decide(Stamp(bob), 2, 0)
    owner.post("/duplicates", pair=1, answer="same")
    with review.store.read() as connection:
        state = connection.execute(
            select(schema.need.c.state).where(schema.need.c.record == 1, schema.need.c.stage == "screen")
        ).scalar()
    assert state == "conflict"


def test_what_people_decided_holds_for_later_imports(review: Workspace, owner: Browser) -> None:
    owner.post("/duplicates", pair=1, answer="same")
    owner.post("/duplicates/split", copy=1)
    work(review)
    bring(review, owner, ("later.ris", ONE + OTHER + ris("A new study of quinces")))
    assert counts(review, owner) == (7, 4, 3, 0)
    with review.store.read() as connection:
        assert family_of(connection, 2)[0] == 1
        assert count_papers(connection) == (4, 3)
    page = texts(owner.get("/duplicates/groups"))
    assert page.count(TITLE) >= 4
    assert len(files(review)[0]) == 4


def test_the_derived_tables_follow_from_the_log(review: Workspace, owner: Browser) -> None:
    owner.post("/duplicates", pair=1, answer="same")
    owner.post("/duplicates/split", copy=1)
    tables = (schema.joined, schema.apart, schema.need, schema.record)

    def rows() -> list[list[tuple[object, ...]]]:
        with review.store.read() as connection:
            return [sorted((tuple(row) for row in connection.execute(select(table))), key=str) for table in tables]

    before = rows()
    with review.store.write() as connection:
        derive_everything(connection)
    assert rows() == before


def test_the_order_is_asked_for_when_records_change(review: Workspace, owner: Browser) -> None:
    owner.post("/duplicates/split", copy=1)
    with review.store.read() as connection:
        waiting = connection.execute(select(schema.job.c.kind).where(schema.job.c.state == "waiting")).scalars().all()
    assert sorted(waiting) == ["files", RANK]


@pytest.mark.parametrize(
    ("address", "fields", "status", "said"),
    [
        ("/duplicates", {"pair": 99, "answer": "same"}, 404, "This pair of records does not exist any more"),
        ("/duplicates", {"pair": 1, "answer": "maybe"}, 422, "Choose whether the two records are the same"),
        ("/duplicates/split", {"copy": 99}, 404, "This duplicate does not exist"),
        ("/duplicates/split", {"member": 1}, 409, "This record is not joined to another"),
        ("/duplicates/split", {}, 422, "Choose the record to separate from the group"),
    ],
)
def test_what_is_not_possible_is_refused(
    owner: Browser, address: str, fields: dict[str, object], status: int, said: str
) -> None:
    answer = owner.post(address, **fields)
    assert answer.status_code == status
    assert said in texts(answer.text)


def test_groups_are_searched_and_paged(review: Workspace, owner: Browser) -> None:
    assert TITLES[0] in texts(owner.get("/duplicates/groups?q=orchards+NORTH"))
    assert "No joined record has these words" in texts(owner.get("/duplicates/groups?q=%25"))
    assert "No records have been joined" in texts(owner.get("/duplicates/groups?from=20"))


def test_coders_look_but_only_leads_decide(review: Workspace) -> None:
    coder = Browser(review, add_person(review, "Cleo", "coder"))
    assert "Are these the same paper?" in texts(coder.get("/duplicates"))
    assert 'value="same"' not in coder.get("/duplicates")
    assert "Not this one" not in texts(coder.get("/duplicates/groups"))
    assert coder.post("/duplicates", pair=1, answer="same").status_code == 403
    assert coder.post("/duplicates/split", copy=1).status_code == 403
