"""Test reading the records that a user names, which all commands do in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.core.records import Record
from mechtag.core.settings import Settings
from mechtag.pipeline.reading.ingest import read_sources, read_unique, stream_unique
from mechtag.training.retraining import new_codings

TEXT = "".join(f"TY  - JOUR\n{line}\nER  - \n" for line in ("TI  - Garden teams", "AB  - No title.", "AB  - Nor here."))


def export(folder: Path, text: str = TEXT) -> Path:
    path = folder / "search.ris"
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_and_exports_are_read_together_and_lost_entries_are_counted_and_named(tmp_path: Path) -> None:
    write_records(tmp_path / "a.parquet", [Record(record_id="own:1", title="A <b>paper</b>")])
    notes: list[str] = []
    records = read_sources([export(tmp_path), tmp_path / "a.parquet"], notes.append)
    assert [(record.title, record.record_id.split(":")[0]) for record in records] == [
        ("A paper", "own"),
        ("Garden teams", "text"),
    ]
    (note,) = notes
    assert note.startswith(
        "note: 2 entries could not be read and will be ignored: search.ris: record 2, line 4: no title"
    )
    assert "search.ris: record 3, line 7: no title" in note


def test_no_more_than_five_lost_entries_are_named(tmp_path: Path) -> None:
    notes: list[str] = []
    path = export(tmp_path, TEXT + "TY  - JOUR\nAB  - No title.\nER  - \n" * 5)
    assert len(read_sources([path], notes.append)) == 1
    assert "7 entries" in notes[0]
    assert "record 6" in notes[0]
    assert "record 7" not in notes[0]
    assert "; and 2 more" in notes[0]


def test_nothing_is_said_where_all_is_read(tmp_path: Path) -> None:
    assert len(read_sources([export(tmp_path, TEXT.split("ER")[0] + "ER  - \n")], pytest.fail)) == 1
    assert read_sources([], pytest.fail) == []


def test_a_paper_twice_or_none_is_refused_where_records_must_be_unique(tmp_path: Path) -> None:
    one = Record(record_id="own:1", title="A paper", source_index=1)
    write_records(tmp_path / "twice.parquet", [one, one.model_copy(update={"source_index": 2})])
    assert len(read_sources([tmp_path / "twice.parquet"], pytest.fail)) == 2
    write_records(tmp_path / "none.parquet", [])
    for read in (read_unique, stream_unique):
        with pytest.raises(MechtagError, match=r"twice\.parquet: record 2 is the same paper as record 1 \(own:1\)"):
            read(tmp_path / "twice.parquet", pytest.fail)
        with pytest.raises(MechtagError, match=r"none\.parquet: the file contains no records"):
            read(tmp_path / "none.parquet", pytest.fail)


def test_streamed_records_are_those_that_are_read_at_once(tmp_path: Path) -> None:
    # The title and the abstract are cleaned.
    found = [Record(record_id=f"own:{number}", title="A  paper", abstract="Abstract: One.") for number in range(3)]
    write_records(tmp_path / "a.parquet", found)
    for path in (tmp_path / "a.parquet", export(tmp_path)):
        notes: list[str] = []
        streamed = stream_unique(path, notes.append)
        assert list(streamed) == list(streamed) == read_unique(path, notes.append)
        assert notes[:1] == notes[1:]
    assert list(stream_unique(tmp_path / "a.parquet", pytest.fail)) != found


def test_the_check_for_test_papers_says_which_of_them_it_could_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_codings, "load_encoder", lambda _: None)
    monkeypatch.setattr(new_codings, "describe_papers", lambda records, *_: records)
    monkeypatch.setattr(new_codings, "find_leaks", lambda records, test, *_: [one.title for one in test])
    settings = Settings.model_validate({"retrain": {"test_records": str(export(tmp_path))}})
    notes: list[str] = []
    found = new_codings._leaks([Record(record_id="own:1", title="A paper")], settings, notes.append)
    assert found == ["Garden teams"]
    assert "2 entries could not be read" in notes[0]
