"""Test the database: damaged or foreign files are refused, the log only grows, and writers wait for each other."""

import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import IntegrityError

from mechtag.core.errors import MechtagError
from mechtag.review.acts import Acts
from mechtag.review.store import schema
from mechtag.review.store.engine import Store
from mechtag.review.store.readings import abstract_of
from mechtag.review.store.records import read_entries, read_entry
from mechtag.review.workspace import add_job
from tests.support.reviews import ANN, BOB, CAT, CODEBOOK, add_papers, check_replay, derived, open_review, stamp


@pytest.fixture
def acts(tmp_path: Path) -> Acts:
    return open_review(tmp_path / "review.sqlite3", 3)


def test_the_log_is_only_added_to(acts: Acts) -> None:
    acts.decide(stamp(ANN), 1, 1)
    table = schema.event
    for statement in (
        update(table).values(coder=BOB),
        delete(table),
        text("INSERT OR REPLACE INTO event SELECT * FROM event"),
    ):
        with pytest.raises(IntegrityError, match="the log of events is append-only"), acts.store.write() as connection:
            connection.execute(statement)
    with acts.store.read() as connection:
        assert connection.execute(select(table.c.coder)).scalars().all() == [ANN]


def test_an_act_is_written_whole_or_not_at_all(acts: Acts, monkeypatch: pytest.MonkeyPatch) -> None:
    before = check_replay(acts.store)

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("mechtag.review.store.events._update_derived", fail)
    with pytest.raises(OSError, match="no space left"):
        acts.decide(stamp(ANN), 1, 1)
    assert check_replay(acts.store) == before
    with acts.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(schema.event)).scalar_one() == 0


def test_confirmed_writes_are_on_disk(acts: Acts) -> None:
    with acts.store.read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2}
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_newer_format_is_refused_and_left_alone(acts: Acts) -> None:
    acts.store.close()
    path = acts.store.path
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(MechtagError, match=r"review\.sqlite3: this project was opened with a newer version of mechtag"):
        Store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION + 1,)
    connection.close()


def test_an_earlier_format_gets_its_derived_tables_again(acts: Acts) -> None:
    for coder, value in ((ANN, 1), (BOB, 0)):
        acts.decide(stamp(coder), 1, value)
    acts.comment(stamp(ANN), 1, "A comment")
    with acts.store.read() as connection:
        before, tally = derived(connection), connection.execute(select(schema.tally)).all()
    acts.store.close()
    with sqlite3.connect(acts.store.path) as connection:
        connection.execute("ALTER TABLE need DROP COLUMN labels")
        connection.execute("DROP TABLE owed")
        connection.execute("DROP TABLE stale")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = Store(acts.store.path)
    with store.read() as connection:
        assert derived(connection) == before
        counts = {(row.stage, row.state): row.number for row in connection.execute(select(schema.tally)) if row.number}
        assert counts == {(row.stage, row.state): row.number for row in tally if row.number}
    again = Acts(store, acts.codebook, acts.now)
    again.settle(stamp(CAT), 1, "screen", CODEBOOK.relevance.key, 1)
    check_replay(store)
    store.close()


def test_jobs_of_an_earlier_format_can_be_cancelled(acts: Acts) -> None:
    with acts.store.write() as connection:
        number = add_job(connection, "learn", ANN, coder=ANN)
        before = connection.execute(select(schema.job)).all()
    acts.store.close()
    with sqlite3.connect(acts.store.path) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'job'").fetchone()
        connection.execute("ALTER TABLE job RENAME TO newer")
        connection.execute(made.replace("'stopping', ", "").replace(", 'cancelled'", ""))
        connection.execute("INSERT INTO job SELECT * FROM newer")
        connection.execute("DROP TABLE newer")
        connection.execute("PRAGMA user_version = 6")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute("UPDATE job SET state = 'cancelled'")
    connection.close()
    store = Store(acts.store.path)
    with store.write() as connection:
        assert connection.execute(select(schema.job)).all() == before
        connection.execute(update(schema.job).values(state="cancelled"))
        assert add_job(connection, "learn", ANN, coder=ANN) == number + 1
        names = connection.execute(text("SELECT name FROM sqlite_schema WHERE name LIKE '%job%'")).scalars().all()
        assert sorted(names) == ["job", "job_by_state"]
    store.close()


def damage(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * length)


@pytest.mark.parametrize("kind", ["text", "header", "middle", "cut"])
def test_a_damaged_file_is_refused(acts: Acts, kind: str) -> None:
    with acts.store.write() as connection:
        add_papers(connection, range(10, 300))
    acts.store.close()
    path = acts.store.path
    size = path.stat().st_size
    if kind == "text":
        path.write_text("This is not a database.\n" * 100)
    elif kind == "header":
        damage(path, 0, 100)
    elif kind == "middle":
        damage(path, size // 2, 20_000)
    else:
        with path.open("r+b") as file:
            file.truncate(size // 2)
    with pytest.raises(MechtagError, match=r"review\.sqlite3: the database is damaged .*--rebuild"):
        Store(path)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "review.sqlite3").mkdir()
    with pytest.raises(
        MechtagError, match=r"the database cannot be opened .* check that mechtag may write to the folder"
    ):
        Store(tmp_path / "review.sqlite3")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE places (url TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(MechtagError, match="was not made by mechtag"):
        Store(path)


def test_a_store_is_opened_again_with_what_it_had(acts: Acts) -> None:
    acts.decide(stamp(ANN), 1, 1)
    before = check_replay(acts.store)
    acts.store.close()
    assert check_replay(Store(acts.store.path)) == before


def test_a_backup_holds_what_was_confirmed(acts: Acts, tmp_path: Path) -> None:
    acts.decide(stamp(ANN), 1, 1)
    acts.store.backup(tmp_path / "copy.sqlite3")
    acts.decide(stamp(ANN), 2, 1)
    copy = Store(tmp_path / "copy.sqlite3")
    with copy.read() as connection:
        assert connection.execute(select(schema.event.c.record)).scalars().all() == [1]
    check_replay(copy)


def test_words_of_a_corrected_text_are_found(acts: Acts) -> None:
    def found(word: str) -> list[int]:
        query = text("SELECT rowid FROM record_fts WHERE record_fts MATCH :word")
        with acts.store.read() as connection:
            return list(connection.execute(query, {"word": word}).scalars())

    assert found("Pappel") == []
    acts.edit_record(stamp(ANN), 2, "title", "Die Pappel im Wind")
    assert found("pappel") == [2]
    acts.undo(stamp(ANN))
    assert found("pappel") == []
    assert found("title:2") == [2]


def test_known_records_are_not_added_again(acts: Acts) -> None:
    with acts.store.write() as connection:
        assert add_papers(connection, range(2, 6)) == 2
    with acts.store.read() as connection:
        assert connection.execute(select(schema.need.c.record)).scalars().all() == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_two_coders_decide_on_the_same_records_at_the_same_moment(tmp_path: Path) -> None:
    """Two people each decide 1,000 times on the same 50 records: 2,000 events, and one consistent state."""
    acts = open_review(tmp_path / "review.sqlite3", 50)
    meet = threading.Barrier(2)
    failed = list[BaseException]()

    def work(coder: int) -> None:
        try:
            for number in range(1000):
                if number % 50 == 0:
                    meet.wait(60)
                acts.decide(stamp(coder), number % 50 + 1, (number // 50 + coder) % 2)
        except BaseException as error:  # an error in a thread would be lost
            failed.append(error)
            meet.abort()

    threads = [threading.Thread(target=work, args=(coder,)) for coder in (ANN, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    check_replay(acts.store)
    with acts.store.read() as connection:
        rows = connection.execute(select(schema.event.c.seq, schema.event.c.coder).order_by(schema.event.c.seq)).all()
        assert [row.seq for row in rows] == list(range(1, 2001))
        assert Counter(row.coder for row in rows) == {ANN: 1000, BOB: 1000}
        need = schema.need
        states = connection.execute(select(need.c.have, need.c.state).where(need.c.stage == "screen")).all()
        assert Counter(map(tuple, states)) == {(2, "conflict"): 50}


def test_many_records_are_read_in_the_order_asked_for(acts: Acts) -> None:
    with acts.store.write() as connection:
        add_papers(connection, range(4, 1204))
        wanted = [*range(1203, 0, -1), 5000]
        assert [entry.id for entry in read_entries(connection, wanted)] == wanted[:-1]


def test_a_sentence_that_the_abstract_has_not_is_left_out_of_a_quotation(acts: Acts) -> None:
    with acts.store.read() as connection:
        entry = read_entry(connection, 1)
    assert entry is not None
    assert abstract_of(entry).quote([0, 2, 3]) == "Sentence 0 of 1. […] Sentence 2 of 1."
