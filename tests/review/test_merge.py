"""Test merging a copy of the review: a colleague's work is added from the project zip once, and overwrites nothing."""

from __future__ import annotations

import io
import json
import shutil
import stat
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from mechtag.project import open_project
from mechtag.review import project_zip
from mechtag.review.acts import Stamp
from mechtag.review.codings import coders_codings
from mechtag.review.jobs import codings, exporting, merging
from mechtag.review.jobs.worker import do_next
from mechtag.review.restoring import restore
from mechtag.review.store import schema
from mechtag.review.store.accounts import find_account
from mechtag.review.workspace import DATABASE, FOLDER, Workspace, write_fact
from tests.support.review_site import Browser, add_person, copy_review, look, make_review, papers, texts
from tests.support.reviews import check_replay

OWEN, ANN, BEN = 1, 2, 3
JOBS = {
    **merging.JOBS,
    **codings.JOBS,
    exporting.KIND: exporting.run,
    **dict.fromkeys(("rank", "tag", "files"), lambda *_: {}),
}
# Tables and columns that must be the same as if everybody had worked in one review.
STATES = {
    "current": (
        "record",
        "stage",
        "coder",
        "label",
        "value",
        "refer",
        "sentences",
        "signs",
        "roles",
        "assisted",
        "committed",
        "at",
    ),
    "final": ("record", "stage", "label", "value", "how", "sentences", "signs"),
    "need": ("record", "stage", "have", "state", "labels"),
    "note": ("record", "coder", "audience", "text"),
    "tag": ("record", "tag"),
    "skip": ("record", "stage", "coder"),
}


def work(review: Workspace) -> None:
    while do_next(review, JOBS):
        pass


def go_on(review: Workspace) -> None:
    """Run the unfinished jobs, as a worker does that starts after another was killed."""
    with review.store.write() as connection:
        table = schema.job
        connection.execute(table.update().where(table.c.state == "running").values(state="waiting"))
    work(review)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return begun(tmp_path_factory.mktemp("begun"))


@pytest.fixture
def review(prepared: Workspace, tmp_path: Path) -> Workspace:
    """Return a review in which Ann and Ben have included two records."""
    return copy_review(prepared, tmp_path / "here")


def begun(folder: Path) -> Workspace:
    review = make_review(folder, 7)
    assert (add_person(review, "Ann", "coder"), add_person(review, "Ben", "coder")) == (ANN, BEN)
    with review.store.write() as connection:
        for label in ("apple", "pear"):
            values = {"model_id": "m1", "record": 2, "label": label, "probability": 0.7}
            connection.execute(insert(schema.suggestion).values(**values, decision="yes", sentences="[0]"))
        write_fact(connection, "model_id", "m1")
    for coder in (ANN, BEN):
        for record in (1, 2):
            review.acts.decide(look(review, coder, record, "screen"), record, 1)
    review.acts.note(Stamp(BEN), 1, "Before the copy.")
    return review


def zip_of(review: Workspace) -> bytes:
    """Export the project from the page, and return the zip."""
    owner = Browser(review, OWEN)
    owner.post("/export", name="project", everything="1")
    work(review)
    job = schema.job
    with review.store.read() as connection:
        number = connection.execute(select(func.max(job.c.id)).where(job.c.kind == "export")).scalar_one()
    return owner.client.get(f"/export/{number}").content


def copy_of(review: Workspace, folder: Path) -> Workspace:
    """Export the project, unpack it in a folder, and open it with a database rebuilt from the log.

    In this copy, record 2 has suggestions, as in the review.
    """
    with zipfile.ZipFile(io.BytesIO(zip_of(review))) as archive:
        archive.extractall(folder)
    root = folder / "review"
    restore(root / FOLDER / DATABASE, root / FOLDER / "log", review.seed)
    made = Workspace.open(open_project(root))
    with made.store.write() as connection:
        write_fact(connection, "model_id", "m1")
        for label in ("apple", "pear"):
            values = {"model_id": "m1", "record": 2, "label": label, "probability": 0.7}
            connection.execute(insert(schema.suggestion).values(**values, decision="yes", sentences="[0]"))
    return made


def read(review: Workspace, content: bytes) -> tuple[Browser, str]:
    """Upload a zip on the page, let the worker read it, and return the browser and the address of the import."""
    owner = Browser(review, OWEN)
    data = {"csrf": owner.csrf, "client_id": str(uuid.uuid4())}
    answer = owner.client.post("/merge", data=data, files=[("file", ("colleague.zip", content))])
    assert answer.status_code == 200, texts(answer.text)
    work(review)
    return owner, str(answer.url.path)


def merge(review: Workspace, content: bytes, **people: str) -> str:
    """Import a zip, with the proposed people unless ``people`` says otherwise, and return the text of the page."""
    owner, address = read(review, content)
    with review.store.read() as connection:
        number = int(address.rpartition("/")[2])
        result = connection.execute(select(schema.job.c.result).where(schema.job.c.id == number)).scalar_one()
    proposed = {
        f"person-{key}": "new" if each["account"] is None else str(each["account"])
        for key, each in json.loads(result).get("people", {}).items()
    }
    chosen = {name.replace("_", "-"): value for name, value in people.items()}
    assert owner.post(address, **{**proposed, **chosen}).status_code == 200
    work(review)
    check_replay(review.store)
    return texts(owner.get(address))


def states(review: Workspace) -> dict[str, list[Any]]:
    """Return the states of all records, without the numbers and times of events, to compare two reviews."""
    with review.store.read() as connection:
        return {
            name: sorted(
                tuple(row)
                for row in connection.execute(
                    select(*(schema.metadata.tables[name].c[column] for column in columns if column != "at"))
                )
            )
            for name, columns in STATES.items()
        }


def number_of_events(review: Workspace) -> int:
    with review.store.read() as connection:
        return connection.execute(select(func.count()).select_from(schema.event)).scalar_one()


def ann_works(review: Workspace) -> None:
    """Let Ann screen two records, code record 1, and undo and redo a tag."""
    acts = review.acts
    acts.decide(look(review, ANN, 3, "screen"), 3, 1)
    acts.decide(look(review, ANN, 4, "screen"), 4, 0)
    acts.mark(look(review, ANN, 1), 1, "apple", [0, 2])
    acts.sign(look(review, ANN, 1), 1, "apple", 2, "absent")
    acts.role(look(review, ANN, 1), 1, "apple", 2, "context")
    acts.link(look(review, ANN, 1), 1, "apple", 2, "context", 1)
    acts.code(look(review, ANN, 1), 1, "pear", 0)
    acts.commit(look(review, ANN, 1), 1)
    acts.tag(Stamp(ANN), 1, "method")
    acts.undo(Stamp(ANN))
    acts.redo(Stamp(ANN))


def ben_works(review: Workspace) -> None:
    """Let Ben screen, annotate and code records, undo a decision, and answer a suggestion."""
    acts = review.acts
    acts.decide(look(review, BEN, 3, "screen"), 3, 0)
    acts.decide(look(review, BEN, 4, "screen"), 4, 0)
    acts.decide(look(review, BEN, 5, "screen"), 5, 1)
    acts.undo(Stamp(BEN))
    acts.note(Stamp(BEN), 1, "After the copy.")
    acts.comment(Stamp(BEN), 2, "Märchen, see @Ann.")
    acts.tag_together(Stamp(BEN), [1, 2], "later")
    acts.skip(Stamp(BEN), 6, "screen")
    acts.mark(look(review, BEN, 1), 1, "apple", [0])
    acts.code(look(review, BEN, 1), 1, "pear", 0)
    acts.commit(look(review, BEN, 1), 1, all_sentences=True)
    for label in ("apple", "pear"):
        acts.code(look(review, BEN, 2), 2, label, 0)
    acts.commit(look(review, BEN, 2), 2)
    seen = look(review, BEN, 2)  # with the suggestions, which are shown after the commit
    acts.answer(seen, 2, "apple", "accept", [0])


def test_two_copies_become_what_one_review_would_be(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    ben_works(colleague)
    ann_works(review)
    with review.store.read() as connection:
        before = connection.execute(select(schema.event.c.client_id, schema.event.c.part, schema.event.c.at)).all()
    page = merge(review, zip_of(colleague))
    one = begun(tmp_path / "one")
    ann_works(one)
    ben_works(one)
    assert states(review) == states(one)
    with review.store.read() as connection:
        assisted = connection.execute(
            select(schema.current.c.assisted).where(
                schema.current.c.coder == BEN, schema.current.c.record == 2, schema.current.c.label == "apple"
            )
        ).scalar_one()
        people = connection.execute(select(schema.account.c.name)).scalars().all()
        times = connection.execute(select(schema.event.c.client_id, schema.event.c.part, schema.event.c.at)).all()
    with colleague.store.read() as connection:
        theirs = connection.execute(select(schema.event.c.client_id, schema.event.c.part, schema.event.c.at)).all()
    assert assisted == 1
    assert sorted(people) == ["Ann", "Ben", "Owen"]
    new = [row for row in times if row not in before and row.part == 0]
    assert f"Added: {len(new) - 1} actions" in page  # the other one is about the import itself
    # Only the event about the copy as a whole, its export, is not added.
    missing = set(map(tuple, theirs)) - set(map(tuple, times))
    assert len(missing) == 1
    activity = texts(Browser(review, OWEN).get("/activity"))
    assert f"Owen added {len(new) - 1} actions of a copy of this review" in activity


def test_the_log_alone_rebuilds_what_was_imported(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    ben_works(colleague)
    ann_works(review)
    merge(review, zip_of(colleague))
    again = copy_of(review, tmp_path / "again")
    assert states(again) == states(review)
    check_replay(again.store)


@pytest.mark.slow
def test_the_same_zip_adds_nothing_twice_and_a_later_zip_adds_the_rest(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    ben_works(colleague)
    content = zip_of(colleague)
    merge(review, content)
    after, events = states(review), number_of_events(review)
    owner, address = read(review, content)
    page = texts(owner.get(address))
    assert "Read: 0 new actions on 0 records There is nothing new in this project." in page
    assert owner.post(address).status_code == 409
    work(review)
    assert (states(review), number_of_events(review)) == (after, events)
    ann_works(review)
    colleague.acts.decide(look(colleague, BEN, 7, "screen"), 7, 0)
    assert "Added: 1 action" in merge(review, zip_of(colleague))
    with review.store.read() as connection:
        assert find_account(connection, "Ben").id == BEN
    # In the other direction, the colleague gets what Ann did, and both reviews are the same.
    assert "Added: 11 actions" in merge(colleague, zip_of(review))
    assert states(colleague) == states(review)


@pytest.mark.slow
def test_work_on_the_same_place_in_both_copies_is_left_out(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    for place, value in ((review, 1), (colleague, 0)):
        place.acts.decide(look(place, BEN, 3, "screen"), 3, value)
        place.acts.note(Stamp(BEN), 1, f"Note {value}")
        place.acts.decide(look(place, ANN, 3, "screen"), 3, value)
        place.acts.edit_record(Stamp(OWEN), 5, "title", f"Title {value}")
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    # Ben undoes his note here, which still counts as changed since the copy was made.
    review.acts.undo(Stamp(BEN))
    before = states(review)
    page = merge(review, zip_of(colleague))
    assert "Added: 1 action" in page
    assert "would overwrite what was done in this review since the copy was made. 4" in page
    after = states(review)
    added = [row for name in after for row in after[name] if row not in before[name]]
    assert [row[:3] for row in added] == [(4, "screen", BEN), (4, "screen", 1)]


def test_what_is_settled_in_both_copies_stays_as_it_is_here(review: Workspace, tmp_path: Path) -> None:
    for coder, value in ((ANN, 0), (BEN, 1)):
        review.acts.decide(look(review, coder, 3, "screen"), 3, value)
    colleague = copy_of(review, tmp_path / "there")
    for place, value in ((review, 1), (colleague, 0)):
        place.acts.settle(Stamp(OWEN), 3, "screen", "edible", value, why="So it is.")
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    merge(review, zip_of(colleague))
    with review.store.read() as connection:
        final = select(schema.final.c.value).where(schema.final.c.record == 3)
        assert connection.execute(final).scalar_one() == 1


def test_different_acts_with_the_same_id_are_both_kept(review: Workspace, tmp_path: Path) -> None:
    """Each copy numbers its own jobs, so two different actions can get the same id."""
    colleague = copy_of(review, tmp_path / "there")
    for place, coder in ((review, ANN), (colleague, BEN)):
        code = {"stage": "screen", "label": "edible", "value": 1, "sentences": [], "date": None}
        more = {"group": "codings-7", "by": OWEN}
        place.acts.import_codes(Stamp(coder, client_id="codings-job-7/0"), 5, [code], more)
    content = zip_of(colleague)
    merge(review, content)
    with review.store.read() as connection:
        given = {(row.coder, row.value) for row in coders_codings(connection) if row.record_id == "doi:10.1/5"}
    assert given == {("Ann", 1), ("Ben", 1)}
    assert "There is nothing new" in texts(Browser(review, OWEN).get(read(review, content)[1]))


def test_nobody_gains_rights_and_nothing_of_the_whole_review_changes(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.change_account(Stamp(OWEN), BEN, role="owner")
    colleague.acts.start_exercise(Stamp(OWEN), "screen", [6, 7], [ANN, BEN])
    colleague.acts.end_exercise(Stamp(OWEN), keep=True)
    colleague.acts.change_plan(Stamp(OWEN), "unblinded", True)
    add_person(colleague, "Mallory", "owner")
    ben_works(colleague)
    page = merge(review, zip_of(colleague))
    assert "The action concerns the whole review, not one record; only actions on records are imported." in page
    with review.store.read() as connection:
        roles = {row.name: row.role for row in connection.execute(select(schema.account))}
        settings = connection.execute(select(schema.setting)).all()
    assert (roles, settings) == ({"Owen": "owner", "Ann": "coder", "Ben": "coder"}, [])


def test_people_are_asked_about(review: Workspace, tmp_path: Path) -> None:
    """The owner says who the people of the copy are.

    A new name may be somebody here under a different name, or an outsider; equal names may be two people.
    """
    colleague = copy_of(review, tmp_path / "there")
    benjamin, zoe, cat = (add_person(colleague, name, "coder") for name in ("Benjamin", "Zoe", "Cat"))
    add_person(review, "Cat", "coder")
    for coder in (benjamin, zoe, cat):
        colleague.acts.decide(look(colleague, coder, 7, "screen"), 7, 0)
    content = zip_of(colleague)
    owner, address = read(review, content)
    page = owner.get(address)
    assert "Benjamin, 1 action" in page
    same = {f"person-{benjamin}": str(BEN), f"person-{zoe}": str(BEN), f"person-{cat}": "new"}
    answer = owner.post(address, **same)
    assert (answer.status_code, "cannot be the same person" in answer.text) == (422, True)
    assert owner.post(address, **{**same, f"person-{zoe}": "99"}).status_code == 422
    merge(review, content, **{f"person_{benjamin}": str(BEN), f"person_{cat}": "new"})
    with review.store.read() as connection:
        given = {row.coder for row in coders_codings(connection) if row.record_id == "doi:10.1/7"}
        accounts = {row.name: row.state for row in connection.execute(select(schema.account))}
    assert given == {"Ben", "Zoe", "Cat (copy)"}
    assert (accounts["Zoe"], accounts["Cat (copy)"], accounts["Cat"]) == ("left", "left", "active")


def test_what_this_review_lacks_is_listed_and_can_be_added_later(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.decide(look(colleague, BEN, 7, "screen"), 7, 0)
    colleague.acts.edit_record(Stamp(BEN), 2, "abstract", "A different text. With two sentences.")
    work_on_text = look(colleague, BEN, 2)
    colleague.acts.code(work_on_text, 2, "apple", 1)
    content = zip_of(colleague)
    with review.store.write() as connection:
        for table in (schema.need, schema.queue):
            connection.execute(table.delete().where(table.c.record == 7))
        connection.execute(schema.record.delete().where(schema.record.c.id == 7))
    review.acts.edit_record(Stamp(OWEN), 2, "abstract", "One more text.")
    owner, address = read(review, content)
    page = texts(owner.get(address))
    assert (
        "This review lacks the record; import the search export that contains it, then import the zip again. 1" in page
    )
    assert "The record has a different text in the copy. 1" in page


def test_a_missing_abstract_comes_with_the_codes_that_rest_on_it(tmp_path: Path) -> None:
    empty = [row.model_copy(update={"abstract": ""}) if row.record_id == "doi:10.1/1" else row for row in papers(2)]
    review = make_review(tmp_path / "here", empty, coders_screen=1, coders_code=1)
    add_person(review, "Ann", "coder")
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.decide(Stamp(ANN), 1, 1)
    colleague.acts.edit_record(Stamp(ANN), 1, "abstract", "Apples grow. Pears do not.")
    with colleague.store.write() as connection:
        lines = json.dumps([[0, 12, ""], [13, 26, ""]])
        connection.execute(schema.record.update().where(schema.record.c.id == 1).values(sentences=lines))
    colleague.acts.mark(Stamp(ANN), 1, "apple", [1])
    merge(review, zip_of(colleague))
    with review.store.read() as connection:
        row = connection.execute(select(schema.current).where(schema.current.c.label == "apple")).one()
        abstract = connection.execute(select(schema.record.c.abstract).where(schema.record.c.id == 1)).scalar_one()
    assert (row.value, row.sentences, abstract) == (1, "[1]", "Apples grow. Pears do not.")


def test_a_different_review_gives_codes_from_elsewhere(review: Workspace, tmp_path: Path) -> None:
    other = begun(tmp_path / "other")
    ann_works(other)
    other.acts.decide(look(other, ANN, 5, "screen"), 5, None, refer=True)
    owner, address = read(review, zip_of(other))
    page = owner.get(address)
    assert "This is a different review" in texts(page)
    link = page.partition('href="/codings/')[2].partition('"')[0]
    work(review)
    assert "Read: 9 codes for 5 records" in texts(owner.get(f"/codings/{link}"))
    events = number_of_events(review)
    assert "Ann, 7 codes" in texts(owner.get(f"/codings/{link}"))
    assert number_of_events(review) == events


def test_an_interrupted_job_reads_the_codes_of_a_different_review_once(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = begun(tmp_path / "other")
    ann_works(other)
    whole, job = merging._read_as_codings, schema.job

    def dies(*given: Any) -> int:
        whole(*given)
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(merging, "_read_as_codings", dies)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            read(review, zip_of(other))
    go_on(review)
    with review.store.read() as connection:
        rows = connection.execute(select(job).where(job.c.kind.in_((merging.READ, codings.READ)))).all()
    project, codes = sorted(rows, key=lambda row: row.id)
    assert json.loads(project.result) == {"codings": codes.id}
    assert codes.state == "done"


def test_only_owners_import_projects(review: Workspace, tmp_path: Path) -> None:
    lead = add_person(review, "Lea", "adjudicator")
    for account in (ANN, lead):
        browser = Browser(review, account)
        assert browser.client.get("/merge").status_code == 403
        assert browser.client.get("/merge/1").status_code == 403
        assert "import a project" not in texts(Browser(review, lead).get("/import"))
    assert "import a project" in texts(Browser(review, OWEN).get("/import"))
    assert Browser(review, OWEN).client.get("/merge/99").status_code == 404


def merge_with_a_kill(review: Workspace, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import a zip with a worker that is killed while it adds the actions, and let a second worker continue."""
    whole, calls = merging._add_act, 0

    def dies(*given: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt("killed")
        return whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(merging, "_ACTS", 2)
        patch.setattr(merging, "_add_act", dies)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            merge(review, content)
    go_on(review)


def test_an_interrupted_import_goes_on_where_it_stopped(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colleague = copy_of(review, tmp_path / "there")
    ben_works(colleague)
    ann_works(review)
    merge_with_a_kill(review, zip_of(colleague), monkeypatch)
    one = begun(tmp_path / "one")
    ann_works(one)
    ben_works(one)
    assert states(review) == states(one)
    check_replay(review.store)


def test_an_interrupted_import_says_what_the_whole_import_did(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.decide(look(colleague, OWEN, 7, "screen"), 7, 0)  # added before the worker is killed
    ben_works(colleague)
    for coder in (ANN, BEN):
        review.acts.decide(look(review, coder, 7, "screen"), 7, 1)
    ann_works(review)
    shutil.copytree(review.project.root, tmp_path / "same")
    same = Workspace.open(open_project(tmp_path / "same"))
    content = zip_of(colleague)
    assert "Settled records that became conflicts" in merge(same, content)
    merge_with_a_kill(review, content, monkeypatch)
    job, event = schema.job, schema.event
    said = []
    for place in (same, review):
        with place.store.read() as connection:
            result = connection.execute(select(job.c.result).where(job.c.kind == merging.ADD)).scalar_one()
            logged = connection.execute(select(event.c.value).where(event.c.kind == "merge")).scalar_one()
        said.append((json.loads(result), json.loads(logged)))
    assert said[0] == said[1]


@pytest.mark.parametrize("record", [4, 5])
def test_what_people_do_meanwhile_is_not_overwritten(
    review: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: int
) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    colleague.acts.decide(look(colleague, BEN, 5, "screen"), 5, 0)
    whole, calls = merging.merge.compare, 0

    def slow(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        found = whole(*given)
        if calls == 2:  # the first call reads the zip, and the second adds the actions
            review.acts.decide(look(review, BEN, record, "screen"), record, 1)
        return found

    monkeypatch.setattr(merging.merge, "compare", slow)
    monkeypatch.setattr(merging, "_ACTS", 1)  # Each act is added in a separate transaction.
    page = merge(review, zip_of(colleague))
    assert "Added: 1 action" in page
    assert "Somebody worked on this record in this review during the import; import the zip again. 1" in page
    with review.store.read() as connection:
        current = schema.current
        ours = select(current.c.value).where(current.c.record == record, current.c.coder == BEN)
        assert connection.execute(ours).scalar_one() == 1


# Hostile files -------------------------------------------------------------------------------------------------------


def packed(members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda _: None) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, content)
    return target.getvalue()


def link(info: zipfile.ZipInfo) -> None:
    if info.filename.endswith("data.txt"):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16


LOG = "review/data/review/log/events-2026-11.jsonl"
ROW = b'{"seq": 1}\n'


def encrypted() -> bytes:
    """Return a zip whose only file is marked as encrypted, in both of its headers."""
    content = bytearray(packed({LOG: ROW}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 not really", "This zip is damaged"),
        (packed({"notes.txt": b"x"}), "contains no log of a review"),
        (packed({LOG: ROW, "../../evil.jsonl": b"x"}), "file names that mechtag does not create"),
        (packed({LOG: ROW, "/etc/evil": b"x"}), "file names that mechtag does not create"),
        (packed({LOG: ROW, "review/..\\evil": b"x"}), "file names that mechtag does not create"),
        (packed({LOG: ROW, "C:/evil": b"x"}), "file names that mechtag does not create"),
        (packed({LOG: ROW, "review/data.txt": b"/etc/passwd"}, link), "contains symbolic links"),
        (packed({LOG: ROW, "review/bomb": b"0" * (20 << 20)}), "more than 200 times"),
        (packed({LOG: ROW, "other/data/review/log/events-2026-11.jsonl": ROW}), "more than one review"),
        (encrypted(), "is encrypted"),
        (packed({LOG: ROW}), "the log in this zip is damaged"),
        (packed({LOG: b"[1, 2]\n"}), "the log in this zip is damaged"),
        (packed({LOG: b"[" * 100_000 + b"\n"}), "the log in this zip is damaged"),
        (packed({LOG: b"\xff\xfe"}), "the log in this zip is damaged"),
    ],
)
def test_a_hostile_zip_is_refused_and_leaves_nothing(review: Workspace, content: bytes, message: str) -> None:
    before = {path for path in review.project.root.parent.rglob("*") if "cache" not in path.parts}
    events = number_of_events(review)
    owner, address = read(review, content)
    page = owner.get(address)
    assert message.casefold() in texts(page).casefold()
    assert str(review.project.root) not in page
    assert number_of_events(review) == events
    left = {path for path in review.project.root.parent.rglob("*") if "cache" not in path.parts} - before
    assert {path for path in left if path.suffix not in (".sqlite3-wal", ".sqlite3-shm")} == set()
    assert [path.name for path in (review.folder / "cache").rglob("*") if path.is_file()] == [merging.ZIP]


def test_too_many_or_doubled_files_are_refused(
    review: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(project_zip, "MOST_FILES", 3)
    owner, address = read(review, packed({LOG: ROW, **{f"review/{number}": b"" for number in range(3)}}))
    assert "contains 4 files, but mechtag imports at most 3" in texts(owner.get(address))
    monkeypatch.setattr(project_zip, "LARGEST", 100)
    owner, address = read(review, packed({LOG: b"0" * 101}))
    assert "unpacks to more than" in texts(owner.get(address))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(LOG, ROW)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(LOG, b"y")
    owner, address = read(review, target.getvalue())
    assert "file names that mechtag does not create" in texts(owner.get(address))


def tampered(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a project zip after applying ``change`` to each event of its log."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, text in members.items():
        if "/events-" in name:
            rows = [json.loads(line) for line in text.decode().split("\n") if line]
            for row in rows:
                change(row)
            members[name] = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    return packed(members)


def field_of(kind: str, **values: object) -> Callable[[dict[str, Any]], object]:
    def change(row: dict[str, Any]) -> None:
        if row["kind"] == kind and row["record"] == "doi:10.1/1" and row["stage"] == "code":
            row["value"] |= values

    return change


def column_of(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    def change(row: dict[str, Any]) -> None:
        if row["kind"] == "evidence" and row["stage"] == "code":
            row[name] = value

    return change


def sight_of(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    def change(row: dict[str, Any]) -> None:
        if row["sight"] is not None and row["stage"] == "code":
            row["sight"][name] = value

    return change


SIGN = ("sign", "apple", 0, "absent")
ROLE = ("role", "apple", 0, "context")
LINK = ("link", "apple", 0, "context", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "change"),
    [
        (SIGN, field_of("evidence", sentences=[7])),
        (SIGN, field_of("evidence", sentences=[-1])),
        (SIGN, field_of("evidence", sentences="all")),
        (SIGN, field_of("sign", sentence=7)),
        (SIGN, field_of("sign", sentence=-1)),
        (SIGN, field_of("sign", sign="good")),
        (ROLE, field_of("role", sentence=7)),
        (ROLE, field_of("role", role="cause")),
        (LINK, field_of("link", configuration=0)),
        (SIGN, field_of("code", v=5)),
        (SIGN, field_of("code", v="yes")),
        (SIGN, column_of("label", "unknown")),
        (SIGN, column_of("at", "../../2026")),
        (SIGN, column_of("client_id", "x" * 300)),
        (SIGN, column_of("seconds", -1)),
        (SIGN, column_of("seconds", "soon")),
        (SIGN, column_of("app", 7 * ["x"])),
        (SIGN, column_of("stage", "other")),
        (SIGN, column_of("coder", 99)),
        (SIGN, sight_of("suggested", "[1]")),
        (SIGN, sight_of("suggested", "nonsense")),
        (SIGN, sight_of("mode", "psychic")),
        (SIGN, sight_of("coder", ANN)),
        (SIGN, sight_of("suggestions_shown", "9")),
        (SIGN, sight_of("record", "doi:10.1/404")),
    ],
)
def test_a_log_with_impossible_values_harms_nothing(
    review: Workspace, tmp_path: Path, act: tuple[Any, ...], change: Callable[[dict[str, Any]], object]
) -> None:
    """Either the zip is refused, or the actions with impossible values are left out."""
    if act == LINK:  # Only a sentence with a role is linked to a configuration.
        review.acts.role(look(review, BEN, 1), 1, *ROLE[1:])
    colleague = copy_of(review, tmp_path / "there")
    getattr(colleague.acts, act[0])(look(colleague, BEN, 1), 1, *act[1:])
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    before = states(review)
    owner, address = read(review, tampered(zip_of(colleague), change))
    page = texts(owner.get(address))
    if "The project could not be read" not in page:
        assert "Read: 1 new action on 1 record" in page
        owner.post(address, **{f"person-{BEN}": str(BEN)})
        work(review)
        assert "Added: 1 action" in texts(owner.get(address))
    check_replay(review.store)
    after = states(review)
    assert [row for row in after["current"] if row not in before["current"] and row[0] == 1] == []
    for page_address in ("/", "/records/1", "/activity", "/code?record=1", "/decisions"):
        assert owner.client.get(page_address).status_code == 200


def test_a_copy_takes_back_nothing_that_is_managed_here(review: Workspace, tmp_path: Path) -> None:
    """Neither undoing a join in the copy nor forging the undo of another person's action changes this review."""
    review.acts.join(Stamp(OWEN), 6, 7)
    review.acts.tag(Stamp(ANN), 5, "method")
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.undo(Stamp(OWEN))
    colleague.acts.undo(Stamp(ANN))
    before = states(review)

    def forge(row: dict[str, Any]) -> None:
        if row["kind"] == "undo" and row["coder"] == ANN:
            row["coder"] = BEN

    owner, address = read(review, tampered(zip_of(colleague), forge))
    page = texts(owner.get(address))
    assert "Full texts, duplicates and blinding are not imported from a copy. 1" in page
    assert "The action undoes or redoes an action of a different person. 1" in page
    assert "There is nothing new in this project." in page
    assert states(review) == before


def test_only_people_who_settle_here_settle(review: Workspace, tmp_path: Path) -> None:
    for coder, value in ((ANN, 0), (BEN, 1)):
        review.acts.decide(look(review, coder, 3, "screen"), 3, value)
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.change_account(Stamp(OWEN), BEN, role="adjudicator")
    colleague.acts.settle(Stamp(BEN), 3, "screen", "edible", 1, why="Mine.")
    colleague.acts.reopen(Stamp(BEN), 3, "screen", ANN, "Look again.")
    before = states(review)
    owner, address = read(review, zip_of(colleague))
    page = texts(owner.get(address))
    said = "Only owners and adjudicators may settle or send back records, and this person is neither in this review. 2"
    assert said in page
    assert states(review) == before


@pytest.mark.parametrize("settled_here", [True, False])
def test_what_was_settled_and_what_was_judged_since_are_not_mixed(
    review: Workspace, tmp_path: Path, settled_here: bool
) -> None:
    """A record was settled in one copy and judged again in the other: what the zip contains of it is left out."""
    for coder, value in ((ANN, 0), (BEN, 1)):
        review.acts.decide(look(review, coder, 3, "screen"), 3, value)
    colleague = copy_of(review, tmp_path / "there")
    settling, judging = (review, colleague) if settled_here else (colleague, review)
    settling.acts.settle(Stamp(OWEN), 3, "screen", "edible", 1, why="So it is.")
    judging.acts.decide(look(judging, ANN, 3, "screen"), 3, 1)
    before = states(review)
    owner, address = read(review, zip_of(colleague))
    assert "The record was judged in one copy and settled in the other" in texts(owner.get(address))
    assert "There is nothing new in this project." in texts(owner.get(address))
    assert states(review) == before


@pytest.mark.parametrize(
    "change",
    [
        field_of("evidence", sentences=["0"]),
        field_of("evidence", sentences=[0.0]),
        field_of("evidence", sentences=[True]),
        field_of("evidence", complete="no"),
        field_of("sign", sentence=False),
        field_of("sign", sign=1),
        field_of("code", refer="no"),
        field_of("code", v=True),
        field_of("code", by=["x"]),
        field_of("code", how=["imported"]),
        field_of("code", group=7),
        column_of("label", 7),
    ],
)
def test_values_of_a_wrong_type_are_left_out(
    review: Workspace, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.sign(look(colleague, BEN, 1), 1, "apple", 0, "absent")
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    owner, address = read(review, tampered(zip_of(colleague), change))
    page = texts(owner.get(address))
    assert "Read: 1 new action on 1 record" in page
    assert (
        "The action is damaged in the log of the zip; ask the sender for a new zip. 1" in page
        or "has no label '7'. 1" in page
    )


@pytest.mark.parametrize(
    "change",
    [
        field_of("role", on="yes"),
        field_of("role", role=7),
        field_of("role", role="x" * 200),
        field_of("link", configuration="1"),
        field_of("link", configuration=0),
    ],
)
def test_roles_and_links_of_a_wrong_type_are_left_out(
    review: Workspace, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.role(look(colleague, BEN, 1), 1, "apple", 0, "context")
    colleague.acts.link(look(colleague, BEN, 1), 1, "apple", 0, "context", 1)
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    owner, address = read(review, tampered(zip_of(colleague), change))
    page = texts(owner.get(address))
    assert "Read: 2 new actions on 2 records" in page
    assert "The action is damaged in the log of the zip; ask the sender for a new zip. 1" in page


def test_events_of_one_act_that_lie_apart_are_refused(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.tag_together(Stamp(BEN), [1, 2], "later")
    colleague.acts.decide(look(colleague, BEN, 4, "screen"), 4, 0)
    with colleague.store.read() as connection:
        last = connection.execute(select(func.max(schema.event.c.seq))).scalar_one()

    def swap(row: dict[str, Any]) -> None:
        row["seq"] = {last - 1: last, last: last - 1}.get(row["seq"], row["seq"])

    before = states(review)
    owner, address = read(review, tampered(zip_of(colleague), swap))
    assert "The log in this zip is damaged" in texts(owner.get(address))
    assert states(review) == before


@pytest.mark.parametrize("name", ["x" * 10_000, "", "\u202e", "=cmd|'/c calc'!A1<script>"])
def test_strange_names_of_people_harm_nothing(review: Workspace, tmp_path: Path, name: str) -> None:
    colleague = copy_of(review, tmp_path / "there")
    zoe = add_person(colleague, "Zoe", "coder")
    colleague.acts.decide(look(colleague, zoe, 4, "screen"), 4, 0)

    def rename(row: dict[str, Any]) -> None:
        if row["kind"] == "account" and row["value"]["name"] == "Zoe":
            row["value"]["name"] = name

    owner, address = read(review, tampered(zip_of(colleague), rename))
    page = owner.get(address)
    assert "<script>" not in page
    if "The project could not be read" in texts(page):
        assert "The log in this zip is damaged" in texts(page)
        return
    owner.post(address, **{f"person-{zoe}": "new"})
    work(review)
    assert "Added: 1 action" in texts(owner.get(address))


def undo(review: Workspace, address: str, act: str = "undo") -> str:
    """Press a button on the page of an import, let the worker finish, and return the text of the page."""
    owner = Browser(review, OWEN)
    answer = owner.post(address, act=act)
    work(review)
    check_replay(review.store)
    return texts(owner.get(address)) if answer.status_code == 200 else texts(answer.text)


def address_of(review: Workspace) -> str:
    job = schema.job
    with review.store.read() as connection:
        return f"/merge/{connection.execute(select(func.max(job.c.id)).where(job.c.kind == 'read_project')).scalar()}"


@pytest.fixture(scope="module")
def with_addition(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("merged")
    review = copy_review(prepared, folder / "here")
    colleague = copy_of(review, folder / "there")
    ben_works(colleague)
    colleague.acts.decide(look(colleague, BEN, 7, "screen"), 7, 1)
    merge(review, zip_of(colleague))
    return review


@pytest.fixture
def merged(with_addition: Workspace, tmp_path: Path) -> Workspace:
    """Return a review to which Ben's work in a copy was added."""
    return copy_review(with_addition, tmp_path / "merged")


def test_an_import_is_undone_as_one_act_and_added_again(review: Workspace, tmp_path: Path) -> None:
    review.acts.tag(Stamp(BEN), 5, "early")
    before = states(review)
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.undo(Stamp(BEN))  # the tag, which the review and the copy share
    ben_works(colleague)
    page = merge(review, zip_of(colleague))
    assert "Undo this import" in page
    after, events = states(review), number_of_events(review)
    assert after != before
    assert "The import was undone" in undo(review, address_of(review))
    assert states(review) == before
    with review.store.read() as connection:
        acts = connection.execute(select(schema.event.c.act).where(schema.event.c.seq > events).distinct()).all()
    assert len(acts) == 1
    owner = Browser(review, OWEN)
    assert "undid an import of a copy: " in texts(owner.get("/activity"))
    assert ": undone" in texts(owner.get("/merge"))
    # A second press does nothing, nor does redo in the header: the import is not an action of Owen that he can redo.
    assert owner.post(address_of(review), act="undo").status_code == 409
    assert owner.post("/redo").status_code == 409
    assert states(review) == before
    assert "Undo this import" in undo(review, address_of(review), "again")
    assert states(review) == after
    assert "added the actions of a copy of this review again" in texts(owner.get("/activity"))
    assert states(copy_of(review, tmp_path / "again")) == after
    undo(review, address_of(review))
    assert states(review) == before


def test_a_project_whose_import_was_undone_leads_to_this_import(review: Workspace, tmp_path: Path) -> None:
    colleague = copy_of(review, tmp_path / "there")
    ben_works(colleague)
    content = zip_of(colleague)
    merge(review, content)
    imported = address_of(review)
    owner, again = read(review, content)
    assert "was undone" not in texts(owner.get(again))
    undo(review, imported)
    page = owner.get(again)
    assert "There is nothing new in this project. Actions of an import that was undone are not new" in texts(page)
    assert f'<a href="{imported}">import of ' in page


def test_a_large_import_is_undone_in_parts_that_let_others_write(
    merged: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtag.review.store.events._AT_ONCE", 2)
    undo(merged, address_of(merged))
    with merged.store.read() as connection:
        assert connection.execute(select(schema.stale)).all() == []
        judged = select(schema.current).where(schema.current.c.coder == BEN, schema.current.c.record > 2)
        assert connection.execute(judged).all() == []


@pytest.mark.parametrize("relying", ["settled", "sent back", "coded", "changed"])
def test_an_import_on_which_people_rely_is_not_undone(merged: Workspace, relying: str) -> None:
    match relying:
        case "settled":
            merged.acts.decide(look(merged, ANN, 3, "screen"), 3, 1)
            merged.acts.settle(Stamp(OWEN), 3, "screen", "edible", 1, why="So it is.")
        case "sent back":
            merged.acts.reopen(Stamp(OWEN), 4, "screen", BEN, "Again, please.")
        case "coded":
            merged.acts.decide(look(merged, ANN, 7, "screen"), 7, 1)
            merged.acts.code(look(merged, ANN, 7), 7, "pear", 0)
        case "changed":
            merged.acts.code(look(merged, BEN, 1), 1, "pear", 1)
    before = states(merged)
    page = undo(merged, address_of(merged))
    title = {"settled": "Paper 3", "sent back": "Paper 4", "coded": "Paper 7", "changed": "Paper 1"}[relying]
    assert f"People have since worked on the record '{title}'; before you undo this import" in page
    assert states(merged) == before
    merged.acts.undo(Stamp({"changed": BEN, "coded": ANN}.get(relying, OWEN)))
    assert "The import was undone" in undo(merged, address_of(merged))


def test_independent_work_of_others_does_not_keep_an_import(merged: Workspace) -> None:
    merged.acts.decide(look(merged, ANN, 3, "screen"), 3, 1)
    ann = [row for row in states(merged)["current"] if row[2] == ANN]
    assert "The import was undone" in undo(merged, address_of(merged))
    assert [row for row in states(merged)["current"] if row[2] == ANN] == ann


def test_a_third_vote_that_differs_is_listed_with_the_record_it_reopens(review: Workspace, tmp_path: Path) -> None:
    """In this review, Ben and Ann agree on record 3; in the copy, Owen judges it differently."""
    colleague = copy_of(review, tmp_path / "there")
    colleague.acts.decide(look(colleague, OWEN, 3, "screen"), 3, 0)
    for coder in (ANN, BEN):
        review.acts.decide(look(review, coder, 3, "screen"), 3, 1)
    page = merge(review, zip_of(colleague))
    assert "Settled records that became conflicts" in page
    assert "Paper 3 , screening" in page
    assert "1 settled record became a conflict" in texts(Browser(review, OWEN).get("/activity"))
    undo(review, address_of(review))
    with review.store.read() as connection:
        need = schema.need
        state = select(need.c.state).where(need.c.record == 3, need.c.stage == "screen")
        assert connection.execute(state).scalar_one() == "settled"
