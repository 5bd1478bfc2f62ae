"""Test the log as text files: complete, repaired after a crash, and sufficient to rebuild the database."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import select

from mechtag.core.errors import MechtagError
from mechtag.review import journal
from mechtag.review.acts import Stamp
from mechtag.review.import_log import write_imports
from mechtag.review.journal import Journal, back_up
from mechtag.review.passwords import hash_password
from mechtag.review.restoring import read_log, restore
from mechtag.review.sight import show
from mechtag.review.store import schema
from mechtag.review.store.accounts import LOST, add_account
from mechtag.review.store.engine import Store
from mechtag.review.store.exercises import read_exercises
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace
from tests.support.review_site import NOW, make_review


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    review = make_review(tmp_path)
    with review.store.write() as connection:
        ann = add_account(connection, "Ann", "coder", hash_password("1234"))
        entry = read_entry(connection, 2)
        assert entry is not None
        sight = show(connection, entry, ann, "screen", labels=("edible",), at=NOW, model_id=None)
    acts = review.acts
    acts.decide(Stamp(ann, sight=sight.id, seconds=3.5), 2, 1)
    acts.code(Stamp(ann), 1, "apple", 1)
    acts.mark(Stamp(ann), 1, "apple", [0])
    acts.commit(Stamp(ann), 1, open_labels=True)
    acts.note(Stamp(ann), 3, "Märchen \u2028 line")
    acts.undo(Stamp(ann))
    acts.join(Stamp(1), 4, 2)
    acts.edit_record(Stamp(1), 3, "title", "Corrected")
    acts.change_plan(Stamp(1), "coders_screen", 1)
    acts.change_account(Stamp(1), ann, role="adjudicator")
    acts.start_exercise(Stamp(1), "screen", [1, 3], [1, ann])
    acts.decide(Stamp(ann), 1, 0)
    acts.end_exercise(Stamp(1), keep=False)
    with review.store.write() as connection:
        bob = add_account(connection, "Bob", "coder")
    pear = {"stage": "code", "label": "pear", "value": 1, "sentences": [1], "date": "2026-03-01"}
    imported = [acts.import_codes(Stamp(bob), record, [pear], {"group": "codings-7", "by": 1}) for record in (1, 3)]
    acts.undo_import(Stamp(1), imported[1:])
    return review


def events_of(review: Workspace) -> Path:
    """Return the path of the only events file; all events of the review are of one month."""
    (path,) = (review.folder / "log").glob("events-*.jsonl")
    return path


def derived(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of the derived tables, the people, and the titles of the records."""
    with store.read() as connection:
        tables = {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=str) for table in schema.DERIVED
        }
        account = schema.account
        people = connection.execute(select(account.c.id, account.c.name, account.c.role, account.c.state)).all()
        titles = connection.execute(select(schema.record.c.record_id, schema.record.c.title)).all()
    return tables | {"people": sorted(map(tuple, people)), "titles": sorted(map(tuple, titles))}


def test_a_database_made_from_the_log_equals_the_first(review: Workspace, tmp_path: Path) -> None:
    Journal(review).flush()
    write_imports(review)
    restore(tmp_path / "new.sqlite3", review.folder / "log", review.seed)
    new = Store(tmp_path / "new.sqlite3")
    assert derived(new) == derived(review.store)
    with new.read() as connection, review.store.read() as old:
        assert read_exercises(connection) == read_exercises(old)
        assert [one.state for one in read_exercises(old)] == ["set aside"]
    with new.read() as connection:
        assert connection.execute(select(schema.account.c.password)).scalars().all() == [None, LOST, LOST]
        assert len(connection.execute(select(schema.sight)).all()) == 1


def test_the_log_grows_by_what_is_new_and_holds_no_secrets(review: Workspace) -> None:
    writer = Journal(review)
    first = writer.flush()
    assert (first > 10, writer.flush()) == (True, 0)
    review.acts.tag(Stamp(1), 1, "later")
    assert Journal(review).flush() == 1
    text = events_of(review).read_text(encoding="utf-8")
    assert [json.loads(line)["seq"] for line in text.split("\n") if line] == list(range(1, first + 2))
    write_imports(review)
    whole = "".join(path.read_text(encoding="utf-8") for path in (review.folder / "log").glob("*.json*"))
    assert "Märchen" in whole
    assert "argon2" not in whole


def test_two_journals_write_each_event_once(review: Workspace) -> None:
    """The server keeps one journal open, while each export of the log opens its own."""
    stays = Journal(review)
    stays.flush()
    review.acts.tag(Stamp(1), 1, "later")
    assert Journal(review).flush() == 1
    assert stays.flush() == 0
    review.acts.tag(Stamp(1), 1, "again")
    assert stays.flush() == 1
    assert len(list(read_log(review.folder / "log"))) == len(events_of(review).read_bytes().splitlines())


def test_a_log_that_cannot_be_written_is_reported_once_and_completed_later(
    review: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtag.review.journal._PAUSE", 0.01)
    said: list[str] = []
    tried, written = threading.Event(), threading.Event()
    full = True

    def append(path: Path, lines: Iterable[str]) -> None:
        if full:
            if said:
                tried.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, lines)
        written.set()

    write = journal._append
    monkeypatch.setattr(journal, "_append", append)
    with Journal(review).kept(said.append):
        assert tried.wait(20)
        full = False
        assert written.wait(20)
    assert ["the log could not be written (No space left on device)" in line for line in said] == [True]
    assert len(list(read_log(review.folder / "log"))) > 10


def test_the_folder_of_a_moved_project_is_not_created_again(review: Workspace, tmp_path: Path) -> None:
    root, moved, said = review.project.root, tmp_path / "moved", list[str]()
    with Journal(review).kept(said.append):
        review.acts.tag(Stamp(1), 1, "before")
        root.rename(moved)
    assert not root.exists()
    assert "the log could not be written (No such file or directory)" in said[0]
    with pytest.raises(FileNotFoundError, match="log"):
        write_imports(review)
    assert not root.exists()
    moved.rename(root)
    assert Journal(review).flush() == 1


def test_a_half_written_line_is_written_again(review: Workspace) -> None:
    Journal(review).flush()
    path = events_of(review)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert Journal(review).flush() == 1
    assert path.read_bytes() == whole


def test_a_log_with_a_gap_or_a_damaged_line_is_refused(review: Workspace) -> None:
    Journal(review).flush()
    path = events_of(review)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], *lines[4:]]))
    with pytest.raises(MechtagError, match="event 4 is missing from the log"):
        list(read_log(path.parent))
    path.write_bytes(b"\n".join([*lines[:3], b"{", *lines[4:]]))
    with pytest.raises(MechtagError, match=r"line 4 is damaged; restore this file"):
        list(read_log(path.parent))
    path.unlink()
    with pytest.raises(MechtagError, match="contains no log of events"):
        list(read_log(path.parent))


def test_a_log_is_read_event_by_event(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log in a project zip is untrusted: neither its length nor a huge line may fill the memory."""
    Journal(review).flush()
    path = events_of(review)
    events = read_log(path.parent)
    first = next(events)
    monkeypatch.setattr("mechtag.review.restoring.read_lines", None)
    assert [first["seq"], *(row["seq"] for row in events)] == list(range(1, len(path.read_bytes().splitlines()) + 1))
    monkeypatch.undo()
    monkeypatch.setattr("mechtag.review.journal.LONGEST_LINE", 5000)
    path.write_bytes(path.read_bytes() + b'{"a": "' + b"a" * 5000 + b'"}')
    with pytest.raises(MechtagError, match="is longer than any line that mechtag writes"):
        list(read_log(path.parent))


def test_events_of_several_months_are_read_in_the_order_of_their_numbers(review: Workspace) -> None:
    """Imported events keep their times, so they can be in the file of an earlier month."""
    Journal(review).flush()
    path = events_of(review)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[::2]))
    path.with_name("events-2020-01.jsonl").write_bytes(b"".join(lines[1::2]))
    assert [row["seq"] for row in read_log(path.parent)] == list(range(1, len(lines) + 1))


def test_an_event_about_a_record_that_no_import_brought_is_refused(review: Workspace, tmp_path: Path) -> None:
    Journal(review).flush()
    with pytest.raises(
        MechtagError, match=r"is about record doi:10\.1/2, which is missing from the imported records; restore the"
    ):
        restore(tmp_path / "new.sqlite3", review.folder / "log", review.seed)


def test_a_file_of_an_import_that_is_incomplete_is_refused(review: Workspace, tmp_path: Path) -> None:
    Journal(review).flush()
    write_imports(review)
    path = review.folder / "log/import-1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (lines[:-1], [*lines, lines[-1]], [*lines[:2], b"{\n", *lines[3:]], [b"[]\n"]):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(MechtagError, match=r"import-1\.jsonl: this file is damaged or incomplete"):
            restore(tmp_path / f"{len(damaged)}.sqlite3", review.folder / "log", review.seed)


def test_seven_backups_are_kept_and_can_be_opened(review: Workspace) -> None:
    folder = review.folder / "backups"
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"review-2020-01-0{day}.sqlite3").write_bytes(b"old")
    made = back_up(review)
    assert len(list(folder.iterdir())) == 7
    assert not (folder / "review-2020-01-03.sqlite3").exists()
    assert derived(Store(made)) == derived(review.store)
    before = made.stat().st_mtime_ns
    back_up(review)
    assert made.stat().st_mtime_ns == before
