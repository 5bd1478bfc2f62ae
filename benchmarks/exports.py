"""Read every file below a folder as a user would, and compare the number of records with an independent count.

``python -m benchmarks.exports FOLDER`` prints one line per file: the independent count, the number of records read
(kept and rejected), the number of rejected records, the number of notes, the time in seconds, the name of the file, and
the fault or the reason for refusal, if any. The exit status is 1 if reading a file fails without a message for users,
if the counts of a file do not add up, or if they differ from the independent count.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq

from mechtag.core.errors import MechtagError
from mechtag.core.printable import printable_name
from mechtag.pipeline.reading.ingest import Ingested, ingest

COMMAND = "python -m benchmarks.exports"
# Pattern of the line or element that starts a record, keyed by mechtag's name of the format.
_PATTERNS = {
    "RIS": r"^[ \t\ufeff]*TY[ \t]*-",
    "PubMed/MEDLINE (nbib)": r"^\ufeff?PMID ?-|^\ufeff?OWN  ?- ERIC|\A\s*PMCR? ?-",
    "Web of Science (tagged)": r"^\ufeff?PT [A-Z]\s*$",
    "Ovid (labelled)": r"^\ufeff?<\d+>",
    "Ovid (tagged)": r"^\ufeff?<\d+\. ?>",
    "EndNote import (enw)": r"^\ufeff?%0",
    "RefWorks (tagged)": r"^\ufeff?RT ",
    "BibTeX": r"^[ \t\ufeff]*@(?!(?:string|comment|preamble)\b)[A-Za-z]+\s*[{(]",
    "PubMed XML": r"<Pubmed(?:Book)?Article[\s>]",
    "EndNote XML": r"<record[\s>]",
    "Europe PMC XML": r"<result[\s>]",
    "ICTRP XML": r"<Trial[\s>]",
    "ClinicalTrials.gov XML": r"<clinical_study[\s>]",
}
STARTS = {name: re.compile(pattern, re.M | re.I) for name, pattern in _PATTERNS.items()}
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Words in notes about a record without its first line, or about a file in two formats (`count` counts only one).
_NO_START = re.compile(r"no (?:start|TY|PT|%0|RT) line|no start line|has no tag|different format")
_LONGEST_NAME, _PREAMBLE, _SHOWN = 60, 20, 150


def count(data: bytes, form: str) -> int | None:
    """Count the records in a file without using mechtag's readers; return ``None`` if they cannot be counted.

    In text formats, the lines or elements that start a record are counted; in tables, the rows; and in JSON, the
    objects.

    Parameters
    ----------
    form
        Name of the file's format, as ``mechtag ingest`` reports it.
    """
    if data.startswith(b"\x1f\x8b"):
        return count(gzip.decompress(data), form)
    if form == "Parquet":
        return int(pq.ParquetFile(io.BytesIO(data)).metadata.num_rows)
    if form == "XLSX":
        return _rows_of_workbook(data)
    if data.startswith(b"PK\x03\x04"):
        return None
    text = decoded(data)
    if form in STARTS:
        return len(STARTS[form].findall(text))
    if form == "JSONL":
        return sum(not line.isspace() for line in text.split("\n") if line)
    if "JSON" in form:
        return _objects(text)
    return _rows(text) if form == "CSV or TSV" else None


def decoded(data: bytes) -> str:
    """Return the text of a file; a file that is not valid Unicode is read as Windows-1252."""
    name = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _objects(text: str) -> int | None:
    """Return the length of the list of records in a JSON text, which may be nested; ``None`` if the JSON is invalid.

    A text without a list of records counts as one record.
    """
    try:
        document = json.loads(text.lstrip("\ufeff"))
    except ValueError:
        return None
    if isinstance(document, list):
        return len(document)
    return 1 if "title" in document else max(_lengths(document), default=1)


def _lengths(document: Mapping[str, Any]) -> Iterator[int]:
    """Yield the length of each list of objects in a JSON document, including lists in nested objects."""
    for value in document.values():
        if isinstance(value, dict):
            yield from _lengths(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield len(value)


def _rows(text: str) -> int:
    """Return the number of rows below the header of a table; the delimiter is guessed from the widths of the rows."""
    csv.field_size_limit(sys.maxsize)
    found = []
    for delimiter in ",;\t|":
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
        width, index = _header(rows)
        alike = sum(len(row) == len(rows[index]) for row in rows) if width > 1 else 0
        found.append((alike, sum(any(map(str.strip, row)) and row != rows[index] for row in rows[index + 1 :])))
    return max(found)[1]


def _header(rows: list[list[str]]) -> tuple[int, int]:
    """Return the number of column names in the header of a table, and the index of the header among the rows.

    The header is the first row with the largest number of filled cells. Rows with a cell that is too long for a name
    are not considered.
    """
    filled = [sum(map(bool, row)) if all(len(cell) <= _LONGEST_NAME for cell in row) else 0 for row in rows[:_PREAMBLE]]
    return max(filled), filled.index(max(filled))


def _rows_of_workbook(data: bytes) -> int:
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True)
    total = 0
    for sheet in book.worksheets:
        rows = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
        if sheet.sheet_state == "visible" and rows:
            total += sum(map(any, rows[_header(rows)[1] + 1 :]))
    return total


@dataclass(frozen=True)
class Outcome:
    """The outcome of reading a file: the reason why it was refused, or the counts of its records.

    Attributes
    ----------
    found
        Number of records according to the independent count; ``None`` if the records cannot be counted.
    fault
        Description of a fault: a traceback, or counts that do not add up; ``""`` if no fault was found.
    """

    path: Path
    found: int | None = None
    read: int = 0
    rejected: int = 0
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    refused: str = ""
    fault: str = ""


def read(path: Path) -> Outcome:
    """Read an exported file with mechtag, and compare its number of records with an independent count."""
    started = time.perf_counter()
    try:
        ingested = ingest([path])
    except MechtagError as error:
        reason = str(error).removeprefix(f"{path}: ").split(". Export the records in a format")[0]
        return Outcome(path, seconds=time.perf_counter() - started, refused=reason)
    except Exception:
        return Outcome(path, seconds=time.perf_counter() - started, fault=traceback.format_exc())
    seconds = time.perf_counter() - started
    (form, *others) = {source.format for source in ingested.sources} or {""}
    found = None if others else count(path.read_bytes(), form)
    notes = tuple(map(str, (*ingested.notes, *ingested.unread)))
    total = len(ingested.records) + len(ingested.rejected)
    fault = unaccounted(ingested)
    if not fault and found is not None and found != total and not (found < total and _may_be_more(ingested)):
        fault = f"{found} records were counted, but {total} were read"
    return Outcome(path, found, total, len(ingested.rejected), notes, seconds, fault=fault)


def _may_be_more(ingested: Ingested) -> bool:
    """Return whether a note explains why there are more records than the independent count found.

    The independent count misses records without a first line, and records in the second format of a file.
    """
    return any(_NO_START.search(note.text) for note in ingested.notes)


def unaccounted(ingested: Ingested) -> str:
    """Check that each record is either kept or rejected, exactly once; return a description of the first fault.

    The result is ``""`` if there is no fault.
    """
    for source in ingested.sources:
        numbers = [record.source_index for record in ingested.records if record.source_file == source.file]
        numbers += [item.record or 0 for item in ingested.rejected if item.file == source.file]
        if sorted(numbers) != list(range(1, source.read + 1)):
            return f"{source.file}: the numbers of its records are not 1 to {source.read}"
    total = sum(source.read for source in ingested.sources)
    read = len(ingested.records) + len(ingested.rejected)
    return "" if total == read else f"the counts of the files add up to {total} records, but {read} were read"


def main() -> None:
    """Read all files below the folder that the command line names, and print the outcome for each file."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    outcomes = [read(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    sys.stdout.write("found\tread\trejected\tnotes\tseconds\tfile\n")
    for one in outcomes:
        counts = ("", "", "") if one.refused else ("" if one.found is None else one.found, one.read, one.rejected)
        reason = one.fault or (f"refused: {one.refused[:_SHOWN]}" if one.refused else "")
        name = printable_name(str(one.path.relative_to(folder)))
        cells = (*counts, len(one.notes), f"{one.seconds:.2f}", name, " ".join(reason.split()))
        sys.stdout.write("\t".join(map(str, cells)).rstrip() + "\n")
    wrong = sum(bool(one.fault) for one in outcomes)
    refused = sum(bool(one.refused) for one in outcomes)
    sys.stdout.write(f"{len(outcomes)} files, {refused} refused with a message, {wrong} at fault\n")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
