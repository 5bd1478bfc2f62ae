"""Test the table of context, mechanism and outcome: rows, columns, links to quotations, and hostile text."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from lxml import html

from mechtag.core.errors import MechtagError
from mechtag.core.tables import read_table
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.pipeline.export.evidence_roles.role_table import arrange_roles, describe, write_role_table
from mechtag.pipeline.export.matrix import citable
from tests.support.coded_papers import BOOK, RECORDS

FIRST = RECORDS[0]
GIVEN = {"label": "trust", "coder": "ann", "record_id": FIRST.record_id}
PASSAGES = (
    RolePassage(**GIVEN, config_id="k", role="outcome", text="They stayed.", order=4, page="12"),
    RolePassage(**GIVEN, config_id="k", role="context", text="=cmd|'<b>&", order=1, sign="absent"),
    RolePassage(**GIVEN, config_id="k", role="resource", text="Second resource", order=3),
    RolePassage(**GIVEN, config_id="k", role="resource", text="First resource", order=2),
    RolePassage(label="money", coder="bob", record_id="elsewhere", role="context", text="Alone"),
)


def test_rows_are_configurations_and_columns_are_roles() -> None:
    table = arrange_roles(PASSAGES, BOOK, map(citable, RECORDS))
    assert table.roles == ("Context", "Resource", "Reasoning", "Outcome")
    ((trust, (row,)), (money, (alone,))) = table.groups
    assert (trust, money) == ("Building trust", "Money, shared")
    assert [[quote.passage.text for quote in cell] for cell in row.cells] == [
        ["=cmd|'<b>&"],
        ["First resource", "Second resource"],
        [],
        ["They stayed."],
    ]
    assert (row.config_id, alone.config_id, alone.coder) == ("k", "", "bob")
    assert [quote.number for quote in table.quotes] == [1, 2, 3, 4, 5]
    assert [quote.source for quote in table.quotes][3:] == ["Marchetti (2017), p. 12", "elsewhere"]
    assert describe(table) == "1 configuration with 5 passages"


def test_passages_of_different_papers_that_are_not_linked_are_not_in_one_row() -> None:
    passages = [RolePassage(label="trust", role="context", record_id=name, text=name) for name in ("a", "b", "a")]
    ((_, rows),) = arrange_roles(passages, BOOK).groups
    assert [len(row.cells[0]) for row in rows] == [2, 1]


def test_each_cell_of_a_workbook_links_to_its_quotation(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    write_role_table(path, arrange_roles(PASSAGES, BOOK, map(citable, RECORDS)), "Written for a test.")
    book = openpyxl.load_workbook(path)
    sheet = book["Configurations"]
    header, first, second = sheet.iter_rows()
    assert [cell.value for cell in header] == [
        "label",
        "configuration",
        "coder",
        "Context",
        "Resource",
        "Reasoning",
        "Outcome",
    ]
    linked = {cell.value: cell.hyperlink.location for cell in (*first, *second) if cell.hyperlink}
    assert len(linked) == 4
    for text, place in linked.items():
        name, _, where = str(place).partition("!")
        quotation = str(book[name.strip("'")][where].value).strip("'")
        assert quotation in str(text), "the quotation is part of the cell"
    assert {cell.data_type for cell in first} == {"s", "n"}, "no formula"
    assert str(first[3].value).startswith("'=cmd|'<b>& [absent] (Marchetti (2017)")
    assert book["Quotations"]["H5"].value == "12"


def test_each_cell_of_a_page_links_to_its_quotation(tmp_path: Path) -> None:
    path = tmp_path / "table.html"
    write_role_table(path, arrange_roles(PASSAGES, BOOK, map(citable, RECORDS)))
    page = html.document_fromstring(path.read_text(encoding="utf-8"))
    for link in page.xpath("//td//a"):
        (target,) = page.xpath(f"//li[@id='{link.get('href').removeprefix('#')}']/q")
        assert target.text in link.getparent().text_content()
    assert len(page.xpath("//td//a")) == 5
    assert not page.xpath("//b | //script")
    assert "<b>" not in path.read_text(encoding="utf-8")


def test_markdown_and_csv(tmp_path: Path) -> None:
    table = arrange_roles(PASSAGES, BOOK, map(citable, RECORDS))
    for form in ("md", "csv"):
        write_role_table(tmp_path / f"table.{form}", table, "A note")
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[:4] == [
        "## Building trust",
        "",
        "| Configuration | Context | Resource | Reasoning | Outcome |",
        "|---|---|---|---|---|",
    ]
    assert lines[4].startswith("| k (ann) | \\=cmd\\|'&lt;b>&amp; \\[absent\\] (Marchetti (2017))")
    assert lines[-1] == "A note"
    rows = read_table(tmp_path / "table.csv", "a table").rows
    assert [row.cells["configuration"] for row in rows] == ["k", "not linked"]
    assert rows[0].cells["Context"].startswith("=cmd|"), "neutralised in the file, and restored when it is read"
    assert b"'=cmd" in (tmp_path / "table.csv").read_bytes()


def test_an_empty_table_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="there are no passages with a role"):
        arrange_roles([], BOOK)
    with pytest.raises(MechtagError, match=r"use one of: \.xlsx, \.html, \.md, \.csv"):
        write_role_table(tmp_path / "table.docx", arrange_roles(PASSAGES, BOOK))
