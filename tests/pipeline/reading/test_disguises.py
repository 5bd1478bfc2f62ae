"""Test that text within a record decides neither the header nor the format of its file."""

import re
from pathlib import Path

import pytest

from mechtag.pipeline.reading.ingest import ingest
from tests.support.exports import Reader, workbook

_RIS = "TY  - JOUR\nTI  - Inner\nER  - \n"
_BIBTEX = "@article{inner, title={Inner}}\n"
_NBIB = "PMID- 7\nTI  - Inner\n"
_WOS = "PT J\nTI Inner\nER\n"


@pytest.mark.parametrize("inner", [_RIS, _BIBTEX, _NBIB, _WOS, "<1>\nTitle\n  Inner\n", "%0 Book\n%T Inner\n"])
def test_a_cell_does_not_decide_the_format(tmp_path: Path, inner: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'title,abstract\nOne,"Cite as\n{inner}"\nTwo,Text.\n')
    found = ingest([path])
    assert [record.title for record in found.records] == ["One", "Two"]
    assert found.sources[0].format == "CSV or TSV"


@pytest.mark.parametrize("inner", [_RIS, _NBIB, _WOS, "%0 Book\n%T Inner\n"])
def test_an_abstract_does_not_decide_the_format(tmp_path: Path, inner: str) -> None:
    path = tmp_path / "a.bib"
    path.write_text(f"@article{{a,\n title = {{One}},\n abstract = {{Cite as\n{inner}}}\n}}\n")
    found = ingest([path])
    assert [record.title for record in found.records] == ["One"]
    assert found.sources[0].format == "BibTeX"


@pytest.mark.parametrize("delimiter", [";", "|", "\t", ","])
def test_a_cell_is_not_the_header(tmp_path: Path, delimiter: str) -> None:
    listed = delimiter.join(("Extracted: author", " title", " year", " journal", " doi", " country."))
    path = tmp_path / "a.csv"
    path.write_text(f'title,abstract,year\nOne,Text.,2001\nTwo,"{listed}",2002\nThree,Text.,2003\n')
    found = ingest([path])
    assert [(record.title, record.year) for record in found.records] == [("One", 2001), ("Two", 2002), ("Three", 2003)]


def test_the_pubmed_id_in_front_of_ris(tmp_path: Path) -> None:
    path = tmp_path / "a.ris"
    path.write_text("PMID - 7\nTY  - JOUR\nTI  - One\nER  - \nPMID - 8\nTY  - JOUR\nTI  - Two\nER  - \n")
    found = ingest([path])
    assert [(record.title, record.pmid) for record in found.records] == [("One", "7"), ("Two", "8")]


_LOST = {
    "ris": ("TY  - JOUR\nTI  - One\nPY  - 2001\n\nAU  - Oak, J.\nTI  - Two\nPY  - 2002\nER  - \n", 5),
    "nbib": ("PMID- 1\nTI  - One\nDP  - 2001\n\nTI  - Two\nDP  - 2002\n", 5),
    "wos": ("FN x\nVR 1.0\nPT J\nTI One\nPY 2001\n\nAU Oak, J\nTI Two\nPY 2002\nER\n\nEF\n", 7),
    "enw": ("%0 Book\n%T One\n%D 2001\n\n%A Oak\n%T Two\n%D 2002\n", 5),
    "ovid": ("<1>\nTitle\n  One\nYear of Publication\n  2001\n\n<2\nTitle\n  Two\nYear of Publication\n  2002\n", 7),
    "ovid_tagged": ("<1. >\nTI  - One\nYR  - 2001\n\n<2\nTI  - Two\nYR  - 2002\n", 6),
    "refworks": ("RT Journal Article\nT1 One\nYR 2001\n\nA1 Oak, J\nT1 Two\nYR 2002\n", 5),
}


@pytest.mark.parametrize("name", _LOST)
def test_a_record_without_start_line_is_separated_at_the_empty_line(tmp_path: Path, name: str) -> None:
    text, line = _LOST[name]
    path = tmp_path / "lost.txt"
    path.write_text(text)
    found = ingest([path])
    assert [(record.title, record.year) for record in found.records] == [("One", 2001), ("Two", 2002)]
    assert [record.source_index for record in found.records] == [1, 2]
    assert [note.line for note in found.notes if "its own title" in note.text] == [line]


def test_two_titles_without_an_empty_line_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "lost.ris"
    path.write_text("TY  - JOUR\nTI  - One\nTI  - Two\nER  - \n")
    found = ingest([path])
    assert len(found.records) == 1
    assert any("it may be two records" in note.text for note in found.notes)
    # A repeated title, or a title of the paper and one of the journal, does not make two records.
    path.write_text("TY  - JOUR\nTI  - One\n\nT1  - One\n\nTI  - One\nER  - \n")
    found = ingest([path])
    assert len(found.records) == 1
    assert not found.notes


_CSV = "title,year\nOne,2001\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (_CSV + "TY  - JOUR\nTI  - Two\nER  - \n", 3),
        (_NBIB + "\nTY  - JOUR\nTI  - Two\nER  - \n", 4),
        (_RIS + "\nPMID- 8\nTI  - Two\n\n", 5),
        (_RIS + "\nPMID- 8\nTI  - Two\n", 5),
        (_RIS + "@article{two,\n title={Two}}\n", 4),
        (_WOS + "RT Journal Article\nT1 Two\n", 4),
        (_BIBTEX + "\nOWN - ERIC\nTI  - Two\n", 3),
        (_RIS + "\n\ufeffTitle,Authors,Year,DOI,Link\nTwo,Lee,2001,10.1/2,-\n", 5),
        (_RIS + "PT\tAU\tTI\tSO\tPY\tZ9\nJ\tLee\tTwo\tJ Care\t2001\t3\n", 4),
    ],
)
def test_a_file_joined_from_two_formats_is_noted(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "joined.txt"
    path.write_text(text)
    (note,) = (note.text for note in ingest([path]).notes if "different format" in note.text)
    assert note.startswith(f"line {line} starts a record in a different format, ")


def test_a_pubmed_id_before_the_type_is_part_of_ris(tmp_path: Path) -> None:
    path = tmp_path / "a.ris"
    path.write_text("TY  - JOUR\nTI  - One\nER  - \n\nPMID- 8\nTY  - JOUR\nTI  - Two\nER  - \n")
    assert not any("different format" in note.text for note in ingest([path]).notes)


_JSON = '[\n {\n  "id": 1,\n  "title": "Two"\n }\n]\n'
_XML = "<Trials_downloaded_from_ICTRP><Trial><Public_title>Two</Public_title></Trial></Trials_downloaded_from_ICTRP>\n"
_ENW = "%0 Book\n%T Two\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (_RIS + _JSON, 4),
        (_RIS + '{"title": "Two"}\n', 4),
        (_RIS + _XML, 4),
        (_RIS + "title,abstract,year\nTwo,Text.,2002\n", 4),
        (_RIS + "Titel;Autor(en);Jahr\nTwo;Oak;2002\n", 4),
        (_BIBTEX + _ENW, 2),
        (_BIBTEX + _JSON, 2),
        (_JSON + _RIS, 7),
        (_JSON + _BIBTEX, 7),
        (_XML + _RIS, 2),
    ],
)
def test_every_pair_of_formats_in_one_file_is_noted(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "joined.txt"
    path.write_text(text)
    found = ingest([path])
    assert [record.title for record in found.records] == ["Two" if text.startswith((_JSON, _XML)) else "Inner"]
    assert any(note.text.startswith(f"line {line} starts a record in a different format") for note in found.notes)


@pytest.mark.parametrize("text", ["We searched title, abstract,\nand doi, and year.", "title, year, doi,\nnothing."])
def test_text_that_lists_names_is_not_a_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.ris"
    path.write_text(f"TY  - JOUR\nTI  - One\nAB  - {text}\nER  - \n")
    assert not ingest([path]).notes


@pytest.mark.parametrize(
    "text",
    [
        "A lost title\nAU  - Oak\n" + _RIS,
        _RIS + "A lost title\n",
        "A lost title\n" + _NBIB,
        "A lost title\n" + _WOS,
        _WOS + "A lost title\n",
        "A lost title\n" + _ENW,
        "A lost title\nRT Book\nT1 Two\n",
        "A lost title\n<1. >\nTI  - Two\nAB  - x\n",
        "A lost title\n<1>\nTitle\n  Two\n",
        "A lost title\n" + _XML,
        _XML + "A lost title\n",
    ],
)
def test_text_outside_of_records_is_noted(tmp_path: Path, text: str) -> None:
    outside = re.compile("(outside of records|before the first element).* not read")
    path = tmp_path / "a.txt"
    path.write_text(text)
    notes = [note.text for note in ingest([path]).notes]
    assert any(outside.search(note) for note in notes)
    # What databases print between records is not a part of any.
    path.write_text(text.replace("A lost title", "Database: Ovid\n1    trust.ti. (2)\n2.\n-----\nRecord #1 of 2", 1))
    if not text.startswith(("<", "A lost title\n<T")):
        assert not any(outside.search(note.text) for note in ingest([path]).notes)


@pytest.mark.parametrize("end", ["ER  - A lost title", "ER  - TY  - JOURTI  - A lost title"])
def test_text_on_the_line_that_ends_a_record_of_ris_is_noted(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.ris"
    path.write_text(_RIS.replace("ER  - ", end) + _RIS)
    assert [note.text for note in ingest([path]).notes] == [
        f"1 line outside of records was not read; the first is line 3: {end!r}"
    ]
    path.write_text(_RIS.replace("ER  - ", "ER  - End of Reference") + _RIS)
    assert not ingest([path]).notes


def test_text_on_the_line_that_ends_a_record_of_web_of_science_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(_WOS.replace("ER", "ER A lost title") + _WOS + "EF A second one\n")
    assert [note.text for note in ingest([path]).notes] == [
        "2 lines outside of records were not read; the first is line 3: 'ER A lost title'"
    ]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (_RIS, "ty  - jour"),
        (_RIS, "TY  — JOUR"),
        (_NBIB, "pmid- 8"),
        (_WOS, "pt J"),
        ("<1. >\nVN  - Ovid Technologies\nTI  - One\n", "<2. >\x0bTI  - Two"),
        ("%0 Book\n%T One\n", "%0Book"),
        ("RT Book\nT1 One\n", "rt Book"),
    ],
)
def test_records_that_may_have_been_read_as_one_are_noted(tmp_path: Path, text: str, start: str) -> None:
    text = text.removesuffix("ER  - \n").removesuffix("ER\n")
    path = tmp_path / "a.txt"
    path.write_text(f"{text}{start}\n")
    assert [note.text for note in ingest([path]).notes if "look like" in note.text] == [
        "2 lines look like the start of a record, but 1 record was read; a record may be two records, so check the "
        "spelling of the lines that start records"
    ]


def test_a_header_without_rows_that_may_contain_a_row_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("{;title;: ;One;, ;year;: 2018}", "title;year;a;b;A lost title. By Oak;x;y;2001"):
        path.write_text(text)
        assert any("seems to contain cells of the first row" in note.text for note in ingest([path]).notes)
    path.write_text("title;year;a;b;c;x;y;z")
    assert [note.text for note in ingest([path]).notes if "seems" in note.text] == []


def test_record_of_ovid_whose_number_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.cgi"
    path.write_text("Search Strategy:\n1    trust.ti. (2)\n\n**<1>\nTitle\n  One\nYear\n  2001\n\n<2>\nTitle\n  Two\n")
    found = ingest([path])
    assert [(record.title, record.year) for record in found.records] == [("One", 2001), ("Two", None)]
    assert any("no record number" in note.text for note in found.notes)


def test_element_whose_start_is_missing_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(_XML.replace("<Trial>", "<Tr>\nial>") + _XML)
    found = ingest([path])
    assert [record.title for record in found.records] == ["Two"]
    assert [(item.record, item.line) for item in found.rejected] == [(1, 1)]
    assert found.rejected[0].reason.startswith("the element of the record is closed but never opened")


@pytest.mark.parametrize("start", ["<Trial <", "<TRIAL>"])
def test_element_whose_tag_is_damaged_is_a_record(tmp_path: Path, start: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(_XML.replace("</Trial>", f"{start}Public_title>One</Public_title></Trial>"))
    found = ingest([path])
    assert ([one.title for one in found.records], len(found.rejected)) == ([], 2)
    path.write_text(_XML.replace("</Trial>", "</TRIAL>") + _XML)
    found = ingest([path])
    assert ([one.title for one in found.records], len(found.rejected)) == (["Two"], 1)


@pytest.mark.parametrize("mark", ["> ", "\ufeff", "\t|"])
def test_marks_between_xml_elements_are_ignored(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.xml"
    article = f"{mark}<Article>\n{mark}<ArticleTitle>Two</ArticleTitle>\n{mark}</Article>"
    path.write_text(f"<PubmedArticle><MedlineCitation>\n{article}</MedlineCitation></PubmedArticle>")
    found = ingest([path])
    assert [record.title for record in found.records] == ["Two"]


def test_authors_and_doi_that_are_replaced_in_json_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"title": "One", "doi": "10.5555/a", "authors": ["Oak"], "doi": "10.5555/b", "authors": ["Elm"]}\n'
    )
    (note,) = (note.text for note in ingest([path]).notes)
    assert note.startswith("these fields occur more than once with different values, and the last value was used: doi")


def test_rows_above_the_header_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('One,"Text, short.",2001,x\nTwo,,2002,x\ntitle,abstract,year,note\nThree,Text.,2003,x\n')
    found = ingest([path])
    assert [record.title for record in found.records] == ["Three"]
    assert [note.text for note in found.notes if "above" in note.text] == [
        "2 rows above the header were not read; move the header to the top"
    ]
    path.write_text("Search query,trust\n,,,\ntitle,abstract,year,note\nThree,Text.,2003,x\n")
    assert not any("above" in note.text for note in ingest([path]).notes)


@pytest.mark.parametrize(
    "row",
    [
        f"One,{'Teams were asked. ' * 9},x",
        "One,,2001",
        '"One","",x',
        "Sharing the lead,x,",
        "\u0a0aSharing the lead,x",
        ",2018-03-01,x",
        '\ufffd"One","x"',
        ',x y"',
        ',"https://example.org/1"',
        ',"10.5555/a.1"',
        ',"Oak, L; Elm, P"',
        ',x""',
        f" {'A long title ' * 5},x",
    ],
)
def test_header_that_is_joined_with_a_row_is_noted(tmp_path: Path, row: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"title,abstract,year{row}\nTwo,Text.,2002,,\n")
    assert any("seems to contain cells of the first row" in note.text for note in ingest([path]).notes)
    # The header of a further table; a line with longer cells is a row that does not fit.
    path.write_text(f"title,year\nZero,2000\ntitle,abstract,year{row[:70]},doi,url\nTwo,Text.,2002,,,\n")
    found = ingest([path])
    assert found.rejected or any("seems to contain cells of the first row" in note.text for note in found.notes)


@pytest.mark.parametrize(
    "names", ["Title Of The Paper", "Author Affiliations And Countries", "Journal Impact Factor 2020"]
)
def test_names_of_several_words_are_not_cells_of_a_row(tmp_path: Path, names: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"title,abstract,year,{names}\nTwo,Text.,2002,x\n")
    assert not any("seems to contain cells of the first row" in note.text for note in ingest([path]).notes)


def test_a_row_above_a_header_that_ends_within_quotes_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"One","2001","Text.","x"\n"title","year","abstract","')
    assert any("1 row above the header was not read" in note.text for note in ingest([path]).notes)
    path.write_text('"One","N\n"title","year","abstract","key"\n"Two","2002","",""\n')
    assert any("1 line outside of records was not read" in note.text for note in ingest([path]).notes)
    path.write_text('"One","2001","Text.","x\n"title","year","abstract","key"\n"Two","2002","",""\n')
    assert any("1 row above the header was not read" in note.text for note in ingest([path]).notes)
    path.write_text('"One","2001","Text.","x"\n"title","year","abstract","key' + "\n" * 100 + '"\n"Two","2002","",""\n')
    assert any("1 row above the header was not read" in note.text for note in ingest([path]).notes)


def test_rows_above_the_header_of_a_sheet_are_noted(read: Reader) -> None:
    rows = [["SEARCH QUERY", "trust:ti"], [], ["A lost title"], ["title", "year"], ["One", 2001]]
    (note,) = read(workbook({"one": rows})).notes
    assert note.text == "1 line outside of records was not read; the first is line 3: 'A lost title'"


def test_indented_lines_of_ovid_are_read(tmp_path: Path) -> None:
    lines = [
        "<1. >",
        "VN  - Ovid Technologies",
        "TI  - One",
        "AB  - A text",
        "       over lines.",
        "<2. >",
        "TI  - Two",
    ]
    path = tmp_path / "a.txt"
    path.write_text("\n ".join(lines) + "\n")
    found = ingest([path])
    assert [(record.title, record.abstract) for record in found.records] == [("One", "A text over lines."), ("Two", "")]


def test_text_in_front_of_the_first_tag_is_kept_in_the_rejected_record(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("<1. >\nTI  - One\n\n<2. >\nA lost title\nby Oak\n")
    (rejection,) = ingest([path]).rejected
    assert rejection.raw == (("", "A lost title\nby Oak"),)


def test_records_of_eric_are_separated_without_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "a.nbib"
    path.write_text("OWN - ERIC\nTI  - One\nDP  - 2001\nOWN - ERIC\nTI  - Two\nDP  - 2002\n")
    found = ingest([path])
    assert [(record.title, record.year) for record in found.records] == [("One", 2001), ("Two", 2002)]
    assert not found.notes


def test_the_rest_of_a_record_above_a_table_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("ve\nT1 A lost title\nYR 2002\ntitle,abstract,year\nTwo,Text.,2002\n")
    found = ingest([path])
    assert [record.title for record in found.records] == ["Two"]
    assert [note.text for note in found.notes if "outside" in note.text] == [
        "3 lines outside of records were not read; the first is line 1: 've'"
    ]


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_a_title_outside_of_the_records_of_xml_is_noted(tmp_path: Path, place: str) -> None:
    record = "<result><id>{0}</id><title>{0}</title></result>"
    lost = "<Trial><Public_title>A lost title</Public_title></Trial>"
    parts = [record.format("One"), record.format("Two")]
    parts.insert(("before", "between", "after").index(place), lost)
    path = tmp_path / "a.xml"
    path.write_text(
        f"<responseWrapper><request>title</request><resultList>{''.join(parts)}</resultList></responseWrapper>"
    )
    found = ingest([path])
    assert [record.title for record in found.records] == ["One", "Two"]
    assert [note.text for note in found.notes if "outside" in note.text] == [
        "a title outside of records was not read: 'A lost title'; export the search results again"
    ]
    path.write_text(path.read_text().replace(lost, ""))
    assert not any("outside" in note.text for note in ingest([path]).notes)


def test_text_above_the_records_of_xml_is_noted_but_not_the_search(tmp_path: Path) -> None:
    search = "<request><queryString>trust in <b>teams</b></queryString></request><query/><query>a &lt; b</query>"
    path = tmp_path / "a.xml"
    for above, notes in (
        ("", 0),
        ("<T>A lost title</T>", 1),
        ("<request>A lost title", 1),
        ("</query>A lost title", 1),
    ):
        path.write_text(f"<responseWrapper><hitCount>1</hitCount>{search}{above}<result><title>One</title></result>")
        found = [note.text for note in ingest([path]).notes if "outside" in note.text]
        assert (
            found == ["text outside of records was not read: 'A lost title'; export the search results again"] * notes
        )


def test_a_type_after_the_first_tags_of_enw_does_not_join_two_records(tmp_path: Path) -> None:
    path = tmp_path / "a.enw"
    path.write_text("%A Oak, Ann\n%0 Journal Article\n%T One\n%0 Book\n%T Two\n")
    found = ingest([path])
    assert [(record.title, record.authors) for record in found.records] == [("One", ("Oak, Ann",)), ("Two", ())]


@pytest.mark.parametrize(
    ("above", "note"),
    [
        ("One;Oak;Text.;2001;x\nTwo;Elm;Text.;2002;x", "2 rows above the header were not read"),
        ('"TITLE","A lost title"', "the first is line 1"),
        ("author = {Oak},\ntitle = {A lost title},", "2 lines outside"),
        ("Author\n  Oak\nTitle\n  A lost title", "4 lines outside"),
        ("A lost title", "1 line outside"),
        ("12 teams in wards", "1 line outside"),
        ('"A lost title"\t"2001', "1 line outside"),
        ("s</abstract></record>\n<record><title>A lost title</title></record>\n</xml>\n", "3 lines outside"),
        ("TITLE-ABS-KEY ( trust AND leadership, teams, wards, nurses )", ""),
        ("Search: title and abstract, English, 2001, 2002, 2003", ""),
        ('"SEARCH QUERY","trust:ti"', ""),
        ("SEARCH QUERY\ttrust:ti\nOR team:ti\n-----\t\n", ""),
        ('"SEARCH QUERY","trust:ti"\nA lost title\nAND a second one', "2 lines outside"),
        ('"About the data: Exported on May 3, 2024. Criteria: trust, teams, wards, nurses, care"', ""),
        ("sep=\t", ""),
    ],
)
def test_titles_and_rows_above_a_table_are_noted(tmp_path: Path, above: str, note: str) -> None:
    path = tmp_path / "a.csv"
    names = "\t".join(("title", "abstract", "year", "authors", *(f"x{number}" for number in range(20))))
    path.write_text(f"{above}\n{names}\nThree\tText.\t2003\tOak" + "\t" * 20)
    found = ingest([path])
    assert [record.title for record in found.records] == ["Three"]
    notes = [one.text for one in found.notes if "not read" in one.text]
    assert (len(notes) == 1 and note in notes[0]) if note else not notes


def test_the_first_record_of_embase_without_its_title_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    query = '"SEARCH QUERY","trust:ti\nAND leadership:ti"\n-----\n\n'
    rows = '"TIT&LE","A lost title"\n"AUTHOR NAMES","Oak J."\n\n"TITLE","Two"\n"AUTHOR NAMES","Elm J."\n'
    path.write_text(query + rows)
    found = ingest([path])
    assert [(record.title, record.authors) for record in found.records] == [("Two", ("Elm, J",))]
    assert [(one.raw, one.line) for one in found.rejected] == [((("AUTHOR NAMES", "Oak J."),), 6)]
    assert [note.text for note in found.notes] == [
        '1 line outside of records was not read; the first is line 5: \'"TIT&LE","A lost title"\''
    ]
    path.write_text(query + rows.replace("&", ""))
    found = ingest([path])
    assert [record.title for record in found.records] == ["A lost title", "Two"]
    assert not found.notes
    for glued in (query.rstrip(), query.partition("\n-")[0]):
        path.write_text(glued + rows.replace("&", ""))
        assert any("1 line outside of records was not read" in note.text for note in ingest([path]).notes)


def test_a_damaged_tag_outside_of_records_is_not_a_number_of_ovid(tmp_path: Path) -> None:
    path = tmp_path / "a.ris"
    path.write_text(f"{_RIS}1  - A lost title\n{_RIS}1. Trust in teams (12)\n{_RIS}")
    assert [note.text for note in ingest([path]).notes] == [
        "1 line outside of records was not read; the first is line 4: '1  - A lost title'"
    ]
    path.write_text(f"14\t7\tWOS:2\n{_RIS}1. TY  - JOURDO  - 10.5555/a.0045\n{_RIS}")
    assert [note.text for note in ingest([path]).notes] == [
        "2 lines outside of records were not read; the first is line 1: '14\\t7\\tWOS:2'"
    ]


@pytest.mark.parametrize("rest", ["ef_title>A lost title</brief_title>", "A lost title</T></Trial_>"])
def test_text_after_the_records_of_xml_whose_element_is_damaged_is_noted(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"{_XML}{rest}\n<!-- 12 -->\n{_XML}")
    found = ingest([path])
    assert [record.title for record in found.records] == ["Two", "Two"]
    assert [note.text for note in found.notes if "outside" in note.text] == [
        f"text outside of records was not read: {rest.partition('<')[0]!r}; export the search results again"
    ]
    path.write_text(f"{_XML}<DeleteCitation><PMID>12</PMID></DeleteCitation>\n{_XML}")
    assert not any("outside" in note.text for note in ingest([path]).notes)


def test_damaged_line_ends_of_record_numbers_of_ovid(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("<1. >\nTI  - One\n<2. >VN  - Ovid Technologies\nTI  - Two\n<3. >\"'\nTI  - Three\n")
    found = ingest([path])
    assert [(record.title, record.raw[0][0]) for record in found.records] == [
        ("One", "TI"),
        ("Two", "VN"),
        ("Three", "TI"),
    ]
    path.write_text("<1>\nTitle\n  One\n<2>''\nTitle\n  Two\n")
    found = ingest([path])
    assert [record.title for record in found.records] == ["One", "Two"]
    assert not found.notes


def test_a_field_of_bibtex_whose_name_is_damaged_is_kept_in_the_rejected_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.bib"
    path.write_text("@article{k1,\n  ti<a>tle = {A lost title}\n  author = {Oak, J.},\n  year = {2017}\n}\n")
    (rejected,) = ingest([path]).rejected
    assert ("", "ti<a>tle = {A lost title}") in rejected.raw
    path.write_text("@article{k1,\n  title = {One}\n  author = {Oak, J.},\n  year = {2017}\n}\n")
    (record,) = ingest([path]).records
    assert [name for name, _ in record.raw] == ["ENTRYTYPE", "ID", "title", "author", "year"]
