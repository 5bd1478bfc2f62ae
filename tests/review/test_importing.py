"""Test the import of search exports: their entries become records of the review, and each entry is accounted for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from mechtag.core.parquet import read_records
from mechtag.pipeline.dedupe.review_tables import read_decisions
from mechtag.pipeline.reading.ingest import ingest
from mechtag.review import imports
from mechtag.review.acts import Refused, Stamp
from mechtag.review.imports import clean_name, folder_of, read_batches
from mechtag.review.jobs import importing, splitting
from mechtag.review.jobs.worker import do_next
from mechtag.review.store import schema
from mechtag.review.store.families import count_papers
from mechtag.review.store.readings import abstract_of
from mechtag.review.store.records import read_entry
from mechtag.review.workspace import Workspace
from tests.support.paths import ROOT
from tests.support.review_imports import JOBS, OWNER, TITLES, bring, look, ris, titles, upload, work
from tests.support.review_site import Browser, add_person, make_review, texts


@pytest.fixture
def review(tmp_path: Path) -> Workspace:
    return make_review(tmp_path, [])


@pytest.fixture
def owner(review: Workspace) -> Browser:
    return Browser(review, OWNER)


def snapshot(review: Workspace) -> dict[str, object]:
    """Return everything that an import leaves in the database and in the folder ``data``."""
    found: dict[str, object] = {}
    with review.store.read() as connection:
        for table in (schema.record, schema.copy, schema.pair, schema.need, schema.queue, schema.upload):
            found[table.name] = sorted(map(str, connection.execute(select(table)).all()))
    for path in sorted((review.project.root / "data").glob("*.*")):
        found[path.name] = read_records(path) if path.suffix == ".parquet" else path.read_bytes()
    found["raw"] = sorted(path.name for path in (review.project.root / "data/raw").iterdir())
    return found


def test_records_join_the_review_only_when_they_are_added(review: Workspace, owner: Browser) -> None:
    answer = upload(owner, ("ovid.ris", ris(*TITLES)), ("more.ris", ris("Another study of quinces")))
    assert "Reading the files" in texts(answer.text)
    work(review)
    page = texts(owner.get(answer.url.path))
    assert "5 entries read = 5 records + 0 not readable" in page
    assert "No records have been added to the review yet" in page
    assert "Add 5 records" in page
    assert titles(review) == []
    owner.post(answer.url.path, act="add")
    work(review)
    assert sorted(titles(review)) == sorted((*TITLES, "Another study of quinces"))
    assert sorted(path.name for path in (review.project.root / "data/raw").iterdir()) == ["more.ris", "ovid.ris"]
    # Screening can begin at once, in random order.
    page = texts(owner.get("/screen"))
    assert "Random order" in page
    with review.store.read() as connection:
        entry = read_entry(connection, 1)
    assert entry is not None
    assert [abstract_of(entry).sentence(number) for number in (0, 1)] == ["A study of apples.", "It was long."]


def test_the_counts_add_up_and_the_commands_find_the_same_records(review: Workspace, owner: Browser) -> None:
    broken = b"TY  - JOUR\nAU  - Nobody, N\nER  - \n"
    number = bring(review, owner, ("a.ris", ris(*TITLES, doi="") + broken))
    again = bring(review, owner, ("a.ris", ris(TITLES[0], TITLES[1], "Something new on figs")))
    page = texts(owner.get(f"/import/{number}"))
    assert "5 entries read = 4 new records + 0 duplicates + 1 not readable" in page
    page = texts(owner.get(f"/import/{again}"))
    assert "3 entries read = 1 new record + 2 duplicates + 0 not readable" in page
    assert "8 read = 5 unique + 2 duplicates + 1 not readable" in texts(owner.get("/duplicates"))
    data = review.project.root / "data"
    assert len(read_records(data / "records.parquet")) == 7
    unique = read_records(data / "unique.parquet")
    with review.store.read() as connection:
        ids = set(connection.execute(select(schema.record.c.record_id)).scalars())
        copies = {row.title: row.copies for row in connection.execute(select(schema.record))}
    assert {record.record_id for record in unique} == ids
    assert copies == {TITLES[0]: 2, TITLES[1]: 2, TITLES[2]: 1, TITLES[3]: 1, "Something new on figs": 1}
    counts = json.loads((data / "ingest.json").read_text())
    assert (counts["read"], counts["kept"], counts["rejected"]) == (8, 7, 1)
    assert len((data / "rejected.jsonl").read_text().splitlines()) == 1
    # The second export gets a different name, and reading the folder again finds the same records.
    assert sorted(path.name for path in (data / "raw").iterdir()) == ["a-2.ris", "a.ris"]
    places = {(record.source_file, record.source_index) for record in ingest([data / "raw"]).records}
    assert places == {(record.source_file, record.source_index) for record in read_records(data / "records.parquet")}
    assert not read_decisions([data / "groups.csv"])


FIXTURES = [path for path in sorted((ROOT / "tests/fixtures").rglob("*")) if path.is_file()]


def test_every_entry_of_every_fixture_is_accounted_for(review: Workspace, owner: Browser) -> None:
    files = [(f"{number}-{path.name}", path.read_bytes()) for number, path in enumerate(FIXTURES)]
    number = bring(review, owner, *files)
    batch = look(review, number)
    found, result = batch.found, batch.result
    assert found["read"] == found["kept"] + found["rejected"] == sum(one["read"] for one in found["sources"])
    assert found["kept"] == result["unique"] + result["duplicates"]
    # Each file was read, or a sentence says why not.
    named = {one["file"].split("/")[0] for one in found["sources"]}
    named |= {text.split(": ")[0].split("/")[0] for text in found["unread"]}
    assert named | {text.split(" was ")[0] for text in found["left_out"]} == {name for name, _ in files}
    with review.store.read() as connection:
        papers, duplicates = count_papers(connection)
    assert papers + duplicates == found["kept"]
    page = texts(owner.get("/duplicates"))
    assert f"{found['read']:,} read = {papers:,} unique + {duplicates:,} duplicates + {found['rejected']:,} not" in page
    owner.get(f"/import/{number}")
    owner.get("/duplicates/groups")


@pytest.mark.parametrize(
    "place",
    [
        "_add_in_steps",
        "_copy_row",
        "_sentences",
        "split_abstracts",
        "order_at_once",
        "_log",
        "files",
        "_move",
        "_set_state",
    ],
)
def test_an_interrupted_import_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    first, second = ris(*TITLES), ris(TITLES[0], "Figs at sea", "Orchards of the north and their keepers")
    ends = []
    for interrupted in (False, True):
        review = make_review(tmp_path / str(interrupted), [])
        browser = Browser(review, OWNER)
        bring(review, browser, ("a.ris", first))
        answer = upload(browser, ("b.ris", second))
        work(review)
        browser.post(answer.url.path, act="add")
        if interrupted:
            with monkeypatch.context() as patch:
                module = splitting if place == "_sentences" else importing
                patch.setattr(module, place, stop_after(getattr(module, place)))
                with pytest.raises(KeyboardInterrupt, match="killed"):
                    do_next(review, JOBS)
            with review.store.write() as connection:
                connection.execute(update(schema.job).where(schema.job.c.state == "running").values(state="waiting"))
        work(review)
        with review.store.read() as connection:
            events = connection.execute(select(func.count()).where(schema.event.c.kind == "import")).scalar_one()
        ends.append((snapshot(review), events))
    assert ends[0] == ends[1]
    assert ends[0][1] == 2


def stop_after(function: Callable[..., object]) -> Callable[..., object]:
    """Wrap a function so that the process seems to be killed as soon as the function has done its work."""

    def stopped(*args: object, **kwargs: object) -> object:
        function(*args, **kwargs)
        raise KeyboardInterrupt("killed")

    return stopped


def test_an_import_can_be_undone_and_done_again_until_somebody_has_worked_on_it(
    review: Workspace, owner: Browser
) -> None:
    bare = ris(TITLES[0], abstract="")
    bring(review, owner, ("a.ris", bare))
    before = snapshot(review)
    number = bring(review, owner, ("b.ris", ris(*TITLES)))
    with review.store.read() as connection:
        assert connection.execute(select(schema.record.c.abstract).where(schema.record.c.id == 1)).scalar()
    after = snapshot(review)
    owner.get("/screen")
    owner.post(f"/import/{number}", act="undo")
    work(review)
    assert look(review, number).state == "read"
    undone = snapshot(review)
    undone["upload"] = before["upload"]
    assert {name: undone[name] for name in undone if name != "queue"} == {
        name: before[name] for name in before if name != "queue"
    }
    with review.store.read() as connection:
        assert (
            connection.execute(
                select(func.count()).select_from(schema.queue).where(schema.queue.c.record > 1)
            ).scalar_one()
            == 0
        )
    owner.post(f"/import/{number}", act="add")
    work(review)
    again = snapshot(review)
    for name in ("copy", "need", "queue", "record"):
        assert len(again[name]) == len(after[name]) or name == "queue"  # type: ignore[arg-type]
    assert again["unique.parquet"] == after["unique.parquet"]
    owner.post("/screen/decide", record=2, answer="include")
    answer = owner.post(f"/import/{number}", act="undo")
    assert answer.status_code == 409
    assert "people have worked on its records" in texts(answer.text)
    assert look(review, number).state == "added"


def test_a_decision_during_the_removal_stops_it(review: Workspace, owner: Browser) -> None:
    number = bring(review, owner, ("a.ris", ris(*TITLES)))
    owner.post(f"/import/{number}", act="undo")
    review.acts.decide(Stamp(OWNER), 1, 1)
    work(review)
    assert len(titles(review)) == 4
    assert "people have worked" in texts(owner.get(f"/import/{number}"))


def test_only_the_last_import_can_be_undone(review: Workspace, owner: Browser) -> None:
    first = bring(review, owner, ("a.ris", ris(TITLES[0])))
    bring(review, owner, ("b.ris", ris(TITLES[1])))
    answer = owner.post(f"/import/{first}", act="undo")
    assert answer.status_code == 409
    assert "undo the latest import first" in texts(answer.text)


def test_a_file_that_was_imported_is_left_out(review: Workspace, owner: Browser) -> None:
    bring(review, owner, ("a.ris", ris(TITLES[0])))
    answer = upload(owner, ("renamed.ris", ris(TITLES[0])))
    assert answer.status_code == 409
    assert "renamed.ris was already imported on " in texts(answer.text)
    answer = upload(owner, ("renamed.ris", ris(TITLES[0])), ("b.ris", ris(TITLES[1])), ("c.ris", ris(TITLES[1])))
    work(review)
    page = texts(owner.get(answer.url.path))
    assert "renamed.ris was already imported on " in page
    assert "c.ris was sent twice" in page
    assert "1 entry read" in page


def test_a_discarded_import_leaves_nothing(review: Workspace, owner: Browser) -> None:
    answer = upload(owner, ("a.ris", ris(*TITLES)))
    work(review)
    number = int(answer.url.path.rsplit("/", 1)[-1])
    owner.post(answer.url.path, act="discard")
    assert not folder_of(review, number).exists()
    assert owner.client.get(answer.url.path).status_code == 404
    bring(review, owner, ("a.ris", ris(*TITLES)))
    assert len(titles(review)) == 4


def test_a_file_that_cannot_be_read_does_not_stop_the_others(review: Workspace, owner: Browser) -> None:
    answer = upload(
        owner, ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(5000)), ("empty.ris", b""), ("a.ris", ris(*TITLES))
    )
    work(review)
    page = texts(owner.get(answer.url.path))
    assert "4 entries read = 4 records + 0 not readable" in page
    assert "photo.jpg: not read" in page
    assert "empty.ris: not read" in page
    assert str(review.project.root) not in page


def test_files_none_of_which_can_be_read_are_reported(review: Workspace, owner: Browser) -> None:
    answer = upload(owner, ("empty.ris", b""))
    work(review)
    page = texts(owner.get(answer.url.path))
    assert "No record could be read" in page
    assert "empty.ris: not read" in page
    assert "Add 0 records" not in page


def zipped(*members: tuple[str, bytes]) -> bytes:
    """Return a ZIP file with the given files, each a name and a content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_zip_bomb_and_a_zip_with_paths_are_harmless(review: Workspace, owner: Browser) -> None:
    bomb = zipped(("bomb.ris", bytes(64 << 20)))
    paths = zipped(("../../../../escaped.ris", ris(TITLES[0])))
    answer = upload(owner, ("bomb.zip", bomb), ("paths.zip", paths))
    work(review)
    page = texts(owner.get(answer.url.path))
    assert "bomb.zip" in page
    assert "200 times its size" in page
    assert "1 entry read = 1 record" in page
    assert not list(review.project.root.parent.parent.rglob("escaped.ris"))


@pytest.mark.parametrize(
    ("sent", "saved"),
    [
        ("export.ris", "export.ris"),
        ("../../../etc/passwd", "passwd"),
        ("C:\\fakepath\\my export (1).RIS", "my export (1).RIS"),
        ("..", "export"),
        ("/", "export"),
        ("...ris", "ris"),
        (".hidden.ris", "hidden.ris"),
        ("a\x00b\nc.ris", "a b c.ris"),
        ("evil\u202esir.exe", "evil sir.exe"),
        ('<script>alert("1")</script>.ris', "script_.ris"),
        ('a<b>:"|?*.ris', "a_b______.ris"),
        ("con.ris", "_con.ris"),
        ("LPT1", "_LPT1"),
        ("x" * 300 + ".ris", "x" * 96 + ".ris"),
        ("-rf.ris", "-rf.ris"),
        ("ünïcode.ris", "ünïcode.ris"),
        ("name. ", "name"),
    ],
)
def test_hostile_names_become_harmless(sent: str, saved: str) -> None:
    assert clean_name(sent) == saved


def test_a_long_name_in_any_script_fits_into_a_folder() -> None:
    assert len(clean_name("果" * 300 + ".ris").encode()) <= 200
    assert clean_name("果" * 300 + ".ris").endswith("果.ris")


def test_hostile_names_are_saved_in_the_folder_of_the_import(review: Workspace, owner: Browser) -> None:
    names = ["../../../../outside.ris", "/etc/cron.d/x.ris", "a/b/../../c.ris", "c.ris"]
    bring(review, owner, *((name, ris(f"{title}")) for name, title in zip(names, TITLES, strict=True)))
    saved = sorted(path.name for path in (review.project.root / "data/raw").iterdir())
    assert saved == ["c-2.ris", "c.ris", "outside.ris", "x.ris"]
    assert not list(review.project.root.parent.glob("*.ris"))


def test_hostile_titles_stay_text(review: Workspace, owner: Browser) -> None:
    hostile = ("<script>alert(1)</script> of apples and wages", '=HYPERLINK("http://x","y") of pears and nets')
    bring(
        review, owner, ("a.ris", ris(*hostile)), ("<img src=x onerror=alert(1)>.ris", ris(*hostile, "And <b>figs</b>"))
    )
    for address in (
        "/import",
        "/import/1",
        "/duplicates",
        "/duplicates/groups",
        "/duplicates/groups?q=<script>",
        "/jobs",
    ):
        page = owner.get(address)
        assert "<script>alert" not in page
        assert "<img" not in page
    groups = (review.project.root / "data/groups.csv").read_text(encoding="utf-8-sig")
    assert "'=HYPERLINK" in groups
    assert "\n=HYPERLINK" not in groups
    assert ",=HYPERLINK" not in groups


def test_too_large_files_are_refused(review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "LARGEST_FILE", 1 << 20)
    answer = upload(owner, ("a.ris", ris(TITLES[0])), ("large.ris", b"x" * (2 << 20)))
    assert answer.status_code == 413
    assert "Large.ris is too large; the limit is 1 MB per file; split the export" in texts(answer.text)
    monkeypatch.setattr(imports, "LARGEST_BATCH", 1 << 20)
    answer = upload(owner, *((f"{letter}.ris", letter.encode() * 600_000) for letter in "ab"))
    assert answer.status_code == 413
    assert "The files are larger than 2 GB in total; import fewer files at a time" in texts(answer.text)
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": str(3 << 30)}
    answer = owner.client.post("/import", headers=headers, content=b"")
    assert answer.status_code == 413
    with review.store.read() as connection:
        assert read_batches(connection) == []
    assert not list((review.folder / "uploads").iterdir())


def test_a_form_without_a_file_is_refused(owner: Browser) -> None:
    answer = owner.post("/import")
    assert answer.status_code == 422
    assert "No file was chosen" in texts(answer.text)


def test_a_full_disk_is_reported(review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(imports, "_save", full)
    answer = upload(owner, ("a.ris", ris(TITLES[0])))
    assert answer.status_code == 507
    assert "(No space left on device); make sure that the disk has free space" in texts(answer.text)


def test_a_job_that_failed_can_be_tried_again(
    review: Workspace, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = upload(owner, ("a.ris", ris(*TITLES)))
    work(review)
    owner.post(answer.url.path, act="add")

    def fail(*_: object) -> None:
        raise Refused("the disk is full; free some space")

    with monkeypatch.context() as patch:
        patch.setattr(importing, "order_at_once", fail)
        work(review)
    page = texts(owner.get(answer.url.path))
    assert "The import stopped" in page
    assert "The disk is full; free some space." in page
    owner.post(answer.url.path, act="undo")
    work(review)
    assert titles(review) == []
    owner.post(answer.url.path, act="add")
    work(review)
    assert len(titles(review)) == 4


def test_records_of_the_commands_are_taken_in_first(review: Workspace, owner: Browser) -> None:
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.dedupe.dedupe import dedupe

    data = review.project.root / "data"
    (data / "raw/old.ris").write_bytes(ris(*TITLES[:2]))
    earlier = dedupe(ingest([data / "raw"]).records, review.project.settings.dedupe).unique
    write_records(data / "unique.parquet", earlier)
    number = bring(review, owner, ("new.ris", ris(*TITLES[1:])))
    assert sorted(titles(review)) == sorted(TITLES)
    assert look(review, number).result == {"read": 3, "unique": 2, "duplicates": 1, "pairs": 0}
    assert {record.record_id for record in earlier} < {r.record_id for r in read_records(data / "unique.parquet")}
    owner.post(f"/import/{number}", act="undo")
    work(review)
    assert sorted(titles(review)) == sorted(TITLES[:2])


def test_a_table_with_a_persons_decisions_is_not_overwritten(review: Workspace, owner: Browser) -> None:
    from mechtag.core.parquet import write_records

    data = review.project.root / "data"
    (data / "raw/old.ris").write_bytes(ris(*TITLES[:2]))
    write_records(data / "unique.parquet", ingest([data / "raw"]).records)
    (data / "groups.csv").write_text("group,decision,title\n1,same,Orchards\n", encoding="utf-8")
    answer = upload(owner, ("new.ris", ris(*TITLES[1:])))
    work(review)
    owner.post(answer.url.path, act="add")
    work(review)
    assert "that a person filled in" in texts(owner.get(answer.url.path))
    assert "same" in (data / "groups.csv").read_text()


def test_only_owners_and_adjudicators_import(review: Workspace) -> None:
    coder = Browser(review, add_person(review, "Cleo", "coder"))
    assert coder.client.get("/import").status_code == 403
    assert upload(coder, ("a.ris", ris(*TITLES))).status_code == 403


def test_the_progress_of_a_job_is_shown(review: Workspace, owner: Browser) -> None:
    answer = upload(owner, ("a.ris", ris(*TITLES)))
    assert 'http-equiv="refresh"' in answer.text
    assert "Waiting to read the files" in texts(owner.get("/jobs/now"))
    assert "Waiting to read the files" in texts(owner.get("/jobs/1"))
    assert "hx-refresh" not in owner.client.get("/jobs/1").headers
    with review.store.write() as connection:
        connection.execute(update(schema.job).values(state="running", message="Reading the files", done=41, total=100))
    assert "Reading the files: 41%" in texts(owner.get("/"))
    assert "Reading the files: 41%" in texts(owner.get("/jobs/1"))
    with review.store.write() as connection:
        connection.execute(update(schema.job).values(state="waiting"))
    work(review)
    assert owner.client.get("/jobs/1").headers["hx-refresh"] == "true"
    assert texts(owner.get("/jobs/now")) == ""
    assert "hx-get" not in owner.get("/jobs/now")
    assert "Read the files" in texts(owner.get("/jobs"))


def test_every_kind_of_job_has_a_name() -> None:
    from mechtag.review.jobs.worker import jobs
    from mechtag.review.workspace import JOB_NAMES

    assert JOB_NAMES.keys() == jobs().keys()
