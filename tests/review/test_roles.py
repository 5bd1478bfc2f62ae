"""Test roles of evidence on the review page: coding, links, undo, blinding, table of configurations, and exports."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from mechtag.pipeline.export.evidence_roles.configurations import read_configurations
from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs.exporting import folder_of
from mechtag.review.jobs.worker import do_next, jobs
from mechtag.review.roles import read_role_passages
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace
from tests.support.review_site import CODEBOOK, Browser, add_person, make_review, papers, texts

OWEN = 1


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review in which roles are coded; the first two of three records are included."""
    workspace = make_review(tmp_path, 3, coders_screen=1, coders_code=1, roles=True)
    for record in (1, 2):
        workspace.acts.decide(Stamp(OWEN), record, 1)
    return workspace


def field(page: str, name: str) -> str:
    return re.search(rf'name="{name}" value="([^"]*)"', page)[1]  # type: ignore[index]


def send(browser: Browser, page: str, address: str, **fields: object) -> Any:
    known = {name: field(page, name) for name in ("record", "sight", "based_on")}
    response: Any = browser.post(address, **known, **fields)
    return response.text


def roles(workspace: Workspace, label: str = "apple") -> dict[str, Any]:
    table = schema.current
    with workspace.store.read() as connection:
        row = connection.execute(select(table).where(table.c.record == 1, table.c.label == label)).one()
    return dict(json.loads(row.roles))


def finish(workspace: Workspace, coder: int = OWEN, record: int = 1) -> None:
    """Give two sentences roles in one configuration, give a third a role without a link, and finish the record."""
    acts = workspace.acts
    for sentence, role in ((0, "context"), (1, "resource"), (2, "outcome")):
        acts.role(Stamp(coder), record, "apple", sentence, role)
    for sentence, role in ((0, "context"), (1, "resource")):
        acts.link(Stamp(coder), record, "apple", sentence, role, 1)
    acts.sign(Stamp(coder), record, "apple", 1, "absent")
    acts.commit(Stamp(coder), record, open_labels=True)


def test_a_role_marks_the_sentence_and_a_second_press_removes_it(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/role", label="apple", sentence=1, role="context")
    assert roles(review) == {"1": {"context": []}}
    assert 'id="yes-apple" checked' in page
    assert re.search(r'name="remove" value="context" id="role-apple-1-context" aria-pressed="true"', page)
    page = send(browser, page, "/code/role", label="apple", sentence=1, role="outcome")
    assert roles(review) == {"1": {"context": [], "outcome": []}}
    page = send(browser, page, "/code/role", label="apple", sentence=1, remove="context")
    assert roles(review) == {"1": {"outcome": []}}
    assert re.search(r'name="role" value="context" id="role-apple-1-context" aria-pressed="false"', page)


def test_sentences_are_linked_to_configurations(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    page = send(browser, browser.get("/code"), "/code/role", label="apple", sentence=0, role="context")
    page = send(browser, page, "/code/role", label="apple", sentence=2, role="outcome")
    page = send(browser, page, "/code/link", label="apple", sentence=0, role="context", link=1)
    page = send(browser, page, "/code/link", label="apple", sentence=2, role="outcome", link=1)
    assert roles(review) == {"0": {"context": [1]}, "2": {"outcome": [1]}}
    assert "Configuration 1: Context (sentence 1) , Outcome (sentence 3)" in texts(page)
    assert "2 (new)" in texts(page)
    page = send(browser, page, "/code/link", label="apple", sentence=2, role="outcome", link=2)
    page = send(browser, page, "/code/link", label="apple", sentence=2, role="outcome", unlink=1)
    assert roles(review) == {"0": {"context": [1]}, "2": {"outcome": [2]}}
    send(browser, page, "/code/mark", label="apple", sentence=0)
    assert roles(review) == {"2": {"outcome": [2]}}, "a sentence that is not marked has no role"


def test_each_change_is_one_event_that_undo_takes_back(review: Workspace) -> None:
    acts = review.acts
    acts.mark(Stamp(OWEN), 1, "apple", [0])
    acts.role(Stamp(OWEN), 1, "apple", 0, "context")
    acts.link(Stamp(OWEN), 1, "apple", 0, "context", 1)
    with review.store.read() as connection:
        rows = connection.execute(
            select(schema.event).where(schema.event.c.kind.in_(("role", "link"))).order_by(schema.event.c.seq)
        ).all()
    assert [(row.kind, json.loads(row.value)) for row in rows] == [
        ("role", {"sentence": 0, "role": "context", "on": True}),
        ("link", {"sentence": 0, "role": "context", "configuration": 1, "on": True}),
    ]
    acts.undo(Stamp(OWEN))
    assert roles(review) == {"0": {"context": []}}
    acts.undo(Stamp(OWEN))
    assert roles(review) == {}
    acts.redo(Stamp(OWEN))
    acts.redo(Stamp(OWEN))
    assert roles(review) == {"0": {"context": [1]}}
    history = texts(Browser(review, OWEN).get("/records/1"))
    assert "gave sentence 1 the role 'context' for Apple" in history
    assert "linked sentence 1 to configuration 1 for Apple, as context" in history


@pytest.mark.parametrize(
    ("act", "given", "message"),
    [
        ("role", (1, "apple", 0, "cause"), "the codebook has no role 'cause'"),
        ("role", (1, "apple", 9, "context"), "the abstract has only 3 sentences"),
        ("role", (1, "plum", 0, "context"), "the codebook has no label 'plum'"),
        ("link", (1, "apple", 0, "outcome", 1), "the sentence does not have this role"),
        ("link", (1, "apple", 0, "context", 2), "label 'apple' has no configuration 2"),
        ("link", (1, "apple", 0, "context", 0), "label 'apple' has no configuration 0"),
    ],
)
def test_impossible_roles_and_links_are_refused(
    review: Workspace, act: str, given: tuple[Any, ...], message: str
) -> None:
    review.acts.role(Stamp(OWEN), 1, "apple", 0, "context")
    with pytest.raises(Refused, match=message):
        getattr(review.acts, act)(Stamp(OWEN), *given)
    for what, more in (("role", ("outcome",)), ("link", ("context", 1))):
        with pytest.raises(Refused, match=r"does not have this role|is not in configuration 1"):
            getattr(review.acts, what)(Stamp(OWEN), 1, "apple", 0, *more, on=False)


def test_an_outdated_form_shows_both_versions(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    old = browser.get("/code")
    send(browser, old, "/code/mark", label="apple", sentence=0)
    page = texts(send(browser, old, "/code/role", label="apple", sentence=0, role="context"))
    assert "Apple: sentence 1 with the role context" in page
    assert roles(review) == {}


def test_without_the_setting_the_page_has_no_roles(tmp_path: Path) -> None:
    workspace = make_review(tmp_path, 3, coders_screen=1, coders_code=1)
    workspace.acts.decide(Stamp(OWEN), 1, 1)
    workspace.acts.mark(Stamp(OWEN), 1, "apple", [0])
    browser = Browser(workspace, OWEN)
    assert "role-apple" not in browser.get("/code?record=1")
    workspace.acts.change_plan(Stamp(OWEN), "roles", True)
    assert "role-apple-0-context" in browser.get("/code?record=1")


def test_the_roles_of_the_codebook_replace_those_of_realist_reviews(review: Workspace) -> None:
    given = [{"key": f"role_{n}", "name": f"Role | {n} <i>", "definition": "A role."} for n in range(1, 11)]
    book = Path(review.project.settings.codebook)
    book.write_text(yaml.safe_dump({**CODEBOOK, "roles": given}), encoding="utf-8")
    for role in ("role_2", "role_10"):
        review.acts.role(Stamp(OWEN), 1, "apple", 0, role)
    page = Browser(review, OWEN).get("/code?record=1")
    assert "<i>" not in page
    assert len(re.findall(r'id="role-apple-0-role_\d+"', page)) == 10
    hint = texts(re.findall(r'id="role-numbers">(.*?)</span>', page)[0])
    assert hint.startswith("1 Role | 1 <i>, 2 Role | 2 <i>, ")
    assert hint.endswith(", 9 Role | 9 <i>"), "a tenth role has no key"
    review.acts.commit(Stamp(OWEN), 1, open_labels=True)
    passages, rejected = read_configurations(exported(review, OWEN, "configurations", "csv"), review.codebook)
    assert ([row.role for row in passages], rejected) == (["role_2", "role_10"], ())
    assert "Role | 10 <i>" in texts(Browser(review, OWEN).get("/roles"))


def test_the_table_links_each_sentence(review: Workspace) -> None:
    browser = Browser(review, OWEN)
    assert "No sentence of a finished record has a role yet" in texts(browser.get("/roles"))
    finish(review)
    page = browser.get("/roles")
    rows = [texts(row) for row in re.findall(r"<tr>.*?</tr>", page, re.S)]
    assert rows[:3] == [
        "Configuration Context Resource Reasoning Outcome",
        "1 Owen Paper 1 Apples grow in orchard 1. Pears were pressed. (absent)",
        "not linked Owen Paper 1 The weather was 1 degrees.",
    ]
    (address,) = re.findall(r'href="(/code[^"]+)"[^>]*>Pears', page)
    assert address == "/code?record=1&amp;label=apple#s-1"
    assert 'id="s-1"' in browser.get(address.replace("&amp;", "&").partition("#")[0])


def test_nobody_sees_what_others_said_too_early(tmp_path: Path) -> None:
    review = make_review(tmp_path, 3, coders_screen=1, coders_code=2, roles=True)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    review.acts.decide(Stamp(OWEN), 1, 1)
    finish(review, ann)
    see = {
        name: texts(Browser(review, number).get("/roles"))
        for name, number in (("ann", ann), ("bob", bob), ("owen", OWEN))
    }
    assert "Apples grow" in see["ann"]
    assert "Apples grow" not in see["bob"]
    assert "Apples grow" not in see["owen"], "Owen can still code the record"
    assert 'aria-pressed="true"' not in Browser(review, bob).get("/code?record=1")
    finish(review, bob)
    assert "Apples grow" in texts(Browser(review, OWEN).get("/roles"))
    assert texts(Browser(review, bob).get("/roles")).count("Apples grow") == 1, "Bob's own alone"


def exported(review: Workspace, account: int, name: str, form: str) -> Path:
    Browser(review, account).post("/export", name=name, format=form)
    while do_next(review, jobs()):
        pass
    with review.store.read() as connection:
        row = connection.execute(select(schema.job).order_by(schema.job.c.id.desc()).limit(1)).one()
    assert row.state == "done", row.message
    return folder_of(review) / str(json.loads(row.result)["path"])


def test_configurations_are_exported_and_read_back(review: Workspace) -> None:
    finish(review)
    path = exported(review, OWEN, "configurations", "csv")
    passages, rejected = read_configurations(path, review.codebook)
    assert not rejected
    with review.store.read() as connection:
        assert list(passages) == [row.passage for row in read_role_passages(connection, review.codebook)]
    assert [(row.config_id, row.role, row.sign, row.text, row.order) for row in passages] == [
        ("doi:10.1/1 / abstract / apple / Owen / 1", "context", None, "Apples grow in orchard 1.", 1),
        ("doi:10.1/1 / abstract / apple / Owen / 1", "resource", "absent", "Pears were pressed.", 2),
        ("", "outcome", None, "The weather was 1 degrees.", None),
    ]
    assert (passages[1].start, passages[1].end, passages[1].basis) == (26, 45, "abstract")
    page = exported(review, OWEN, "configurations", "html").read_text(encoding="utf-8")
    assert "Ash (2020)" in page


def test_passages_of_a_joined_record_belong_to_the_paper(review: Workspace) -> None:
    finish(review)
    review.acts.join(Stamp(OWEN), 1, 2)
    passages, rejected = read_configurations(exported(review, OWEN, "configurations", "csv"), review.codebook)
    assert not rejected
    assert [(row.record_id, row.config_id, row.role, row.start, row.text) for row in passages] == [
        ("doi:10.1/2", "doi:10.1/1 / abstract / apple / Owen / 1", "context", None, "Apples grow in orchard 1."),
        ("doi:10.1/2", "doi:10.1/1 / abstract / apple / Owen / 1", "resource", None, "Pears were pressed."),
        ("doi:10.1/2", "", "outcome", None, "The weather was 1 degrees."),
    ]
    project = zipfile.ZipFile(exported(review, OWEN, "programs", "qdpx")).read("project.qde").decode()
    assert project.count("<Set ") == 3
    page = Browser(review, OWEN).get("/roles")
    assert "Paper 2" in texts(page)
    assert "Paper 1" not in texts(page)
    # The sentences are not in the abstract that the page Code shows now.
    assert '<a href="/records/2">Pears were pressed.</a>' in page
    assert "/code?record=" not in page
    review.acts.undo(Stamp(OWEN))
    assert "/code?record=1" in Browser(review, OWEN).get("/roles")


def test_passages_of_joined_records_with_the_same_abstract_are_listed_once(tmp_path: Path) -> None:
    first, second = papers(2)
    rows = [first, second.model_copy(update={"abstract": first.abstract})]
    review = make_review(tmp_path, rows, coders_screen=1, coders_code=1, roles=True)
    for record in (1, 2):
        review.acts.decide(Stamp(OWEN), record, 1)
        finish(review, record=record)
    review.acts.join(Stamp(OWEN), 1, 2)
    passages, rejected = read_configurations(exported(review, OWEN, "configurations", "csv"), review.codebook)
    assert not rejected
    assert [(row.config_id[:10], row.role, row.start) for row in passages] == [
        ("doi:10.1/1", "context", 0),
        ("doi:10.1/1", "resource", 26),
        ("", "outcome", 46),
        ("doi:10.1/2", "context", 0),
        ("doi:10.1/2", "resource", 26),
    ]
    assert "/code?record=2&amp;label=apple#s-1" in Browser(review, OWEN).get("/roles")


def test_exports_for_other_programs_contain_roles_of_settled_labels_alone(tmp_path: Path) -> None:
    review = make_review(tmp_path, 3, coders_screen=1, coders_code=2, roles=True)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for record in (1, 2):
        review.acts.decide(Stamp(OWEN), record, 1)
    finish(review, ann)
    finish(review, bob)
    finish(review, ann, record=2)
    path = exported(review, OWEN, "programs", "qdpx")
    project = zipfile.ZipFile(path).read("project.qde").decode()
    assert project.count("<Set ") == 3
    assert 'name="Apple: Context"' in project
    codes = re.findall(r'<Code guid="([^"]+)" name="Apple: \w+"', project)
    assert sum(project.count(f'<CodeRef targetGUID="{code}"') for code in codes) == 6, "record 2 is not settled"


def test_exports_for_other_programs_name_nobody_while_a_calibration_exercise_is_running(tmp_path: Path) -> None:
    review = make_review(tmp_path, 3, coders_screen=1, coders_code=2, roles=True)
    ann, bob = add_person(review, "Ann", "coder"), add_person(review, "Bob", "coder")
    for record in (1, 2):
        review.acts.decide(Stamp(OWEN), record, 1)
    review.acts.start_exercise(Stamp(OWEN), "code", [1, 2], [ann, bob])
    finish(review, ann)
    finish(review, bob)
    with zipfile.ZipFile(exported(review, OWEN, "programs", "qdpx")) as archive:
        project = archive.read("project.qde").decode()
    assert "Apple: Context" not in project
    assert 'name="Ann"' not in project
    review.acts.end_exercise(Stamp(OWEN), keep=True)
    with zipfile.ZipFile(exported(review, OWEN, "programs", "qdpx")) as archive:
        project = archive.read("project.qde").decode()
    assert "Apple: Context" in project
