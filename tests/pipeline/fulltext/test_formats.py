"""Test that full texts from publishers, word processors and the web keep their sections; other files are refused."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import docx
import pytest
from docx.oxml.ns import qn

from mechtag.core.errors import MechtagError
from mechtag.pipeline.fulltext.document import Draft, assemble
from mechtag.pipeline.fulltext.formats import docx as word
from mechtag.pipeline.fulltext.formats import html, jats, plain, tei
from mechtag.pipeline.fulltext.reading import find_format

JATS = """<?xml version="1.0"?>
<article xmlns:xlink="http://www.w3.org/1999/xlink">
<front><article-meta>
<article-id pub-id-type="doi">10.1234/Orchard.1</article-id><article-id pub-id-type="pmid">123</article-id>
<article-id pub-id-type="pmc">456</article-id>
<title-group><article-title>Leaders of <italic>orchards</italic><xref>*</xref></article-title></title-group>
<permissions><license xlink:href="https://creativecommons.org/licenses/by/4.0/"><p>Open.</p></license></permissions>
<abstract abstract-type="graphical"><p>A picture.</p></abstract>
<abstract><sec><title>Aim</title><p>We asked who leads.</p></sec></abstract>
</article-meta></front>
<body>
<sec sec-type="intro"><title>Why ask</title><p>Leaders differ<xref ref-type="bibr">1</xref>.</p></sec>
<sec><label>2</label><title>Methods</title>
  <p>We asked <fig><label>Fig 1</label><caption><p>An orchard.</p></caption></fig>forty people.</p>
  <sec><title>Places</title><list><list-item><p>North</p></list-item><list-item><p>South</p></list-item></list></sec>
</sec>
<sec><title>Findings</title><p>They listened.</p>
  <table-wrap><label>Table 1</label><caption><title>People</title></caption>
  <table><tr><td>10</td></tr></table></table-wrap></sec>
</body>
<back><ack><p>We thank all.</p></ack>
<ref-list><title>References</title><ref><label>1</label>
<mixed-citation>Ash A. Who leads?</mixed-citation></ref></ref-list></back>
</article>"""

TEI = """<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><fileDesc>
<titleStmt><title>Leaders of orchards</title></titleStmt>
<sourceDesc><biblStruct><idno type="DOI">10.1234/orchard.1</idno></biblStruct></sourceDesc></fileDesc>
<profileDesc><abstract><div><p>We asked who leads.</p></div></abstract></profileDesc></teiHeader>
<text><body>
<div><head n="1">Introduction</head><p coords="1,5,5,9,9;1,5,20,9,9">Leaders differ <ref>[1]</ref>.</p></div>
<div><head n="2.1" coords="2,5,5,9,9">Places</head><p><s coords="2,5,9,9,9">Two places.</s></p>
<figure type="table"><head>Table 1</head><figDesc>People</figDesc>
<table><row><cell>10</cell><cell>12</cell></row></table></figure>
</div></body>
<back><div type="acknowledgement"><div><head>Thanks</head><p>We thank all.</p></div></div>
<div type="references"><listBibl>
<biblStruct><note type="raw_reference">Ash A. Who leads?</note></biblStruct></listBibl></div>
</back></text></TEI>"""


def found(draft: Draft) -> list[tuple[str, str, int, str]]:
    """Return kind, title, level and text of each section of a draft."""
    text, sections, _ = assemble(draft.blocks, draft.page_labels)
    return [(each.kind, each.title, each.level, text[each.start : each.end].strip()) for each in sections]


def test_jats() -> None:
    draft = jats.read(JATS.encode(), "a.xml")
    assert (draft.title, draft.doi, draft.pmid, draft.pmcid) == (
        "Leaders of orchards",
        "10.1234/orchard.1",
        "123",
        "PMC456",
    )
    assert draft.licence == "https://creativecommons.org/licenses/by/4.0/"
    assert found(draft) == [
        ("title", "Leaders of orchards", 1, "Leaders of orchards"),
        ("abstract", "Abstract", 1, "Abstract"),
        ("abstract", "Aim", 2, "Aim\nWe asked who leads."),
        ("introduction", "Why ask", 1, "Why ask\nLeaders differ1."),
        ("methods", "2 Methods", 1, "2 Methods\nWe asked forty people."),
        ("caption", "", 1, "Fig 1 An orchard."),
        ("methods", "Places", 2, "Places\nNorth\nSouth"),
        ("results", "Findings", 1, "Findings\nThey listened."),
        ("caption", "", 1, "Table 1 People"),
        ("back", "Acknowledgements", 1, "Acknowledgements\nWe thank all."),
        ("references", "References", 1, "References\nAsh A. Who leads?"),
    ]


def test_tei_with_pages() -> None:
    draft = tei.read(TEI.encode(), "a.xml")
    assert (draft.title, draft.doi) == ("Leaders of orchards", "10.1234/orchard.1")
    assert found(draft) == [
        ("title", "Leaders of orchards", 1, "Leaders of orchards"),
        ("abstract", "Abstract", 1, "Abstract\nWe asked who leads."),
        ("introduction", "1 Introduction", 1, "1 Introduction\nLeaders differ [1]."),
        ("introduction", "2.1 Places", 2, "2.1 Places\nTwo places."),
        ("caption", "", 2, "Table 1 People"),
        ("table", "", 2, "10 12"),
        ("back", "Thanks", 1, "Thanks\nWe thank all."),
        ("references", "References", 1, "References\nAsh A. Who leads?"),
    ]
    text, _, pages = assemble(draft.blocks, draft.page_labels)
    assert [text[page.start : page.end].split("\n")[0] for page in pages] == ["Leaders of orchards", "2.1 Places"]


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (jats.read, "<article><front/></article>", r"a contains only the front matter of an article; download the"),
        (jats.read, "<article><body><p>Cut", r"a cannot be read as XML \(.*\); download it again"),
        (jats.read, "<records/>", r"a is an XML file, but not an article in JATS format"),
        (tei.read, "<TEI><text><body/></text></TEI>", r"a is not an article in TEI XML, or contains no text"),
        (html.read, "<html><p>Log in to read.</p></html>", r"a is a web page without the text of an article"),
        (html.read_epub, "PK\x03\x04", r"a cannot be read as an EPUB book, because it is damaged"),
        (word.read, "PK\x03\x04", r"a cannot be read as a Word document; open it in Word and save it again"),
        (plain.read, " \n", r"a is empty"),
        (plain.read, "a\0b", r"a is not a text file; save the paper as PDF"),
    ],
)
def test_files_without_a_full_text_are_refused_with_what_to_do(read: object, data: str, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read(data.encode(), "a")  # type: ignore[operator]


def test_entities_of_xml_are_not_resolved() -> None:
    hostile = '<!DOCTYPE article [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + JATS.split("?>", 1)[1].replace(
        "They listened.", "They listened &x;."
    )
    assert "root:" not in str(found(jats.read(hostile.encode(), "a.xml")))
    bomb = '<!DOCTYPE a [<!ENTITY a "' + "x" * 1000 + '"><!ENTITY b "' + "&a;" * 1000 + '"><!ENTITY c "' + "&b;" * 1000
    with pytest.raises(MechtagError, match=r"a\.xml (cannot be read as XML|contains only the front matter)"):
        jats.read((bomb + '">]><article><body><p>&c;</p></body></article>').encode(), "a.xml")


def test_word() -> None:
    document = docx.Document()
    document.add_heading("Leaders of orchards", 0)
    document.add_heading("Methods", 1)
    document.add_paragraph("We asked forty people.")
    document.add_heading("Places", 2)
    document.add_paragraph("Two places.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "North", "10"
    data = io.BytesIO()
    document.save(data)
    assert found(word.read(data.getvalue(), "a.docx")) == [
        ("title", "Leaders of orchards", 1, "Leaders of orchards"),
        ("methods", "Methods", 1, "Methods\nWe asked forty people."),
        ("methods", "Places", 2, "Places\nTwo places."),
        ("table", "", 2, "North 10"),
    ]


def changed(document: Any, edit: Callable[[str], str], part: str = "word/document.xml") -> bytes:
    """Return a Word document as bytes, after ``edit`` has been applied to one of its XML files."""
    data, result = io.BytesIO(), io.BytesIO()
    document.save(data)
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit(content.decode()) if name == part else content)
    return result.getvalue()


def test_headings_of_word_in_other_languages() -> None:
    document = docx.Document()
    document.add_heading("Methods", 1)
    document.add_paragraph("We asked forty people.")
    document.add_heading("Places", 2).style.name = "heading 2"
    document.add_paragraph("Two places.")
    # German Word names the style 'heading 1', like all versions, but its style id is 'berschrift1'.
    for level in (1, 2):
        document.styles[f"Heading {level}"].element.set(qn("w:styleId"), f"berschrift{level}")
    for paragraph, level in ((document.paragraphs[0], 1), (document.paragraphs[2], 2)):
        paragraph._p.pPr.pStyle.val = f"berschrift{level}"
    sections = found(word.read(changed(document, str), "a.docx"))
    assert [section[:3] for section in sections] == [("methods", "Methods", 1), ("methods", "Places", 2)]


def test_word_with_tracked_changes_fields_and_text_boxes() -> None:
    document = docx.Document()
    document.add_heading("Results", 1)
    document.add_paragraph("Leaders INSERTED their DELETED co|ordinated work.")
    document.add_paragraph("CONTROL")

    def edit(xml: str) -> str:
        run = "</w:t></w:r>{}<w:r><w:t xml:space='preserve'>"
        box = "<w:p><w:r><w:t>A box.</w:t></w:r></w:p>"
        inside = (
            "<w:r><mc:AlternateContent xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'>"
            f"<mc:Choice Requires='wps'><w:drawing><w:txbxContent>{box}</w:txbxContent></w:drawing></mc:Choice>"
            f"<mc:Fallback><w:pict><w:txbxContent>{box}</w:txbxContent></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
        )
        xml = xml.replace("INSERTED", run.format("<w:ins><w:r><w:t>shared</w:t></w:r></w:ins>"))
        xml = xml.replace(
            "DELETED", run.format("<w:del><w:r><w:delText>own</w:delText><w:t>own</w:t></w:r></w:del>" + inside)
        )
        xml = xml.replace(
            "co|ordinated", "co</w:t><w:noBreakHyphen/><w:t xml:space='preserve'>ordi</w:t><w:softHyphen/><w:t>nated"
        )
        before, paragraph, after = re.split(r"(<w:p>(?:(?!<w:p>).)*CONTROL.*?</w:p>)", xml, flags=re.S)
        control = paragraph.replace("CONTROL", "In a control.")
        return f"{before}<w:sdt><w:sdtContent>{control}</w:sdtContent></w:sdt>{after}"

    text = found(word.read(changed(document, edit), "a.docx"))[0][3]
    assert text == "Results\nLeaders shared their co-ordinated work.\nA box.\nIn a control."


def test_word_without_styles_and_within_a_table() -> None:
    document = docx.Document()
    cell = document.add_table(1, 2).cell(0, 0)
    cell.text = "METHODS"
    cell.add_paragraph("We asked forty people about their work in two orchards. " * 12)
    cell.add_paragraph().add_run("Places of the study").bold = True
    cell.add_paragraph("There were two places.")
    cell.add_paragraph("Results:")
    table = cell.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "North", "10"
    data = io.BytesIO()
    document.save(data)
    sections = found(word.read(data.getvalue(), "a.docx"))
    assert [section[:3] for section in sections] == [
        ("methods", "METHODS", 1),
        ("methods", "Places of the study", 2),
        ("table", "", 2),
    ]
    assert sections[1][3] == "Places of the study\nThere were two places.\nResults:"
    assert sections[2][3] == "North 10"


def test_a_set_of_jats_articles_is_read_if_it_has_only_one() -> None:
    article = JATS[JATS.index("<article") :]
    one, two = (f"<pmc-articleset>{article * count}</pmc-articleset>".encode() for count in (1, 2))
    assert find_format(one, "a.xml") == "jats"
    assert found(jats.read(one, "a.xml")) == found(jats.read(JATS.encode(), "a.xml"))
    with pytest.raises(MechtagError, match=r"a\.xml contains 2 articles; save each article as a separate file"):
        jats.read(two, "a.xml")


def test_jats_boxes_and_verses() -> None:
    box = "<boxed-text><label>Box {0}</label><caption><title>Summary</title></caption><p>Text {0}.</p></boxed-text>"
    article = (
        f"<article><body><sec><title>Results</title><p>They led.{box.format(1)}</p>{box.format(2)}<verse-group>"
        "<verse-line>We sow</verse-line><verse-line>and reap</verse-line></verse-group></sec></body>"
        "<back><ref-list><ref><mixed-citation>Ash A.</mixed-citation></ref></ref-list></back>"
        f"<floats-group>{box.format(3)}<table-wrap><caption><p>People</p></caption></table-wrap></floats-group></article>"
    )
    assert [section[0::3] for section in found(jats.read(article.encode(), "a.xml"))] == [
        ("results", "Results\nThey led."),
        ("caption", "Box 1 Summary"),
        ("results", "Text 1."),
        ("caption", "Box 2 Summary"),
        ("results", "Text 2.\nWe sow and reap"),
        ("caption", "Box 3 Summary"),
        ("other", "Text 3."),
        ("caption", "People"),
        ("references", "References\nAsh A."),
    ]


def test_jats_sections_without_title_and_abstracts_in_two_languages() -> None:
    article = (
        '<article xml:lang="en"><front><article-meta><abstract xml:lang="fr"><p>Les chefs.</p></abstract>'
        '<abstract xml:lang="en-GB"><p>The leaders.</p></abstract></article-meta></front><body>'
        '<sec sec-type="methods"><title/><p>We asked.</p><sec><title>Places</title><p>Two.</p></sec></sec>'
        '<sec sec-type="results"><p>They led.</p></sec></body></article>'
    )
    assert found(jats.read(article.encode(), "a.xml")) == [
        ("abstract", "Abstract", 1, "Abstract\nThe leaders."),
        ("methods", "", 1, "We asked."),
        ("methods", "Places", 2, "Places\nTwo."),
        ("results", "", 2, "They led."),
    ]


def test_a_web_page_whose_only_articles_are_teasers_is_read_whole() -> None:
    teaser = f"<article><h3>Related</h3><p>{'Read what others wrote. ' * 30}</p></article>"
    page = f"<html><body><div><h1>Leaders</h1><p>{'They led on. ' * 400}</p></div>{teaser}</body></html>"
    assert "They led on." in found(html.read(page.encode(), "a.html"))[0][3]


def test_a_web_page_that_is_a_form_is_read() -> None:
    page = f"<html><body><form><h1>Leaders</h1><p>{'They led on. ' * 60}</p><button>Buy</button></form></body></html>"
    assert found(html.read(page.encode(), "a.html"))[0][3] == f"Leaders\n{'They led on. ' * 60}".strip()


def test_what_a_web_page_hides_is_not_read() -> None:
    more = '<span aria-hidden="true">twice</span><span hidden><b>x</b></span>' + "They answered. " * 40
    page = PAGE.format(more=more).replace("<article>", '<article aria-hidden="true">')
    text = found(html.read(page.encode(), "a.html"))[1][3]
    assert text.startswith("2. Methods\nWe asked forty people & more. They answered. They answered.")


PAGE = """<html><head><title>Orchards</title><meta name="citation_title" content="Leaders of orchards">
<meta name="citation_doi" content="10.1234/orchard.1"><script>var a = "<p>no</p>";</script></head>
<body><nav><p>Menu</p></nav><article><h1>Leaders of orchards</h1><h2>2. Methods</h2><p>We asked <b>forty</b>
people&nbsp;&amp; more. {more}</p><h3>Places</h3><ul><li>North</li><li>South</li></ul>
<table><tr><td>North</td><td>10</td></tr></table></article><footer><p>Imprint</p></footer></body></html>"""


def test_a_web_page() -> None:
    draft = html.read(PAGE.format(more="They answered. " * 40).encode(), "a.html")
    assert (draft.title, draft.doi) == ("Leaders of orchards", "10.1234/orchard.1")
    sections = found(draft)
    assert [section[:3] for section in sections] == [
        ("other", "Leaders of orchards", 1),
        ("methods", "2. Methods", 1),
        ("methods", "Places", 2),
        ("table", "", 2),
    ]
    assert sections[1][3].startswith("2. Methods\nWe asked forty people & more. They answered.")
    assert sections[2][3] == "Places\nNorth\nSouth"


def test_an_epub_is_read_in_the_order_of_its_spine() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as package:
        package.writestr("mimetype", "application/epub+zip")
        package.writestr(
            "META-INF/container.xml", '<container><rootfiles><rootfile full-path="OPS/a.opf"/></rootfiles></container>'
        )
        package.writestr(
            "OPS/a.opf",
            "<package><metadata><title>Leaders of orchards</title><identifier>doi:10.1234/orchard.1</identifier>"
            '</metadata><manifest><item id="b" href="second%20one.xhtml"/><item id="a" href="first.xhtml"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
        )
        package.writestr("OPS/first.xhtml", "<html><body><h1>Introduction</h1><p>Leaders differ.</p></body></html>")
        package.writestr("OPS/second one.xhtml", "<html><body><h1>Results</h1><p>They listened.</p></body></html>")
    draft = html.read_epub(data.getvalue(), "a.epub")
    assert (draft.title, draft.doi) == ("Leaders of orchards", "10.1234/orchard.1")
    assert found(draft) == [
        ("introduction", "Introduction", 1, "Introduction\nLeaders differ."),
        ("results", "Results", 1, "Results\nThey listened."),
    ]


def test_plain_text_with_wrapped_lines_and_headings() -> None:
    text = (
        "Leaders of orchards\n\nMETHODS\nWe asked forty peo-\nple in two\nplaces.\n\nThey answered.\n\n"
        "3. What they said\n\nThey listened.\n"
    )
    for data in (text.encode(), text.encode("utf-16"), text.replace("\n", "\r\n").encode("cp1252")):
        assert found(plain.read(data, "a.txt")) == [
            ("other", "", 1, "Leaders of orchards"),
            ("methods", "METHODS", 1, "METHODS\nWe asked forty people in two places.\nThey answered."),
            ("other", "3. What they said", 1, "3. What they said\nThey listened."),
        ]
