"""Test readers of other formats than RIS, tables and JSON; expected values are worked out by hand or by a library."""

import pytest
from Bio import Medline

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading.formats.bibtex import plain
from mechtag.pipeline.reading.formats.ovid import split_names
from mechtag.pipeline.reading.ingest import ingest
from tests.support.exports import EXPORTS, Reader, notes, only, rejected

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
        ("DEP - 20150101", None, 2015),
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
        ("the record has no ER line at its end; it may be truncated", 1, 3, 2),
        ("the record has no PT line at its start", 3, 9, 1),
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
    """A regular expression with nested repeats would take years for these texts."""
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
    assert found.rejected[0].reason.startswith("the record is not readable as XML: mismatched tag")
    assert (
        found.rejected[1].reason
        == "the element of the record is opened but never closed, so the record is truncated; export it again"
    )
    assert found.rejected[1].raw == (("xml", "<record><titles><title>Five</title></titles>\n"),)
    assert notes(found) == ["characters that XML does not allow were removed"]


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
        ("custom1", "x<sup>2</sup>"),
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
    assert (record.title, record.abstract) == ("Der Titel", "AIM: To see. And x².")
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
        (
            r"$\alpha$-synuclein, $x^2$, \emph{in vivo}, \textit{E. coli}",
            "α-synuclein, x<sup>2</sup>, in vivo, E. coli",
        ),
        ("{DNA} in {{New York}} --- pages 1--2, ``so''", "DNA in New York — pages 1–2, “so”"),
        ("costs $50 and $60", "costs $50 and $60"),
        ("5~mg", "5 mg"),
        ("\\" + "{" * 3000 + "x" + "}" * 3000, "\\{x"),
    ],
)
def test_latex_becomes_text(latex: str, text: str) -> None:
    assert plain(latex) == text


def test_bibtex_keywords_and_names_left_out(read: Reader) -> None:
    record = only(
        read("@misc{a, title={One}, author={A, B and C, D and others}, keywords={x; y}, author_keywords={z; x}}")
    )
    assert (record.authors, record.keywords) == (("A, B", "C, D"), ("z", "x", "y"))


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
    assert all(reason.startswith("the entry is not readable as BibTeX: Unexpected") for _, _, reason in rejected(found))
    assert "Three" in str(found.rejected[0].raw)
    assert "2003" in str(found.rejected[0].raw)


# EndNote import format


def test_enw_records_without_a_type_end_at_an_empty_line(read: Reader) -> None:
    found = read("%A A, B\n%T One\n%0 Journal Article\n%D 2001\n\n%A C, D\n%T Two\n%X First\n\nsecond\n\n\n%T Three\n")
    assert [(record.title, record.authors, record.year) for record in found.records] == [
        ("One", ("A, B",), 2001),
        ("Two", ("C, D",), None),
        ("Three", (), None),
    ]
    assert [note.count for note in found.notes] == [3]


def test_enw_records(read: Reader) -> None:
    found = read("%T One\n%A A, B\n\n%0 Book\n%T Two\n%K a\nb\n%X First.\n\nSecond.\n%0 Thesis\n%A No, Title\n")
    assert [(record.title, record.keywords, record.abstract.split()) for record in found.records] == [
        *(("One", (), []), ("Two", ("a", "b"), ["First.", "Second."]))
    ]
    assert rejected(found) == [(3, 11, "no title")]
    assert notes(found) == ["the record has no %0 line at its start"]
