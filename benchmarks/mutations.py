"""Damage valid files of all formats at random, and check how mechtag reads the damaged files.

``python -m benchmarks.mutations --count 10000 --seed 1`` prints each fault: an exception without a message for users, a
file that takes more than five seconds to read, a record that is neither kept nor rejected, or content that is lost
without a note. The exit status is 1 if a fault was found.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import html
import io
import json
import multiprocessing
import random
import re
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.exports import STARTS, unaccounted
from benchmarks.publish import ROOT
from mechtag.core import workbook as workbook_reader
from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_jsonl
from mechtag.core.parquet import read_records, write_records
from mechtag.core.settings import DedupeSettings, load_settings
from mechtag.core.source import Source
from mechtag.pipeline.annotations.coded_records import read_about, read_coded, read_exemplars
from mechtag.pipeline.annotations.gold_table import gold_standard, load_matrix, read_gold_notes
from mechtag.pipeline.annotations.imports.importer import read_codings_from
from mechtag.pipeline.annotations.imports.label_names import read_map
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.dedupe.results import Uncertain
from mechtag.pipeline.dedupe.review_tables import read_decisions, write_groups, write_uncertain
from mechtag.pipeline.export.tagged import NAMES, export
from mechtag.pipeline.reading.archives import unpack
from mechtag.pipeline.reading.ingest import Ingested, ingest
from mechtag.pipeline.screening.decisions import read_judgements

COMMAND = "python -m benchmarks.mutations"
FIXTURES = ROOT / "tests/fixtures"
# Processor time that reading a damaged file may take, and time after which the reading process is ended.
LIMIT, _PATIENCE = 5.0, 60.0
_LARGEST, _SHORT, _SHOWN, _EVERY = 300_000, 12, 100, 20
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Base:
    """A valid file; the benchmark reads damaged copies of it.

    Attributes
    ----------
    check
        Function that reads a damaged copy, and returns a description of a fault, or ``""`` if there is none.
    form
        Format of an export; ``""`` for other files.
    titles, texts
        Titles of the records of an export, and other values of the records, that occur exactly once in the file.
    """

    name: str
    data: bytes
    check: Callable[[Path, Base], str]
    form: str = ""
    titles: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


# Exports in formats that no test file covers.
_STUDY = {
    "protocolSection": {
        "identificationModule": {"nctId": "NCT00000009", "briefTitle": "Training of teams"},
        "descriptionModule": {"briefSummary": "Teams are trained."},
    }
}
_PAPERS = [
    {"paperId": f"ab{number}", "title": f"Leading in {place}", "abstract": "Teams lead.", "year": 2018, "authors": []}
    for number, place in enumerate(("wards", "clinics"))
]
_ICTRP = "<Trials_downloaded_from_ICTRP>{}</Trials_downloaded_from_ICTRP>".format(
    "".join(f"<Trial><TrialID>A{n}</TrialID><Public_title>Training {n} of teams</Public_title></Trial>" for n in "12")
)
_STUDIES = (
    '<?xml version="1.0"?><search_results><clinical_study><brief_title>Training of teams</brief_title>'
    "<brief_summary><textblock>Teams are trained.</textblock></brief_summary></clinical_study></search_results>"
)


def _inline() -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of valid files in formats, archives and encodings that the test files do not cover."""
    exports = FIXTURES / "exports"
    yield "clinicaltrials.json", json.dumps({"studies": [_STUDY]}).encode()
    yield "clinicaltrials.xml", _STUDIES.encode()
    yield "ictrp.xml", _ICTRP.encode()
    yield "semantic_scholar.json", json.dumps({"total": 2, "data": _PAPERS}).encode()
    ris, table = (exports / "ovid.ris").read_bytes(), (exports / "covidence.csv").read_bytes()
    records = ingest([exports / "ovid.ris", exports / "pubmed.nbib"]).records
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder) / "a.parquet", records)
        yield "records.parquet", (Path(folder) / "a.parquet").read_bytes()
    yield "table.parquet", parquet({"title": [one.title for one in records], "year": [one.year for one in records]})
    yield "table.xlsx", workbook([[one.title, one.year, one.abstract, one.doi] for one in records])
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield f"exports{method}.zip", zipped({"a.ris": ris, "b/c.csv": table, "d.xml": _ICTRP.encode()}, method)
    yield "ovid.ris.gz", gzip.compress(ris, mtime=0)
    for name in ("utf-16", "utf-16-le", "utf-8-sig", "utf-32"):
        yield f"ovid.{name}.ris", ris.decode().encode(name)
    yield "covidence.utf-16.csv", table.decode("utf-8-sig").encode("utf-16")


def parquet(columns: Mapping[str, Any]) -> bytes:
    """Return the bytes of a Parquet file with the given columns."""
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), file)
    return file.getvalue()


def workbook(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return the bytes of an XLSX file with the given rows below a header: title, year, abstract and DOI."""
    book = openpyxl.Workbook()
    for row in (["title", "year", "abstract", "doi"], *rows):
        book.worksheets[0].append(list(row))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the bytes of a zip file; ``members`` maps the name of each file to its content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


@cache
def exports() -> tuple[Base, ...]:
    """Return valid exports of every format."""
    named = [
        (path.name, path.read_bytes())
        for folder in (FIXTURES / "exports", FIXTURES / "cases")
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.endswith(".expected.json")
    ]
    return tuple(_described(name, data) for name, data in (*named, *_inline()))


def _described(name: str, data: bytes) -> Base:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        found = ingest([path])
        text = _text_of(path)
    forms = dict.fromkeys(source.format for source in found.sources)
    # A short title may be a part of other text.
    titles = {
        record.title
        for record in found.records
        if len(record.title) > _SHORT and text.count(record.title) == 1 and record.title in str(record.raw)
    }
    values = {value for record in found.records for _, raw in record.raw for value in _strings(raw)}
    texts = {value for value in values if len(value) > _SHORT and text.count(value) == 1}
    # A BibTeX abbreviation is not part of a record if, after the damage, no entry uses it.
    texts = {value for value in texts if "@string" not in text[: text.index(value)].rpartition("\n")[2].lower()}
    return Base(name, data, reading, " and ".join(forms), tuple(sorted(titles)), tuple(sorted(texts - titles)))


def _strings(value: Any) -> Iterator[str]:
    """Yield all texts within a JSON value, except the attributes of XML elements, whose names begin with ``@``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if not name.startswith("@"):
                yield from _strings(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


@cache
def others() -> tuple[Base, ...]:
    """Return valid files of all other kinds that users pass to mechtag: settings, codebooks, tables and annotations."""
    annotated, codings = ROOT / "data/annotated", FIXTURES / "codings"
    codebook = load_codebook(annotated / "codebook.yaml")
    book = load_codebook(codings / "codebook.yaml")
    records = ingest([codings / "records.jsonl"]).records
    papers = ingest([FIXTURES / "cases/60-same-papers.csv"]).records
    labels = [(key, key) for key in book.all_keys]

    def found(read: Callable[[Path], object]) -> Callable[[Path, Base], str]:
        def check(path: Path, base: Base) -> str:
            read(path)
            return ""

        return check

    def decide(path: Path) -> None:
        dedupe(papers, DedupeSettings(), decisions=read_decisions([path]))

    def judge(path: Path) -> None:
        read_judgements(path, book.relevance.key).labels(records)

    def code(path: Path) -> None:
        read_codings_from([path], records, book, DedupeSettings(), coder="ann", basis="abstract", unticked="no")

    def measure(path: Path) -> None:
        gold_standard(load_matrix(path), records)

    made: dict[str, tuple[bytes, Callable[[Path], object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        deduped = dedupe(papers, DedupeSettings())
        write_groups(here / "groups.csv", deduped)
        pairs = [Uncertain(papers[n], papers[n + 1], 0.5, "alike") for n in (0, 2)]
        write_uncertain(here / "uncertain.csv", replace(deduped, uncertain=tuple(pairs)))
        write_records(here / "read.parquet", records)
        for name in NAMES:
            export(name, here / NAMES[name], records, [], labels)
        for name, read in (("groups.csv", decide), ("uncertain.csv", decide)):
            filled = (here / name).read_text(encoding="utf-8-sig").replace(",,no,", ",different,no,", 1)
            filled = filled.replace(",,0.5,", ",same,0.5,", 1)
            made[name] = filled.encode(), read
        book_file = openpyxl.load_workbook(here / NAMES["xlsx"])
        sheet = book_file.worksheets[0]
        for row in range(2, sheet.max_row + 1):
            sheet.cell(row, 2).value = ("yes", "no", "maybe")[row % 3]
        book_file.save(here / "filled.xlsx")
        for name in ("filled.xlsx", NAMES["csv"]):
            made[f"judged {name}"] = (here / name).read_bytes(), judge
            made[f"coded {name}"] = (here / name).read_bytes(), code
        made["read.parquet"] = (here / "read.parquet").read_bytes(), read_records
    for path in sorted(codings.iterdir()):
        if path.name not in ("codebook.yaml", "records.jsonl"):
            made[f"codings {path.name}"] = path.read_bytes(), code
    judged = f"doi,title,decision\n{records[0].doi},{records[0].title},yes\n{records[1].doi},,0\n"
    made |= {
        "params.yaml": ((ROOT / "params.yaml").read_bytes(), load_settings),
        "codebook.yaml": ((annotated / "codebook.yaml").read_bytes(), load_codebook),
        "map.yaml": (b"labels: {3: money, none: null, no trust: not trust}\ncoders: {a: ann}\n", read_map),
        "about.yaml": (b"a: {title: Synopses, texts: synopses}\n", _about),
        "notes.yaml": ((annotated / "table2.yaml").read_bytes(), lambda path: read_gold_notes(path)),
        "judged.csv": (judged.encode(), judge),
        "coded.jsonl": (
            b"".join((annotated / "coded/coded_records.jsonl").read_bytes().splitlines(True)[:20]),
            lambda path: read_coded(path, codebook.keys),
        ),
        "exemplars.jsonl": (
            (annotated / "exemplars.jsonl").read_bytes(),
            lambda path: read_exemplars(path, codebook.keys),
        ),
        "gold.csv": ((codings / "matrix.csv").read_bytes(), measure),
        "table2.csv": (
            (annotated / "table2.csv").read_bytes(),
            lambda path: load_matrix(path).values("inspiring_intent"),
        ),
    }
    return tuple(Base(name, data, found(read)) for name, (data, read) in made.items())


def _about(path: Path) -> None:
    if not (path.parent / "a.jsonl").exists():
        (path.parent / "a.jsonl").touch()
    (path.parent / "about.yaml").write_bytes(path.read_bytes())
    read_about(path.parent / "a.jsonl", "records")


# Damage

PIECES = (
    *(piece.encode() for piece in "\"'\n\r\t,;{}[]<>&\\%$@\0\x1a\ufeff\u2028\u200b\u202eſİß😀"),
    *(
        b"\n\n",
        b"\r\n",
        b"\x1b[2J",
        b"&#0;",
        b"&amp;amp;",
        b"<!--",
        b"]]>",
        b"<![CDATA[",
        b"e\xcc\x81",
        b"\\u",
        b"\\ud800",
    ),
    *(b"ER  - \n", b"TY  - JOUR\n", b"\nTI  - ", b"@article{a,", b"@string{a = a # a}\n", b"PMID- 1\n", b"PT J\n"),
    *(b"<1>\n", b"%0 Book\n", b"RT Book\n", b"%T ", b"title,year\n", b"=1+1", b"null", b"NaN", b"-", b"1e999", b"-0"),
    *(
        b"\\frac{",
        b"$^{",
        b"\\begin{x}",
        b"author = ",
        b"and ",
        b" - ",
        b"  - ",
        b"</record>",
        b"<record>",
        b"<x a='1'>",
    ),
    *(b'<!DOCTYPE a [<!ENTITY a "b">]>', b"2001-02-30", b"99999-01-01", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xfe\xff"),
    *(b"\xf4\x90\x80\x80", b"PK\x03\x04", b"\x1f\x8b", b"PAR1", b"\xff\xfe", b"*", b"&a", b"*a", b": ", b"!!python/x "),
)
_FLOODED = (
    *(
        b" ",
        b"\n",
        b"\t",
        b"[",
        b"{",
        b"(",
        b'"',
        b",",
        b"9",
        b"a",
        b"\\",
        b"$",
        b"<a>",
        b"- ",
        b"- \n",
        b"&lt;",
        b"{\\'",
    ),
    *(b"\n\n ", b" and ", b". ", b"; ", b"\r", b"@", b"\\'e", b"= {", b'"",'),
)
_ENCODINGS = (
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "mac_roman", "cp1251", "utf-7"),
)
Damage = Callable[[bytearray, random.Random], None]


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _span(data: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, start + int(10 ** rng.uniform(0, 4)))


def _delete(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _double(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = data[_span(data, rng)]


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _behead(data: bytearray, rng: random.Random) -> None:
    del data[: rng.randrange(len(data) + 1)]


def _insert(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice(PIECES)


def _flood(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice(_FLOODED) * int(10 ** rng.uniform(1, 4.3))


def _nest(data: bytearray, rng: random.Random) -> None:
    depth = int(10 ** rng.uniform(1, 4))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"{", b"}"), (b"<a>", b"</a>"), (b"(", b")")))
    place = rng.randrange(len(data) + 1)
    data[place:place] = opened * depth + b"1" + closed * rng.choice((depth, depth, 0))


def _number(data: bytearray, rng: random.Random) -> None:
    found = list(re.finditer(rb"\d+", bytes(data[:_LARGEST])))
    if found:
        chosen = rng.choice(found)
        data[chosen.start() : chosen.end()] = rng.choice(
            (b"9" * 5000, b"9" * 30, b"-1", b"1e400", b"0", b"0" * 400, b"NaN", b"99999", b"1.5", "٣".encode(), b"\xb2")
        )


def _lines(data: bytearray, rng: random.Random) -> None:
    """Swap two lines, delete or repeat a line, or join two lines."""
    lines = bytes(data).split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 1:
        del lines[one]
    elif kind == 2:
        lines.insert(other, lines[one])
    elif one + 1 < len(lines):
        lines[one : one + 2] = [lines[one] + lines[one + 1]]
    data[:] = b"\n".join(lines)


def _ends(data: bytearray, rng: random.Random) -> None:
    end, other = rng.sample((b"\n", b"\r\n", b"\r", b"\n\n", b" \n", b"\n "), 2)
    data[:] = bytes(data).replace(end, other)


def _encode(data: bytearray, rng: random.Random) -> None:
    """Change the encoding of a whole file, or of the part after a random position."""
    place = rng.choice((0, rng.randrange(len(data) + 1)))
    text = bytes(data[place:]).decode(rng.choice(("utf-8", "utf-8", "cp1252")), errors="replace")
    data[place:] = text.encode(rng.choice(_ENCODINGS), errors="replace")


def _join(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(exports()).data[:_LARGEST]
    data[:] = rng.choice((bytes(data) + other, bytes(data) + b"\n" + other, other + b"\n\n" + bytes(data)))


# Damage by people and programs: editors, spreadsheets, mail, browsers and interrupted downloads.


def _text(data: bytearray) -> str:
    """Decode UTF-8 without loss: bytes that are not valid UTF-8 become surrogates, which `_put` converts back."""
    return bytes(data).decode("utf-8", errors="surrogateescape")


def _put(data: bytearray, text: str) -> None:
    data[:] = text.encode("utf-8", errors="surrogateescape")


def _typeset(data: bytearray, rng: random.Random) -> None:
    """Replace characters as a word processor does: with curly quotes, dashes, no-break spaces and ligatures."""
    text = _text(data)
    curly = re.sub(r'(?<!\w)"', "“", text).replace('"', "”")
    changed = (
        *(curly, text.replace("'", "’"), text.replace(" - ", " – "), text.replace("- ", "— "), text.replace("--", "–")),
        *(text.replace("  ", "\xa0 "), text.replace(" ", "\xa0"), text.replace("  ", " "), text.replace("fi", "ﬁ")),
        *(text.replace("...", "…"), text.replace(" ", " \xad"), text.replace(",", "，"), text.replace(":", "：")),
    )
    _put(data, rng.choice(changed))


def _head_line(data: bytearray, rng: random.Random) -> None:
    """Delete the first line of a file, or insert other lines above it, as people and programs do."""
    lines = (
        *(
            b"Search of 3 May 2024",
            b"Included studies;;;",
            b"trust in teams,2001",
            b"sep=;",
            b"sep=,",
            b"",
            b"#",
            b'""',
        ),
        *(b"Column1,Column2,Column3", b"a;b;c;d;e;f;g;h", b"From: ann@example.org", b"<!-- saved -->", b"Page 1 of 2"),
        *(b'"Exported, 2024-05-03"', b"1\t2\t3\t4", b"Title: included studies", b"%!", b"\xef\xbb\xbf", b"\xff\xfe"),
    )
    if rng.random() < 0.3:
        data[:] = bytes(data).partition(b"\n")[2]
    else:
        data[:0] = b"".join(line + b"\n" for line in rng.sample(lines, rng.choice((1, 1, 2, 5))))


def _delimit(data: bytearray, rng: random.Random) -> None:
    """Change all delimiters or quotes of a table, also within cells, as a careless search and replace does."""
    old, new = rng.sample((b",", b";", b"\t", b"|", b'"', b'""', b"'", b'","', b'";"', b", ", b"    ", b""), 2)
    if old:
        data[:] = bytes(data).replace(old, new)


def _resave(data: bytearray, rng: random.Random) -> None:
    """Change a table as spreadsheet programs do when they save it: its delimiters, quotes, line ends, rows or cells."""
    read, written = rng.choice((",,", ",;", ",\t", ";;", ";,", "\t\t", "\t,", ",|"))
    text = _text(data).removeprefix("\ufeff")
    csv.field_size_limit(sys.maxsize)
    rows = list(csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=read))
    width = max(map(len, rows), default=0)
    kind = rng.randrange(8)
    if kind == 0:
        rows = [[*row, *[""] * (width + 2 - len(row))] for row in rows]
    elif kind == 1:
        place = rng.randrange(width + 1)
        rows = [[*row[:place], "", *row[place:]] for row in rows]
    elif kind == 2:
        rows.sort()
    elif kind == 3:
        rows = [[cell[:255] for cell in row] for row in rows]
    elif kind == 4:
        rows = [row[::-1] for row in rows]
    elif kind == 5:
        rows = [[cell.replace("\n", "_x000D_\n") if cell else "#N/A" for cell in row] for row in rows]
    elif kind == 6:
        rows = [[read.join(row)] for row in rows]
    file = io.StringIO()
    quoting: Literal[0, 1] = csv.QUOTE_ALL if rng.random() < 0.3 else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=written, quoting=quoting, lineterminator=rng.choice(("\r\n", "\n", "\r")))
    writer.writerows(rows)
    data[:] = file.getvalue().encode(rng.choice(("utf-8", "utf-8-sig", "cp1252", "utf-16")), errors="replace")


def _mixed_ends(data: bytearray, rng: random.Random) -> None:
    """Change the line ends of some lines."""
    ends = rng.sample((b"\n", b"\r\n", b"\r", b"\r\r\n", b"\n\r", b"\x85", b"\x0b", b"\n\n", b""), 2)
    data[:] = b"".join(line + rng.choice((b"\n", *ends)) for line in bytes(data).split(b"\n"))


def _margin(data: bytearray, rng: random.Random) -> None:
    """Indent, quote, wrap, cut or otherwise change lines, as mail programs and editors do."""
    lines = _text(data).split("\n")
    start, end = sorted(rng.randrange(len(lines) + 1) for _ in range(2))
    start, end = rng.choice(((0, len(lines)), (start, end)))
    kinds: tuple[Callable[[str], str], ...] = (
        *(lambda line: "> " + line, lambda line: " " + line, lambda line: "\t" + line, lambda line: line + "  "),
        *(str.lower, str.upper, str.strip, str.lstrip, lambda line: f'"{line}"', lambda line: line + ",,,"),
        *(lambda line: line + ";", lambda line: re.sub(r"(.{72}\S*) ", r"\1\n", line), lambda line: line[:80]),
        *(lambda line: re.sub(r"(.{72}\S*) ", r"\1=\n", line), html.escape, lambda line: "\ufeff" + line),
    )
    change = rng.choice(kinds)
    _put(data, "\n".join((*lines[:start], *map(change, lines[start:end]), *lines[end:])))


def _mojibake(data: bytearray, rng: random.Random) -> None:
    """Decode UTF-8 with a wrong encoding and encode the result as UTF-8, once or twice."""
    for _ in range(rng.choice((1, 1, 2))):
        data[:] = bytes(data).decode(rng.choice(("cp1252", "latin-1", "mac_roman")), errors="replace").encode()


def _download(data: bytearray, rng: random.Random) -> None:
    """Damage a file as an interrupted download does: with zeros, an error page, or a passage downloaded twice."""
    place = rng.randrange(len(data) + 1)
    page = b"<html><head><title>502 Bad Gateway</title></head><body>Session expired</body></html>"
    again = max(0, place - int(10 ** rng.uniform(1, 4)))
    rest = rng.choice((b"\0" * (len(data) - place), page, b"\n" + page + b"\n" + data[place:], bytes(data[again:])))
    data[place:] = rest


DAMAGE: tuple[Damage, ...] = (
    *(_flip, _delete, _double, _truncate, _behead, _insert, _insert, _insert, _flood, _nest, _number, _lines, _lines),
    *(_ends, _encode, _join, _typeset, _head_line, _delimit, _resave, _mixed_ends, _margin, _mojibake, _download),
)


def damaged(data: bytes, rng: random.Random, damage: Sequence[Damage] = DAMAGE) -> bytes:
    """Return a copy of a file's content, damaged one to four times; in an archive, sometimes only one file is damaged.

    Half of the Parquet files instead receive columns with unexpected types or values.

    Parameters
    ----------
    damage
        Functions from which each kind of damage is drawn; they change the content in place.
    """
    if data.startswith(b"PK") and rng.random() < 0.7:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(list(members))
        members[name] = damaged(members[name], rng, damage)
        return zipped(members, rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)))
    if data.startswith(b"\x1f\x8b") and rng.random() < 0.5:
        return gzip.compress(damaged(gzip.decompress(data), rng, damage), mtime=0)
    if data.startswith(_PARQUET) and rng.random() < 0.5:
        return _odd_table(data, rng)
    changed = bytearray(data[:_LARGEST])
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        rng.choice(damage)(changed, rng)
    return bytes(changed)


def _odd_table(data: bytes, rng: random.Random) -> bytes:
    """Replace or add columns of a Parquet file, with unexpected types or with values that Python cannot represent."""
    table = pq.read_table(io.BytesIO(data))
    for _ in range(rng.randrange(1, 4)):
        index = rng.randrange(table.num_columns)
        name = rng.choice((table.column_names[index], table.column_names[index], "title", "x", ""))
        column = _odd_column(table.num_rows, rng)
        table = rng.choice((table.set_column(index, name, column), table.append_column(name, column)))
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def _odd_column(rows: int, rng: random.Random) -> Any:
    kind: Any
    values, kind = rng.choice(
        (
            ([None], pa.null()),
            ([b"\xff\xfe"], pa.binary()),
            ([True], pa.bool_()),
            ([float("nan")], pa.float64()),
            ([2**63 - 1], pa.int64()),
            ([datetime.date(1, 1, 1)], pa.date32()),
            ([10**8], pa.date32()),
            ([2**62], pa.timestamp("us")),
            ([0], pa.timestamp("us", "No/Where")),
            ([2**60], pa.duration("ms")),
            ([["a", None]], pa.list_(pa.string())),
            ([{"a": 1}], pa.struct([("a", pa.int32())])),
            ([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
            (["[" * 5000], pa.string()),
            (['[["a", ' + "9" * 5000 + "]]"], pa.string()),
            (["\0\x1b[2J\ufffe"], pa.string()),
            (["x" * 40_000], pa.string()),
        )
    )
    column = pa.array(values * rows, kind)
    return column.dictionary_encode() if kind == pa.string() and rng.random() < 0.3 else column


# Faults in the reading of a damaged file


def _text_of(path: Path) -> str:
    """Return the text of a file, of the files in an archive, or of the cells of a workbook or a Parquet table."""
    source = Source(path)
    if source.start.startswith(_PARQUET):
        # `pq.read_table` would refuse columns with the same name.
        table = pq.ParquetFile(io.BytesIO(path.read_bytes())).read()
        texts = [column for column in table.columns if pa.types.is_string(column.type)]
        return "\n".join(str(value) for column in texts for value in column.to_pylist())
    if workbook_reader.recognise(source):
        book = openpyxl.load_workbook(io.BytesIO(path.read_bytes()), read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        rows = [row for sheet in sheets for row in sheet.iter_rows(values_only=True)]
        return "\n".join(str(cell) for row in rows for cell in row if cell is not None)
    return "\n".join(member.text for _, member in unpack(source))


_OTHER_SIGNS = re.compile(r"[\W_]+")
# Notes that state that content was lost, or that one record may be two.
_ADMITTED = re.compile(r"different format|(?:may be|consists of) two records|(?<!that were )not read")


def reading(path: Path, base: Base) -> str:
    """Read a damaged export, and export its records; return a description of a fault, or ``""`` if there is none."""
    try:
        found = ingest([path])
    except MechtagError:
        return ""
    if fault := unaccounted(found):
        return fault
    write_records(path.with_suffix(".parquet_"), found.records)
    write_jsonl(path.with_suffix(".jsonl_"), found.rejected)
    json.dumps(found.summary(), ensure_ascii=False).encode()
    unique = dedupe(found.records, DedupeSettings()).unique
    labels = [("relevant", "Relevant"), ("a", "A")]
    for name in NAMES:
        # Writing a workbook takes ten times as long as writing all other formats together.
        if name != "xlsx" or path.stat().st_size % _EVERY == 0:
            export(name, path.with_name(NAMES[name]), unique, [], labels)
    return lost(path, base, found)


def lost(path: Path, base: Base, found: Ingested) -> str:
    """Return a description of content that was lost from a damaged file without a note; ``""`` if nothing was lost."""
    notes = [note.text for note in (*found.notes, *found.unread)]
    if any(map(_ADMITTED.search, notes)):
        return ""
    text = _text_of(path)
    raws = [*(one.raw for one in found.records), *(one.raw for one in found.rejected)]
    entries = [json.dumps(raw, ensure_ascii=False) for raw in raws]
    if base.form in STARTS and {source.format for source in found.sources} == {base.form}:
        starts = len(STARTS[base.form].findall(text))
        if starts > len(entries):
            return f"{starts} records start in the file, but {len(entries)} were read"
    here = [title for title in base.titles if title in text]
    raw = "\n".join(entries)
    gone = [title for title in here if title not in raw and json.dumps(title)[1:-1] not in raw]
    # Damage may split a text into several cells, which follow one another in the entry under wrong names.
    values = _letters(value for entry in raws for _, field in entry for value in _strings(field))
    fields = _letters(part for entry in raws for name, field in entry for part in (name, *_strings(field)))
    gone += [
        value
        for value in base.texts
        if value in text and (letters := _letters([value])) not in values and letters not in fields
    ]
    return f"lost {gone}" if gone else ""


def _letters(texts: Iterable[str]) -> str:
    """Return the letters and digits of texts, joined without spaces or other characters."""
    return _OTHER_SIGNS.sub("", "".join(texts))


# Running


@dataclass(frozen=True)
class Fault:
    """A fault that occurred when a damaged file was read."""

    number: int
    name: str
    text: str


def file_of(bases: Sequence[Base], seed: int, number: int) -> tuple[Base, bytes]:
    """Return the valid file that ``number`` selects, and a copy with damage that ``seed`` and ``number`` determine."""
    rng = random.Random(f"{seed} {number}")
    base = bases[number % len(bases)]
    return base, damaged(base.data, rng)


def fault_of(base: Base, data: bytes, folder: Path) -> str:
    """Write a damaged file to a folder and read it; return a description of a fault, or ``""`` if there is none."""
    path = folder / ("damaged" + Path(base.name).suffix)
    path.write_bytes(data)
    begun = time.process_time()
    try:
        fault = base.check(path, base)
    except MechtagError:
        fault = ""
    except Exception:
        fault = traceback.format_exc()
    seconds = time.process_time() - begun
    return f"took {seconds:.1f} seconds" if not fault and seconds > LIMIT else fault


def _work(bases: Sequence[Base], seed: int, numbers: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        while (number := numbers.recv()) is not None:
            numbers.send(fault_of(*file_of(bases, seed, number), Path(folder)))


class _Worker:
    """A process that reads damaged files and can be killed if it hangs."""

    def __init__(self, bases: Sequence[Base], seed: int) -> None:
        self._pipe, other = multiprocessing.Pipe()
        forked = multiprocessing.get_context("fork")
        self._process = forked.Process(target=_work, args=(bases, seed, other), daemon=True)
        self._process.start()
        other.close()

    def fault(self, number: int) -> str:
        """Read the damaged file that has the given number, and return its fault, or ``""`` if there is none.

        If the process ends or does not answer in time, the result says so. The caller must then start a new process.
        """
        self._pipe.send(number)
        try:
            if self._pipe.poll(_PATIENCE):
                return str(self._pipe.recv())
        except EOFError:
            return "the process ended"
        return f"no answer after {_PATIENCE:.0f} seconds"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def run(bases: Sequence[Base], seed: int, numbers: Sequence[int]) -> Iterator[Fault]:
    """Read the damaged files with the given numbers in a separate process, and yield the faults."""
    worker = _Worker(bases, seed)
    try:
        for number in numbers:
            if fault := worker.fault(number):
                yield Fault(number, bases[number % len(bases)].name, fault)
                if "process ended" in fault or "no answer" in fault:
                    worker.close()
                    worker = _Worker(bases, seed)
    finally:
        worker.close()


def main() -> None:
    """Damage files, read the damaged files, and print the faults."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--others", action="store_true", help="damage settings, codebooks, tables and annotations")
    parser.add_argument("--keep", type=Path, help="folder to which damaged files with faults are written")
    options = parser.parse_args()
    bases = others() if options.others else exports()
    kinds: Counter[str] = Counter()
    for fault in run(bases, options.seed, range(options.count)):
        kinds[fault.text.strip().splitlines()[-1][:_SHOWN]] += 1
        sys.stdout.write(f"{fault.number} {fault.name}: {fault.text}\n")
        sys.stdout.flush()
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            _, data = file_of(bases, options.seed, fault.number)
            (options.keep / f"{options.seed}_{fault.number}_{fault.name}").write_bytes(data)
    for kind, number in kinds.most_common():
        sys.stdout.write(f"{number}: {kind}\n")
    sys.stdout.write(f"{options.count} damaged files of {len(bases)}, {kinds.total()} faults\n")
    sys.exit(bool(kinds))


if __name__ == "__main__":
    main()
