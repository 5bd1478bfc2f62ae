"""Read the values in Excel workbooks with openpyxl; formulas are not computed, and links are not followed.

A workbook is a zip archive. It is rejected if it would unpack to far more data than a genuine export contains.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.source import Source

# 100,000 records with abstracts unpack to about 300 MB; real sheets unpack to ten or twenty times their size.
_LARGEST, _LARGE, _RATIO = 2_000_000_000, 50_000_000, 100
#: Excel's own limit; a workbook can declare any number of rows.
MOST_ROWS = 1_048_576
#: Name of the sheet in which mechtag explains a table that it wrote; it is not read.
EXPLANATION = "About this workbook"
#: Names of the sheets of such a workbook that repeat other sheets; they are not read either.
DERIVED = frozenset(("Evidence", "Matrix", "Codebook"))
# A SyntaxError is raised by both XML parsers that openpyxl may use, xml.etree and (if it is installed) lxml.
_RAISED = (
    *(LookupError, ValueError, TypeError, AttributeError, OSError, EOFError, RuntimeError),
    *(SyntaxError, zipfile.BadZipFile, zlib.error),
)
# A formula without a result. If the result is an empty text, the cell has the type t="str".
_UNCOMPUTED = re.compile(
    rb'<c (?=[^>]{0,200}?\br="([A-Z]{1,3}\d{1,7})")(?![^>]{0,200}?\bt=)[^>]{0,200}>\s*'
    rb"<f(?:[^>]{0,200}/>|[^>]{0,200}>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)
# Excel's escapes for control characters; with Windows line ends, each line ends in '_x000D_'.
_ESCAPED = re.compile(r"_x(00[01][0-9A-Fa-f]|005F)_")


def recognise(source: Source) -> bool:
    """Return whether a file is an Excel workbook, which is a zip archive with certain members."""
    return "[Content_Types].xml" in source.members and any(name.startswith("xl/") for name in source.members)


def _refuse_bombs(source: Source) -> None:
    with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
        for part in archive.infolist():
            ratio = part.file_size / max(part.compress_size, 1)
            if part.file_size > _LARGEST or (part.file_size > _LARGE and ratio > _RATIO):
                raise MechtagError(
                    f"{source.path}: {part.filename} would unpack to {part.file_size / 1e6:,.0f} MB, "
                    f"{ratio:,.0f} times its compressed size. For safety, the workbook was not read; save the table as "
                    "CSV"
                )


@contextmanager
def _readable(source: Source) -> Iterator[None]:
    """Convert each error of openpyxl in the ``with`` block to a `MechtagError`, which names the workbook."""
    # openpyxl does not document which errors it raises.
    try:
        # openpyxl also warns about styles and validations, which do not matter here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _RAISED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MechtagError(
            f"{source.path}: the file is not readable as an Excel workbook: {reason}. Open the file in Excel and save "
            "the table as CSV"
        ) from None


def _refuse_uncomputed(source: Source) -> None:
    """Raise an error if a formula has no result, because the cell would be read as empty."""
    with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and (found := _UNCOMPUTED.search(archive.read(name))):
                raise MechtagError(
                    f"{source.path}: cell {found[1].decode()} contains a formula, but the file does not contain its "
                    "result; open the workbook in a spreadsheet program, save it, and try again"
                )


def open_sheets(source: Source, computed: bool = False) -> dict[str, Any]:
    """Open a workbook and return its visible sheets, keyed by name.

    Hidden sheets are left out, and a note on each of them is added to the source. Sheets that mechtag wrote only to
    explain or repeat another sheet are also left out.

    Parameters
    ----------
    computed
        Whether to refuse a workbook in which a formula has no result. Programs that do not compute formulas write such
        workbooks. By default, the cells of such formulas are empty.

    Raises
    ------
    MechtagError
        If the workbook is damaged, would be too large when unpacked, or is refused because of a formula.
    """
    import openpyxl

    with _readable(source):
        _refuse_bombs(source)
        workbook = openpyxl.load_workbook(io.BytesIO(source.data), read_only=True, data_only=True, keep_links=False)
        own = {EXPLANATION, *DERIVED} if EXPLANATION in workbook.sheetnames else {EXPLANATION}
        found = [sheet for sheet in workbook.worksheets if sheet.title not in own]
        if computed:
            _refuse_uncomputed(source)
        sheets = {sheet.title: sheet for sheet in found if sheet.sheet_state == "visible"}
        for sheet in sheets.values():
            # Some programs write a sheet size that is too small; rows beyond it would be lost.
            sheet.reset_dimensions()
    for hidden in found:
        if hidden.title not in sheets:
            source.notes.append(f"the sheet {hidden.title!r} is hidden and was not read; unhide it to include it")
    return sheets


def rows(source: Source, sheet: Any) -> Iterator[list[str]]:
    """Yield each row of a sheet as a list of texts, without trailing empty cells."""
    with _readable(source):
        lines = iter(sheet.iter_rows(values_only=True))
    for _ in range(MOST_ROWS):
        with _readable(source):
            row = next(lines, None)
        if row is None:
            return
        cells = [_text(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        yield cells


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, date):
        return value.isoformat()
    text = "" if value is None else str(value).strip()
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x00" in text else text
