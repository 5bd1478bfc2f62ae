"""Test calibration exercises: all coders judge the same records blind, and the results list what to discuss."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import insert, select, update

from mechtag.review import order
from mechtag.review.acts import Refused, Stamp
from mechtag.review.import_log import write_imports
from mechtag.review.jobs import accuracy, calibration
from mechtag.review.jobs.worker import do_next
from mechtag.review.journal import Journal
from mechtag.review.server import rebuild
from mechtag.review.sight import is_to_judge, show
from mechtag.review.store import schema
from mechtag.review.store.exercises import read_exercises, running_exercise
from mechtag.review.store.queue import count_states
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import DATABASE, Workspace, write_fact
from tests.support.review_site import NOW, Browser, add_person, look, make_review, papers, texts
from tests.support.review_texts import attach_texts
from tests.support.reviews import check_replay

OWNER, ANN, BOB, CAY = 1, 2, 3, 4
RECORDS = 30


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    review = make_review(tmp_path, papers(RECORDS))
    for name in ("Ann", "Bob", "Cay"):
        add_person(review, name, "coder")
    return review


def start(review: Workspace, number: int = 6, stage: str = "screen", coders: tuple[int, ...] = (ANN, BOB, CAY)) -> str:
    """Start an exercise on its page, and return the text of the resulting page."""
    browser = Browser(review, OWNER)
    data = {"csrf": browser.csrf, "client_id": f"start-{stage}-{number}", "stage": stage, "number": str(number)}
    answer = browser.client.post("/exercise", data={**data, "coder": [str(coder) for coder in coders]})
    return texts(answer.text)


def end(review: Workspace, choice: str) -> None:
    assert Browser(review, OWNER).post("/exercise/end", codes=choice).status_code == 200
    while do_next(review, {calibration.KIND: calibration.run, accuracy.KIND: accuracy.run}):
        pass


def drawn(review: Workspace) -> tuple[int, ...]:
    with review.store.read() as connection:
        return read_exercises(connection)[0].records


def following(review: Workspace, coder: int, stage: str = "screen") -> int | None:
    with review.store.write() as connection:
        return order.next_record(connection, coder, stage)


def screen(review: Workspace, coder: int, answers: dict[int, int | None]) -> None:
    for record, value in answers.items():
        review.acts.decide(look(review, coder, record, "screen"), record, value, refer=value is None)


def test_each_coder_gets_all_records_first_and_nobody_else_any(review: Workspace) -> None:
    page = start(review)
    assert "Running: Screening, 6 records" in page
    assert "6 records of the calibration exercise" in texts(Browser(review, ANN).get("/"))
    assert "of the calibration exercise" not in texts(Browser(review, OWNER).get("/"))
    records = drawn(review)
    assert len(set(records)) == 6
    for coder in (ANN, BOB, CAY):
        seen = []
        while (record := following(review, coder)) in records:
            assert record is not None
            seen.append(record)
            screen(review, coder, {record: coder % 2})
        assert tuple(seen) == records
    assert "of the calibration exercise" not in texts(Browser(review, ANN).get("/"))
    assert "Ann 6 0" in texts(Browser(review, OWNER).get("/exercise"))


def test_the_records_are_for_the_coders_of_the_exercise_alone(review: Workspace) -> None:
    start(review, RECORDS - 1)
    (other,) = set(range(1, RECORDS + 1)).difference(drawn(review))
    assert following(review, OWNER) == other
    screen(review, OWNER, {other: 1})
    assert following(review, OWNER) is None
    assert following(review, ANN) == drawn(review)[0]


def test_a_record_that_was_put_aside_comes_last(review: Workspace) -> None:
    start(review)
    first, *others = drawn(review)
    review.acts.skip(Stamp(ANN), first, "screen")
    screen(review, ANN, dict.fromkeys(others[:-1], 1))
    assert following(review, ANN) == others[-1]
    screen(review, ANN, {others[-1]: 1})
    assert following(review, ANN) == first


def test_nobody_sees_a_suggestion_during_the_exercise(review: Workspace) -> None:
    review.acts.change_plan(Stamp(OWNER), "mode_code", "assisted")
    review.acts.change_plan(Stamp(OWNER), "coders_screen", 1)
    screen(review, OWNER, dict.fromkeys(range(1, 7), 1))
    with review.store.write() as connection:
        write_fact(connection, "model_id", "m")
        row = {"model_id": "m", "label": "apple", "probability": 0.9, "decision": "yes", "sentences": "[]"}
        connection.execute(insert(schema.suggestion), [{**row, "record": record} for record in range(1, 7)])
    start(review, 4, "code")
    record = drawn(review)[0]
    for _ in range(2):
        with review.store.write() as connection:
            entry = read_entry(connection, record)
            assert entry is not None
            sight = show(connection, entry, ANN, "code", labels=("apple",), at=NOW, model_id="m")
        assert (sight.mode, sight.suggestions) == ("blind", {})
        review.acts.code(Stamp(ANN, sight=sight.id), record, "apple", 1)
        review.acts.commit(Stamp(ANN, sight=sight.id), record, open_labels=True)
    matrix = Browser(review, OWNER).get("/matrix")
    assert "No paper has been coded yet" in matrix
    assert "mechtag says" not in Browser(review, ANN).get(f"/code?record={record}")
    end(review, "keep")
    with review.store.write() as connection:
        after = show(connection, entry, ANN, "code", labels=("apple",), at=NOW, model_id="m")
    assert (after.mode, list(after.suggestions)) == ("assisted", ["apple"])


def running(review: Workspace) -> object:
    with review.store.read() as connection:
        return running_exercise(connection)


def test_leads_who_take_part_are_blind_until_they_have_judged(review: Workspace) -> None:
    start(review, coders=(OWNER, ANN, BOB))
    record = drawn(review)[0]
    screen(review, ANN, {record: 1})
    screen(review, BOB, {record: 0})
    with review.store.read() as connection:
        assert is_to_judge(connection, record, "screen", OWNER)
        assert not is_to_judge(connection, record, "screen", ANN)
        assert not is_to_judge(connection, record, "screen", CAY)


def test_a_record_that_others_included_is_not_coded_before_the_exercise_ends(review: Workspace) -> None:
    start(review, coders=(OWNER, ANN, BOB))
    record = drawn(review)[0]
    for coder in (ANN, BOB):
        screen(review, coder, {record: 1})
    lead = Browser(review, OWNER)

    def seen() -> tuple[bool, ...]:
        return (
            following(review, OWNER, "code") == record,
            "1 record to code" in texts(lead.get("/")),
            "Coding 1 0 0 0 0" in texts(lead.get("/")),
            lead.client.get(f"/code?record={record}").status_code == 200,
            "Learn from 1 code" in texts(lead.get("/learn")),
            "Records screened (n = 1)" in texts(lead.get("/flow")).replace("n=", "n ="),
            "1 of 30 records have a final decision" in texts(lead.get("/flow")),
        )

    assert not any(seen())
    end(review, "keep")
    assert seen() == (True,) * len(seen())


@pytest.mark.parametrize("coders", [(OWNER, ANN, BOB), (ANN, BOB)])
def test_no_list_count_or_history_shows_what_was_said_before_the_exercise_ends(
    review: Workspace, coders: tuple[int, ...]
) -> None:
    start(review, coders=coders)
    conflict, agreed, *_ = drawn(review)
    screen(review, ANN, {conflict: 1, agreed: 0})
    screen(review, BOB, {conflict: 0, agreed: 0})
    review.acts.note(Stamp(ANN), conflict, "@Owen I am not sure", "adjudicator")
    lead = Browser(review, OWNER)

    def seen() -> tuple[bool, ...]:
        votes = texts(lead.get(f"/reconcile/screen/{conflict}?votes=1"))
        home, history = texts(lead.get("/")), texts(lead.get(f"/records/{conflict}")) + texts(lead.get("/activity"))
        return (
            "Screening conflicts (1)" in texts(lead.get("/reconcile")),
            f"/reconcile/screen/{conflict}?" in lead.get("/reconcile/screening"),
            "1 record to settle" in home,
            "Screening 28 0 1 0 1" in home,
            " 1 record " in texts(lead.get("/records?screen=conflict")),
            " 1 record " in texts(lead.get("/records?decision=exclude")),
            "in conflict" in texts(lead.get("/records")).partition("Labels Tick")[2],
            "Ann included" in history,
            "A Ann: include" in votes,
            "I am not sure" in votes,
            'name="label" value="edible"' in lead.get(f"/reconcile/screen/{conflict}"),
            "not sure" in home,
        )

    assert not any(seen())
    assert "Screening 28 2 0 0 0" in texts(lead.get("/"))
    assert " 2 records " in texts(lead.get("/records?screen=waiting"))
    end(review, "keep")
    assert seen() == (True,) * len(seen())


def test_nothing_is_settled_while_the_exercise_runs(review: Workspace) -> None:
    start(review)
    record = drawn(review)[0]
    screen(review, ANN, {record: 1})
    screen(review, BOB, {record: 0})
    with pytest.raises(Refused, match="end the exercise, then settle the record"):
        review.acts.settle(Stamp(OWNER), record, "screen", "edible", 1)
    end(review, "keep")
    review.acts.settle(Stamp(OWNER), record, "screen", "edible", 1)


def test_results_are_those_of_the_first_codes_of_records_that_all_judged(review: Workspace) -> None:
    start(review, 12, coders=(ANN, BOB))
    records = drawn(review)
    ann = {record: int(place < 6) for place, record in enumerate(records)}
    bob = {record: int(place < 8) for place, record in enumerate(records)} | {records[11]: None}
    screen(review, ANN, ann)
    screen(review, BOB, {record: bob[record] for record in records if record != records[0]})
    screen(review, BOB, {records[1]: 0})
    assert "To discuss" not in texts(Browser(review, ANN).get("/exercise"))
    assert "1 judgement is missing" in texts(Browser(review, OWNER).get("/exercise"))
    end(review, "keep")
    page = texts(Browser(review, ANN).get("/exercise"))
    judged = records[1:11]
    kappa = cohen_kappa_score([ann[record] for record in judged], [bob[record] for record in judged])
    assert "About fruit 5 0 2 3 0.80 (0." in page
    assert f"{kappa:.2f} (" in page
    assert "11 records were judged by everybody" in page
    assert "Apple" not in page
    assert "To discuss: 3 differences" in page
    for record, said in ((records[6], "excluded included"), (records[11], "excluded referred")):
        assert f"Paper {record} About fruit {said}" in page
    assert f"Paper {records[1]} " not in page
    # Later changes do not change the results, and people outside the exercise do not see them.
    screen(review, BOB, {records[6]: 0})
    assert texts(Browser(review, ANN).get("/exercise")) == page
    assert "To discuss" not in texts(Browser(review, CAY).get("/exercise"))


def test_kept_codes_count_but_not_in_the_agreement_of_the_real_work(review: Workspace) -> None:
    start(review, 6, coders=(ANN, BOB))
    records = drawn(review)
    others = [record for record in range(1, RECORDS + 1) if record not in records][:8]
    for coder in (ANN, BOB):
        screen(review, coder, dict.fromkeys(records, coder % 2))
        screen(review, coder, dict.fromkeys(others, 1))
    end(review, "keep")
    with review.store.read() as connection:
        states = count_states(connection, "screen")
    assert (states["conflict"], states["settled"]) == (6, 8)
    browser = Browser(review, OWNER)
    browser.post("/accuracy")
    do_next(review, {accuracy.KIND: accuracy.run})
    people = browser.client.get("/accuracy.json").json()["people"]
    (pair,) = people["pairs"]
    assert (people["records"], pair["labels"]["edible"]["both_yes"], pair["labels"]["edible"]["n"]) == (8, 8, 8)


def test_people_who_leave_or_are_withdrawn_do_not_hold_up_an_exercise(review: Workspace) -> None:
    start(review, 4)
    records = drawn(review)
    for coder, answers in ((ANN, "1100"), (BOB, "1000"), (CAY, "0")):
        screen(review, coder, {record: int(text) for record, text in zip(records, answers, strict=False)})
    review.acts.change_account(Stamp(OWNER), CAY, state="left")
    page = texts(Browser(review, OWNER).get("/exercise"))
    assert "Ann 4 0 Bob 4 0 Cay 1 0 3 records can no longer be judged by everybody" in page
    assert "missing" not in page
    review.acts.change_account(Stamp(OWNER), CAY, state="withdrawn")
    page = texts(Browser(review, OWNER).get("/exercise"))
    assert "Ann 4 0 Bob 4 0 The results appear here" in page
    end(review, "keep")
    page = texts(Browser(review, OWNER).get("/exercise"))
    assert "4 records were judged by everybody" in page
    assert "To discuss: 1 difference" in page


def test_an_exercise_of_which_one_person_remains_has_no_results(review: Workspace) -> None:
    start(review, 4, coders=(ANN, BOB))
    for coder in (ANN, BOB):
        screen(review, coder, {record: 1 for record in drawn(review)})
    review.acts.change_account(Stamp(OWNER), BOB, state="withdrawn")
    end(review, "keep")
    assert "No record was judged by all coders" in texts(Browser(review, OWNER).get("/exercise"))


def test_codes_that_are_set_aside_do_not_count_and_the_records_are_judged_again(review: Workspace) -> None:
    start(review, 6, coders=(ANN, BOB))
    records = drawn(review)
    for coder in (ANN, BOB):
        screen(review, coder, dict.fromkeys(records, 1))
    end(review, "set aside")
    with review.store.read() as connection:
        states = count_states(connection, "screen")
        kept = connection.execute(select(schema.event.c.seq).where(schema.event.c.kind == "code")).all()
    assert (states["open"], states["settled"], len(kept)) == (RECORDS, 0, 12)
    assert "Everybody gave the same codes" in texts(Browser(review, ANN).get("/exercise"))
    check_replay(review.store)
    assert "Sent back to you" not in texts(Browser(review, ANN).get("/"))
    assert "sent back" not in texts(Browser(review, ANN).get(f"/screen?record={records[0]}")).lower()
    screen(review, ANN, {records[0]: 0})
    with review.store.read() as connection:
        assert count_states(connection, "screen")["waiting"] == 1
    assert "set aside what Ann said in the calibration exercise" in texts(Browser(review, OWNER).get("/activity"))
    # The next exercise draws in a different order, and leaves out the records of the first one.
    known = [record for record in range(1, RECORDS + 1) if record not in records]
    start(review, 5, coders=(ANN, BOB))
    assert drawn(review) == tuple(order.random_order(known, review.seed + 1)[:5])


def test_an_exercise_needs_people_records_and_blinding(review: Workspace) -> None:
    assert "A calibration exercise needs at least two people; choose more people" in start(review, coders=(ANN,))
    assert "Some of the chosen people cannot code" in start(review, coders=(ANN, 99))
    assert (
        "5 new included records, but only 0 were neither judged nor in an earlier exercise; enter a lower number"
        in start(review, 5, "code")
    )
    assert "The number of records must be from 2 to 200" in start(review, 1)
    assert running(review) is None
    start(review)
    with pytest.raises(Refused, match="already running"):
        review.acts.start_exercise(Stamp(OWNER), "screen", [1, 2], [ANN, BOB])
    coder = Browser(review, ANN)
    assert coder.post("/exercise", stage="screen", number="5").status_code == 403
    assert coder.post("/exercise/end", codes="keep").status_code == 403
    assert Browser(review, OWNER).post("/exercise/end").status_code == 422
    end(review, "keep")
    review.acts.change_plan(Stamp(OWNER), "unblinded", True)
    assert "Blinding has ended" in start(review, 4)


@pytest.fixture
def included(tmp_path: Path) -> Workspace:
    """Make a review of eight included records: six have a full text, and one of these texts has no sentences."""
    review = make_review(tmp_path, papers(8), coders_screen=1)
    for name in ("Ann", "Bob", "Cay"):
        add_person(review, name, "coder")
    screen(review, OWNER, dict.fromkeys(range(1, 9), 1))
    attach_texts(review, range(1, 7))
    with review.store.write() as connection:
        empty = schema.full_text.c.name == "6.txt"
        connection.execute(update(schema.full_text).where(empty).values(sentences="[]"))
    return review


def code_text(review: Workspace, coder: int, record: int, apple: int | None, pear: int = 0) -> None:
    stamp = look(review, coder, record, "full-text")
    review.acts.code(stamp, record, "apple", apple, refer=apple is None, stage="full-text")
    review.acts.code(Stamp(coder), record, "pear", pear, stage="full-text")
    if apple:
        review.acts.mark(Stamp(coder), record, "apple", [0], stage="full-text")
    review.acts.commit(Stamp(coder), record, stage="full-text")


def test_only_records_with_a_readable_full_text_are_drawn(included: Workspace) -> None:
    page = texts(Browser(included, OWNER).get("/exercise"))
    assert "Full-text coding: 5 included records with a full text can be drawn" in page
    assert "Coding: 8 included records can be drawn" in page
    refused = "needs 6 new included records with a full text, but only 5 were neither judged nor in an earlier exercise"
    assert refused in start(included, 6, "full-text")
    code_text(included, OWNER, 5, 1)
    assert "Running: Full-text coding, 4 records" in start(included, 4, "full-text")
    assert set(drawn(included)) == {1, 2, 3, 4}
    # An exercise cannot start with records that were judged or changed after they were drawn.
    end(included, "keep")
    for records in ([5, 1], [7, 1], [6, 2]):
        with pytest.raises(Refused, match="some of the drawn records have changed since they were drawn"):
            included.acts.start_exercise(Stamp(OWNER), "full-text", records, [ANN, BOB])


def test_a_whole_exercise_with_full_texts(included: Workspace) -> None:
    start(included, 4, "full-text", (ANN, BOB))
    records = drawn(included)
    ann, owner = Browser(included, ANN), Browser(included, OWNER)
    assert 'href="/full-text?basis=full-text">Code full texts</a>' in ann.get("/exercise")
    assert "4 records of the calibration exercise" in texts(ann.get("/"))
    assert f"Paper {records[0]}" in texts(ann.get("/full-text"))
    assert "Apples grow in the orchard of farm" in ann.get("/full-text")
    # Only the coders of the exercise get its records; the coding of abstracts continues.
    assert following(included, CAY, "full-text") not in records
    assert following(included, CAY, "code") is not None
    said = {ANN: (1, 1, 0, None), BOB: (1, 0, 0, 1)}
    for coder, answers in said.items():
        for record, apple in zip(records, answers, strict=True):
            assert following(included, coder, "full-text") == record
            code_text(included, coder, record, apple)
    # Codes of the same records from their abstracts are not part of the exercise.
    for coder in (ANN, BOB):
        for record in records:
            stamp = look(included, coder, record)
            included.acts.code(stamp, record, "apple", 1)
            included.acts.commit(Stamp(coder), record, open_labels=True)
    assert "To discuss" not in texts(owner.get("/exercise"))
    assert "Ann 4 0 Bob 4 0" in texts(owner.get("/exercise"))
    end(included, "keep")
    page = texts(ann.get("/exercise"))
    assert "Full-text coding, " in page
    assert "4 records were judged by everybody" in page
    # On the three records that neither of them marked as needs review, they agree twice.
    assert "Apple 1 1 0 1 too few: 2 items coded yes" in page
    assert "Pear 0 0 0 4 too few: 0 items coded yes" in page
    assert "All labels except relevance 0.67 (" in page
    assert "About fruit" not in page.partition("Full-text coding, ")[2]
    assert "To discuss: 2 differences" in page
    assert f"Paper {records[1]} Apple yes no" in page
    assert f"Paper {records[3]} Apple needs review yes" in page
    assert "started a calibration exercise for full-text coding with 4 records" in texts(owner.get("/activity"))
    # Agreement outside the exercise is computed from the codes of abstracts alone.
    owner.post("/accuracy")
    do_next(included, {accuracy.KIND: accuracy.run})
    found = owner.client.get("/accuracy.json").json()
    assert (found["people"]["records"], found["people_full_text"]) == (4, None)
    method = (
        "2 people coded the full texts of the same 4 random records as a calibration exercise; these codes were kept."
    )
    assert method in texts(owner.get("/accuracy"))
    with included.store.read() as connection:
        states = count_states(connection, "full-text")
    assert (states["settled"], states["conflict"], states["referred"]) == (2, 1, 1)
    check_replay(included.store)


def test_an_exercise_with_full_texts_comes_back_from_the_log(included: Workspace) -> None:
    start(included, 3, "full-text", (ANN, BOB))
    for coder in (ANN, BOB):
        for record in drawn(included):
            code_text(included, coder, record, coder % 2)
    end(included, "set aside")
    assert count(included, "full-text")["open"] == 6
    start(included, 2, "full-text", (ANN, CAY))
    record, _ = drawn(included)
    code_text(included, ANN, record, 1)
    people = (OWNER, ANN, CAY)
    before = [_main(included, person) for person in people]
    assert "To discuss: 3 differences" in before[0]
    assert "Ann 1 1 Cay 0 2" in before[0]
    write_imports(included)
    Journal(included).flush()
    included.store.close()
    for path in included.folder.glob(f"{DATABASE}*"):
        path.unlink()
    rebuild(included.project.root)
    again = Workspace.open(included.project)
    assert [_main(again, person) for person in people] == before
    check_replay(again.store)


def _main(review: Workspace, person: int) -> str:
    """Return the text of the exercise page without its header, which shows what the worker is doing."""
    return texts(Browser(review, person).get("/exercise").partition("<main")[2])


def test_the_start_of_an_exercise_can_be_undone(included: Workspace) -> None:
    start(included, 4, "full-text")
    owner = Browser(included, OWNER)
    assert running(included) is not None
    owner.post("/undo")
    assert running(included) is None
    assert "Start an exercise" in texts(owner.get("/exercise"))
    owner.post("/redo")
    assert "Running: Full-text coding" in texts(owner.get("/exercise"))


def count(review: Workspace, stage: str) -> dict[str, int]:
    with review.store.read() as connection:
        return count_states(connection, stage)


def test_records_that_left_the_stage_do_not_hold_up_an_exercise(included: Workspace) -> None:
    start(included, 4, "full-text", (ANN, BOB))
    first, second, third, fourth = drawn(included)
    code_text(included, BOB, first, 1)
    included.acts.detach(Stamp(OWNER), second)
    screen(included, OWNER, {third: 0})
    assert following(included, ANN, "full-text") == first
    code_text(included, ANN, first, 1)
    assert following(included, ANN, "full-text") == fourth
    page = texts(Browser(included, OWNER).get("/exercise"))
    assert "Ann 1 1 Bob 1 1" in page
    assert "2 records can no longer be judged by everybody" in page
    assert "2 judgements are missing" in page
    code_text(included, ANN, fourth, 1)
    assert following(included, ANN, "full-text") not in (first, second, third, fourth)
    assert "of the calibration exercise" not in texts(Browser(included, ANN).get("/"))


@pytest.mark.parametrize("stage", ["code", "full-text"])
def test_an_exercise_hides_the_suggestions_by_both_texts(included: Workspace, stage: str) -> None:
    included.acts.change_plan(Stamp(OWNER), "mode_code", "assisted")
    with included.store.write() as connection:
        write_fact(connection, "model_id", "m")
        row = {"model_id": "m", "label": "apple", "probability": 0.9, "decision": "yes", "sentences": "[]"}
        rows = [{**row, "record": record, "stage": name} for record in range(1, 6) for name in ("code", "full-text")]
        connection.execute(insert(schema.suggestion), rows)
    start(included, 4, stage, (ANN, BOB))
    record = drawn(included)[0]
    browser = Browser(included, ANN)
    for place in ("/code", "/full-text"):
        assert "mechtag says" not in browser.get(f"{place}?record={record}")
    other = min({1, 2, 3, 4, 5}.difference(drawn(included)))
    assert "mechtag says" in browser.get(f"/full-text?record={other}")
    end(included, "keep")
    for place in ("/code", "/full-text"):
        assert "mechtag says" in browser.get(f"{place}?record={record}")


def test_blinding_does_not_end_during_an_exercise(included: Workspace) -> None:
    start(included, 4, "full-text", (ANN, BOB))
    record = drawn(included)[0]
    for coder in (ANN, BOB):
        code_text(included, coder, record, 1)
    with pytest.raises(Refused, match="end the exercise before you end blinding"):
        included.acts.change_plan(Stamp(OWNER), "unblinded", True)
    with pytest.raises(Refused, match="end the exercise before you show its codes"):
        included.acts.unblind(Stamp(OWNER), record, "full-text")
    with pytest.raises(Refused, match="end the exercise, then settle the record"):
        included.acts.settle(Stamp(OWNER), record, "full-text", "apple", 0, why="No.")
    for person in (ANN, CAY):
        answer = Browser(included, person).post("/exercise", stage="full-text", number="2")
        assert answer.status_code == 403
    end(included, "keep")
    included.acts.unblind(Stamp(OWNER), record, "full-text")
    included.acts.change_plan(Stamp(OWNER), "unblinded", True)
