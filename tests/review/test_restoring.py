"""Test that a lost database is restored from the text files of the log, with everything that people did."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from mechtag.core.errors import MechtagError
from mechtag.project import open_project
from mechtag.review.acts import Stamp
from mechtag.review.app import create_app
from mechtag.review.import_log import write_imports
from mechtag.review.jobs import accuracy, exporting
from mechtag.review.jobs.worker import do_next
from mechtag.review.journal import Journal
from mechtag.review.passwords import hash_password
from mechtag.review.server import Team, _announce_owner, rebuild, serve
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.store.exercises import records_to_draw
from mechtag.review.workspace import DATABASE, Workspace, write_fact
from tests.support.command import call
from tests.support.review_imports import JOBS, OWNER, TITLES, bring, ris, upload, work
from tests.support.review_site import HOST, Browser, look, make_review, texts
from tests.support.reviews import check_replay

# Tables that are computed again or must not be in the log, and those of which only a part is in the log.
NOT_RESTORED = {"session", "invitation", "stale", "place", "lease", "ranking", "queue", "suggestion", "job", "sight"}
NOT_RESTORED |= {"change"}
STUBS = {**JOBS, **dict.fromkeys(("tag", "calibrate", "read_full_texts"), lambda workspace, arguments, progress: {})}
STUBS |= {accuracy.KIND: accuracy.run}
SIMILAR = "Orchards of the north and their keepers"


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    """Make a review in which people have used nearly every action that the log records."""
    review = make_review(tmp_path, [], reasons="optional", exclusion_reasons=["wrong topic"])
    root = review.project.root
    owner = Browser(review, OWNER)
    with review.store.write() as connection:
        write_fact(connection, "name", "Orchards")
        ann = add_account(connection, "Ann", "coder", hash_password("1234"))
        bob = add_account(connection, "Bob", "coder", hash_password("5678"))
        add_account(connection, "Cat", "owner", hash_password("9012"))
    extra = "VL  - 3\nSN  - 1234-5678"
    bring(review, owner, ("a.ris", ris(*TITLES, extra=extra)), ("b.ris", ris(TITLES[0], abstract="")))
    owner.post("/duplicates/split", copy=1)
    owner.post("/undo")
    bring(review, owner, ("c.ris", ris(SIMILAR, TITLES[1], TITLES[2], "Figs at sea")))
    third = bring(review, owner, ("d.ris", ris("Taken out again")))
    owner.post(f"/import/{third}", act="undo")
    upload(owner, ("e.ris", ris("Read but not added", "Another")))
    with review.store.read() as connection:
        pair = connection.execute(select(schema.pair.c.id)).scalars().first()
        copies = connection.execute(select(schema.copy.c.id).order_by(schema.copy.c.id)).scalars().all()
    owner.post("/duplicates", pair=pair, answer="same")
    owner.post("/duplicates/split", copy=copies[-1])
    bring(review, owner, ("f.ris", ris(TITLES[3], "Quinces in the south")))
    work_all(review)
    judge(review, ann, bob)
    attach(review)
    owner.post("/accuracy")
    owner.post("/flow", **{"reports.sought": 3, "reports.excluded": "Wrong topic: 1"})
    work_all(review)
    assert root == review.project.root
    return review


def judge(review: Workspace, ann: int, bob: int) -> None:
    acts = review.acts
    for person in (ann, bob):
        for record in (1, 2, 3):
            acts.decide(look(review, person, record, "screen"), record, int(record != 3 or person == ann))
    acts.decide(Stamp(ann), 4, 0, reason="wrong topic")
    acts.decide(Stamp(bob), 4, None, refer=True)
    acts.settle(Stamp(OWNER), 3, "screen", "edible", 1, why="It is about fruit.")
    for person in (ann, bob):
        acts.code(look(review, person, 1), 1, "apple", 1)
        acts.mark(Stamp(person), 1, "apple", [0])
        acts.code(Stamp(person), 1, "pear", int(person == ann))
        acts.commit(Stamp(person), 1)
    acts.settle(Stamp(OWNER), 1, "code", "pear", 0, sentences=[1], why="No pears.")
    acts.code(Stamp(ann), 2, "pear", 1)
    acts.undo(Stamp(ann))
    acts.redo(Stamp(ann))
    acts.undo(Stamp(ann))
    acts.note(Stamp(ann), 2, "Märchen \u2028 line")
    acts.tag(Stamp(bob), 2, "later")
    acts.comment(Stamp(OWNER), 3, "See the definition.")
    acts.skip(Stamp(ann), 7, "screen")
    acts.edit_record(Stamp(OWNER), 4, "title", "A corrected title")
    acts.edit_record(Stamp(OWNER), 5, "title", "A title that was right before")
    acts.undo(Stamp(OWNER))
    acts.change_plan(Stamp(OWNER), "coders_code", 1)
    with review.store.read() as connection:
        drawn = records_to_draw(connection, "screen")[:2]
    acts.start_exercise(Stamp(OWNER), "screen", drawn, [ann, bob])
    for person in (ann, bob):
        acts.decide(Stamp(person), drawn[0], 1)
    acts.end_exercise(Stamp(OWNER), keep=True)
    pear = {"stage": "code", "label": "pear", "value": 1, "sentences": [1], "date": "2026-03-01"}
    acts.import_codes(Stamp(bob), 2, [pear], {"group": "codings-7", "by": 1})
    acts.change_account(Stamp(OWNER), ann, role="adjudicator")
    acts.log(Stamp(OWNER), "codebook", {"version": 2, "meaning": ["apple"], "wording": [], "added": [], "removed": []})


def attach(review: Workspace) -> None:
    """Attach a full text to record 1, and add a second file that is still being read."""
    table, text = schema.full_text, "Methods\u2028 and more.\nA second sentence."
    with review.store.write() as connection:
        shared = {"at": "2026-11-29T12:00:00.000+00:00", "coder": OWNER}
        read = {"state": "read", "format": "text", "text": text, "sentences": '[[0, 18, "", ""], [19, 37, "", ""]]'}
        connection.execute(insert(table).values(id=1, sha256="a" * 64, name="one.txt", **shared, **read))
        connection.execute(insert(table).values(id=2, sha256="b" * 64, name="two.txt", **shared, state="reading"))
    review.acts.attach(Stamp(OWNER), 1, 1, "person")


def work_all(review: Workspace) -> None:
    while do_next(review, STUBS):
        pass


def tables(review: Workspace) -> dict[str, list[Any]]:
    """Return the rows of all tables that are restored from the log."""
    found: dict[str, list[Any]] = {}
    with review.store.read() as connection:
        for table in schema.metadata.sorted_tables:
            if table.name not in NOT_RESTORED:
                columns = [column for column in table.c if column is not schema.account.c.password]
                found[table.name] = sorted(map(tuple, connection.execute(select(*columns))), key=repr)
        ended = select(schema.job).where(schema.job.c.kind.not_in(("rank", "tag", "files", "read_full_texts")))
        found["job"] = sorted(map(tuple, connection.execute(ended)), key=repr)
        used = schema.sight.c.id.in_(select(schema.event.c.sight))
        found["tally"] = [row for row in found["tally"] if row[2]]
        found["sight"] = sorted(map(tuple, connection.execute(select(schema.sight).where(used))), key=repr)
    return found


ADDRESSES = (
    *("/", "/records", "/duplicates", "/duplicates/groups", "/reconcile", "/decisions", "/team", "/settings"),
    *("/activity", "/codebook", "/learn", "/accuracy", "/flow", "/exercise", "/matrix", "/import", "/import/1"),
    *("/import/3", "/import/4", "/export", "/full-texts", "/records/1/text", "/codings", "/accuracy.json"),
    *("/activity.csv", "/flow/csv"),
)


def pages(review: Workspace, account: int) -> dict[str, str]:
    """Return the text of every page and record as one person sees them, by address."""
    browser = Browser(review, account)
    with review.store.read() as connection:
        numbers = connection.execute(select(schema.record.c.id).order_by(schema.record.c.id)).scalars().all()
    addresses = [*ADDRESSES, *(f"/records/{number}" for number in numbers)]
    addresses += [f"/{stage}?record={number}" for stage in ("screen", "code") for number in numbers]
    found = {}
    for address in addresses:
        answer = browser.client.get(address)
        page = texts(answer.text)
        # Sessions and PINs do not come back, and the order is computed again.
        page = re.sub(r"People on this computer .*|New password link|Random order", "", page)
        page = " ".join(page.split())
        found[address] = f"{answer.status_code} {page}"
    return found


def lose(review: Workspace) -> None:
    """Write the log, and delete the database."""
    write_imports(review)
    Journal(review).flush()
    review.store.close()
    for path in review.folder.glob(f"{DATABASE}*"):
        path.unlink()


@pytest.mark.slow
def test_everything_comes_back_from_the_log(review: Workspace) -> None:
    before, shown = tables(review), {person: pages(review, person) for person in (1, 2, 3)}
    full = ("copy", "pair", "joined", "apart", "note", "tag", "skip", "setting", "upload", "final", "sight")
    full += ("full_text", "attachment")
    assert [name for name in full if not before[name]] == []
    assert any(row[schema.copy.c.keys().index("record")] for row in before["copy"])
    lose(review)
    status, _, err = call("review", review.project.root, "--rebuild")
    assert status == 0
    said = " ".join(err.split())
    assert "created a new database from the log" in said
    assert "On this computer, Owen can open the page without a password" in said
    assert "an owner must create a link for each of them on the page Team: Ann, Bob, Cat." in said
    again = Workspace.open(review.project)
    assert tables(again) == before
    check_replay(again.store)
    work_all(again)
    assert tables(again) == before
    for person, expected in shown.items():
        for address, page in pages(again, person).items():
            assert page == expected[address], (person, address)
    # The log continues where it ended, and events of new jobs are not mistaken for those of earlier jobs.
    assert Journal(again).flush() == 0
    bring(again, Browser(again, OWNER), ("g.ris", ris("A paper after the loss")))
    assert Journal(again).flush() == 1
    again.store.close()
    assert call("review", review.project.root, "--rebuild")[0] == 0


@pytest.fixture
def shared(tmp_path: Path) -> Workspace:
    """Make a review of four records for a team of three, two of whom have a PIN."""
    review = make_review(tmp_path)
    with review.store.write() as connection:
        for name, role in (("Ann", "coder"), ("Cat", "owner")):
            add_account(connection, name, role, hash_password("1234"))
    return review


def test_nobody_enters_as_somebody_whose_pin_was_lost(shared: Workspace) -> None:
    review = shared
    lose(review)
    rebuild(review.project.root)
    again = Workspace.open(review.project)
    app = create_app(again, hosts=frozenset((HOST,)), start_key="key", port=8765)
    client = TestClient(app, base_url=f"http://{HOST}")
    page = texts(client.get("/start?key=key").text)
    assert "Continue as Owen" in page
    assert "Ann needs a new PIN" in page
    assert "Continue as Ann" not in page
    for pin in ("", "1234", "lost"):
        assert client.post("/start", data={"key": "key", "account": "2", "pin": pin}).status_code == 403
    owner = Browser(again, OWNER)
    assert owner.post("/team/switch", account=2, pin="lost").status_code == 403
    page = owner.post("/team/reset", account=2).text
    token = page.split("join?token=")[1].split('"')[0]
    answer = client.post("/join", data={"token": token, "password": "four unrelated words here"})
    assert answer.status_code == 200
    assert "Continue as Ann" in texts(client.get("/start?key=key").text)


def test_a_team_gets_a_link_for_the_owner(shared: Workspace) -> None:
    review = shared
    lose(review)
    rebuild(review.project.root)
    again, said = Workspace.open(review.project), list[str]()
    _announce_owner(again, "https://review.example.org", Team("127.0.0.1"), said.append)
    token = said[0].split("token=")[1]
    app = create_app(again, hosts=frozenset((HOST,)), start_key=None, port=8765)
    client = TestClient(app, base_url=f"http://{HOST}")
    client.post("/join", data={"token": token, "password": "four unrelated words here"})
    assert "Signed in" in texts(client.get("/team").text)
    with again.store.read() as connection:
        rows = connection.execute(select(schema.account.c.name, schema.account.c.password)).all()
    assert [row.name for row in rows if (row.password or "").startswith("$argon2")] == ["Owen"]


def write_damage(database: Path) -> None:
    database.write_bytes(b"This is not a database." * 1000)


def put_back(database: Path) -> None:
    shutil.copy(database.with_name("earlier"), database)


@pytest.mark.parametrize("harm", [Path.unlink, write_damage, put_back])
def test_a_database_that_lacks_events_is_not_served_but_made_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    review = make_review(tmp_path, 4)
    review.acts.decide(Stamp(OWNER), 1, 1)
    database = review.folder / DATABASE
    review.store.backup(database.with_name("earlier"))
    review.acts.decide(Stamp(OWNER), 2, 0)
    before = tables(review)
    write_imports(review)
    Journal(review).flush()
    review.store.close()
    harm(database)
    with pytest.raises(MechtagError, match=r"missing, damaged or older than the log.* --rebuild'"):
        serve(review.project.root, browser=False, port=0)
    said: list[str] = []
    rebuild(review.project.root, said.append)
    again = Workspace.open(review.project)
    assert tables(again) == before
    # A database that was there is kept under a different name.
    assert len(list((review.folder / "backups").glob("replaced-*.sqlite3"))) == (harm is not Path.unlink)
    assert ("kept the old database under this name" in said[0]) == (harm is not Path.unlink)


def test_a_damaged_log_leaves_the_database_alone(tmp_path: Path) -> None:
    review = make_review(tmp_path, 4)
    Journal(review).flush()
    write_imports(review)
    review.store.close()
    database = review.folder / DATABASE
    write_damage(database)
    (review.folder / "log/import-1.jsonl").write_text("{}\n")
    with pytest.raises(MechtagError, match=r"import-1\.jsonl: this file is damaged or incomplete"):
        rebuild(review.project.root)
    assert database.read_bytes().startswith(b"This is not a database.")


def test_an_archive_of_the_project_can_be_opened_elsewhere(review: Workspace, tmp_path: Path) -> None:
    with review.store.write() as connection:
        arguments = json.dumps({"name": "project", "coder": None})
        values = {"kind": "export", "arguments": arguments, "asked": "2026-11-29", "state": "waiting"}
        connection.execute(insert(schema.job).values(values))
    before = tables(review)
    while do_next(review, STUBS | {"export": exporting.run}):
        pass
    (archive,) = exporting.folder_of(review).glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "elsewhere")
    root = tmp_path / "elsewhere/review"
    assert call("review", root, "--rebuild")[0] == 0
    again = Workspace.open(open_project(root))
    after = tables(again)
    assert {name: rows for name, rows in after.items() if name != "job"} == {
        name: rows for name, rows in before.items() if name != "job"
    }
    # The uploaded files are restored too, so a later import finds duplicates of their records.
    work(again)
    bring(again, Browser(again, OWNER), ("h.ris", ris(TITLES[0])))
