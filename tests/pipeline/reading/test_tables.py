"""Test the readers of tables: CSV and TSV, Excel, Parquet."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.pipeline.reading.author_lists import family_first, split_authors
from mechtag.pipeline.reading.build_record import clean_author
from mechtag.pipeline.reading.ingest import ingest
from tests.support.exports import EXPORTS, Reader, notes, only, rejected, workbook


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
        r"export\.txt: no column contains titles; found the columns Abstract, Year, Notes\. Rename the column of "
        "titles to one of: title"
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
    assert [record.title for record in found.records] == ["One", "Three", 'Four "quoted" title', "Five", "Seven"]
    assert [(item.record, item.line, item.reason.split(";")[0].split(":")[0]) for item in found.rejected] == [
        (2, 3, "the row has 4 cells, but the header has 3"),
        (6, 8, "a quotation mark is opened but never closed"),
    ]
    assert found.rejected[0].raw[-1] == ("column 4", "2002")
    assert "Six,text,2006" in str(found.rejected[1].raw)
    assert list(map(str, found.notes)) == ["export.txt: record 3, line 5: the row has 2 cells, but the header has 3"]


def test_an_open_quote_costs_only_its_row_even_if_a_later_quote_closes_it(read: Reader) -> None:
    found = read(
        "title,abstract,year\n"
        'One,"text,2001\n'
        "Two,text,2002\n"
        '"Three, in two",text,2003\n'
        '"Four,text,2004\n'
        "Five,text,2005\n"
        'Six,text,"2006"\n'
        '"Seven","of, two,\nlines",2007\n'
    )
    assert [record.title for record in found.records] == ["Two", "Three, in two", "Five", "Six", "Seven"]
    unclosed = "a quotation mark is opened but never closed; close it, or write it twice if it is part of the text"
    assert rejected(found) == [(1, 2, unclosed), (4, 5, unclosed)]


def test_quotations_between_tabs_are_text(read: Reader) -> None:
    found = read('title\tabstract\tyear\n"One" title\ttext\t2001\t\n"Two\ttext\t2002\nThree "x"\t"a\tb"\t2003\n')
    assert [(record.title, record.abstract, record.year) for record in found.records] == [
        ('"One" title', "text", 2001),
        ('"Two', "text", 2002),
        ('Three "x"', "a b", 2003),
    ]


@pytest.mark.slow
def test_a_table_with_a_long_cell_and_many_broken_rows_is_read_quickly(read: Reader) -> None:
    found = read("title,references\n" + f'"A title","{"x" * 300_000}"\n' + '"a "b" c",d,e\n' * 20_000)
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
        ("J Smith, AB Doe", ["J Smith", "AB Doe"]),
        ("J. Smith, A.-B. van Doe", ["J. Smith", "A.-B. van Doe"]),
        ("Smith, J A", ["Smith, J A"]),
        ("Ferdinand", ["Ferdinand"]),
        ("", []),
    ],
)
def test_authors_however_they_are_separated(cell: str, names: list[str]) -> None:
    assert [name for part in split_authors(cell) if (name := clean_author(part))] == names


@pytest.mark.parametrize(
    ("header", "row", "attribute", "value"),
    [
        ("Title,Year of Publication", "One,2019", "year", 2019),
        ("Title,Digital Object Identifier", "One,10.5555/a", "doi", "10.5555/a"),
        ("Title,Venue", "One,Journal of Care", "journal", "Journal of Care"),
        ("title,contributors", 'One,"Smith, Jane; Doe, Ann"', "authors", ("Smith, Jane", "Doe, Ann")),
        ("title,publicationDate", "One,2019-05-01", "year", 2019),
        # pandas turns a column of integers with gaps into floats.
        ("Title,PMID", "One,31415926.0", "pmid", "31415926"),
        ("title,pageStart,pageEnd", "One,45,58", "pages", "45-58"),
    ],
)
def test_names_of_columns(read: Reader, header: str, row: str, attribute: str, value: object) -> None:
    assert getattr(only(read(f"{header}\n{row}\n")), attribute) == value


def test_web_of_science_tags_count_only_in_its_own_tables(read: Reader) -> None:
    (record,) = read("ID,title,PY\n17,One,2001\n").records
    assert (record.keywords, record.year) == ((), None)


def test_cells_guarded_against_excel(read: Reader) -> None:
    (record,) = read('Article Title,Publication Date,Volume\nOne,"=""4/3/2014""","=""12"""\n').records
    assert (record.year, record.volume) == (2014, "12")


def test_headers_below_a_search_history(read: Reader) -> None:
    found = read('"SEARCH QUERY","lead:ti\nOR team:ti"\n-----\n\n"Title","Year","Abstract"\n"One","2001","x"\n')
    assert (only(found).title, only(found).year) == ("One", 2001)


@pytest.mark.parametrize("delimiter", [";", "\t", ":"])
def test_a_first_line_that_tells_excel_the_delimiter(read: Reader, delimiter: str) -> None:
    text = f"sep={delimiter}\nTitle;Mine\nOne, two;x\n".replace(";", delimiter)
    assert only(read(text)).raw == (("Title", "One, two"), ("Mine", "x"))


def test_names_of_columns_over_two_lines(read: Reader) -> None:
    found = read('Search;of May\nTitle;"Author\nKeywords";Year\nOne;a, b;2001\nTwo;c;2002\n')
    assert [(record.title, record.keywords, record.year) for record in found.records] == [
        ("One", ("a", "b"), 2001),
        ("Two", ("c",), 2002),
    ]
    assert found.rejected == ()


def test_a_repeated_header_is_not_a_record(read: Reader) -> None:
    table = "\ufeffTitle,Year\nOne,2001\n"
    sheet = [["Title", "Year"], ["One", 2001]]
    for twice in (table * 2, workbook({"one": sheet * 2}), "Title\nOne\nTitle\nOne\n"):
        found = read(twice)
        assert [(record.title, record.source_index) for record in found.records] == [("One", 1), ("One", 2)]
        assert found.rejected == ()


def test_a_single_word_on_a_line_is_not_a_header(read: Reader) -> None:
    with pytest.raises(MechtagError, match="unknown format"):
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


# Excel


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
        "cells whose formula has an error were ignored; their columns are: Remark",
        "the sheet 'old' is hidden and was not read; unhide it to include it",
        "sheet 'one': 1 line outside of records was not read; the first is line 1: 'My search'",
        "sheet 'two': no column with abstracts, authors or years was found; columns that were not read: Remark",
        "the sheet 'notes' has no column with titles and was not read",
    ]


def test_excel_formulas_are_never_run(read: Reader) -> None:
    data = workbook({"one": [["Title", "Abstract"], ["One", '=HYPERLINK("http://x.example")'], ["=1+1", "text"]]})
    found = read(data)
    # openpyxl saves no computed values: the cells are empty.
    assert (only(found).title, only(found).abstract) == ("One", "")
    assert rejected(found) == [(2, 3, "no title")]


def test_excel_line_ends_of_windows(read: Reader) -> None:
    record = only(
        read(workbook({"one": [["Title", "Abstract"], ["One_x000D_\ntitle", "First._x000D_\n_x000D_\nSecond."]]}))
    )
    assert (record.title, record.abstract) == ("One title", "First.\nSecond.")


def test_excel_without_titles_is_refused(read: Reader) -> None:
    with pytest.raises(MechtagError, match=r"no column contains titles; found the columns Abstract, Year\."):
        read(workbook({"one": [["Abstract", "Year"], ["x", 2001]]}))


def repacked(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


def test_a_workbook_that_claims_too_small_a_size_is_read_whole(read: Reader) -> None:
    good = workbook({"one": [["Title", "Year"], ["One", 2001], ["Two", 2002]]})
    claimed = repacked(good, lambda name, part: part.replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"'))
    assert claimed != good
    assert [(record.title, record.year) for record in read(claimed).records] == [("One", 2001), ("Two", 2002)]


def test_damaged_workbooks_are_refused(read: Reader) -> None:
    good = workbook({"one": [["Title"], ["One"]]})
    cut = repacked(good, lambda name, part: part[:-40] if name == "xl/worksheets/sheet1.xml" else part)
    empty = repacked(good, lambda name, part: b"" if name == "xl/workbook.xml" else part)
    lol = b'<!DOCTYPE x [<!ENTITY a "lol">]>'
    entities = repacked(good, lambda name, part: lol + part if name == "xl/worksheets/sheet1.xml" else part)
    for data in (cut, empty, entities):
        with pytest.raises(
            MechtagError, match=r"export\.txt: the file is not readable as an Excel workbook: .*save the table as CSV"
        ):
            read(data)


def test_a_workbook_that_would_fill_the_memory_is_refused(read: Reader) -> None:
    good = workbook({"one": [["Title"], ["One"]]})
    bomb = repacked(good, lambda name, part: part + b" " * 60_000_000 if name == "xl/worksheets/sheet1.xml" else part)
    assert len(bomb) < 1_000_000
    with pytest.raises(MechtagError, match=r"sheet1\.xml would unpack to 60 MB, [\d,]+ times its compressed size"):
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


def test_columns_of_one_name_in_parquet_are_all_kept(tmp_path: Path) -> None:
    columns = [pa.array(values) for values in (["One", "Two"], [2001, 2002], ["Eins", None], [None, "Twee"])]
    pq.write_table(pa.Table.from_arrays(columns, ["title", "year", "title", "title"]), tmp_path / "table.parquet")
    records = ingest([tmp_path / "table.parquet"]).records
    assert [record.raw for record in records] == [
        (("title", "One"), ("year", 2001), ("title (2)", "Eins")),
        (("title", "Two"), ("year", 2002), ("title (3)", "Twee")),
    ]


def test_damaged_parquet_is_refused(read: Reader) -> None:
    with pytest.raises(MechtagError, match=r"export\.txt: the file is not readable as parquet"):
        read(b"PAR1" + bytes(100) + b"PAR1")
    file = io.BytesIO()
    pq.write_table(pa.table({"abstract": ["x"]}), file)
    with pytest.raises(MechtagError, match="no column contains titles; found the columns abstract"):
        read(file.getvalue())


def test_dates_that_a_spreadsheet_wrote_as_numbers(read: Reader) -> None:
    found = read("title,publication date,abstract\nOne,36892,x\nTwo,37256.5,y\nThree,2003,z\nFour,12345,z\n")
    assert [record.year for record in found.records] == [2001, 2001, 2003, None]


def test_a_doi_in_a_column_of_links(read: Reader) -> None:
    rows = "One,,https://doi.org/10.5555/one\nTwo,10.5555/two,https://doi.org/10.5555/other\nThree,,https://x.example/10.5/a\n"
    assert [record.doi for record in read(f"title,doi,url\n{rows}").records] == ["10.5555/one", "10.5555/two", None]


def test_rows_that_are_one_cell_are_refused_with_the_reason(read: Reader) -> None:
    with pytest.raises(
        MechtagError, match="a table in which each row is one cell in quotation marks; export the table"
    ):
        read('"Title,""Authors"",Year"\n"One,""Oak, Ann"",2001"\n')
