"""Readers of the formats beside RIS and CSV; expected values are worked out by hand or by a library."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from Bio import Medline

from pipeline.errors import MechtagError
from pipeline.ingest import Ingested, ingest
from pipeline.readers.bibtex import plain
from pipeline.readers.columns import family_first
from pipeline.readers.ovid import split_names
from pipeline.records import Record
from pipeline.store import write_records
from tests.test_readers import EXPORTS, Reader, read

__all__ = ["read"]


def only(found: Ingested) -> Record:
    (record,) = found.records
    return record


def rejected(found: Ingested) -> list[tuple[int | None, int | None, str]]:
    return [(item.record, item.line, item.reason) for item in found.rejected]


def notes(found: Ingested) -> list[str]:
    return [note.text for note in found.notes]


# MEDLINE


def test_medline_agrees_with_biopython() -> None:
    path = EXPORTS / "pubmed.nbib"
    with path.open(encoding="utf-8") as file:
        expected = list(Medline.parse(file))
    for record, item in zip(ingest([path]).records, expected, strict=True):
        found: dict[str, list[str]] = {}
        for tag, value in record.raw:
            found.setdefault(tag, []).append(" ".join(value.split()))
        joined = {tag: values if isinstance(item[tag], list) else " ".join(values) for tag, values in found.items()}
        assert joined == dict(item)


def test_medline_prefers_full_names_and_keeps_groups(read: Reader) -> None:
    record = only(
        read(
            "PMID- 12\nTI  - One\nFAU - Gray, Ann B\nAU  - Gray AB\nAU  - Only I\nCN  - The Team\nFAU - Last, Ida\n"
            "AU  - Last I\nFED - Not, An Author\nED  - Not AA\n"
        )
    )
    assert record.authors == ("Gray, Ann B", "Only, I", "The Team", "Last, Ida")


@pytest.mark.parametrize(
    ("lines", "title", "abstract"),
    [
        ("TI  - [Not Available].\nTT  - Titel der Arbeit.", "Titel der Arbeit.", ""),
        ("BTI - A book.\nOAB - Publisher: other.", "A book.", "Publisher: other."),
        ("TI  - Cut in\n      two - and on\n      AB  - not a tag", "Cut in two - and on AB - not a tag", ""),
        ("TI  - One\nAB  - First.\nAB  - Second.", "One", "First. Second."),
    ],
)
def test_medline_titles_and_abstracts(read: Reader, lines: str, title: str, abstract: str) -> None:
    record = only(read(f"PMID- 12\n{lines}\n"))
    assert (record.title, record.abstract) == (title, abstract)


@pytest.mark.parametrize(
    ("lines", "doi", "year"),
    [
        ("LID - 123 [pii]\nLID - 10.5555/a.1 [doi]", "10.5555/a.1", None),
        ("AID - doi:10.5555/a.1\nDP  - 2013 06 10", "10.5555/a.1", 2013),
        ("SO  - J Care. 2014 Sep;1:2. doi: 10.5555/a.2.\nDP  - ", None, 2014),
        ("DEP - 20150101", None, None),
        ("DP  - 2011-2012 Winter", None, 2011),
    ],
)
def test_medline_identifiers_and_years(read: Reader, lines: str, doi: str | None, year: int | None) -> None:
    record = only(read(f"PMID- 12\nTI  - One\n{lines}\n"))
    assert (record.doi, record.year) == (doi, year)


def test_medline_begins_a_record_at_each_identifier(read: Reader) -> None:
    found = read(
        "\n\nPMID- 1\nOWN - NLM\nTI  - One\n\n      more of one\nPMID-2\nTI- Two\nstray\n\n\nPMC - PMC3\nTI  - Three\n"
    )
    assert [(record.title, record.pmid) for record in found.records] == [
        *(("One more of one", "1"), ("Two stray", "2"), ("Three", None))
    ]
    assert list(map(str, found.notes)) == [
        "export.txt: record 2, line 8: line 10 has no tag; it was read as part of the field above"
    ]


# Web of Science


def test_web_of_science_without_start_or_end(read: Reader) -> None:
    found = read("FN Someone\nVR 1.0\nPT J\nTI One\nPT J\nTI Two\nER\n\nTI Three\nEF\n")
    assert [record.title for record in found.records] == ["One", "Two", "Three"]
    assert [(note.text, note.record, note.line, note.count) for note in found.notes] == [
        ("no ER line at its end; it may be cut short", 1, 3, 2),
        ("no PT line at its start", 3, 9, 1),
    ]


def test_web_of_science_pages_and_pubmed_ids(read: Reader) -> None:
    found = read(
        "FN Someone\nVR 1.0\nPT J\nTI One\nBP 5\nEP 9\nPS 5-9\nUT MEDLINE:16842170\nDT -\nER\n"
        "PT J\nTI Two\nAR e7\nER\nEF\n"
    )
    assert [(record.pages, record.pmid, record.type) for record in found.records] == [
        *(("5-9", "16842170", None), ("e7", None, None))
    ]


# Ovid


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("Ecohydrology.   8(6):1048-1064, September 2015.", ("Ecohydrology", "8", "6", "1048-1064", 2015)),
        ("J Care. 28:103-106, April 2015.", ("J Care", "28", None, "103-106", 2015)),
        ("Very Long Title. Vol 28(2) April 2015, 103-106.", ("Very Long Title", "28", "2", "103-106", 2015)),
        ("Journal of Trauma. ", ("Journal of Trauma", None, None, None, 2014)),
        ("no more than words", (None, None, None, None, 2014)),
    ],
)
def test_ovid_sources(read: Reader, source: str, place: tuple[object, ...]) -> None:
    status = "Status\n  Publish Ahead of Print, 18 August 2014\n"
    record = only(read(f"<1>\nTitle\n  One\nSource\n  {source}\n{status}"))
    assert (record.journal, record.volume, record.issue, record.pages, record.year) == place


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Kohler, Lars 1;  Leuschner, Christoph 1,2", ["Kohler, Lars", "Leuschner, Christoph"]),
        ("Verbeek, Jan MD *;  van Vugt, Arie MD, PhD +", ["Verbeek, Jan", "van Vugt, Arie"]),
        ("Bunkers, Sandra Schmidt RN; PhD; FAAN 1", ["Bunkers, Sandra Schmidt"]),
        ("Max [Ed]", ["Max"]),
        ("Mao, Maria; Masood, Ned", ["Mao, Maria", "Masood, Ned"]),
        ("Smith J.; Doe A. B.", ["Smith J.", "Doe A. B."]),
    ],
)
def test_ovid_names(text: str, names: list[str]) -> None:
    assert split_names(text) == names


def test_hostile_text_takes_no_time(read: Reader) -> None:
    """Patterns with nested repeats would take years over these."""
    title, author = "One." + "[a]" + " [b]   " * 5000 + "x", "A, B " + "1" * 5000 + " *" * 5000 + "x"
    record = only(read(f"<1>\nTitle\n  {title}\nAuthor\n  {author}\nSource\n  {'J. ' * 5000}\n"))
    assert record.title == " ".join(title.split())
    assert record.authors[0].startswith("A, B")
    opened = "@article{a, title = {\n" * 5000
    assert len(read(opened).rejected) == 5000
    assert only(read("@article{a, title = {One}, abstract = {" + "{" * 5000 + "x" + "}" * 5000 + "\\$" * 5000 + "}}"))
    assert len(read("<record><titles>" * 5000 + "<x " * 5000).rejected) == 5000


def test_ovid_titles(read: Reader) -> None:
    titles = ["One.[Article]", "Two? [Review] [33 refs]", "[Drei]. [German]", "Four [part 4]", "Chapter"]
    labels = ["Title"] * 4 + ["Chapter Title"]
    found = read(
        "".join(
            f"<{number}>\n{label}\n  {title}\n"
            for number, (title, label) in enumerate(zip(titles, labels, strict=True), start=1)
        )
    )
    assert [record.title for record in found.records] == ["One.", "Two?", "[Drei].", "Four [part 4]", "Chapter"]


# EndNote and PubMed XML


def endnote(*records: str) -> str:
    return "<xml><records>" + "\n".join(f"<record><rec-number>1</rec-number>{r}</record>" for r in records)


def test_a_broken_xml_record_costs_no_more_than_itself(read: Reader) -> None:
    title = "<titles><title>{}</title></titles>".format
    text = endnote(title("One"), title("Two</i>"), title("Three &nbsp;&amp; &eacute;"), title("Four\x0b &#x1f; end"))
    found = read(
        text + "\n<record><titles><title>Five</title></titles>\n<record>" + title("Six") + "</record>\n<record>"
    )
    assert [record.title for record in found.records] == ["One", "Three & é", "Four end", "Six"]
    assert [item.record for item in found.rejected] == [2, 5, 7]
    assert [item.line for item in found.rejected] == [2, 5, 7]
    assert found.rejected[0].reason.startswith("not readable as XML: mismatched tag")
    assert found.rejected[1].reason == "the record is cut short: it is opened but never closed"
    assert found.rejected[1].raw == (("xml", "<record><titles><title>Five</title></titles>\n"),)
    assert notes(found) == ["characters that XML does not allow were left out"]


@pytest.mark.parametrize(
    "declared", ['<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">', '<!ENTITY b SYSTEM "file:///etc/passwd">']
)
def test_xml_that_declares_entities_is_refused(read: Reader, declared: str) -> None:
    text = f"<?xml version='1.0'?>\n<!DOCTYPE x [{declared}]>\n" + endnote("<titles><title>&b;</title></titles>")
    with pytest.raises(MechtagError, match=r"export\.txt: line 2: the XML declares entities"):
        read(text)


def test_xml_fields_are_kept_whole(read: Reader) -> None:
    record = only(
        read(
            endnote(
                '<ref-type name="Thesis">32</ref-type><titles><title><style face="normal">A </style>'
                '<style face="italic">b</style></title></titles><custom1>x<sup>2</sup></custom1><empty/>'
            )
        )
    )
    assert record.raw == (
        ("rec-number", "1"),
        ("ref-type", {"@name": "Thesis", "#": "32"}),
        ("titles", {"title": ["A b"]}),
        ("custom1", "x2"),
        ("empty", ""),
    )
    assert (record.title, record.type) == ("A b", "Thesis")


@pytest.mark.parametrize(
    ("fields", "pmid"),
    [
        ("<accession-num>123</accession-num><remote-database-provider>NLM</remote-database-provider>", "123"),
        ("<accession-num>123</accession-num><remote-database-name>Medline</remote-database-name>", "123"),
        ("<accession-num>12345678</accession-num><remote-database-name>cin20</remote-database-name>", None),
        ("<accession-num>PMID: 12345678</accession-num>", "12345678"),
        ("<urls><related-urls><url>https://pubmed.ncbi.nlm.nih.gov/12345/</url></related-urls></urls>", "12345"),
        ("<urls><related-urls><url>https://ncbi.nlm.nih.gov/pmc/12345</url></related-urls></urls>", None),
    ],
)
def test_endnote_pubmed_ids(read: Reader, fields: str, pmid: str | None) -> None:
    assert only(read(endnote(f"<titles><title>One</title></titles>{fields}"))).pmid == pmid


def test_pubmed_xml_details(read: Reader) -> None:
    record = only(
        read(
            "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>7</PMID><Article>"
            "<ArticleTitle>[Not Available].</ArticleTitle><VernacularTitle>Der Titel</VernacularTitle>"
            '<Abstract><AbstractText Label="AIM">To <i>see</i>.</AbstractText>'
            '<AbstractText Label="UNLABELLED">And x<sup>2</sup>.</AbstractText></Abstract>'
            "<AuthorList><Author><CollectiveName>The Team</CollectiveName></Author>"
            "<Author><LastName>Gray</LastName><Initials>AB</Initials><Suffix>3rd</Suffix></Author></AuthorList>"
            '<AuthorList Type="editors"><Author><LastName>Not</LastName></Author></AuthorList>'
            "<Pagination><StartPage>e5</StartPage><EndPage>e9</EndPage></Pagination>"
            "<ArticleDate><Year>2016</Year></ArticleDate></Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"
        )
    )
    assert (record.title, record.abstract) == ("Der Titel", "AIM: To see. And x2.")
    assert record.authors == ("The Team", "Gray, AB, 3rd")
    assert (record.pages, record.year, record.pmid, record.doi) == ("e5-e9", 2016, "7", None)


def test_pubmed_books(read: Reader) -> None:
    book = (
        "<PubmedBookArticle><BookDocument><PMID>8</PMID><Book><BookTitle>The book</BookTitle>"
        '<PubDate><Year>2009</Year></PubDate><AuthorList Type="authors"><Author><LastName>Gray</LastName>'
        "<ForeName>Ann</ForeName></Author></AuthorList></Book>{}</BookDocument></PubmedBookArticle>"
    )
    found = read(book.format("") + book.format("<ArticleTitle>A chapter</ArticleTitle>"))
    assert [(record.title, record.journal, record.year, record.authors) for record in found.records] == [
        ("The book", None, 2009, ("Gray, Ann",)),
        ("A chapter", "The book", 2009, ("Gray, Ann",)),
    ]


# BibTeX


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"M{\"u}ller and {\O}re, {\c{C}}etin, Aks{\i}n, \'{e}, {\ss}", "Müller and Øre, Çetin, Aksın, é, ß"),
        (r"50 % of {\`a} 3\% \& $5 # of A & B", "50 % of à 3% & $5 # of A & B"),
        (r"$\alpha$-synuclein, $x^2$, \emph{in vivo}, \textit{E. coli}", "α-synuclein, x^2, in vivo, E. coli"),
        ("{DNA} in {{New York}} --- pages 1--2, ``so''", "DNA in New York — pages 1–2, “so”"),
        ("costs $50 and $60", "costs $50 and $60"),
        ("5~mg", "5 mg"),
        ("\\" + "{" * 3000 + "x" + "}" * 3000, "\\{x"),
    ],
)
def test_latex_becomes_text(latex: str, text: str) -> None:
    assert plain(latex) == text


def test_bibtex_entries(read: Reader) -> None:
    found = read(
        'Some comment with an a@b.c\n@comment{ignored}\n@string{j = {J. }}\n@string(care = j # "Care")\n'
        "@article{a, title = {One}, author = {Jane Q. Doe and van der Berg, Jr, Jan and {The Team}}, year = 2001,\n"
        " journal = care # { X}, month = jan, DOI = {10.5555/a\\_b}, url = {https://x.example/\\~{}y\\%20}}\n"
        '@article{a, title = "Two, " # {again}, date = {2002-03}, title = {ignored}}\n'
        "@article{b, title = {Three\n year = 2003,\n"
        "@misc{\n  title = {Four}, year = 2004, url = {https://doi.org/10.5555/four}}\n"
        "@inbook(c, title = {Five}, booktitle = {In five}, type = {Review}, pages = {5 -- 9})\n"
        "@book{d, title = {Six"
    )
    one, two, four, five = found.records
    assert one.authors == ("Doe, Jane Q.", "van der Berg, Jan, Jr", "The Team")
    assert (one.year, one.journal, one.doi, one.url) == (2001, "J. Care X", "10.5555/a_b", "https://x.example/~y%20")
    assert one.raw[:3] == (("ENTRYTYPE", "article"), ("ID", "a"), ("title", "One"))
    assert (two.title, two.year) == ("Two, again", 2002)
    assert (four.title, four.year, four.doi) == ("Four", 2004, "10.5555/four")
    assert (five.title, five.journal, five.type, five.pages) == ("Five", "In five", "Review", "5-9")
    assert [(number, line) for number, line, _ in rejected(found)] == [(3, 8), (6, 13)]
    assert all(reason.startswith("not readable as BibTeX: Unexpected") for _, _, reason in rejected(found))
    assert "Three" in str(found.rejected[0].raw)
    assert "2003" in str(found.rejected[0].raw)


# EndNote import format


def test_enw_records(read: Reader) -> None:
    found = read("%T One\n%A A, B\n\n%0 Book\n%T Two\n%K a\nb\n%X First.\n\nSecond.\n%0 Thesis\n%A No, Title\n")
    assert [(record.title, record.keywords, record.abstract.split()) for record in found.records] == [
        *(("One", (), []), ("Two", ("a", "b"), ["First.", "Second."]))
    ]
    assert rejected(found) == [(3, 11, "no title")]
    assert notes(found) == ["no %0 line at its start"]


# JSON


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"author": [{"family": "Berg", "given": "Jan", "non-dropping-particle": "van den"}]}, ("van den Berg, Jan",)),
        ({"author": [{"family": "Gray", "given": "Ann", "suffix": "Jr"}]}, ("Gray, Ann, Jr",)),
        ({"author": [{"literal": "The Team"}, {"name": "Other Team"}, None, 3]}, ("The Team", "Other Team", "3")),
        ({"authors": "Gray, Ann; Last, Ida"}, ("Gray, Ann", "Last, Ida")),
        ({"authors": ["Gray, Ann"]}, ("Gray, Ann",)),
        ({"author": {"family": "no list"}}, ()),
    ],
)
def test_csl_authors(read: Reader, item: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert only(read(json.dumps([{"title": "One", **item}]))).authors == expected


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ({"date-parts": [[2017, 9]]}, 2017),
        ({"date-parts": [["2017"]]}, 2017),
        ({"date-parts": [[]]}, None),
        ({"raw": "Spring 2017"}, 2017),
        ({"literal": "c. 2017"}, 2017),
        ("2017-09", 2017),
        (None, None),
    ],
)
def test_csl_dates(read: Reader, date: object, year: int | None) -> None:
    assert only(read(json.dumps([{"title": "One", "issued": date}]))).year == year


def test_json_that_is_cut_short_loses_its_last_item_only(read: Reader) -> None:
    found = read('[\n {"title": "One"},\n\n 5, {"title": ["Two", "more"]},\n {"title": "Thr')
    assert [record.title for record in found.records] == ["One", "Two; more"]
    assert [(item.record, item.line) for item in found.rejected] == [(2, 4), (4, 5)]
    assert found.rejected[0].reason == "not a JSON object"
    assert found.rejected[1].reason.startswith("not readable as JSON, nor is what follows: Unterminated string")


@pytest.mark.parametrize(
    "text",
    [
        '{\n "title": "One"\n}',
        '{"items": [{"title": "One"}]}',
        '{"items": [{"title": "One"}], "more": []}',
        '[{"title": "One"}]',
        '{\n "title": "One"\n}\n',
    ],
)
def test_json_in_other_wrappings(read: Reader, text: str) -> None:
    assert only(read(text)).title == "One"


def test_deep_json_is_rejected(read: Reader) -> None:
    found = read('[{"title": "One"}, {"title": ' + "[" * 100_000)
    assert only(found).title == "One"
    assert found.rejected[0].reason.startswith("not readable as JSON")


# Excel


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


def test_excel_sheets(read: Reader) -> None:
    found = read(
        workbook(
            {
                "notes": [["made by me"]],
                "one": [["My search"], [], ["Title", "Year", "", "PubMed ID"], ["One", 2001.0, "x", 123], [None, " "]],
                "two": [["Title", "Remark"], ["Two", "#REF!", "beyond"], [None, 5]],
                "old": [["Title"], ["Hidden"]],
            },
            hidden="old",
        )
    )
    one, two = found.records
    assert one.raw == (("Title", "One"), ("Year", "2001"), ("column 3", "x"), ("PubMed ID", "123"))
    assert (one.year, one.pmid) == (2001, "123")
    assert two.raw == (("Title", "Two"), ("column 3", "beyond"))
    assert rejected(found) == [(3, 3, "no title")]
    assert notes(found) == [
        "a formula gave an error in Remark; it was left out",
        "the sheet 'old' is hidden and was not read; unhide it to have it read",
        "the sheet 'notes' has no column with titles and was not read",
    ]


def test_excel_formulas_are_never_run(read: Reader) -> None:
    data = workbook({"one": [["Title", "Abstract"], ["One", '=HYPERLINK("http://x.example")'], ["=1+1", "text"]]})
    found = read(data)
    # openpyxl saves no computed values: the cells are empty.
    assert (only(found).title, only(found).abstract) == ("One", "")
    assert rejected(found) == [(2, 3, "no title")]


def test_excel_without_titles_is_refused(read: Reader) -> None:
    with pytest.raises(MechtagError, match=r"no column with titles; found the columns Abstract, Year\."):
        read(workbook({"one": [["Abstract", "Year"], ["x", 2001]]}))


def repacked(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


def test_damaged_workbooks_are_refused(read: Reader) -> None:
    good = workbook({"one": [["Title"], ["One"]]})
    cut = repacked(good, lambda name, part: part[:-40] if name == "xl/worksheets/sheet1.xml" else part)
    empty = repacked(good, lambda name, part: b"" if name == "xl/workbook.xml" else part)
    lol = b'<!DOCTYPE x [<!ENTITY a "lol">]>'
    entities = repacked(good, lambda name, part: lol + part if name == "xl/worksheets/sheet1.xml" else part)
    for data in (cut, empty, entities):
        with pytest.raises(MechtagError, match=r"export\.txt: not readable as an Excel workbook: .*save it as CSV"):
            read(data)


def test_a_workbook_that_would_fill_the_memory_is_refused(read: Reader) -> None:
    good = workbook({"one": [["Title"], ["One"]]})
    bomb = repacked(good, lambda name, part: part + b" " * 60_000_000 if name == "xl/worksheets/sheet1.xml" else part)
    assert len(bomb) < 1_000_000
    with pytest.raises(MechtagError, match=r"sheet1\.xml would unpack to 60 MB, [\d,]+ times its size"):
        read(bomb)


# Parquet


def test_parquet_of_records_and_of_any_table(tmp_path: Path) -> None:
    before = ingest([EXPORTS / "ovid.ris"]).records
    write_records(tmp_path / "records.parquet", before)
    after = ingest([tmp_path / "records.parquet"]).records
    changed = {"source_file", "source_index", "raw"}
    assert [r.model_dump(exclude=changed) for r in after] == [r.model_dump(exclude=changed) for r in before]
    table = {
        "Title": ["One", None],
        "authors": [["A, B", "C, D"], []],
        "year": [2001.0, float("nan")],
        "x": [b"\x01", None],
    }
    pq.write_table(pa.table(table), tmp_path / "table.parquet")
    found = ingest([tmp_path / "table.parquet"])
    assert (only(found).title, only(found).authors, only(found).year) == ("One", ("A, B", "C, D"), 2001)
    assert rejected(found) == [(2, 2, "no title")]


def test_damaged_parquet_is_refused(read: Reader) -> None:
    with pytest.raises(MechtagError, match=r"export\.txt: not readable as parquet"):
        read(b"PAR1" + bytes(100) + b"PAR1")
    file = io.BytesIO()
    pq.write_table(pa.table({"abstract": ["x"]}), file)
    with pytest.raises(MechtagError, match="no column with titles; found the columns abstract"):
        read(file.getvalue())


# Tables


def test_headers_below_a_search_history(read: Reader) -> None:
    found = read('"SEARCH QUERY","lead:ti\nOR team:ti"\n-----\n\n"Title","Year","Abstract"\n"One","2001","x"\n')
    assert (only(found).title, only(found).year) == ("One", 2001)


def test_a_word_alone_on_a_line_is_no_header(read: Reader) -> None:
    with pytest.raises(MechtagError, match="of no known format"):
        read("Dear all,\n\nTitle\nOne\nAbstract\nTwo\n")


def test_embase_vertical_records(read: Reader) -> None:
    found = read(
        '"TITLE","One"\n"AUTHOR NAMES","Gray A.","Last I."\n"ABSTRACT","First,\nsecond"\n\n'
        '"AUTHOR NAMES","No T."\n"SOURCE TITLE","J"\n"TITLE","Two"\n"AUTHOR NAMES","Gray A.B."\n'
    )
    assert [(record.title, record.authors, record.abstract) for record in found.records] == [
        *(("One", ("Gray, A.", "Last, I."), "First, second"), ("Two", ("Gray, A.B.",), ""))
    ]
    assert rejected(found) == [(2, 6, "no title")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Jan van der Berg", "van der Berg, Jan"),
        ("John A. Smith Jr", "Smith, John A., Jr"),
        ("null van den Hoven", "van den Hoven"),
        ("T. ten Doesschate", "ten Doesschate, T."),
        ("Ferdinand", "Ferdinand"),
        ("Gray, Ann", "Gray, Ann"),
        ("The Trial Study Group", "The Trial Study Group"),
    ],
)
def test_family_names_first(name: str, expected: str) -> None:
    assert family_first(name) == expected


# Files of no use


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'<?xml version="1.0"?>\n<mods xmlns="http://www.loc.gov/mods/v3"/>', "MODS, a library's catalogue format"),
        (b'<?xml version="1.0"?>\n<CitaviExchangeData Version="6"/>', "a Citavi project; in Citavi"),
        (b'<?xml version="1.0"?>\n<feed/>', "XML that is neither EndNote's nor PubMed's"),
        (b"cff-version: 1.2.0\ntitle: x\n", "a CITATION.cff"),
        (b"From: a\nSubject: nep.repec.org\n\nhello\n", "a RePEc newsletter"),
        (b"<!DOCTYPE html>\n<html><body>Results</body></html>", "a web page"),
        (b"{\\rtf1 hello}", "a Word document"),
        (b"\nScore\n  *****\nAccession Number\n  1\nTitle\n  One\n", "Ovid text without the record numbers"),
    ],
)
def test_files_that_are_no_export_are_named(read: Reader, content: bytes, message: str) -> None:
    with pytest.raises(MechtagError, match=rf"export\.txt: {message}"):
        read(content)
