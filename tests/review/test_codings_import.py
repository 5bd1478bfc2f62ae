"""Test the import of codings: they become codes of their coders, the rest is listed, and an import can be undone."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from sqlalchemy import insert, select, update

from mechtag.review.acts import Refused, Stamp
from mechtag.review.codings import coders_codings
from mechtag.review.jobs import codings
from mechtag.review.jobs.codings import JOBS
from mechtag.review.jobs.worker import do_next
from mechtag.review.store import schema
from mechtag.review.store.events import read_events
from mechtag.review.store.queue import count_states
from mechtag.review.store.state import Event
from mechtag.review.workspace import Workspace
from tests.support.review_site import Browser, add_person, look, make_review, texts
from tests.support.reviews import check_replay

OWNER, ANN = 1, 2
HEADER = ("record_id", "coder", "label", "value", "basis", "date", "evidence")
ROWS = (
    ("doi:10.1/1", "Ann", "edible", "1", "abstract", "2026-03-01", ""),
    ("doi:10.1/2", "Ann", "edible", "0", "abstract", "", ""),
    ("doi:10.1/1", "Zoe", "edible", "1", "", "", ""),
    ("doi:10.1/1", "Zoe", "apple", "1", "", "", "Pears were pressed."),
    ("doi:10.1/1", "Zoe", "pear", "0", "", "", ""),
    ("doi:10.1/3", "Zoe", "apple", "", "", "", ""),
    ("doi:10.1/3", "Zoe", "pear", "1", "full-text", "", ""),
    ("doi:10.1/99", "Zoe", "pear", "1", "", "", ""),
    ("doi:10.1/3", "Zoe", "apple", "perhaps", "", "", ""),
)


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    review = make_review(tmp_path)
    add_person(review, "Ann", "coder")
    return review


def table(rows: tuple[tuple[str, ...], ...] = ROWS) -> bytes:
    target = io.StringIO(newline="")
    csv.writer(target).writerows([HEADER, *rows])
    return target.getvalue().encode()


def work(review: Workspace) -> None:
    nothing = dict.fromkeys(("rank", "tag"), lambda *_: {})
    while do_next(review, {**JOBS, **nothing}):
        pass


def upload(review: Workspace, content: bytes, name: str = "codes.csv", **fields: str) -> tuple[Browser, str]:
    """Upload a file on the page, let the worker read it, and return the browser and the address of the import."""
    browser = Browser(review, OWNER)
    data = {"csrf": browser.csrf, "client_id": str(uuid.uuid4()), "coder": "Zoe", "basis": "abstract"}
    answer = browser.client.post("/codings", data={**data, **fields}, files=[("files", (name, content))])
    work(review)
    return browser, str(answer.url.path)


def add(review: Workspace, content: bytes = b"", **people: str) -> tuple[Browser, str]:
    browser, address = upload(review, content or table())
    chosen = {"person-0": str(ANN), "person-1": "new"} | {name.replace("_", "-"): text for name, text in people.items()}
    browser.post(address, act="add", **chosen)
    work(review)
    return browser, address


def codes(review: Workspace) -> set[tuple[str | None, str, str, int | None]]:
    with review.store.read() as connection:
        return {(row.record_id, row.coder, row.label, row.value) for row in coders_codings(connection)}


def test_the_page_says_what_was_read_and_why_the_rest_was_not(review: Workspace) -> None:
    browser, address = upload(review, table())
    page = texts(browser.get(address))
    assert "Read: 5 codes for 2 records" in page
    assert "9 entries read = 7 matched to a record + 1 without a record + 0 without codes + 1 not readable" in page
    assert "Ann, 2 codes" in page
    assert "Zoe, 3 codes" in page
    assert "not judged, so there is nothing to add" in page
    assert "this code is based on the full text, but no full text is attached to the record" in page
    assert "codes.csv: entry 8: doi:10.1/99 no record matches this paper" in page
    assert "the specified coder" not in page, "the file names this coder too"


def test_the_page_says_that_a_specified_coder_was_not_needed(review: Workspace) -> None:
    browser, address = upload(review, table(), coder="Bea")
    page = texts(browser.get(address))
    assert "the specified coder, 'Bea', is not used, because the files name the coders: " in page
    assert "Bea, " not in page
    assert "perhaps" in page
    assert f'<option value="{ANN}" selected>Ann' in browser.get(address)
    assert codes(review) == set()


def test_signs_of_passages_become_signs_of_sentences(review: Workspace) -> None:
    content = (
        "record_id,coder,label,value,basis,evidence,signs\n"
        "doi:10.1/1,Zoe,edible,1,abstract,,\n"
        "doi:10.1/1,Zoe,apple,1,abstract,Pears were pressed. […] Apples grow in orchard 1.,absent;\n"
        "doi:10.1/1,Zoe,pear,1,abstract,Pears were pressed. Apples grow in orchard 1.,unclear\n"
    ).encode()
    add(review, content, person_0="new")
    with review.store.read() as connection:
        found = {row.label: (row.sentences, row.signs) for row in coders_codings(connection)}
    assert found == {
        "edible": (None, ()),
        "apple": ((0, 1), (None, "absent")),
        "pear": ((0, 1), ("unclear", "unclear")),
    }
    check_replay(review.store)


def test_codes_given_from_a_full_text_belong_to_the_text_that_is_attached(review: Workspace) -> None:
    text, lines = "Pears were pressed. Apples were not.", [[0, 19, "Results", "4"], [20, 36, "", "5"]]
    values = {"id": 1, "sha256": "x", "name": "x.pdf", "at": "", "coder": OWNER, "state": "read", "text": text}
    with review.store.write() as connection:
        connection.execute(insert(schema.full_text).values(**values, sentences=json.dumps(lines)))
    for record in (1, 3):
        review.acts.decide(Stamp(OWNER), record, 1)
    review.acts.attach(Stamp(OWNER), 3, 1, "person")
    rows = (
        ("doi:10.1/3", "Ann", "apple", "1", "full-text", "", "Apples were not."),
        ("doi:10.1/1", "Ann", "apple", "1", "full-text", "", ""),
        ("doi:10.1/3", "Ann", "edible", "1", "full-text", "", ""),
    )
    browser, address = upload(review, table(rows))
    page = texts(browser.get(address))
    assert (
        "doi:10.1/1: apple, Ann this code is based on the full text, but no full text is attached to the record" in page
    )
    assert "doi:10.1/3: edible, Ann this decision is based on the full text" in page
    browser.post(address, act="add", **{"person-0": str(ANN)})
    work(review)
    with review.store.read() as connection:
        (code,) = (row for row in coders_codings(connection) if row.coder == "Ann")
    assert (code.label, code.basis, code.sentences, code.evidence) == ("apple", "full-text", (1,), "Apples were not.")
    # The full text is replaced between the upload and the addition of the codes.
    pear = (*rows[0][:2], "pear", *rows[0][3:])
    browser, address = upload(review, table((pear,)))
    review.acts.undo_import(Stamp(OWNER), [row.act for row in acts_of_full_text(review)])
    review.acts.detach(Stamp(OWNER), 3)
    browser.post(address, act="add", **{"person-0": str(ANN)})
    work(review)
    assert "no full text is attached to this record" in texts(browser.get(address))


def acts_of_full_text(review: Workspace) -> list[Event]:
    with review.store.read() as connection:
        return read_events(connection, schema.event.c.stage == "full-text", schema.event.c.part == 0)


def test_codes_become_codes_of_their_people(review: Workspace) -> None:
    browser, address = add(review)
    assert "Added: 5 codes" in texts(browser.get(address))
    assert codes(review) == {
        ("doi:10.1/1", "Ann", "edible", 1),
        ("doi:10.1/2", "Ann", "edible", 0),
        ("doi:10.1/1", "Zoe", "edible", 1),
        ("doi:10.1/1", "Zoe", "apple", 1),
        ("doi:10.1/1", "Zoe", "pear", 0),
    }
    with review.store.read() as connection:
        account, current = schema.account, schema.current
        zoe = connection.execute(select(account).where(account.c.name == "Zoe")).one()
        apple = connection.execute(select(current).where(current.c.label == "apple")).one()
        states = count_states(connection, "screen")
    assert (zoe.role, zoe.state, zoe.password) == ("coder", "left", None)
    # It is unknown whether the coder saw a suggestion; the quoted sentence is marked.
    assert (apple.assisted, apple.first_assisted, apple.sentences) == (None, None, "[1]")
    # One record has two judgements that agree, and another waits for a second person.
    assert (states["settled"], states["waiting"], states["open"]) == (1, 1, 2)
    assert "included; imported, given on 2026-03-01" in texts(browser.get("/records/1"))
    assert "imported 5 codes that were given outside this page" in texts(browser.get("/activity"))
    check_replay(review.store)


def test_an_import_is_undone_as_a_whole_and_can_be_added_again(review: Workspace) -> None:
    browser, address = add(review)
    review.acts.decide(look(review, ANN, 3, "screen"), 3, 1)
    browser.post(address, act="undo")
    work(review)
    assert "The import was undone" in texts(browser.get(address))
    assert codes(review) == {("doi:10.1/3", "Ann", "edible", 1)}
    check_replay(review.store)
    browser.post(address, act="add", **{"person-0": str(ANN), "person-1": "new"})
    work(review)
    assert len(codes(review)) == 6


@pytest.mark.parametrize("last", [1, 4])
def test_an_interrupted_undo_goes_on(review: Workspace, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """The undo continues although the worker was killed, either after the first of four actions or after the last."""
    browser, address = add(review)
    browser.post(address, act="undo")
    whole = codings._undo

    def dies(*given: Any) -> Iterator[int]:
        for place, number in enumerate(whole(*given), start=1):
            yield number
            if place == last:
                raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(codings, "_RECORDS", 1)
        patch.setattr(codings, "_undo", dies)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            work(review)
    job = schema.job
    with review.store.write() as connection:  # as a worker does when it starts
        connection.execute(update(job).where(job.c.state == "running").values(state="waiting"))
    work(review)
    with review.store.read() as connection:
        row = connection.execute(select(job).where(job.c.kind == codings.REMOVE)).one()
    assert (row.state, row.message, json.loads(row.result)) == ("done", "", {"removed": 4})
    assert codes(review) == set()
    check_replay(review.store)


def test_the_undo_of_a_person_does_not_touch_imported_codes(review: Workspace) -> None:
    review.acts.decide(look(review, ANN, 3, "screen"), 3, 1)
    add(review)
    review.acts.undo(Stamp(ANN))
    assert len(codes(review)) == 5
    with pytest.raises(Refused, match="nothing to undo"):
        review.acts.undo(Stamp(ANN))


def test_an_import_on_which_a_settled_record_rests_stays(review: Workspace) -> None:
    browser, address = add(review)
    review.acts.decide(look(review, OWNER, 2, "screen"), 2, 1)
    review.acts.settle(Stamp(OWNER), 2, "screen", "edible", 1)
    answer = browser.post(address, act="undo")
    assert answer.status_code == 409
    assert "1 of the records with these codes has been settled or sent back since" in texts(answer.text)
    assert len(codes(review)) == 6


def test_codes_that_are_there_already_are_left_out(review: Workspace) -> None:
    review.acts.decide(look(review, ANN, 1, "screen"), 1, 0)
    for coder in (OWNER, ANN):
        review.acts.decide(look(review, coder, 2, "screen"), 2, coder % 2)
    review.acts.settle(Stamp(OWNER), 2, "screen", "edible", 1)
    browser, address = add(review)
    page = texts(browser.get(address))
    assert "Added: 3 codes" in page
    assert "doi:10.1/1: edible, Ann this person has already judged this label of the record; the imported" in page
    assert "doi:10.1/2: edible, Ann an adjudicator has settled this record" in page
    assert ("doi:10.1/1", "Ann", "edible", 0) in codes(review)


def test_a_decision_at_screening_does_not_keep_out_the_codes_of_the_record(review: Workspace) -> None:
    review.acts.decide(look(review, ANN, 1, "screen"), 1, 0)
    rows = [("doi:10.1/1", "Ann", label, "1", "", "", "") for label in ("edible", "apple")]
    add(review, table(tuple(rows)))
    assert codes(review) == {("doi:10.1/1", "Ann", "edible", 0), ("doi:10.1/1", "Ann", "apple", 1)}


def test_a_matrix_in_a_workbook_is_read_too(review: Workspace) -> None:
    book = Workbook()
    assert book.active is not None
    for row in (("record_id", "Apple", "Birnen"), ("doi:10.1/1", 1, None), ("doi:10.1/2", 0, 1)):
        book.active.append(row)
    target = io.BytesIO()
    book.save(target)
    browser, address = upload(review, target.getvalue(), "matrix.xlsx", unticked="no")
    page = browser.get(address)
    assert "The files could not be read" in page
    assert "--map" not in page
    assert "data/review" not in page
    assert "Birnen" in page
    # What was typed is kept, and the file need not be chosen again.
    token = page.split('name="token" value="')[1].split('"')[0]
    fields = {"token": token, "coder": "Zoe", "basis": "abstract", "unticked": "no", "labels": "Birnen = pear"}
    assert browser.post("/codings", **{**fields, "token": f"{token}/files"}).status_code == 422
    again = browser.post("/codings", **fields)
    work(review)
    assert "Read: 4 codes for 2 records" in texts(browser.get(str(again.url.path)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coder": " "}, "Enter the name of the coder"),
        ({"basis": ""}, "Choose whether the codes are based on the abstract or on the full text"),
        (
            {"labels": "Apfel"},
            "The line &#39;Apfel&#39; is not valid; enter a name that occurs in the file, an equals sign and a key",
        ),
        ({"token": "../../secret"}, "The uploaded files of this import have been deleted"),
    ],
)
def test_an_incomplete_form_says_what_is_missing(review: Workspace, fields: dict[str, str], message: str) -> None:
    browser = Browser(review, OWNER)
    data = {"csrf": browser.csrf, "client_id": "x", "coder": "Zoe", "basis": "abstract", **fields}
    answer = browser.client.post("/codings", data=data, files=[("files", ("codes.csv", table()))])
    assert answer.status_code == 422
    assert message in answer.text


def test_only_those_who_lead_import_codes(review: Workspace) -> None:
    coder = Browser(review, ANN)
    assert coder.client.get("/codings").status_code == 403
    browser, address = upload(review, table())
    assert coder.post(address, act="add").status_code == 403
    both = {"person-0": str(ANN), "person-1": str(ANN)}
    assert "the same person was chosen for two coders" in texts(browser.post(address, act="add", **both).text).lower()
    assert browser.post(address, act="add").status_code == 422
    assert browser.client.get("/codings/999").status_code == 404


def test_files_with_one_name_are_all_kept(review: Workspace) -> None:
    browser = Browser(review, OWNER)
    data = {"csrf": browser.csrf, "client_id": str(uuid.uuid4()), "coder": "Zoe", "basis": "abstract"}
    sent = [("files", (name, table((row,)))) for name, row in zip(("a.csv", "2-a.csv", "a.csv"), ROWS, strict=False)]
    browser.client.post("/codings", data=data, files=sent)
    kept = [path.read_bytes() for path in (review.folder / "uploads").rglob("files/*")]
    assert sorted(kept) == sorted(content for _, (_, content) in sent)


def test_a_full_disk_leaves_nothing_behind(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mechtag.review.pages.codings.save_file", full)
    browser = Browser(review, OWNER)
    data = {"csrf": browser.csrf, "client_id": str(uuid.uuid4()), "coder": "Zoe", "basis": "abstract"}
    answer = browser.client.post("/codings", data=data, files=[("files", ("codes.csv", table()))])
    assert answer.status_code == 507
    assert "make sure that the disk has free space" in answer.text
    assert not list((review.folder / "uploads").glob("codings-*"))


def test_a_person_is_found_whatever_the_case_of_the_name(review: Workspace) -> None:
    number = add_person(review, "Älva", "coder")
    rows = (("doi:10.1/1", "älva", "edible", "1", "abstract", "", ""),)
    browser, address = upload(review, table(rows))
    browser.post(address, act="add", **{"person-0": "new"})
    work(review)
    with review.store.read() as connection:
        assert set(connection.execute(select(schema.current.c.coder)).scalars()) == {number}


def exported(rows: str) -> bytes:
    """Return a file as *Export* writes the codes of each person, with ``rows`` below its header."""
    return f"record_id,coder,label,value,basis,refer,reason\n{rows}\n".encode()


def test_a_reason_for_an_exclusion_is_kept(review: Workspace) -> None:
    add(review, exported("doi:10.1/1,Ann,edible,0,abstract,,Wrong  fruit\ndoi:10.1/2,Ann,edible,1,abstract,,odd"))
    with review.store.read() as connection:
        rows = connection.execute(select(schema.current.c.record, schema.current.c.reason)).all()
    assert sorted(rows) == [(1, "Wrong fruit"), (2, None)]


def test_an_answer_that_needs_review_is_added(review: Workspace) -> None:
    browser, address = add(review, exported("doi:10.1/1,Ann,edible,,abstract,1,\ndoi:10.1/2,Ann,edible,,abstract,,"))
    page = texts(browser.get(address))
    assert "Added: 1 code " in page
    assert "doi:10.1/2: edible, Ann not judged, so there is nothing to add" in page
    with review.store.read() as connection:
        row = connection.execute(select(schema.current)).one()
    assert (row.record, row.coder, row.value, row.refer) == (1, ANN, None, 1)
    check_replay(review.store)


def test_a_final_code_does_not_count_as_the_code_of_a_second_person(review: Workspace) -> None:
    content = exported(
        "doi:10.1/1,Ann,edible,1,abstract,,\ndoi:10.1/1,final,edible,1,abstract,,\ndoi:10.1/2,final,edible,1,abstract,,"
    )
    browser, address = add(review, content)
    assert "doi:10.1/1: edible, final this is a final code, not the code of a person" in texts(browser.get(address))
    assert codes(review) == {("doi:10.1/1", "Ann", "edible", 1), ("doi:10.1/2", "final", "edible", 1)}
    with review.store.read() as connection:
        assert connection.execute(select(schema.final)).all() == []
