"""Test the commands for roles of evidence, from a text with markers to tables and exports."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import openpyxl
import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.tables import read_table
from mechtag.pipeline.export.evidence_roles.configurations import read_configurations
from tests.support.command import call
from tests.support.paths import ROOT

TEXT = """Inspiring intent to work together

Where partners were rivals (C), leaders voice a vision (M+, Resource) and win trust (M+, Reasoning), so staff join (O+).
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("boxes.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_a_text_becomes_a_table_of_configurations_and_a_table_for_people(folder: Path) -> None:
    status, _, message = call("roles", "from-text", "boxes.txt", "-o", "configurations.csv", "--coder", "us")
    assert (status, "1 configuration with 4 passages written, 0 parts rejected" in message) == (0, True)
    assert (folder / "rejected.jsonl").read_text(encoding="utf-8") == ""
    status, _, message = call("roles", "table", "configurations.csv", "-o", "table.xlsx", "--note", "Ours.")
    assert (status, "1 configuration with 4 passages written" in message) == (0, True)
    assert openpyxl.load_workbook("table.xlsx").sheetnames == ["Configurations", "Quotations", "About this workbook"]


def test_rejected_rows_are_reported_and_written(folder: Path) -> None:
    Path("boxes.txt").write_text(f"{TEXT} And more.\n\nHope\n\nSomething (O)\n", encoding="utf-8")
    status, _, message = call("roles", "from-text", "boxes.txt", "-o", "configurations.csv")
    assert (status, "boxes.txt: line 4: this text follows the last marker" in message) == (0, True)
    assert "the heading 'Hope' names no label" in message
    assert len((folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    status, _, message = call("roles", "from-text", "boxes.txt", "-o", "c.csv", "--label", "wider_view")
    assert (status, "2 configurations with 5 passages written, 1 part rejected" in message) == (0, True)
    rows = Path("configurations.csv").read_text(encoding="utf-8-sig").replace(",context,", ",cause,")
    Path("faulty.csv").write_text(rows, encoding="utf-8")
    status, _, message = call("roles", "table", "faulty.csv", "-o", "table.html")
    assert (status, "faulty.csv: row 2 was rejected: the codebook has no role 'cause'" in message) == (0, True)
    assert len((folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("from-text", "none.txt", "-o", "a.csv"), "none.txt: no such file"),
        (("from-text", "boxes.txt", "-o", "a.csv", "--label", "hope"), "the codebook has no label 'hope'"),
        (("from-text", "plain.txt", "-o", "a.csv"), "plain.txt: the file contains no markers"),
        (("from-text", "latin.txt", "-o", "a.csv"), "latin.txt: the file is not text in UTF-8"),
        (("from-text", "boxes.txt", "-o", "boxes.txt"), "boxes.txt would be overwritten"),
        (("from-text", "boxes.txt", "-o", "a.xlsx"), "a.xlsx: the table is written as CSV, so its name must end in"),
        (("suggest", "boxes.txt", "-o", "a.xlsx"), "a.xlsx: the table is written as CSV, so its name must end in"),
        (
            ("table", "other.csv", "-o", "a.html"),
            "neither the column 'config_id' (for configurations) nor the column 'role' (for codings)",
        ),
    ],
)
def test_errors_say_what_to_do(folder: Path, words: tuple[str, ...], message: str) -> None:
    (folder / "plain.txt").write_text("No marker here.", encoding="utf-8")
    (folder / "other.csv").write_text("key,label\nx,y\n", encoding="utf-8")
    (folder / "latin.txt").write_bytes("Café (C)".encode("latin-1"))
    status, _, said = call("roles", *words)
    assert (status, message in said) == (1, True), said
    assert not (folder / "a.csv").exists()


def test_roles_are_exported_with_the_codes(folder: Path) -> None:
    records = ROOT / "data/raw/gold_records.jsonl"
    first = json.loads(records.read_text(encoding="utf-8").splitlines()[0])
    key = first["key"]
    Path("codings.csv").write_text(
        f"key,coder,label,value,basis,role,evidence\n{key},ann,wider_view,1,abstract,,\n"
        f"{key},ann,wider_view,1,abstract,context,{first['title'][:30]}\n",
        encoding="utf-8",
    )
    assert call("roles", "table", "codings.csv", "--records", str(records), "-o", "table.csv")[0] == 0
    (row,) = read_table("table.csv", "a table").rows
    assert row.cells["Context"].startswith(first["title"][:30].strip())
    base = ("export", "codings.csv", "--records", str(records))
    assert call(*base, "--to", "qdpx", "-o", "a.qdpx")[0] == 0
    assert 'name="Taking a wider view: Context"' in zipfile.ZipFile("a.qdpx").read("project.qde").decode()
    call("roles", "from-text", "boxes.txt", "-o", "configurations.csv")
    assert call(*base, "--roles", "configurations.csv", "--to", "xlsx", "-o", "a.xlsx")[0] == 0
    sheet = openpyxl.load_workbook("a.xlsx")["Configurations"]
    assert [line[1].value for line in sheet.iter_rows(min_row=2)] == ["1", "not linked"]
    status, _, message = call(*base, "--roles", "configurations.csv", "--to", "bibtex", "-o", "a.bib")
    assert (status, "(omit --roles, or change --to)" in message) == (1, True)


def test_suggestions_are_off_by_default(folder: Path) -> None:
    (folder / "codings.csv").write_text(
        "key,coder,label,value,basis,evidence\n"
        "a,ann,wider_view,1,abstract,As a consequence the services improved. […] Xyzzy.\n"
        "a,ann,working_with_power,0,abstract,This led to nothing.\n",
        encoding="utf-8",
    )
    shutil.copy(ROOT / "data/annotated/codebook.yaml", folder / "codebook.yaml")
    (folder / "params.yaml").write_text("codebook: codebook.yaml\n", encoding="utf-8")
    status, _, message = call("roles", "suggest", "codings.csv", "-o", "suggested.csv")
    assert (status, "(kappa 0.21 on 125 sentences); to see them" in message) == (1, True)
    (folder / "params.yaml").write_text("codebook: codebook.yaml\nroles: {suggest: true}\n", encoding="utf-8")
    status, _, message = call("roles", "suggest", "codings.csv", "-o", "suggested.csv")
    assert (status, "experimental: suggested by a method that agreed" in message) == (0, True), message
    rows = read_table("suggested.csv", "a table").rows
    assert [(row.cells["coder"], row.cells["role"], row.cells["config_id"]) for row in rows][:1] == [
        ("mechtag (cue phrases)", "outcome", "")
    ]
    assert all(row.cells["label"] == "wider_view" for row in rows)


def test_the_shipped_configurations_have_all_roles_of_every_mechanism(folder: Path) -> None:
    source = ROOT / "data/examples/leadership-configurations/configurations.txt"
    status, _, message = call("roles", "from-text", str(source), "-o", "configurations.csv", "--coder", "project")
    assert (status, "7 configurations with 28 passages written, 0 parts rejected" in message) == (0, True), message
    book = load_codebook(ROOT / "data/annotated/codebook.yaml")
    passages, _ = read_configurations("configurations.csv", book)
    for key in book.keys:
        assert [row.role for row in passages if row.label == key] == ["context", "resource", "reasoning", "outcome"]
    absent = {row.label for row in passages if row.sign == "absent"}
    assert len(absent) == 4
    for key in absent:
        assert [row.sign for row in passages if row.label == key] == [None, "absent", "absent", "absent"]
