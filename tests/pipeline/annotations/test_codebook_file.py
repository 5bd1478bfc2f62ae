"""Test that codebooks of other programs become codebooks of mechtag."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.pipeline.annotations.imports.codebook_file import read_codebook_file
from mechtag.pipeline.export.coded_papers import from_codings
from mechtag.pipeline.export.refi_qda import write_codebook, write_project
from tests.support.command import call
from tests.support.hostile import BOOK, hostile_codings, hostile_records
from tests.support.paths import ROOT

# As Taguette 1.5 writes a codebook, with an empty element of sets, and a category and a nested code as in NVivo.
QDC = """<?xml version='1.0' encoding='UTF-8'?>
<CodeBook xmlns="urn:QDA-XML:codebook:1.0" origin="Taguette 1.5.2">
<Codes>
<Code guid="0DC9A9B5-3B5A-4B07-9B2F-0C7B4D4C2B61" name="Ways of leading" isCodable="false">
<Code guid="0DC9A9B5-3B5A-4B07-9B2F-0C7B4D4C2B62" name="Shared vision" isCodable="true">
<Description>People share a vision.</Description></Code>
<Code guid="0DC9A9B5-3B5A-4B07-9B2F-0C7B4D4C2B63" name="1st trust?" isCodable="true">
<Description>People trust

one another.</Description></Code>
</Code>
<Code guid="0DC9A9B5-3B5A-4B07-9B2F-0C7B4D4C2B64" name="shared vision" isCodable="true">{}</Code>
</Codes><Sets/></CodeBook>"""


@pytest.mark.parametrize("suffix", [".qdc", ".qdpx"])
def test_our_codebook_comes_back(tmp_path: Path, suffix: str) -> None:
    records = hostile_records(4)
    if suffix == ".qdc":
        write_codebook(tmp_path / "book.qdc", BOOK)
    else:
        write_project(tmp_path / "book.qdpx", from_codings(hostile_codings(records), records, BOOK))
    assert read_codebook_file(tmp_path / f"book{suffix}", "orchard") == BOOK


def test_rules_on_absence_come_back(tmp_path: Path) -> None:
    first, *others = BOOK.labels
    book = BOOK.model_copy(update={"labels": (first.model_copy(update={"absence": ("no tree", "a stump")}), *others)})
    write_codebook(tmp_path / "book.qdc", book)
    assert read_codebook_file(tmp_path / "book.qdc", "orchard") == book
    table = tmp_path / "book.csv"
    table.write_text("name,definition,absence\nRelevant,d,\nFig,d,no fig; no tree\n", encoding="utf-8")
    assert read_codebook_file(table).labels[0].absence == ("no fig", "no tree")


def test_the_shipped_codebook_comes_back_as_a_file(tmp_path: Path) -> None:
    book = load_codebook(ROOT / "data/annotated/codebook.yaml")
    write_codebook(tmp_path / "book.qdc", book)
    status, _, message = call("codebook", "from", tmp_path / "book.qdc", "-o", tmp_path / "b.yaml", "--name", book.name)
    assert (status, "7 labels written" in message) == (0, True)
    found = load_codebook(tmp_path / "b.yaml")
    assert found.definitions == book.definitions
    assert found.names == book.names


def test_names_become_keys(tmp_path: Path) -> None:
    path = tmp_path / "taguette.qdc"
    path.write_text(QDC.format("<Description>The same.</Description>"), encoding="utf-8")
    found = read_codebook_file(path, relevance="The text is about leading.")
    assert (found.name, found.relevance.definition) == ("taguette", "The text is about leading.")
    assert [(one.key, one.name, one.definition) for one in found.labels] == [
        ("shared_vision", "Shared vision", "People share a vision."),
        ("code_1st_trust", "1st trust?", "People trust\none another."),
        ("shared_vision_2", "shared vision", "The same."),
    ]


@pytest.mark.parametrize("name", ["codes.csv", "codes.tsv"])
def test_a_table_is_a_codebook(tmp_path: Path, name: str) -> None:
    rows = ["Name,Description,Key,Include", "Relevant,About fruit.,,", "Fig,Figs ripen.,figs,red; green"]
    text = "\n".join(rows)
    (tmp_path / name).write_text(text if name.endswith("csv") else text.replace(",", "\t"), encoding="utf-8")
    found = read_codebook_file(tmp_path / name)
    assert found.relevance.definition == "About fruit."
    assert [(one.key, one.include) for one in found.labels] == [("figs", ("red", "green"))]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.qdc", QDC.format(""), "1 code without a description: shared vision. The model uses descriptions"),
        (
            "a.qdc",
            QDC.format("<Description>Same.</Description>"),
            "no code is named 'Relevant', so it is unknown which papers",
        ),
        ("a.qdc", "<Project/>", "this is not a REFI-QDA codebook"),
        ("a.qdc", "<CodeBook><Codes/></CodeBook>", "the file contains no codes"),
        ("a.qdc", "no xml", "cannot be read as XML"),
        ("a.csv", "name,meaning\nFig,Figs\n", "needs the columns 'name' and 'definition'"),
        ("a.csv", "name,definition,key\nRelevant,All,\nFig,Figs,Fig Tree\n", "'Fig Tree' is not a valid key"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(MechtagError, match=message):
        read_codebook_file(tmp_path / name)


@pytest.mark.parametrize(
    ("method", "data", "other", "message"),
    [
        (zipfile.ZIP_STORED, QDC.encode(), (b"shared", b"Shared"), "is not readable as a REFI-QDA project: Bad CRC-32"),
        (
            zipfile.ZIP_DEFLATED,
            b"a",
            (b"project.qdeK", b"project.qde\xff"),
            "is not readable as a REFI-QDA project: Error -3",
        ),
        (zipfile.ZIP_DEFLATED, bytes(20 << 20), (b"", b""), "unpacks to more than"),
    ],
)
def test_a_damaged_or_suspicious_project_is_refused(
    tmp_path: Path, method: int, data: bytes, other: tuple[bytes, bytes], message: str
) -> None:
    path = tmp_path / "a.qdpx"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("project.qde", data)
    path.write_bytes(path.read_bytes().replace(*other))
    with pytest.raises(MechtagError, match=f"a.qdpx: the file {message}"):
        read_codebook_file(path)
