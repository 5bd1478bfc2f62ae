"""Test that the codes of a review become rows of the coding contract, which training reads."""

from __future__ import annotations

from pathlib import Path

from mechtag.core.records import FINAL, Coding
from mechtag.core.settings import SentenceSettings
from mechtag.pipeline.annotations.coding_table import coded_from, read_codings, write_codings
from mechtag.review.acts import Stamp
from mechtag.review.codings import coders_codings, final_codings, unassisted
from mechtag.review.sight import show
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace, write_fact
from tests.support.review_site import NOW, Browser, add_person, look, papers


def code(review: Workspace, coder: int, record: int, apple: int, pear: int, sentences: tuple[int, ...] = ()) -> None:
    """Code a record as a person who was shown no suggestion, and mark ``sentences`` for each label with a yes."""
    with review.store.write() as connection:
        entry = read_entry(connection, record)
        assert entry is not None
        sight = show(connection, entry, coder, "code", labels=("apple", "pear"), at=NOW, model_id=None).id
    for label, value in (("apple", apple), ("pear", pear)):
        review.acts.code(Stamp(coder, sight=sight), record, label, value)
        marks = sentences if value else ()
        review.acts.mark(Stamp(coder, sight=sight), record, label, marks, complete=True)
    review.acts.commit(Stamp(coder, sight=sight), record)


def rows(review: Workspace, **options: object) -> list[Coding]:
    with review.store.read() as connection:
        return coders_codings(connection, **options)  # type: ignore[arg-type]


def test_each_coders_codes_and_the_final_codes(review: Workspace) -> None:
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for coder in (ann, bob):
        review.acts.decide(Stamp(coder), 1, 1)
    code(review, ann, 1, 1, 0, (0,))
    code(review, bob, 1, 1, 1, (0, 1))
    found = {(row.coder, row.label): row for row in rows(review)}
    assert {spot: row.value for spot, row in found.items()} == {
        **{("Ann", "edible"): 1, ("Ann", "apple"): 1, ("Ann", "pear"): 0},
        **{("Bob", "edible"): 1, ("Bob", "apple"): 1, ("Bob", "pear"): 1},
    }
    apple = found["Ann", "apple"]
    assert (apple.evidence, apple.sentences, apple.sentences_complete) == ("Apples grow in orchard 1.", (0,), True)
    assert (apple.assisted, found["Ann", "edible"].assisted) == (False, None)
    assert (apple.record_id, apple.basis, str(apple.codebook_version).split("@")[0]) == (
        "doi:10.1/1",
        "abstract",
        "fruit",
    )
    with review.store.read() as connection:
        final = {row.label: row for row in final_codings(connection)}
    assert set(final) == {"edible", "apple"}
    assert (final["apple"].coder, final["apple"].sentences, final["apple"].assisted) == (FINAL, (0, 1), False)


def test_marked_sentences_reach_training_through_the_table(review: Workspace, tmp_path: Path) -> None:
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for coder in (ann, bob):
        code(review, coder, 2, 1, 0, (0,))
    with review.store.read() as connection:
        write_codings(tmp_path / "codings.csv", final_codings(connection))
    keys = ("edible", "apple", "pear")
    again = read_codings(tmp_path / "codings.csv", keys)
    (coded,) = coded_from(again, papers(4), keys[1:], "edible", SentenceSettings(), "test")
    assert coded.sentence_labels == (("apple",), (), ())
    assert coded.sentences_not_judged == ()


def test_signs_reach_the_table_and_those_on_which_coders_differ_are_left_out(review: Workspace, tmp_path: Path) -> None:
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for coder, signs in ((ann, ("absent", "absent", None)), (bob, ("present", "absent", "unclear"))):
        code(review, coder, 1, 1, 0, (0, 1, 2))
        for number, sign in enumerate(signs):
            if sign:
                review.acts.sign(Stamp(coder), 1, "apple", number, sign)
    found = {(row.coder, row.label): row.signs for row in rows(review)}
    assert found["Ann", "apple"] == ("absent", "absent", None)
    assert (found["Bob", "apple"], found["Bob", "pear"]) == (("present", "absent", "unclear"), ())
    with review.store.read() as connection:
        final = final_codings(connection)
    write_codings(tmp_path / "codings.csv", final)
    assert [row.signs for row in read_codings(tmp_path / "codings.csv", ("edible", "apple", "pear"))] == [
        (None, "absent", "unclear"),
        (),
    ]


def test_agreement_reads_codes_as_they_were_first_committed(review: Workspace) -> None:
    ann = add_person(review, "Ann", "coder")
    review.acts.change_plan(Stamp(1), "mode_code", "after")
    with review.store.write() as connection:
        write_fact(connection, "model_id", "m1")
    code(review, ann, 1, 0, 0)
    review.acts.code(Stamp(ann), 1, "apple", 1)
    first = {row.label: row.value for row in rows(review, first=True)}
    now = {row.label: row.value for row in rows(review)}
    assert (first, now) == ({"apple": 0, "pear": 0}, {"apple": 1, "pear": 0})
    assert [row.label for row in unassisted(rows(review))] == ["pear"]
    assert [row.label for row in unassisted(rows(review, first=True))] == ["apple", "pear"]


def test_referred_codes_have_no_value_and_teach_nothing(review: Workspace) -> None:
    ann = add_person(review, "Ann", "coder")
    review.acts.decide(Stamp(ann), 1, None, refer=True)
    (row,) = rows(review)
    assert (row.value, row.refer) == (None, True)
    with review.store.read() as connection:
        assert final_codings(connection) == []


def test_codes_of_people_who_were_withdrawn_are_left_out(review: Workspace) -> None:
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for coder in (ann, bob):
        review.acts.decide(Stamp(coder), 1, 1)
    review.acts.change_account(Stamp(1), ann, state="withdrawn")
    assert [row.coder for row in rows(review)] == ["Bob"]
    assert rows(review, coder=ann) == []
    with review.store.read() as connection:
        assert final_codings(connection) == []


def test_codes_of_people_who_were_withdrawn_do_not_describe_the_final_code(review: Workspace) -> None:
    """Bob was not known to have seen no suggestion; without him, it is known of everybody."""
    people = [add_person(review, name, "coder") for name in ("Ann", "Bob", "Cay")]
    ann, bob, cay = people
    review.acts.decide(Stamp(bob), 1, 1)
    for coder in (ann, cay):
        review.acts.decide(look(review, coder, 1, "screen"), 1, 1)

    def assisted() -> list[bool | None]:
        with review.store.read() as connection:
            return [row.assisted for row in final_codings(connection)]

    assert assisted() == [None]
    review.acts.change_account(Stamp(1), bob, state="withdrawn")
    assert assisted() == [False]


def test_the_box_that_all_sentences_were_read_makes_marks_complete(review: Workspace, tmp_path: Path) -> None:
    review.acts.change_plan(Stamp(1), "coders_code", 1)
    browser = Browser(review, 1)
    for label, value in (("apple", 1), ("pear", 0)):
        review.acts.code(Stamp(1), 1, label, value)
    review.acts.mark(Stamp(1), 1, "apple", [0])
    assert "I have read all sentences" in browser.get("/code?record=1")
    browser.post("/code/done", record=1, all_sentences="1")
    found = {row.label: (row.sentences, row.sentences_complete) for row in rows(review)}
    assert found == {"apple": ((0,), True), "pear": ((), True)}
    review.acts.undo(Stamp(1))
    assert rows(review) == []
    browser.post("/code/done", record=1)
    found = {row.label: (row.sentences, row.sentences_complete) for row in rows(review)}
    assert found == {"apple": ((0,), False), "pear": (None, False)}
