"""Test the input files of JabRef's own tests against the BibTeX that JabRef expects for each of them."""

import re
from pathlib import Path
from typing import Any

import bibtexparser
import pytest
from bibtexparser import middlewares

from mechtag.core.records import normalise_doi, normalise_title
from tests.support.reference_files import FILES, JABREF, REFUSED, named, outcome, words

# Where mechtag reads something else than JabRef expects, and why mechtag is right.
DIFFERENT = {
    "RisImporterTest1.ris": "eleven TY lines: here each begins a record",
    "RisImporterTest7.ris authors": "A2 are secondary authors: the editors of a book",
    "OvidImporterTest5.txt authors": "degrees are no names",
    "OvidImporterTest6.txt authors": "degrees are no names",
    "MedlineImporterTestBookArticleSet.xml title": "the title of the chapter, where there is one",
    "MedlineImporterTestNbib.xml authors": "a suffix belongs to the name",
    "MedlineImporterTestKeywordSingleEntry.xml authors": "the person a paper is about is not its author",
}
# Files whose expected BibTeX file has a different name.
OVID = {f"OvidImporterTest{number}.txt": f"OvidImporterTestBib{number}.bib" for number in range(3, 8)}


def expectation(path: Path) -> Path:
    return JABREF / OVID.get(path.name, f"{path.stem}.bib")


PAIRED = [p for p in FILES if p.parent == JABREF and p.suffix != ".bib" and expectation(p).is_file()]
COMPARED = [p for p in PAIRED if p.name not in REFUSED and p.name not in DIFFERENT]


def bibtex(path: Path) -> list[dict[str, Any]]:
    """Return the fields of each entry, read with bibtexparser, which splits names and decodes LaTeX."""
    chain = [
        middlewares.NormalizeFieldKeys(),
        middlewares.LatexDecodingMiddleware(),
        middlewares.SeparateCoAuthors(),
        middlewares.SplitNameParts(),
    ]
    # bibtexparser requires a unique key in each entry.
    numbers = iter(range(1000))
    text = path.read_text(encoding="utf-8-sig")
    text = re.sub(
        r"^(@\w+\s*\{)\s*(?:,|(?=\s*\w+\s*=))", lambda found: f"{found[1]}k{next(numbers)},", text, flags=re.M
    )
    library = bibtexparser.parse_string(text, append_middleware=chain)
    assert not library.failed_blocks
    return [{field.key.lower(): field.value for field in entry.fields} for entry in library.entries]


def family_and_given(name: Any) -> frozenset[str]:
    return words(" ".join([*name.first, *name.von, *name.last, *name.jr]))


@pytest.mark.parametrize("path", **named(COMPARED))
def test_jabref_expects_the_same(path: Path) -> None:
    expected = bibtex(expectation(path))
    found = outcome(path)
    # mechtag rejects a record for which JabRef expects no title.
    titled = [item for item in expected if normalise_title(item.get("title", ""))]
    if path.name == "MedlinePlainImporterTestMultipleEntries.txt":
        titled = titled[:1]
    assert len(found.records) == len(titled)
    for record, item in zip(found.records, titled, strict=True):
        if f"{path.name} title" not in DIFFERENT:
            assert normalise_title(record.title) == normalise_title(item["title"])
        if f"{path.name} authors" not in DIFFERENT:
            assert list(map(words, record.authors)) == [family_and_given(name) for name in item.get("author", [])]
        if "year" in item:
            assert str(record.year) == item["year"]
        assert record.doi == normalise_doi(item.get("doi") or (item.get("url", "") if "doi.org" in str(item) else ""))


def test_nothing_of_jabref_is_left_out_in_silence() -> None:
    left_out = {path.name for path in PAIRED} - {path.name for path in COMPARED}
    assert left_out == {"RisImporterTest1.ris", *(path.name for path in PAIRED if path.name in REFUSED)}
    assert len(COMPARED) >= 40


def test_expected_bibtex_reads_too() -> None:
    for path in JABREF.glob("*.bib"):
        found = outcome(path)
        # mechtag reads all entries with a title, even those without a citation key.
        titled = [item for item in bibtex(path) if item.get("title")]
        assert len(found.records) == len(titled), path.name
        for record, item in zip(found.records, titled, strict=True):
            assert normalise_title(record.title) == normalise_title(item["title"])
            assert list(map(words, record.authors)) == [family_and_given(name) for name in item.get("author", [])]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        (
            "IsiImporterTestWOS.isi",
            [("Gamernyk, RV", 2006, "5323-5331", None), ("Guarino, A", 2006, "2344-2358", None)],
        ),
        (
            "IsiImporterTestMedline.isi",
            [("Wesensten, Nancy J", 2006, "2457-71", "16842170"), ("Joffe, Hadine", 2006, "411-22", "16735938")],
        ),
        ("Endnote.book.example.enw", [("Preißel, René", 2016, "XX, 327", None)]),
    ],
)
def test_web_of_science_and_enw_by_hand(name: str, rows: list[tuple[object, ...]]) -> None:
    found = outcome(JABREF / name).records
    assert [(record.authors[0], record.year, record.pages, record.pmid) for record in found] == rows
