"""Test OCR: pages are recognised only on request, and a program that fails or takes too long does no harm."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import fpdf
import pypdfium2
import pytest
from PIL import Image

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import iterate_full_texts, write_records
from mechtag.core.records import Record, Rejected
from mechtag.pipeline.fulltext import isolated
from mechtag.pipeline.fulltext.formats import pdf
from mechtag.pipeline.fulltext.isolated import IsolatedReader, Limits
from mechtag.pipeline.fulltext.ocr import Picture, Recogniser, RecognitionError, find_program
from mechtag.pipeline.fulltext.reading import read_full_text
from tests.support.command import call
from tests.support.journal import pages
from tests.support.pdfs import BODY, write_paper

TEXT = ("Orchards need leaders who listen to the pickers", "who also show when the harvest can start.")
# A program that finds the two lines above, at fixed places, in any picture.
FAKE = f"""#!{sys.executable}
import sys, time
assert sys.argv[1:] == ["stdin", "stdout", "--psm", "1", "-l", "eng", "--dpi", "300", "tsv"], sys.argv
kind, size, depth, pixels = sys.stdin.buffer.read().split(b"\\n", 3)
width, height = map(int, size.split())
suffix = ""
assert (kind, depth, len(pixels)) == (b"P5", b"255", width * height)
MODE
print("level\\tpage_num\\tblock_num\\tpar_num\\tline_num\\tword_num\\tleft\\ttop\\twidth\\theight\\tconf\\ttext")
print(f"1\\t1\\t0\\t0\\t0\\t0\\t0\\t0\\t{{width}}\\t{{height}}\\t-1\\t")
for line, text in enumerate({TEXT!r}):
    for word, own in enumerate((text + suffix).split()):
        place = 300 + 150 * word, 600 + 60 * line, 140, (40 if set("pyg") & set(own) else 31)
        print("5", 1, 1, 1, line + 1, word + 1, *place, 96, own, sep="\\t")
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a fake OCR program with an inserted line of code, and returns its path."""

    def write(mode: str = "") -> str:
        path = tmp_path / "bin/tesseract"
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAKE.replace("MODE", mode), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


# Letters that differ from page to page, because lines that all pages have are running heads.
DIFFERENT = 'import os; suffix = " " + "".join(chr(97 + int(digit)) for digit in str(os.getpid()))'


def scan(count: int = 1) -> bytes:
    picture = io.BytesIO()
    Image.new("L", (60, 80), 128).save(picture, "PNG")
    made = fpdf.FPDF()
    for _ in range(count):
        made.add_page()
        made.image(picture, w=100)
    return bytes(made.output())


def test_pages_without_text_are_recognised_and_marked(tmp_path: Path, fake: Callable[[str], str]) -> None:
    (tmp_path / "a.pdf").write_bytes(pages(["Orchards have walls. " * 20, "", "Harvesters like walls. " * 20]))
    text = read_full_text(tmp_path / "a.pdf", "a.pdf", recogniser=Recogniser(fake(""))).full_text
    assert [page.ocr for page in text.pages] == [False, True, False]
    assert text.text[text.pages[1].start : text.pages[1].end].strip() == " ".join(TEXT)
    assert (text.quality.ocr_pages, text.quality.scanned_pages) == (1, 0)
    assert text.warnings[0] == "The text of page 2 was recognised in pictures (OCR), so it may contain errors."
    plain = read_full_text(tmp_path / "a.pdf", "a.pdf").full_text
    assert [page.ocr for page in plain.pages] == [False] * 3
    assert plain.warnings[0] == "1 of 3 pages have no text."


def test_a_scan_is_read_only_on_request(fake: Callable[[str], str]) -> None:
    with pytest.raises(
        MechtagError,
        match=r"is a scan without text \(4 of 4 pages have no text\); attach it with 'mechtag attach --ocr tess",
    ):
        pdf.read(scan(4), "a.pdf")
    draft = pdf.read(scan(4), "a.pdf", recogniser=Recogniser(fake("")))
    assert draft.ocr_pages == {1, 2, 3, 4}
    assert draft.warnings == ["The text of pages 1-4 was recognised in pictures (OCR), so it may contain errors."]
    assert TEXT[0] in draft.first_page


def test_places_are_converted_to_points(fake: Callable[[str], str]) -> None:
    first, second = Recogniser(fake("")).lines(Picture(2480, 3508, bytes(2480 * 3508), 300 / 72), 7)
    assert (first.text, first.page) == (TEXT[0], 7)
    # The line begins 300 pixels from the left and ends with its eighth word; its lower edge is 640 pixels from the top.
    assert first.left == pytest.approx(300 * 72 / 300)
    assert first.right == pytest.approx((300 + 7 * 150 + 140) * 72 / 300)
    assert first.bottom == pytest.approx((3508 - 640) * 72 / 300)
    # Letters with and without descenders are of the same font.
    assert first.height == second.height == pytest.approx(40 * 72 / 300, abs=0.1)
    assert first.bottom > second.bottom


def test_a_page_is_drawn_with_300_dots_per_inch_but_not_larger_than_memory_allows() -> None:
    def drawn(width: float, height: float) -> Picture:
        made = fpdf.FPDF(unit="pt", format=(width, height))
        made.add_page()
        made.set_fill_color(0)
        made.rect(0, 0, width / 2, height, style="F")
        with pypdfium2.PdfDocument(bytes(made.output())) as document:
            return pdf._picture(document, 0)

    page = drawn(595, 842)
    assert (page.width, page.height) == (pytest.approx(595 * 300 / 72, abs=1), pytest.approx(842 * 300 / 72, abs=1))
    row = page.pixels[: page.width]
    assert len(page.pixels) == page.width * page.height
    assert (row[10], row[-10]) == (0, 255)
    large = drawn(7200, 7200)
    assert large.width * large.height <= 36_000_000
    assert large.scale == pytest.approx(large.width / 7200, rel=0.01)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("time.sleep(60)", "page 1 was not recognised, because tesseract took more than 0.5 seconds"),
        ("sys.exit('Error opening data file eng.traineddata')", "because tesseract failed (Error opening data file"),
        ("print('no table'); sys.exit(0)", "pages have no"),
    ],
)
def test_a_page_that_is_not_recognised_has_no_text(fake: Callable[[str], str], mode: str, reason: str) -> None:
    recogniser = Recogniser(fake(mode), seconds=0.5)
    with pytest.raises(MechtagError, match=re.escape(reason)) as found:
        pdf.read(scan(), "a.pdf", recogniser=recogniser)
    assert "a.pdf is a scan without text (1 of 1 pages have no text" in str(found.value)
    assert "--ocr" not in str(found.value)
    draft = pdf.read(pages(["Orchards have walls. " * 20, "", "More walls. " * 20]), "a.pdf", recogniser=recogniser)
    assert draft.scanned_pages == 1
    assert not draft.ocr_pages
    assert any(reason.removeprefix("page 1 ") in warning for warning in draft.warnings)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecognitionError, match="because tesseract could not be started"):
        Recogniser(str(tmp_path / "none")).lines(Picture(1, 1, b"\0", 1), 1)


def test_the_time_limit_is_per_page(
    tmp_path: Path, fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    extended: list[float] = []
    extend = isolated._Deadline.extend
    monkeypatch.setattr(
        isolated._Deadline, "extend", lambda self, seconds: (extended.append(seconds), extend(self, seconds))
    )
    (tmp_path / "a.pdf").write_bytes(scan(2))
    with IsolatedReader(Limits(), fake(DIFFERENT)) as reader:
        found = reader.read(tmp_path / "a.pdf", "a.pdf")
    assert not isinstance(found, Rejected), found
    assert extended == [30, 2 * 0.5, 70, 70]
    assert found.full_text.text.count(TEXT[0]) == 2


def test_only_tesseract_on_the_path_is_used(
    tmp_path: Path, fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MechtagError, match="tesseract is not installed, or its folder is not on PATH; install it"):
        find_program("tesseract")
    program = fake("")
    assert find_program("tesseract") == program
    with pytest.raises(MechtagError, match="mechtag cannot use this program to recognise text; use tesseract"):
        find_program("abbyy")


def test_attach_recognises_scans_on_request(
    tmp_path: Path, fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(DIFFERENT)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    write_records(tmp_path / "r.parquet", [Record(record_id="text:1", title=f"{TEXT[0]} {TEXT[1]}")])
    (tmp_path / "pdfs").mkdir()
    (tmp_path / "pdfs/a.pdf").write_bytes(scan(2))
    words = ("attach", tmp_path / "pdfs", "--records", tmp_path / "r.parquet", "-o", tmp_path / "out")
    assert "0 attached, 0 duplicates of an attached file, 0 unmatched, 1 rejected" in call(*words)[2]
    status, _, message = call(*words, "--ocr", "tesseract")
    assert status == 0, message
    assert "1 attached" in message
    [text] = iterate_full_texts(tmp_path / "out/fulltexts.parquet")
    assert [page.ocr for page in text.pages] == [True, True]
    with (tmp_path / "out/attached.csv").open(encoding="utf-8-sig", newline="") as file:
        [row] = csv.DictReader(file)
    assert "recognised in pictures (OCR)" in row["warnings"]
    assert call(*words, "--ocr", "abbyy")[0] == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("tesseract"), reason="tesseract is not installed")
def test_the_text_of_a_real_scan_is_recognised(tmp_path: Path) -> None:
    printed = write_paper(tmp_path / "printed.pdf", "How leaders build trust across teams", body=BODY)
    scanned = fpdf.FPDF()
    with pypdfium2.PdfDocument(printed) as document:
        for page in document:
            scanned.add_page()
            scanned.image(page.render(scale=200 / 72).to_pil(), x=0, y=0, w=210)
    (tmp_path / "a.pdf").write_bytes(bytes(scanned.output()))
    with IsolatedReader(program=find_program("tesseract")) as reader:
        found = reader.read(tmp_path / "a.pdf", "a.pdf")
    assert not isinstance(found, Rejected), found
    text = found.full_text
    expected = read_full_text(printed, "printed.pdf").full_text
    known = set(expected.text.split())
    assert sum(word in known for word in text.text.split()) >= 0.9 * len(expected.text.split())
    assert [section.kind for section in text.sections] == [section.kind for section in expected.sections]
