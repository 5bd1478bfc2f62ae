"""Test that a file is found by the path that a reference manager recorded, even if the library was moved."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from mechtag.core.records import Record
from mechtag.pipeline.fulltext.recorded_paths import RecordedPaths


def record(name: str, *paths: str) -> Record:
    return Record(record_id=name, title=name, raw=tuple(("L1", path) for path in paths))


def found(records: list[Record], *files: str) -> list[str | None]:
    paths = [Path("/data") / file for file in files]
    finder = RecordedPaths(records, paths)
    return [own and own[0] for own in map(finder.find, paths)]


def test_a_library_that_was_moved_is_found_by_folder_and_name() -> None:
    one, two = record("one", "C:\\Zotero\\storage\\AB\\paper.pdf"), record("two", "/home/x/storage/CD/paper.pdf")
    assert found([one, two], "storage/AB/paper.pdf", "moved/cd/Paper.PDF", "EF/paper.pdf") == ["one", "two", None]
    endnote = record("three", "internal-pdf://77/paper.pdf")
    assert found([endnote], "My.Data/PDF/77/paper.pdf", "My.Data/PDF/78/paper.pdf") == ["three", None]


def test_a_longer_common_end_wins() -> None:
    one, two = record("one", "a/1/paper.pdf"), record("two", "b/1/paper.pdf")
    assert found([one, two], "x/a/1/paper.pdf", "x/b/1/paper.pdf", "x/c/1/paper.pdf") == ["one", "two", None]


def test_a_name_alone_must_be_unique_among_files_and_records() -> None:
    one = record("one", "smith.pdf")
    assert found([one], "a/smith.pdf") == ["one"]
    assert found([one], "a/smith.pdf", "b/smith.pdf") == [None, None]
    assert found([one, record("two", "smith.pdf")], "a/smith.pdf") == [None]
    # A name in a folder that is not the recorded one shows nothing.
    assert found([record("one", "storage/AB/smith.pdf")], "a/smith.pdf") == [None]


def test_accents_may_be_stored_in_two_ways() -> None:
    name = unicodedata.normalize("NFD", "Führung.pdf")
    assert found([record("one", "a/Führung.pdf")], f"a/{name}") == ["one"]
