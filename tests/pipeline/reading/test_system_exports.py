"""Test exports of the same papers from many systems, and the reader of RIS."""

import re
from pathlib import Path

import pytest
import rispy

from mechtag.pipeline.reading.build_record import clean_author, clean_year
from mechtag.pipeline.reading.ingest import ingest
from tests.support.exports import EXPORTS, RIS_EXPORTS, Reader, notes, only

NOTES = {
    "pubmed.csv": [
        "no column with abstracts was found; columns that were not read: First Author, Create Date, PMCID, NIHMS ID"
    ]
}


@pytest.mark.parametrize("path", sorted(EXPORTS.iterdir()), ids=lambda path: path.name)
def test_every_system_has_the_same_values_for_the_same_papers(path: Path) -> None:
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
    assert notes(found) == NOTES.get(path.name, [])


@pytest.mark.parametrize("path", RIS_EXPORTS, ids=lambda path: path.name)
def test_ris_agrees_with_rispy(path: Path) -> None:
    # Every tag is read as a list, so that rispy drops no repeated tag.
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
        # rispy stops at ER, but Ovid writes the tag NL after it.
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
            ["export.txt: record 1, line 1: the record has no ER line at its end; it may be truncated"],
        ),
        (
            "TY  - JOUR\nTI  - One\nER  - \n\nTY  - JOUR\nTI  - Two",
            ["One", "Two"],
            ["export.txt: record 2, line 5: the record has no ER line at its end; it may be truncated"],
        ),
        (
            "JF  - Care\nTI  - One\nER  - \n",
            ["One"],
            ["export.txt: record 1, line 1: the record has no TY line at its start"],
        ),
        (
            "TY  - JOUR\nTI  - One\nER  - \nTI  - Two\nAU  - B, C\nER  - \nTY  - JOUR\nTI  - Three\nER  - \n",
            ["One", "Two", "Three"],
            ["export.txt: record 2, line 4: the record has no TY line at its start"],
        ),
        (
            "TY  - JOUR\nTI  - One\nER  - \nTI  - Two\nAU  - B, C\nTY  - JOUR\nTI  - Three\nER  - \nT1  - Four\n",
            ["One", "Two", "Three", "Four"],
            [
                "export.txt: record 2, line 4: the record has no TY line at its start (and in 1 more record)",
                "export.txt: record 2, line 4: the record has no ER line at its end; it may be truncated "
                "(and in 1 more record)",
            ],
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


@pytest.mark.parametrize(
    ("value", "year"),
    [
        *(("2014", 2014), ("2014//", 2014), ("2014/09/12/", 2014), ("2015/october", 2015), ("4/3/2024", 2024)),
        *((2014, 2014), (2014.0, 2014), ("2014.0", 2014), ("1665", 1665), ("c2009", 2009), ("3015; 2015", 2015)),
        *(("99", 1999), ("10 15", None), ("9999", None), ("0000", None), ("1066", None), ("20140903", 2014)),
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


@pytest.mark.parametrize(
    "lines",
    [
        "AU  - Li, J.\nAU  - Ito, K.\nAU  - Li, J.",
        "A1  - Li, J.\nA1  - Ito, K.\nA1  - Li, J.",
        "A1  - Li, J.\nAU  - Li, J.\nAU  - Ito, K.\nAU  - Li, J.",
        "A1  - Li, J.\nA1  - Ito, K.\nA1  - Li, J.\nAU  - Li, J.",
    ],
)
def test_two_authors_of_one_name_are_two_people(read: Reader, lines: str) -> None:
    (record,) = read(f"TY  - JOUR\nTI  - One\n{lines}\nKW  - care\nKW  - care\nER  - \n").records
    assert record.authors == ("Li, J.", "Ito, K.", "Li, J.")
    assert record.keywords == ("care",)


@pytest.mark.parametrize(
    ("start", "end", "pages"),
    [
        ("123", "130", "123-130"),
        ("123-130", "130", "123-130"),
        ("123", "123-130", "123-130"),
        ("S1-12", "S1-18", "S1-12-S1-18"),
        ("e7", "e7", "e7"),
        ("7", "", "7"),
    ],
)
def test_ris_pages(read: Reader, start: str, end: str, pages: str) -> None:
    assert only(read(f"TY  - JOUR\nTI  - One\nSP  - {start}\nEP  - {end}\nER  - \n")).pages == pages


def test_ris_authors_of_both_tags_are_kept_in_their_order(read: Reader) -> None:
    (record,) = read("TY  - JOUR\nTI  - One\nA1  - Li, J.\nAU  - Ito, K.\nER  - \n").records
    assert record.authors == ("Li, J.", "Ito, K.")


def test_control_characters_and_composed_letters(read: Reader) -> None:
    (record,) = read("TY  - JOUR\nTI  - Fu\u0308hrung\u00a0 in\x07 teams\u200b\ufeff\nER  - \n").records
    assert record.title == "Führung in teams\u200b"
    assert record.raw[1] == ("TI", "Fu\u0308hrung\u00a0 in\x07 teams\u200b\ufeff")
