"""Helpers for the tests of readers of search exports."""

import io
from collections.abc import Callable

import openpyxl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mechtag.core.records import Record
from mechtag.pipeline.reading.ingest import Ingested
from tests.support.paths import ROOT

EXPORTS = ROOT / "tests/fixtures/exports"
RIS_EXPORTS = sorted(EXPORTS.glob("*.ris"))
Reader = Callable[[str | bytes], Ingested]

anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

# Characters of which two in a row may be one letter that was decoded wrongly; they are tested separately.
# `one_line` is any other text on one line, without surrogates and control characters.
mojibake = "".join(map(chr, range(0xC2, 0xF5))) + "√¬‚"
one_line = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff" + mojibake)
line = st.text(one_line, min_size=1, max_size=40).map(str.strip).filter(bool)


def only(found: Ingested) -> Record:
    (record,) = found.records
    return record


def rejected(found: Ingested) -> list[tuple[int | None, int | None, str]]:
    return [(item.record, item.line, item.reason) for item in found.rejected]


def notes(found: Ingested) -> list[str]:
    return [note.text for note in found.notes]


def workbook(sheets: dict[str, list[list[object]]], hidden: str = "") -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
        sheet.sheet_state = "hidden" if title == hidden else "visible"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
