"""The one way to find a record by its name."""

from __future__ import annotations

from mechtag.core.records import Record, RecordIndex, value_of


def record(record_id: str, **raw: object) -> Record:
    return Record(record_id=record_id, title="A paper", doi=raw.pop("doi", None), raw=tuple(raw.items()))


def test_records_are_found_by_id_before_key() -> None:
    first, second, third = record("a", key="b"), record("b", key="c"), record("d", key=7, id="x")
    index = RecordIndex([first, second, third])
    assert [index.find(name) for name in ("a", "b", "c", "7", "x", "")] == [first, second, second, third, None, None]
    assert index.named("b") == [second]


def test_a_key_of_two_papers_finds_neither_but_a_paper_twice_is_found() -> None:
    twins = [record("a", key="k"), record("b", key="k")]
    assert RecordIndex(twins).find("k") is None
    assert RecordIndex(twins).named("k") == twins
    twice = [record("a", key="k", note="first"), record("a", key="k", note="last")]
    assert RecordIndex(twice).find("a") is twice[1]
    assert RecordIndex(twice).find("k") is twice[1]


def test_records_are_found_by_any_field() -> None:
    records = [record("a", doi="10.1234/1"), record("b", id=3), record("c", id="3"), record("d", id="")]
    index = RecordIndex(records)
    assert index.rows("doi", "10.1234/1") == [0]
    assert index.rows("id", "3") == [1, 2]
    assert index.by("id", "3") == records[1:3]
    assert list(index.rows("id", "")) == []
    assert [value_of(one, "id") for one in records] == [None, "3", "3", None]
