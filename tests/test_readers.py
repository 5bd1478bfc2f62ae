import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import rispy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import MechtagError
from pipeline.ingest import Ingested, ingest
from pipeline.readers.columns import split_authors
from pipeline.readers.construct import clean_author, clean_year

EXPORTS = Path(__file__).parent / "fixtures" / "exports"
RIS_EXPORTS = sorted(EXPORTS.glob("*.ris"))
Reader = Callable[[str | bytes], Ingested]

anywhere = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Read a file with this content; its name tells nothing of its format."""

    def read(content: str | bytes) -> Ingested:
        path = tmp_path / "export.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ingest([path])

    return read


@pytest.mark.parametrize("path", sorted(EXPORTS.iterdir()), ids=lambda path: path.name)
def test_every_system_tells_the_same_of_the_same_papers(path: Path) -> None:
    found = ingest([path])
    first, second = found.records
    assert first.title.rstrip(".").lower() == "sharing the lead in stroke care networks: a qualitative study"
    assert (first.year, first.doi, first.volume, first.issue) == (2017, "10.5555/jic.2017.0045", "12", "3")
    assert first.journal is not None
    assert first.journal.lower() == "journal of invented care"
    assert [author.split(",")[0] for author in first.authors] == ["Marchetti", "O'Neill"]
    assert re.fullmatch(r"45\D58", first.pages or "")
    if path.name != "pubmed.csv":
        assert first.abstract.startswith("Three networks of hospitals were studied for two years. Leading moved")
        assert first.abstract.endswith("no single office held it.")
    assert second.title.rstrip(".").lower() == "who owns the plan? middle managers in primary care"
    assert (second.year, second.doi, second.volume) == (2019, "10.5555/jic.2019.0007", "14")
    assert (second.abstract, second.pages) == ("", "7" if path.stem in ("scopus", "web_of_science") else None)
    assert [record.source_index for record in found.records] == [1, 2]
    assert {record.source_file for record in found.records} == {path.name}
    assert found.notes == ()


@pytest.mark.parametrize("path", RIS_EXPORTS, ids=lambda path: path.name)
def test_ris_agrees_with_rispy(path: Path) -> None:
    # One list a tag, so that rispy drops no repeated one.
    expected = rispy.loads(
        path.read_text(encoding="utf-8-sig"),
        mapping={tag: tag for tag in rispy.TAG_KEY_MAPPING},
        list_tags=list(rispy.TAG_KEY_MAPPING),
        delimiter_tags_mapping={},
    )
    for record, item in zip(ingest([path]).records, expected, strict=True):
        unknown = item.pop("UK", {})
        found: dict[str, list[str]] = {}
        for tag, value in record.raw:
            found.setdefault(tag, []).extend(value.split("\n"))
        # rispy stops at ER; Ovid goes on.
        found.pop("NL", None)
        assert found == {**{tag: [v] if isinstance(v, str) else v for tag, v in item.items()}, **unknown}


@pytest.mark.parametrize(
    ("name", "pmid", "keywords"),
    [
        ("ovid.ris", "31415926", ("*Leadership", "Stroke/th [Therapy]")),
        ("cochrane.ris", "31415926", ("*Leadership",)),
        ("endnote.ris", None, ("leadership", "stroke")),
        ("scopus.csv", "31415926", ("leadership", "stroke", "Human", "Leadership")),
        ("web_of_science.txt", "31415926", ("leadership", "stroke", "TEAMS")),
        ("embase.csv", None, ("human", "leadership")),
        ("rayyan.csv", "31415926", ("leadership", "stroke")),
        ("asreview.csv", None, ("leadership", "stroke")),
        ("pubmed.nbib", "31415926", ("networks", "*Leadership", "Stroke/therapy")),
        ("pubmed.xml", "31415926", ("networks", "*Leadership", "Stroke/therapy")),
        ("ovid.cgi", "31415926", ("leadership", "stroke")),
        ("web_of_science.ciw", "31415926", ("leadership", "stroke networks", "TEAMS")),
        ("endnote.xml", "31415926", ("leadership", "stroke")),
        ("endnote.enw", None, ("leadership", "stroke")),
        ("scopus.bib", None, ("leadership", "stroke")),
        ("zotero_biblatex.bib", None, ("leadership", "stroke")),
        ("zotero.json", "31415926", ("leadership", "stroke")),
        ("embase_vertical.csv", "31415926", ("human", "leadership")),
    ],
)
def test_pubmed_ids_and_keywords(name: str, pmid: str | None, keywords: tuple[str, ...]) -> None:
    record = ingest([EXPORTS / name]).records[0]
    assert record.pmid == pmid
    assert record.keywords == keywords


# RIS


def test_ris_keeps_every_tag_in_its_order(read: Reader) -> None:
    (record,) = read(
        "TY  - JOUR\nTI  - A title\nX9  - one\nKW  - b\nAU  - C, D\nX9  - two\nKW  - a\nSP  - \nER  - \n"
    ).records
    assert record.raw == (
        *(("TY", "JOUR"), ("TI", "A title"), ("X9", "one"), ("KW", "b")),
        *(("AU", "C, D"), ("X9", "two"), ("KW", "a"), ("SP", "")),
    )


def test_ris_joins_continued_lines_and_leaves_out_headings(read: Reader) -> None:
    abstract = "AB  - First.\nAB - second.\n\nThird.\n"
    found = read(f"Provider: nobody\n1.\nTY  - JOUR\nTI  - A title\n  over two lines\n{abstract}ER  - \n2.\n")
    assert found.records[0].title == "A title over two lines"
    assert found.records[0].abstract == "First. AB - second.\nThird."
    assert found.notes == ()


@pytest.mark.parametrize(
    ("text", "titles", "notes"),
    [
        (
            "TY  - JOUR\nTI  - One\n\nTY  - JOUR\nTI  - Two\nER  - \n",
            ["One", "Two"],
            ["export.txt: record 1, line 1: no ER line at its end; it may be cut short"],
        ),
        (
            "TY  - JOUR\nTI  - One\nER  - \n\nTY  - JOUR\nTI  - Two",
            ["One", "Two"],
            ["export.txt: record 2, line 5: no ER line at its end; it may be cut short"],
        ),
        (
            "JF  - Care\nTI  - One\nER  - \n",
            ["One"],
            ["export.txt: record 1, line 1: no TY line at its start"],
        ),
        (
            "TY  - JOUR\nTI  - One\nER  - \nTI  - Two\nAU  - B, C\nER  - \nTY  - JOUR\nTI  - Three\nER  - \n",
            ["One", "Two", "Three"],
            ["export.txt: record 2, line 4: no TY line at its start"],
        ),
        ("TY  - JOUR\nTI  - One\nER  - \nNL  - after the end\nTY  - JOUR\nTI  - Two\nER  - \n", ["One", "Two"], []),
        ("TY  - JOUR\nTI  - One\nER  - \nNL  - after the end\n", ["One"], []),
    ],
)
def test_ris_records_without_start_or_end_are_kept(
    read: Reader, text: str, titles: list[str], notes: list[str]
) -> None:
    found = read(text)
    assert [record.title for record in found.records] == titles
    assert [record.source_index for record in found.records] == list(range(1, len(titles) + 1))
    assert list(map(str, found.notes)) == notes
    assert ("after the end" in text) == any(("NL", "after the end") in record.raw for record in found.records)


@pytest.mark.parametrize(
    "text",
    [
        "TY\t- JOUR\nTI\t- A title\nAU \t- B, C\nER\t-\n",
        "TY - JOUR\nTI - A title\nAU - B, C\nER -\n",
        "TY   -   JOUR\nTI  -A title\nAU  - B,C\nER  -",
        "\n\ufeffTY  - JOUR\r\n\ufeffTI  - A title\r\nAU  - B, C\r\nER  - \r\n",
        "TY  - JOUR\rTI  - A title\rAU  - B, C\rER  - \r",
    ],
)
def test_ris_with_odd_spacing(read: Reader, text: str) -> None:
    (record,) = read(text).records
    assert (record.type, record.title, record.authors) == ("JOUR", "A title", ("B, C"[:4],))


@pytest.mark.parametrize(
    ("lines", "doi", "pmid"),
    [
        ("DO  - https://doi.org/10.5555/AB.1", "10.5555/ab.1", None),
        ("DO  - none\nL3  - 10.5555/ab.1", "10.5555/ab.1", None),
        ("M3  - Article\nUR  - https://doi.org/10.5555/ab.1", "10.5555/ab.1", None),
        ("DO  - 10.5555/s1(17)2%283%29", "10.5555/s1(17)2(3)", None),
        ("UR  - https://journal.example/10.5555/ab.1/pdf", None, None),
        ("AN  - 12345678\nDB  - PubMed", None, "12345678"),
        ("AN  - 12345678\nDB  - PsycINFO", None, None),
        ("C5  - 12345678\nDB  - Embase\nDB  - Medline\nAN  - 87654321", None, "12345678"),
        ("C3  - PUBMED 12345678,EMBASE 999", None, "12345678"),
        ("U1  - 12345678[pmid]", None, "12345678"),
        ("L2  - https://pubmed.ncbi.nlm.nih.gov/12345678/", None, "12345678"),
        ("ID  - 889\nDB  - Medline", None, None),
        ("N1  - Erratum in: PMID: 12345678", None, None),
    ],
)
def test_ris_identifiers(read: Reader, lines: str, doi: str | None, pmid: str | None) -> None:
    (record,) = read(f"TY  - JOUR\nTI  - A title\n{lines}\nER  - \n").records
    assert (record.doi, record.pmid) == (doi, pmid)


# Tables


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_table_with_any_delimiter(read: Reader, delimiter: str) -> None:
    cells = [["Title", "Abstract", "My notes"], ["One, two; three|four", 'They said "yes".\nTwice.', "kept"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(cells)
    (record,) = read(text.getvalue()).records
    assert record.title == "One, two; three|four"
    assert record.abstract == 'They said "yes". Twice.'
    assert record.raw == tuple(zip(cells[0], cells[1], strict=True))


def test_table_without_titles_is_refused(read: Reader) -> None:
    message = (
        r"export\.txt: no column with titles; found the columns Abstract, Year, Notes\. Name the column one of: title"
    )
    with pytest.raises(MechtagError, match=message):
        read("Abstract,Year,,Notes\nText,2010,,x\n")


def test_table_rows_that_do_not_fit(read: Reader) -> None:
    found = read(
        "title,abstract,year\n"
        "One,text,2001\n"
        "Two, with a comma,text,2002\n"
        "\n"
        "Three,text\n"
        '"Four "quoted" title",text,2004\n'
        "Five,text,2005,,\n"
        '"Six,text,2006\n'
        "Seven,text,2007\n"
    )
    assert [record.title for record in found.records] == ["One", "Three", "Five", "Seven"]
    assert [(item.record, item.line, item.reason.split(";")[0].split(":")[0]) for item in found.rejected] == [
        (2, 3, "the row has 4 cells, the header 3"),
        (4, 6, "quotes do not match"),
        (6, 8, "a quote is opened but never closed"),
    ]
    assert found.rejected[0].raw[-1] == ("column 4", "2002")
    assert "Six,text,2006" in str(found.rejected[2].raw)
    assert list(map(str, found.notes)) == ["export.txt: record 3, line 5: the row has 2 cells, the header 3"]


def test_table_with_a_long_cell_and_many_broken_rows_is_read_in_good_time(read: Reader) -> None:
    found = read("title,references\n" + f'"A title","{"x" * 300_000}"\n' + '"a "b" c",d\n' * 20_000)
    assert len(found.records) == 1
    assert len(found.rejected) == 20_000


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("Smith, Jane; Doe, Ann B.", ["Smith, Jane", "Doe, Ann B."]),
        ("Smith J, Doe AB.", ["Smith, J", "Doe, AB"]),
        ("Smith J.", ["Smith, J"]),
        ("Smith J., Doe A.B.", ["Smith, J.", "Doe, A.B."]),
        ("van den Berg J-P, Ó Sé K", ["van den Berg, J-P", "Ó Sé, K"]),
        ("Smith, J., Doe, A.B.", ["Smith, J.", "Doe, A.B."]),
        ("Smith, Jane", ["Smith, Jane"]),
        ("Smith, Jane and Doe, Ann", ["Smith, Jane", "Doe, Ann"]),
        ("Jane Smith; Ann B. Doe", ["Jane Smith", "Ann B. Doe"]),
        ("['Smith, Jane', \"O'Neill, Ann\"]", ["Smith, Jane", "O'Neill, Ann"]),
        ("Ferdinand", ["Ferdinand"]),
        ("", []),
    ],
)
def test_authors_however_they_are_separated(cell: str, names: list[str]) -> None:
    assert [name for part in split_authors(cell) if (name := clean_author(part))] == names


def test_web_of_science_tags_count_only_in_its_own_tables(read: Reader) -> None:
    (record,) = read("ID,title,PY\n17,One,2001\n").records
    assert (record.keywords, record.year) == ((), None)


def test_cells_guarded_against_excel(read: Reader) -> None:
    (record,) = read('Article Title,Publication Date,Volume\nOne,"=""4/3/2014""","=""12"""\n').records
    assert (record.year, record.volume) == (2014, "12")


# JSON Lines


def test_jsonl_rejects_broken_lines_only(read: Reader) -> None:
    deep = '{"title": ' + "[" * 100_000 + "]" * 100_000 + "}"
    lines = ['{"title": "One"}', "", '{"title": "Two', '["title"]', deep]
    lines += ['{"title": null}', '{"title": ["x"]}', '{"title": "Three"}']
    found = read("\n".join(lines))
    assert [(record.title, record.source_index) for record in found.records] == [("One", 1), ("Three", 7)]
    assert [(item.record, item.line) for item in found.rejected] == [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]
    assert [item.reason.split(":")[0] for item in found.rejected] == ["not a JSON object"] * 3 + ["no title"] * 2
    assert found.rejected[0].raw == (("line", '{"title": "Two'),)


def test_jsonl_keeps_unknown_fields_and_prefers_the_abstract(read: Reader) -> None:
    item = {"title": "One", "abstract": "Real.", "synopsis": "Ours.", "year": 2001.0, "codes": {"trust": [1, None]}}
    (record,) = read(json.dumps(item)).records
    assert (record.abstract, record.year) == ("Real.", 2001)
    assert record.raw == tuple(item.items())


def test_jsonl_values_can_be_written_again(read: Reader) -> None:
    (record,) = read('{"title": "Half \\ud83d pair, whole \\ud83d\\ude00", "score": NaN, "more": ["\\udc00"]}').records
    assert record.title == "Half ? pair, whole 😀"
    assert record.raw[1:] == (("score", None), ("more", ["?"]))
    json.dumps(record.raw, ensure_ascii=False, allow_nan=False).encode()


# Files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "text", ["TY  - JOUR\nTI  - Führung – “à deux”\nER  - \n", "title,year\nFührung – “à deux”,2001\n"]
)
def test_encodings(read: Reader, encoding: str, text: str) -> None:
    found = read(text.encode(encoding))
    assert found.records[0].title == "Führung – “à deux”"
    assert [note.text for note in found.notes] == (
        ["not UTF-8 from line 2 on; the bytes that are not were read as Windows-1252"] if encoding == "cp1252" else []
    )


def test_a_damaged_byte_costs_no_more_than_itself(read: Reader) -> None:
    found = read(
        "TY  - JOUR\nTI  - Führung\nER  - \nTY  - JOUR\nTI  - Führung ".encode() + b"\xe9t\x81\xe2\x80\nER  - \n"
    )
    assert [record.title for record in found.records] == ["Führung", "Führung ét\ufffdâ€"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \r\n\t\n", "the file is empty"),
        (b"\xef\xbb\xbf", "of no known format"),
        (b"%PDF-1.7\n\x00\x01\x02", "a binary file, not text"),
        (b"PK\x03\x04" + bytes(range(256)), "the archive is damaged or cut short"),
        (b"\x1f\x8b\x08\x08" + b"\x01\x02\x03\x04abcd" * 9, "the archive is damaged or cut short"),
        (
            b'<?xml version="1.0"?>\n<records><title>One</title></records>\n',
            "XML that is neither EndNote's nor PubMed's",
        ),
        (b"Dear colleague,\nhere are the results.\n", "of no known format"),
    ],
)
def test_files_that_are_no_export_are_refused_by_name(read: Reader, content: bytes, message: str) -> None:
    with pytest.raises(MechtagError, match=rf"export\.txt: {message}"):
        read(content)


@pytest.mark.parametrize(
    ("value", "year"),
    [
        *(("2014", 2014), ("2014//", 2014), ("2014/09/12/", 2014), ("2015/october", 2015), ("4/3/2024", 2024)),
        *((2014, 2014), (2014.0, 2014), ("2014.0", 2014), ("1665", 1665), ("c2009", 2009), ("3015; 2015", 2015)),
        *(("99", None), ("10 15", None), ("9999", None), ("0000", None), ("1066", None), ("20140903", None)),
        *(("in press", None), ("", None), (None, None), (True, None), ([2014], None)),
    ],
)
def test_years(value: object, year: int | None) -> None:
    assert clean_year(value) == year


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *(("Smith,Jane ", "Smith, Jane"), ("Smith,", "Smith"), ("Smith, J., Jr.", "Smith, J., Jr.")),
        *(("Wilson L.N.", "Wilson, L.N."), ("Brownstein C D", "Brownstein, C D"), ("Jane Smith", "Jane Smith")),
        *(("WHO", "WHO"), ("de la Cruz AB", "de la Cruz, AB"), ("Jane A. Smith", "Jane A. Smith"), (None, "")),
    ],
)
def test_author_names(value: object, name: str) -> None:
    assert clean_author(value).rstrip(", ") == name


def test_control_characters_and_composed_letters(read: Reader) -> None:
    (record,) = read("TY  - JOUR\nTI  - Fu\u0308hrung\u00a0 in\x07 teams\u200b\ufeff\nER  - \n").records
    assert record.title == "Führung in teams\u200b"
    assert record.raw[1] == ("TI", "Fu\u0308hrung\u00a0 in\x07 teams\u200b\ufeff")


# Generated

# Anything on one line that is text; a surrogate or NUL is not.
# Two of these in a row may be one letter that was decoded wrongly; that is tested by itself.
mojibake = "".join(map(chr, range(0xC2, 0xF5))) + "√¬‚"
one_line = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff" + mojibake)
line = st.text(one_line, min_size=1, max_size=40).map(str.strip).filter(bool)
tag = st.from_regex(r"[A-Z][A-Z0-9]", fullmatch=True).filter(lambda tag: tag not in ("TY", "ER", "TI"))
ris_record = st.tuples(line, st.lists(st.tuples(tag, st.one_of(st.just(""), line)), max_size=8))


@anywhere
@given(records=st.lists(ris_record, min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n"]))
@example(records=[("\U0002f800", [])], end="\n")  # composed Unicode writes this letter as another
def test_ris_round_trip(read: Reader, records: list[tuple[str, list[tuple[str, str]]]], end: str) -> None:
    pairs = [(("TY", "JOUR"), ("TI", title), *more) for title, more in records]
    text = end.join("".join(f"{tag}  - {value}{end}" for tag, value in [*fields, ("ER", "")]) for fields in pairs)
    found = read(text)
    assert [record.raw for record in found.records] == pairs
    titles = [" ".join(unicodedata.normalize("NFC", fields[1][1]).split()) for fields in pairs]
    assert [record.title for record in found.records] == titles


cell = st.text(one_line | st.sampled_from("\n\t"), max_size=40)


@anywhere
@given(
    rows=st.lists(st.tuples(line, cell, cell), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_table_round_trip(
    read: Reader, rows: list[tuple[str, str, str]], delimiter: str, quoting: Literal[0, 1]
) -> None:
    header = ("Title", "Abstract", "Remark; or, more")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([header, *rows])
    found = read(text.getvalue())
    assert not found.rejected
    assert [record.raw for record in found.records] == [
        tuple((name, value) for name, value in zip(header, row, strict=True) if value.strip()) for row in rows
    ]


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | line,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(line, inner, max_size=3),
    max_leaves=6,
)


@anywhere
@given(items=st.lists(st.dictionaries(line, json_value, max_size=5), min_size=1, max_size=5))
def test_jsonl_round_trip(read: Reader, items: list[dict[str, object]]) -> None:
    items = [{**item, "title": "One", "authors": item} for item in items]
    found = read("\n".join(json.dumps(item, ensure_ascii=False) for item in items))
    assert [record.raw for record in found.records] == [tuple(item.items()) for item in items]


parts = ["TY  - JOUR", "TI  - One", "ER  - ", "x", '"', ",", "title,year", '{"title": "a"}', "", "\t"]
junk = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(parts)).map(lambda lines: "\n".join(lines).encode()),
)


@anywhere
@given(content=junk, cut=st.integers(0, 2000), path=st.sampled_from(sorted(EXPORTS.iterdir())))
@example(content=b'title\n"a ""', cut=0, path=RIS_EXPORTS[0])
def test_no_file_ends_in_a_traceback_and_nothing_vanishes(read: Reader, content: bytes, cut: int, path: Path) -> None:
    real = path.read_bytes()
    for broken in (content, real[:cut] + content + real[cut:], real[:cut]):
        try:
            found = read(broken)
        except MechtagError:
            continue
        numbers = [record.source_index for record in found.records] + [item.record for item in found.rejected]
        assert sorted(number or 0 for number in numbers) == list(range(1, len(numbers) + 1))
        assert found.sources[0].read == len(numbers)
