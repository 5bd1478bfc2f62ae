"""Test that records survive writing and reading in each format, and that damaged exports lose nothing silently."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading.ingest import Ingested
from mechtag.pipeline.reading.markup import text
from tests.support.exports import EXPORTS, Reader, anywhere, one_line, workbook

# No markup, and no letters that look like wrongly decoded ones, because cleaning would change them.
letters = st.text(
    st.sampled_from("abcXYZ019") | st.characters(categories=["Lo", "Nd"], min_codepoint=0x370), max_size=12
)
word = letters.filter(bool)
words = st.lists(word, min_size=1, max_size=6).map(" ".join)
anything = st.text(one_line, min_size=1, max_size=40).map(lambda text: " ".join(text.split())).filter(bool)
family = st.text("abcdefghXYZäß", min_size=2, max_size=10)


@st.composite
def papers(draw: st.DrawFn, text: st.SearchStrategy[str] = words) -> dict[str, Any]:
    return {
        "title": draw(text),
        "abstract": draw(st.just("") | text),
        "authors": draw(st.lists(st.tuples(family, family), max_size=4, unique=True)),
        "year": draw(st.integers(1900, 2030)),
        "journal": draw(text),
        "volume": str(draw(st.integers(1, 99))),
        "doi": f"10.5555/{draw(st.integers(0, 10**6))}",
    }


def names(paper: dict[str, Any]) -> list[str]:
    return [", ".join(pair) for pair in paper["authors"]]


def nbib(paper: dict[str, Any]) -> str:
    pairs = [("PMID", "12"), ("TI", paper["title"]), ("AB", paper["abstract"]), ("DP", paper["year"])]
    pairs += [("FAU", name) for name in names(paper)]
    pairs += [("JT", paper["journal"]), ("VI", paper["volume"]), ("AID", f"{paper['doi']} [doi]")]
    return "".join(f"{tag:4}- {wrapped(str(value), '      ')}\n" for tag, value in pairs if value) + "\n"


def wrapped(text: str, indent: str) -> str:
    """Return the text with a line break and ``indent`` after every third word, because databases wrap long fields."""
    parts = text.split(" ")
    return f"\n{indent}".join(" ".join(parts[index : index + 3]) for index in range(0, len(parts), 3))


def wos(paper: dict[str, Any]) -> str:
    pairs = [("PT", "J"), ("AF", "\n   ".join(names(paper))), ("TI", wrapped(paper["title"], "   "))]
    pairs += [("SO", paper["journal"]), ("AB", wrapped(paper["abstract"], "   ")), ("PY", str(paper["year"]))]
    pairs += [("VL", paper["volume"]), ("DI", paper["doi"])]
    return "".join(f"{tag} {value}\n" for tag, value in pairs if value) + "ER\n\n"


def ovid(paper: dict[str, Any]) -> str:
    pairs = [("Title", paper["title"]), ("Authors Full Name", "; ".join(names(paper))), ("Abstract", paper["abstract"])]
    pairs += [("Journal Name", paper["journal"]), ("Volume", paper["volume"]), ("DOI Number", paper["doi"])]
    pairs += [("Year of Publication", paper["year"])]
    return "<1>\n" + "".join(f"{name}\n  {value}\n" for name, value in pairs if value) + "\n"


def enw(paper: dict[str, Any]) -> str:
    pairs = [("0", "Journal Article"), *(("A", name) for name in names(paper)), ("T", paper["title"])]
    pairs += [("J", paper["journal"]), ("V", paper["volume"]), ("D", paper["year"]), ("R", paper["doi"])]
    return "".join(f"%{tag} {value}\n" for tag, value in [*pairs, ("X", paper["abstract"])] if value) + "\n"


def bib(paper: dict[str, Any]) -> str:
    pairs = {**paper, "author": " and ".join(names(paper)), "authors": ""}
    return "@article{k,\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in pairs.items() if value) + "}\n\n"


def endnote_record(paper: dict[str, Any]) -> str:
    authors = "".join(f"<author><style>{escape(name)}</style></author>" for name in names(paper))
    return (
        '<record><ref-type name="Journal Article">17</ref-type>'
        f"<contributors><authors>{authors}</authors></contributors>"
        f"<titles><title><style>{escape(paper['title'])}</style></title><secondary-title>{escape(paper['journal'])}"
        f"</secondary-title></titles><volume>{paper['volume']}</volume><dates><year>{paper['year']}</year></dates>"
        f"<abstract>{escape(paper['abstract'])}</abstract><electronic-resource-num>{paper['doi']}"
        "</electronic-resource-num></record>"
    )


def pubmed_article(paper: dict[str, Any]) -> str:
    authors = "".join(
        f"<Author><LastName>{family}</LastName><ForeName>{given}</ForeName></Author>"
        for family, given in paper["authors"]
    )
    return (
        f"<PubmedArticle><MedlineCitation><Article><Journal><JournalIssue><Volume>{paper['volume']}</Volume><PubDate><Year>"
        f"{paper['year']}</Year></PubDate></JournalIssue><Title>{escape(paper['journal'])}</Title></Journal><ArticleTitle>"
        f"{escape(paper['title'])}</ArticleTitle><ELocationID EIdType='doi'>{paper['doi']}</ELocationID><Abstract>"
        f"<AbstractText>{escape(paper['abstract'])}</AbstractText></Abstract><AuthorList>{authors}</AuthorList></Article>"
        "</MedlineCitation></PubmedArticle>"
    )


def csl(paper: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"title": paper["title"], "abstract": paper["abstract"], "container-title": paper["journal"]},
        **{"volume": paper["volume"], "DOI": paper["doi"], "issued": {"date-parts": [[paper["year"], 1]]}},
        "author": [{"family": family, "given": given} for family, given in paper["authors"]],
    }


def agrees(found: Ingested, expected: list[dict[str, Any]]) -> None:
    assert not found.rejected
    for record, paper in zip(found.records, expected, strict=True):
        assert record.title == plain_unicode(paper["title"])
        assert record.abstract == plain_unicode(paper["abstract"])
        assert record.authors == tuple(map(plain_unicode, names(paper)))
        assert (record.year, record.volume, record.doi) == (paper["year"], paper["volume"], paper["doi"])
        assert record.journal == plain_unicode(paper["journal"])


def plain_unicode(text: str) -> str:
    return unicodedata.normalize("NFC", text)


SEVERAL = {"min_size": 1, "max_size": 4}


@anywhere
@given(items=st.lists(papers(), **SEVERAL), write=st.sampled_from([nbib, wos, ovid, enw, bib]))
def test_text_round_trips(read: Reader, items: list[dict[str, Any]], write: Callable[[dict[str, Any]], str]) -> None:
    start = "FN Someone\nVR 1.0\n" if write is wos else ""
    agrees(read(start + "".join(map(write, items))), items)


@anywhere
@given(items=st.lists(papers(), **SEVERAL))
def test_xml_and_json_round_trips(read: Reader, items: list[dict[str, Any]]) -> None:
    agrees(read("<xml><records>" + "".join(map(endnote_record, items)) + "</records></xml>"), items)
    agrees(read("<PubmedArticleSet>" + "\n".join(map(pubmed_article, items)) + "</PubmedArticleSet>"), items)
    agrees(read(json.dumps(list(map(csl, items)), indent=1)), items)


@pytest.mark.slow
@anywhere
@given(item=papers(anything))
def test_any_text_is_kept_as_it_was(read: Reader, item: dict[str, Any]) -> None:
    found = {name: value for text in (endnote_record(item), pubmed_article(item)) for name, value in raw(read(text))}
    assert text(found["titles"], "title") == item["title"].strip()
    assert text(found["MedlineCitation"], "Article", "Abstract", "AbstractText") == item["abstract"].strip()
    assert ("title", item["title"]) in raw(read(json.dumps([csl(item)])))
    # An equals sign at the start of a cell would make it a formula.
    titled = f"T{item['title']}"
    assert ("Title", titled) in raw(read(workbook({"one": [["Title", "DOI"], [titled, 1]]})))


def raw(found: Ingested) -> tuple[tuple[str, Any], ...]:
    return (found.records or found.rejected)[0].raw


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(papers(), **SEVERAL))
def test_excel_round_trip(read: Reader, items: list[dict[str, Any]]) -> None:
    rows: list[list[object]] = [["Title", "Abstract", "Authors", "Year", "Journal", "Volume", "DOI"]]
    rows += [
        [p["title"], p["abstract"], "; ".join(names(p)), p["year"], p["journal"], int(p["volume"]), p["doi"]]
        for p in items
    ]
    agrees(read(workbook({"one": rows})), items)


@anywhere
@given(
    path=st.sampled_from(sorted(EXPORTS.iterdir())), at=st.floats(0, 1), junk=st.binary(max_size=30), cut=st.booleans()
)
def test_mutated_exports_lose_nothing_in_silence(read: Reader, path: Path, at: float, junk: bytes, cut: bool) -> None:
    data = path.read_bytes()
    place = int(at * len(data))
    try:
        found = read(data[:place] + junk + (b"" if cut else data[place:]))
    except MechtagError:
        return
    numbers = [record.source_index for record in found.records] + [item.record for item in found.rejected]
    assert sorted(number or 0 for number in numbers) == list(range(1, len(numbers) + 1))
