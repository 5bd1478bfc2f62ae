"""Test tables of passages with roles: what is read, what is rejected and why, and that written tables are read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding
from mechtag.pipeline.export.evidence_roles.configurations import (
    COLUMNS,
    RolePassage,
    passages_from,
    read_configurations,
    write_configurations,
)
from tests.support.coded_papers import BOOK

HEADER = "config_id,record_id,coder,label,role,sign,start,end,text,order"


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "configurations.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_passages_come_back_as_they_were_written(tmp_path: Path) -> None:
    given = {"record_id": "doi:10.1/1", "coder": "ann", "label": "trust"}
    passages = (
        RolePassage(**given, config_id="a", role="context", text="Two boards merged.", start=4, end=22, order=1),
        RolePassage(**given, config_id="a", role="reasoning", sign="absent", text='=Nobody "trusted", them', order=2),
        RolePassage(**given, config_id="a", role="outcome", text="'=Nobody", order=3),
        RolePassage(**given, role="outcome", text="Work stalled.", basis="full-text", page="iv"),
    )
    path = tmp_path / "configurations.csv"
    write_configurations(path, passages)
    assert read_configurations(path, BOOK) == (passages, ())
    assert b"\n=Nobody" not in path.read_bytes()
    assert b",=Nobody" not in path.read_bytes()


def test_the_columns_of_the_specification_are_enough(tmp_path: Path) -> None:
    (passage,), rejected = read_configurations(table(tmp_path, "a,doi:1,ann,trust,context,present,0,5,Merge,1"), BOOK)
    assert not rejected
    assert (passage.sign, passage.start, passage.end, passage.order) == ("present", 0, 5, 1)
    assert COLUMNS[:10] == tuple(HEADER.split(","))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,,ann,hope,context,,,,Text,1", "the codebook has no label 'hope'; use one of: trust, money"),
        ("a,,ann,relevant,context,,,,Text,1", "the codebook has no label 'relevant'"),
        ("a,,ann,trust,cause,,,,Text,1", "no role 'cause'; use one of: context, resource, reasoning, outcome"),
        ("a,,ann,trust,context,maybe,,,Text,1", "column sign: 'maybe': Input should be 'present', 'absent'"),
        ("a,,ann,trust,context,,,,,1", "column text: '': String should match pattern"),
        ("a,,ann,trust,context,,3,,Text,1", "only one of 'start' and 'end' is filled in"),
        ("a,,ann,trust,context,,7,3,Text,1", "the passage ends at 3, but begins at 7"),
        ("a,,ann,trust,context,,x,9,Text,1", "column start: 'x': Input should be a valid integer"),
        ("a,,ann,trust,context,,,,Text,0", "column order: '0': Input should be greater than or equal to 1"),
        ("first,,ann,money,context,,,,Text,1", "configuration 'first' is about label 'trust', by ann"),
        ("first,,bob,trust,context,,,,Text,1", "configuration 'first' is about label 'trust', by ann"),
        ("first,,ann,trust,context,,,,Merger,9", "the row repeats row 2; delete one of them"),
        (
            "first,,ann,trust,outcome,,,,Text,1",
            "row 2 is already passage 1 of configuration 'first'; enter a different",
        ),
        (
            "first,x,ann,trust,outcome,,,,Merger,1",
            "row 2 is already passage 1 of configuration 'first'; enter a different",
        ),
    ],
)
def test_a_faulty_row_is_rejected_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    path = table(tmp_path, "first,,ann,trust,context,,,,Merger,1", line)
    passages, rejected = read_configurations(path, BOOK)
    assert [passage.text for passage in passages] == ["Merger"]
    assert [(row.file, row.line) for row in rejected] == [("configurations.csv", 3)]
    assert reason in rejected[0].reason
    assert dict(rejected[0].raw)["config_id"] == line.partition(",")[0]


def test_one_sentence_can_have_several_roles_and_be_in_several_configurations(tmp_path: Path) -> None:
    lines = [f"{config},,ann,trust,{role},,,,Same words,1" for config in "ab" for role in ("resource", "reasoning")]
    passages, rejected = read_configurations(table(tmp_path, *lines), BOOK)
    assert (len(passages), rejected) == (4, ())


def test_the_order_of_a_rejected_row_and_of_passages_that_are_not_linked_does_not_matter(tmp_path: Path) -> None:
    first = ("a,,ann,trust,cause,,,,One,1", "a,,ann,trust,context,,,,Two,1", "a,,ann,trust,outcome,,,,Three,")
    lines = (*first, ",,ann,trust,context,,,,Four,1", ",,ann,trust,context,,,,Five,1", "b,,ann,trust,outcome,,,,Six,1")
    passages, rejected = read_configurations(table(tmp_path, *lines), BOOK)
    assert [passage.text for passage in passages] == ["Two", "Three", "Four", "Five", "Six"]
    assert [row.line for row in rejected] == [2]


def test_roles_of_the_codebook_replace_the_default_scheme(tmp_path: Path) -> None:
    roles = [{"key": "actor", "name": "Actor", "definition": "Who acts."}]
    book = Codebook.model_validate({**BOOK.model_dump(), "roles": roles})
    path = table(tmp_path, "a,,,trust,actor,,,,The board,", "a,,,trust,context,,,,The board,")
    passages, rejected = read_configurations(path, book)
    assert [passage.role for passage in passages] == ["actor"]
    assert "no role 'context'; use one of: actor" in rejected[0].reason


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="column 'role' is missing; add it"):
        read_configurations(table(tmp_path, "a,trust,Text", header="config_id,label,text"), BOOK)


def test_each_quotation_of_a_coding_with_a_role_is_a_passage() -> None:
    given = {"record_id": "r", "coder": "ann", "value": 1, "basis": "abstract"}
    codings = [
        Coding(**given, label="trust", evidence="Not a role."),
        Coding(**given, label="trust", role="context", evidence="One. […] Two.", signs=(None, "absent")),
        Coding(**given, label="money", role="outcome"),  # a tick without a passage
    ]
    found = [(row.label, row.role, row.sign, row.text, row.config_id) for row in passages_from(codings)]
    assert found == [("trust", "context", None, "One.", ""), ("trust", "context", "absent", "Two.", "")]
