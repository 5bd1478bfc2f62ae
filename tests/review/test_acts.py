"""Test what people may do, what is refused, and what happens to an act that is sent again or undone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from mechtag.review.acts import Acts, Outdated, Refused, last_judged
from mechtag.review.store import schema
from mechtag.review.store.records import read_entry
from tests.support.reviews import ANN, BOB, CAT, CODEBOOK, NOW, check_replay, open_review, stamp

APPLE, PEAR = CODEBOOK.keys
EDIBLE = CODEBOOK.relevance.key
TOO_LONG = "x" * 100_001


@pytest.fixture
def acts(tmp_path: Path) -> Acts:
    return open_review(tmp_path / "review.sqlite3", 5)


def rows(acts: Acts, name: str, **where: Any) -> list[Any]:
    table = schema.metadata.tables[name]
    with acts.store.read() as connection:
        return list(
            connection.execute(select(table).where(*(table.c[column] == value for column, value in where.items())))
        )


def state(acts: Acts, record: int, stage: str = "screen") -> tuple[str, int]:
    (need,) = rows(acts, "need", record=record, stage=stage)
    return need.state, need.have


def finals(acts: Acts, record: int, stage: str = "screen") -> dict[str, tuple[int | None, str]]:
    return {row.label: (row.value, row.how) for row in rows(acts, "final", record=record, stage=stage)}


def events(acts: Acts) -> int:
    with acts.store.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.event)).scalar_one()


def code_all(acts: Acts, coder: int, record: int, apple: int = 1, pear: int = 0) -> None:
    acts.code(stamp(coder), record, APPLE, apple)
    acts.code(stamp(coder), record, PEAR, pear)
    acts.commit(stamp(coder), record)


def show(acts: Acts, coder: int, record: int, stage: str = "code", **values: Any) -> int:
    """Store that a person was shown suggestions for the label ``apple``; return the id of the stored row."""
    given = {"record": record, "coder": coder, "stage": stage, "at": NOW, "mode": "after", "others_shown": 0}
    suggested = {"model_id": "m1", "suggestions_shown": 1, "suggested": json.dumps({APPLE: ["yes", 0.75, [1]]})}
    with acts.store.write() as connection:
        row = insert(schema.sight).values(given | suggested | values).returning(schema.sight.c.id)
        return int(connection.execute(row).scalar_one())


# Refused acts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message", "status"),
    [
        (lambda acts: acts.decide(stamp(ANN), 9, 1), "there is no record 9", 404),
        (lambda acts: acts.decide(stamp(ANN), 1, 2), "answer yes, no or needs review", 422),
        (lambda acts: acts.decide(stamp(ANN), 1, None), "answer yes, no or needs review", 422),
        (lambda acts: acts.decide(stamp(ANN), 1, 1, refer=True), "answer yes, no or needs review", 422),
        (lambda acts: acts.decide(stamp(ANN), 1, 0, reason="bad"), "'bad' is not in the list", 422),
        (lambda acts: acts.decide(stamp(ANN, sight=99), 1, 0), "belongs to a different record or person", 409),
        (lambda acts: acts.code(stamp(ANN), 1, "kiwi", 1), "the codebook has no label 'kiwi'", 422),
        (lambda acts: acts.code(stamp(ANN), 1, EDIBLE, 1), "the codebook has no label 'edible'", 422),
        (lambda acts: acts.mark(stamp(ANN), 1, APPLE, [0, 3]), "the abstract has only 3 sentences", 422),
        (lambda acts: acts.mark(stamp(ANN), 1, APPLE, [-1]), "the abstract has only 3 sentences", 422),
        (lambda acts: acts.rest_no(stamp(ANN), 1, []), "every label already has an answer", 422),
        (lambda acts: acts.answer(stamp(ANN), 1, APPLE, "accept"), "showed no suggestion for this label", 409),
        (lambda acts: acts.answer(stamp(ANN), 1, APPLE, "yes"), "'yes' is not an answer to a suggestion", 422),
        (lambda acts: acts.commit(stamp(ANN), 1, open_labels=True), "no label has an answer yet", 422),
        (lambda acts: acts.skip(stamp(ANN), 1, "read"), "there is no stage 'read'", 422),
        (lambda acts: acts.settle(stamp(CAT), 1, "screen", EDIBLE, 1), "nobody has judged this record yet", 409),
        (lambda acts: acts.settle(stamp(CAT), 1, "read", EDIBLE, 1), "there is no stage 'read'", 422),
        (
            lambda acts: acts.settle(stamp(CAT), 1, "screen", APPLE, 1),
            "cannot be settled at screening; settle it at coding",
            422,
        ),
        (lambda acts: acts.settle(stamp(CAT), 1, "screen", EDIBLE, 2), "a final code must be yes or no", 422),
        (lambda acts: acts.settle(stamp(CAT), 1, "code", APPLE, 1, sentences=[3]), "has only 3 sentences", 422),
        (lambda acts: acts.settle(stamp(CAT), 1, "screen", EDIBLE, 0, reason="x"), "'x' is not in the list", 422),
        (lambda acts: acts.reopen(stamp(CAT), 1, "screen", ANN), "has not judged the record", 409),
        (lambda acts: acts.note(stamp(ANN), 1, "text", "world"), "a note cannot be written for 'world'", 422),
        (lambda acts: acts.note(stamp(ANN), 1, TOO_LONG), "the note has 100,001 characters, but at most 100,000", 413),
        (lambda acts: acts.comment(stamp(ANN), 1, TOO_LONG), "the comment has 100,001 characters", 413),
        (lambda acts: acts.edit_record(stamp(ANN), 1, "title", TOO_LONG), "the title has 100,001 characters", 413),
        (
            lambda acts: acts.settle(stamp(CAT), 1, "screen", EDIBLE, 1, why=TOO_LONG),
            "the explanation has 100,001",
            413,
        ),
        (lambda acts: acts.reopen(stamp(CAT), 1, "screen", ANN, TOO_LONG), "the message has 100,001 characters", 413),
        (lambda acts: acts.tag(stamp(ANN), 1, "t" * 81), "the tag has 81 characters, but at most 80 are allowed", 413),
        (lambda acts: acts.tag(stamp(ANN), 1, "  "), "the tag is empty", 422),
        (lambda acts: acts.edit_record(stamp(ANN), 1, "year", "2"), "'year' cannot be corrected", 422),
        (lambda acts: acts.join(stamp(ANN), 1, 1), "already joined", 409),
        (lambda acts: acts.join(stamp(ANN), 1, 9), "there is no record 9", 404),
        (lambda acts: acts.split(stamp(ANN), 1), "not joined to another", 409),
        (lambda acts: acts.change_plan(stamp(CAT), "pace", 1), "the plan has no setting 'pace'", 422),
        (lambda acts: acts.change_plan(stamp(CAT), "coders_code", 3), "cannot have the value 3", 422),
        (lambda acts: acts.change_account(stamp(CAT), ANN, state="asleep"), "'asleep' is not a possible state", 422),
        (lambda acts: acts.change_account(stamp(CAT), 99, state="left"), "there is no person with the number 99", 404),
        (lambda acts: acts.undo(stamp(ANN)), "there is nothing to undo", 409),
        (lambda acts: acts.redo(stamp(ANN)), "there is nothing to redo", 409),
    ],
)
def test_an_act_that_is_not_possible_is_refused_and_not_written(
    acts: Acts, call: Callable[[Acts], object], message: str, status: int
) -> None:
    with pytest.raises(Refused, match=message) as refused:
        call(acts)
    assert refused.value.status == status
    assert events(acts) == 0


def test_a_reason_is_required_if_the_plan_says_so(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "reasons", "required")
    acts.change_plan(stamp(CAT), "exclusion_reasons", ["not fruit"])
    with pytest.raises(Refused, match="choose a reason for the exclusion"):
        acts.decide(stamp(ANN), 1, 0)
    acts.decide(stamp(ANN), 1, 0, reason="not fruit")
    acts.decide(stamp(BOB), 1, 0, reason="not fruit")
    (final,) = rows(acts, "final")
    assert (final.value, final.reason) == (0, "not fruit")


def test_coders_do_not_change_what_an_adjudicator_settled(acts: Acts) -> None:
    for coder, value in ((ANN, 1), (BOB, 0)):
        acts.decide(stamp(coder), 1, value)
    assert state(acts, 1) == ("conflict", 2)
    acts.settle(stamp(CAT), 1, "screen", EDIBLE, 0)
    assert finals(acts, 1) == {EDIBLE: (0, "adjudicated")}
    assert [row.value for row in rows(acts, "current", record=1)] == [1, 0]
    with pytest.raises(Refused, match="an adjudicator has settled this record") as refused:
        acts.decide(stamp(ANN), 1, 0)
    assert refused.value.status == 409


def test_a_settled_record_that_is_sent_back_is_open_again(acts: Acts) -> None:
    for coder, value in ((ANN, 1), (BOB, 0)):
        acts.decide(stamp(coder), 1, value)
    acts.settle(stamp(CAT), 1, "screen", EDIBLE, 0)
    acts.reopen(stamp(CAT), 1, "screen", ANN)
    assert (state(acts, 1), finals(acts, 1)) == (("waiting", 1), {})
    acts.decide(stamp(ANN), 1, 0)
    assert finals(acts, 1) == {EDIBLE: (0, "agreed")}


def test_only_the_labels_in_conflict_are_settled(acts: Acts) -> None:
    code_all(acts, ANN, 1, apple=1, pear=0)
    code_all(acts, BOB, 1, apple=0, pear=0)
    assert state(acts, 1, "code") == ("conflict", 2)
    assert finals(acts, 1, "code") == {PEAR: (0, "agreed")}
    acts.settle(stamp(CAT), 1, "code", APPLE, 1)
    assert state(acts, 1, "code") == ("settled", 2)
    assert finals(acts, 1, "code") == {PEAR: (0, "agreed"), APPLE: (1, "adjudicated")}


def test_a_form_from_before_the_last_decision_is_out_of_date(acts: Acts) -> None:
    first = acts.decide(stamp(ANN, based_on=0), 1, 1)
    with pytest.raises(Outdated, match="in a different window") as outdated:
        acts.decide(stamp(ANN, based_on=0), 1, 0)
    assert outdated.value.status == 409
    acts.decide(stamp(BOB, based_on=0), 1, 0)
    acts.decide(stamp(ANN, based_on=first), 1, 0)


def test_a_form_is_out_of_date_once_its_decision_was_undone(acts: Acts) -> None:
    first = acts.decide(stamp(ANN), 1, 1)
    acts.undo(stamp(ANN))
    with pytest.raises(Outdated, match="in a different window"):
        acts.decide(stamp(ANN, based_on=first), 1, 0)


def test_notes_tags_and_their_undoing_leave_a_form_in_date(acts: Acts) -> None:
    first = acts.decide(stamp(ANN), 1, 1)
    acts.note(stamp(ANN), 1, "text")
    acts.tag(stamp(ANN), 1, "red")
    acts.undo(stamp(ANN))
    acts.code(stamp(ANN), 1, APPLE, 1)
    with acts.store.read() as connection:
        assert last_judged(connection, ANN, 1, "screen") == first
    acts.decide(stamp(ANN, based_on=first), 1, 0)


# Acts that are sent again --------------------------------------------------------------------------------------------


def _decide(acts: Acts) -> None:
    for coder in (ANN, BOB):
        acts.decide(stamp(coder), 1, 1)


@pytest.mark.parametrize(
    ("before", "call", "after"),
    [
        (None, lambda acts, mark: acts.decide(mark, 1, 1), None),
        (_decide, lambda acts, mark: acts.reopen(mark, 1, "screen", ANN), None),
        (_decide, lambda acts, mark: acts.settle(mark, 1, "screen", EDIBLE, 0), lambda acts: acts.undo(stamp(BOB))),
        (None, lambda acts, mark: acts.join(mark, 2, 1), None),
        (lambda acts: acts.join(stamp(CAT), 2, 1), lambda acts, mark: acts.split(mark, 2), None),
        (None, lambda acts, mark: acts.rest_no(mark, 1, [APPLE, PEAR]), None),
        (
            lambda acts: acts.code(stamp(CAT), 1, APPLE, 1),
            lambda acts, mark: acts.commit(mark, 1, open_labels=True),
            None,
        ),
        (
            None,
            lambda acts, mark: acts.edit_record(mark, 1, "abstract", "New"),
            lambda acts: acts.mark(stamp(ANN), 1, APPLE, [0]),
        ),
        (None, lambda acts, mark: acts.change_plan(mark, "unblinded", True), None),
        (None, lambda acts, mark: acts.log(mark, "import", {"files": 2}), None),
        (_decide, lambda acts, mark: acts.undo(mark), None),
    ],
)
def test_an_act_that_is_sent_again_is_written_once(
    acts: Acts,
    before: Callable[[Acts], object] | None,
    call: Callable[[Acts, Any], object],
    after: Callable[[Acts], object] | None,
) -> None:
    if before is not None:
        before(acts)
    coder = ANN if before is _decide else CAT
    first = call(acts, stamp(coder, "the id"))
    if after is not None:
        try:
            after(acts)
        except Refused:
            pass
    written, tables = events(acts), check_replay(acts.store)
    assert call(acts, stamp(coder, "the id")) == first
    assert (events(acts), check_replay(acts.store)) == (written, tables)


def test_an_id_of_somebody_else_is_refused(acts: Acts) -> None:
    acts.decide(stamp(ANN, "the id"), 1, 1)
    for call in (lambda: acts.decide(stamp(BOB, "the id"), 1, 1), lambda: acts.undo(stamp(BOB, "the id"))):
        with pytest.raises(Refused, match="a different person has already sent this form") as refused:
            call()
        assert refused.value.status == 409
    with pytest.raises(Refused, match="already been sent for a different action"):
        acts.undo(stamp(ANN, "the id"))


# Coding --------------------------------------------------------------------------------------------------------------


def test_a_label_left_open_counts_as_not_judged(acts: Acts) -> None:
    acts.code(stamp(ANN), 1, PEAR, 0)
    acts.commit(stamp(ANN), 1, open_labels=True)
    assert state(acts, 1, "code") == ("waiting", 1)
    assert [(row.label, row.value, row.committed, row.first_refer) for row in rows(acts, "current")] == [
        (PEAR, 0, 1, 0),
    ]


@pytest.mark.parametrize("how", ["code", "mark"])
def test_an_answer_after_the_commit_is_not_the_first(acts: Acts, how: str) -> None:
    acts.code(stamp(ANN), 1, PEAR, 0)
    acts.commit(stamp(ANN), 1, open_labels=True)
    if how == "code":
        acts.code(stamp(ANN), 1, APPLE, 1)
    else:
        acts.mark(stamp(ANN), 1, APPLE, [2])
    row = rows(acts, "current", label=APPLE)[0]
    assert (row.value, row.first_value, row.first_refer) == (1, None, 0)


def test_the_first_answer_survives_a_reopening_and_is_forgotten_by_undo(acts: Acts) -> None:
    code_all(acts, ANN, 1, apple=1)
    acts.reopen(stamp(CAT), 1, "code", ANN)
    acts.code(stamp(ANN), 1, APPLE, 0)
    row = rows(acts, "current", label=APPLE)[0]
    assert (row.value, row.committed, row.first_value) == (0, 0, 1)
    acts.commit(stamp(ANN), 1)
    assert rows(acts, "current", label=APPLE)[0].first_value == 1
    code_all(acts, BOB, 2, apple=1)
    acts.undo(stamp(BOB))
    assert rows(acts, "current", record=2, label=APPLE)[0].first_refer is None
    acts.code(stamp(BOB), 2, APPLE, 0)
    acts.commit(stamp(BOB), 2)
    assert rows(acts, "current", record=2, label=APPLE)[0].first_value == 0


def test_every_open_label_is_named(acts: Acts) -> None:
    acts.code(stamp(ANN), 1, PEAR, 0)
    with pytest.raises(Refused, match="1 label has no answer yet: Apple"):
        acts.commit(stamp(ANN), 1)


def test_marking_sentences_says_yes_only_where_nothing_was_said(acts: Acts) -> None:
    acts.mark(stamp(ANN), 1, APPLE, [2, 0, 2])
    acts.code(stamp(ANN), 1, PEAR, 0)
    acts.mark(stamp(ANN), 1, PEAR, [1])
    assert [(row.label, row.value, row.sentences) for row in rows(acts, "current")] == [
        (APPLE, 1, "[0, 2]"),
        (PEAR, 0, "[1]"),
    ]


def test_rest_no_leaves_given_answers_alone(acts: Acts) -> None:
    acts.code(stamp(ANN), 1, APPLE, 1)
    acts.rest_no(stamp(ANN), 1, [APPLE, PEAR])
    assert [(row.label, row.value, row.complete) for row in rows(acts, "current")] == [(APPLE, 1, 0), (PEAR, 0, 1)]


def test_different_evidence_is_not_a_conflict(acts: Acts) -> None:
    for coder, number in ((ANN, 0), (BOB, 2)):
        acts.mark(stamp(coder), 1, APPLE, [number])
        acts.rest_no(stamp(coder), 1, [PEAR])
        acts.commit(stamp(coder), 1)
    assert state(acts, 1, "code") == ("settled", 2)
    assert [row.sentences for row in rows(acts, "final", label=APPLE)] == ["[0, 2]"]


def test_an_answer_to_a_suggestion_writes_the_code(acts: Acts) -> None:
    seen = show(acts, ANN, 1)
    acts.answer(stamp(ANN, sight=seen), 1, APPLE, "accept", [1])
    row = rows(acts, "current")[0]
    assert (row.value, row.assisted, row.model_id, row.sentences) == (1, 1, "m1", "[1]")
    (event,) = rows(acts, "event", kind="answer")
    assert json.loads(event.value) == {
        "label": APPLE,
        "answer": "accept",
        "model_id": "m1",
        "decision": "yes",
        "probability": 0.75,
    }
    with pytest.raises(Refused, match="this page showed no suggestion for this label"):
        acts.answer(stamp(ANN, sight=seen), 1, PEAR, "reject")
    acts.undo(stamp(ANN))
    assert rows(acts, "current") == []


@pytest.mark.parametrize("wrong", [{"coder": BOB}, {"record": 2}, {"stage": "screen"}])
def test_a_code_cannot_refer_to_what_was_shown_for_something_else(acts: Acts, wrong: dict[str, Any]) -> None:
    seen = show(acts, **{"coder": ANN, "record": 1, **wrong})
    with pytest.raises(Refused, match="belongs to a different record or person"):
        acts.code(stamp(ANN, sight=seen), 1, APPLE, 1)


# Undo ----------------------------------------------------------------------------------------------------------------


def test_undo_and_redo_go_back_and_forth(acts: Acts) -> None:
    one, two = acts.decide(stamp(ANN), 1, 1), acts.decide(stamp(ANN), 2, 0)
    acts.decide(stamp(BOB), 3, 1)
    assert acts.undo(stamp(ANN)) == (two, 2)
    assert acts.undo(stamp(ANN)) == (one, 1)
    with pytest.raises(Refused, match="nothing to undo"):
        acts.undo(stamp(ANN))
    assert acts.redo(stamp(ANN)) == (one, 1)
    assert acts.redo(stamp(ANN)) == (two, 2)
    with pytest.raises(Refused, match="nothing to redo"):
        acts.redo(stamp(ANN))
    acts.undo(stamp(ANN))
    acts.decide(stamp(ANN), 4, 1)
    with pytest.raises(Refused, match="nothing to redo"):
        acts.redo(stamp(ANN))


def test_a_decision_that_was_settled_is_not_undone_but_a_note_is(acts: Acts) -> None:
    acts.decide(stamp(ANN), 1, 1)
    acts.note(stamp(ANN), 1, "text")
    acts.decide(stamp(BOB), 1, 0)
    settle = acts.settle(stamp(CAT), 1, "screen", EDIBLE, 1)
    acts.undo(stamp(ANN))
    assert rows(acts, "note") == []
    with pytest.raises(Refused, match="later work of Cat depends on it"):
        acts.undo(stamp(ANN))
    # A settlement that was undone does not prevent others from undoing; one that was redone does.
    acts.undo(stamp(CAT))
    acts.redo(stamp(CAT))
    with pytest.raises(Refused, match="later work of Cat depends on it") as refused:
        acts.undo(stamp(BOB))
    assert refused.value.status == 409
    assert acts.undo(stamp(CAT))[0] == settle
    acts.undo(stamp(BOB))


def test_an_undone_decision_is_not_redone_under_a_settled_record(acts: Acts) -> None:
    acts.decide(stamp(ANN), 1, 1)
    acts.undo(stamp(ANN))
    acts.decide(stamp(BOB), 1, 0)
    acts.settle(stamp(CAT), 1, "screen", EDIBLE, 0)
    with pytest.raises(Refused, match="later work of Cat depends on it"):
        acts.redo(stamp(ANN))


def test_an_inclusion_on_which_somebody_coded_is_not_undone(acts: Acts) -> None:
    _decide(acts)
    code_all(acts, BOB, 1)
    with pytest.raises(Refused, match="later work of Bob depends on it"):
        acts.undo(stamp(ANN))


def test_a_reopening_that_was_followed_is_not_undone(acts: Acts) -> None:
    _decide(acts)
    acts.reopen(stamp(CAT), 1, "screen", ANN)
    acts.decide(stamp(ANN), 1, 0)
    with pytest.raises(Refused, match="later work of Ann depends on it"):
        acts.undo(stamp(CAT))


def test_blinding_ends_for_good(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "unblinded", True)
    with pytest.raises(Refused, match="the end of blinding cannot be undone"):
        acts.undo(stamp(CAT))
    with pytest.raises(Refused, match="blinding has ended"):
        acts.change_plan(stamp(CAT), "unblinded", False)


def test_an_import_is_not_undone(acts: Acts) -> None:
    acts.log(stamp(CAT), "import", {"files": 2})
    with pytest.raises(Refused, match="nothing to undo"):
        acts.undo(stamp(CAT))


# Joined records, plan and people -------------------------------------------------------------------------------------


def test_one_person_who_judged_both_copies_is_one_coder(acts: Acts) -> None:
    for record in (1, 2):
        acts.decide(stamp(ANN), record, 1)
    acts.join(stamp(CAT), 2, 1)
    assert state(acts, 1) == ("waiting", 1)
    assert finals(acts, 1) == {}
    acts.change_plan(stamp(CAT), "coders_screen", 1)
    assert finals(acts, 1) == {EDIBLE: (1, "single")}


@pytest.mark.parametrize(("second", "expected"), [(1, ("settled", 2)), (0, ("conflict", 2))])
def test_decisions_on_two_copies_are_compared(acts: Acts, second: int, expected: tuple[str, int]) -> None:
    acts.decide(stamp(ANN), 1, 1)
    acts.decide(stamp(BOB), 2, second)
    acts.join(stamp(CAT), 2, 1)
    assert state(acts, 1) == expected
    assert rows(acts, "need", record=2) == []
    acts.split(stamp(CAT), 2)
    assert (state(acts, 1), state(acts, 2)) == (("waiting", 1), ("waiting", 1))


def evidence(acts: Acts, record: int) -> dict[str, tuple[list[int], bool]]:
    found = rows(acts, "final", record=record, stage="code")
    return {row.label: (json.loads(row.sentences), bool(row.complete)) for row in found}


def test_sentences_of_a_copy_are_not_those_of_the_paper(acts: Acts) -> None:
    for coder, record, sentences in ((ANN, 1, [0]), (BOB, 2, [2])):
        acts.mark(stamp(coder), record, APPLE, sentences)
        acts.rest_no(stamp(coder), record, [PEAR])
        acts.commit(stamp(coder), record)
    acts.join(stamp(CAT), 2, 1)
    assert evidence(acts, 1) == {APPLE: ([0], False), PEAR: ([], True)}
    acts.reopen(stamp(CAT), 1, "code", ANN)
    acts.change_plan(stamp(CAT), "coders_code", 1)
    assert evidence(acts, 1) == {APPLE: ([], False), PEAR: ([], False)}
    acts.settle(stamp(CAT), 1, "code", APPLE, 1, sentences=[1])
    assert evidence(acts, 1)[APPLE] == ([1], False)
    acts.join(stamp(CAT), 1, 3)
    assert evidence(acts, 3)[APPLE] == ([], False)
    check_replay(acts.store)


def test_a_person_who_judged_a_copy_can_be_sent_the_paper(acts: Acts) -> None:
    acts.decide(stamp(ANN), 2, 1)
    acts.join(stamp(CAT), 2, 1)
    acts.reopen(stamp(CAT), 1, "screen", ANN)
    assert state(acts, 1) == ("open", 0)


def test_redo_does_not_join_records_in_a_circle(acts: Acts) -> None:
    acts.join(stamp(ANN), 2, 1)
    acts.undo(stamp(ANN))
    acts.join(stamp(BOB), 1, 2)
    with pytest.raises(Refused, match="later work of Bob depends on it"):
        acts.redo(stamp(ANN))
    acts.join(stamp(BOB), 2, 3)
    assert {(row.record, row.into) for row in rows(acts, "joined")} == {(1, 3), (2, 3)}
    acts.split(stamp(CAT), 2)
    assert {(row.record, row.into) for row in rows(acts, "joined")} == {(1, 2)}


def test_more_coders_reopen_what_one_settled_and_fewer_change_nothing_done(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "coders_screen", 1)
    acts.decide(stamp(ANN), 1, 1)
    assert (state(acts, 1), state(acts, 1, "code")) == (("settled", 1), ("open", 0))
    acts.change_plan(stamp(CAT), "coders_screen", 2)
    assert state(acts, 1) == ("waiting", 1)
    assert rows(acts, "need", record=1, stage="code") == []
    acts.decide(stamp(BOB), 1, 0)
    acts.change_plan(stamp(CAT), "coders_screen", 1)
    assert state(acts, 1) == ("conflict", 2)
    check_replay(acts.store)


def test_codes_of_a_withdrawn_person_do_not_count_and_come_back(acts: Acts) -> None:
    _decide(acts)
    acts.change_account(stamp(CAT), ANN, state="withdrawn")
    assert state(acts, 1) == ("waiting", 1)
    assert finals(acts, 1) == {}
    acts.change_account(stamp(CAT), ANN, state="left")
    assert state(acts, 1) == ("settled", 2)
    acts.undo(stamp(CAT))
    assert state(acts, 1) == ("waiting", 1)
    check_replay(acts.store)


# Texts of records ----------------------------------------------------------------------------------------------------


def test_a_corrected_text_is_restored_by_undo(acts: Acts) -> None:
    def title() -> str:
        with acts.store.read() as connection:
            entry = read_entry(connection, 1)
        assert entry is not None
        return entry.title

    acts.edit_record(stamp(ANN), 1, "title", " First ")
    assert title() == "First"
    acts.edit_record(stamp(BOB), 1, "title", "Second")
    acts.undo(stamp(ANN))
    assert title() == "Second"
    acts.undo(stamp(BOB))
    assert title() == "Paper 1"
    acts.redo(stamp(ANN))
    assert title() == "First"
    check_replay(acts.store)


def test_an_abstract_with_marked_sentences_is_not_changed(acts: Acts) -> None:
    acts.mark(stamp(ANN), 1, APPLE, [0])
    with pytest.raises(Refused, match="have marked sentences of this abstract") as refused:
        acts.edit_record(stamp(ANN), 1, "abstract", "New text")
    assert refused.value.status == 409
