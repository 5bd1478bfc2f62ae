"""Test that the format of a file is recognised by its content, and that its text is assembled and stored."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pypdfium2
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.full_text import FullText
from mechtag.core.parquet import iterate_full_texts, write_full_texts, write_records
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.reading import assemble_file, find_format, read_full_text
from tests.support.pdfs import BODY, write_paper


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            # Without the time of day, which would be part of the names of tests.
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"%PDF-1.7\n...", "pdf"),
        (b"\r\nHTTP rubbish\r\n%PDF-1.4\n", "pdf"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE article PUBLIC "-//NLM//DTD JATS" "a.dtd">\n<article>', "jats"),
        (b'<!-- <html> --><article xmlns:xlink="x">', "jats"),
        ('\ufeff<?xml version="1.0" encoding="UTF-16"?><article/>'.encode("utf-16"), "jats"),
        (b'<?xml version="1.0"?><TEI xmlns="http://www.tei-c.org/ns/1.0">', "tei"),
        (b'<tei:TEI xmlns:tei="http://www.tei-c.org/ns/1.0">', "tei"),
        (b"  <!DOCTYPE html>\n<title>A</title>", "html"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', "html"),
        (zipped(**{"word/document.xml": b"<w/>"}), "docx"),
        (zipped(mimetype=b"application/epub+zip", a=b""), "epub"),
        (b"Leaders matter.\n\nMethods\n", "txt"),
        ("Führung und <em>Vertrauen</em>".encode("cp1252"), "txt"),
    ],
)
def test_the_content_decides_on_the_format(data: bytes, form: str) -> None:
    assert find_format(data, "x.pdf") == form


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "x.pdf is empty; download"),
        (b" \n\t", "x.pdf is empty; download"),
        (zipped(a=b"b"), "x.pdf is a zip file, but neither a DOCX document nor an EPUB book"),
        (zipped(a=b"b")[:20], "x.pdf is cut off or damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "x.pdf is a document of an old version of Word"),
        (b"{\\rtf1", "x.pdf is an RTF document"),
        (b"\x7fELF\x00\x00", "x.pdf is in an unknown binary format"),
        (b'<?xml version="1.0"?><rss/>', r"x.pdf is an XML file, but its root element is <rss>; .* \(<TEI>\)"),
    ],
)
def test_other_content_is_refused_with_what_to_do(data: bytes, reason: str) -> None:
    with pytest.raises(MechtagError, match=f"^{reason}"):
        find_format(data, "x.pdf")


def test_a_file_is_read_by_the_module_of_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ModuleType("plain")
    plain.read = lambda data, name: Draft([Block(line) for line in data.decode().splitlines()], title=name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mechtag.pipeline.fulltext.formats.plain", plain)
    path = tmp_path / "paper.dat"
    path.write_bytes(b"Leaders listened.\nTeams spoke.")
    read = read_full_text(path, "paper")
    assert (read.title, read.beginning, read.full_text.format) == ("paper", "Leaders listened.\nTeams spoke.", "txt")
    assert read.full_text.text == "Leaders listened.\nTeams spoke."
    assert read.full_text.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(MechtagError, match=r"gone\.txt: the file cannot be read"):
        read_full_text(tmp_path / "gone.txt", "gone")


DRAFT = Draft(
    [
        Block("On Trust", heading=1, kind="title", page=1),
        Block("Abstract", heading=1, page=1),
        Block("Half \ud835 pair.", page=1),
        Block("References", heading=1, page=2),
        Block("1. Other A. 2019.", page=2),
    ],
    title="On Trust",
    doi="10.1/x",
    first_page="On Trust \udfff",
    page_labels=("i", "ii"),
    scanned_pages=1,
    warnings=("Page 2 is a scan.",),
    licence="CC BY 4.0",
)


def test_quality_and_warnings_describe_the_text() -> None:
    read = assemble_file(DRAFT, "pdf", "a.pdf", "0" * 64)
    text = read.full_text
    assert text.text == "On Trust\n\nAbstract\nHalf pair.\n\nReferences\n1. Other A. 2019."
    assert [section.kind for section in text.sections] == ["title", "abstract", "references"]
    assert [(page.label, page.start, page.end) for page in text.pages] == [("i", 0, 31), ("ii", 31, len(text.text))]
    assert text.quality.model_dump() == {
        "pages": 2,
        "chars": 59,
        "scanned_pages": 1,
        "ocr_pages": 0,
        "references_cut": True,
        "headings": 3,
        "letters_share": round(39 / 48, 4),
    }
    assert text.warnings == (
        "Page 2 is a scan.",
        "The text has only 59 characters, so it may not be the whole paper.",
    )
    assert (read.beginning, text.licence, text.record_id) == ("On Trust \ufffd", "CC BY 4.0", "")
    assert text.reader.startswith("mechtag ")
    assert ", pypdfium2 " in text.reader


def test_few_letters_and_no_text_at_all() -> None:
    digits = assemble_file(Draft([Block("1234 5678 abcdefg " * 300)]), "txt", "a", "")
    assert digits.full_text.warnings == ("Only 47% of the characters are letters, so the text may be garbled.",)
    with pytest.raises(MechtagError, match=r"^a\.pdf contains no text; download it again"):
        assemble_file(Draft([Block(" \x02 ")]), "pdf", "a.pdf", "")


def test_a_table_of_full_texts_is_read_as_it_was_written(tmp_path: Path) -> None:
    text = assemble_file(DRAFT, "pdf", "a.pdf", "0" * 64).full_text
    texts = [text.model_copy(update={"record_id": f"doi:{number}"}) for number in range(120)]
    write_full_texts(tmp_path / "fulltexts.parquet", iter(texts))
    assert list(iterate_full_texts(tmp_path / "fulltexts.parquet")) == texts


def test_nothing_is_left_of_a_table_that_was_interrupted(tmp_path: Path) -> None:
    def interrupted() -> Iterator[FullText]:
        yield assemble_file(DRAFT, "pdf", "a.pdf", "0" * 64).full_text
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        write_full_texts(tmp_path / "fulltexts.parquet", interrupted())
    assert not list(tmp_path.iterdir())


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", [])
    with pytest.raises(MechtagError, match="this is not a table of full texts, because it lacks the columns text"):
        list(iterate_full_texts(tmp_path / "r.parquet"))


def test_a_pdf_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    class Counted(pypdfium2.PdfDocument):  # type: ignore[misc]
        def __init__(self, *given: object, **named: object) -> None:
            opened.append(given)
            super().__init__(*given, **named)

    monkeypatch.setattr(pypdfium2, "PdfDocument", Counted)
    path = write_paper(tmp_path / "a.pdf", "A title", body=BODY * 40)
    pages: list[int] = []
    found = read_full_text(path, "a.pdf", pages.append)
    assert len(opened) == 1
    assert pages == [len(found.full_text.pages)]
    assert pages[0] > 1
