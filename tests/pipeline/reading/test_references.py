"""Test public reference files: each is read, or is refused for the right reason.

Expected values come from other parsers (rispy, Biopython, bibtexparser, pandas, ElementTree)
or were read off the files by hand, never from mechtag's own output.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
import rispy
from Bio import Medline

from benchmarks import exports
from benchmarks.references import SYSTEMS, Outcome, agreement, files, pairs, publish
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record, normalise_doi, normalise_title
from mechtag.pipeline.reading.ingest import ingest
from tests.support.reference_files import FILES, FOLDER, JABREF, REFUSED, SAME, named, outcome, words


@pytest.mark.parametrize("path", **named([path for path in FILES if path.name in REFUSED]))
def test_refused_for_the_right_reason(path: Path) -> None:
    assert re.search(REFUSED[path.name], outcome(path).refused)


@pytest.mark.parametrize("path", **named([path for path in FILES if path.name not in REFUSED]))
def test_every_record_is_read_or_rejected(path: Path) -> None:
    found = exports.read(path)
    assert not found.fault
    assert not found.refused
    assert found.read == HAND_COUNTED.get(path.name, found.read)


HAND_COUNTED = {
    # These files lack the line that begins a record.
    "RisImporterCorrupted.ris": 1,
    "Endnote.pattern.A.enw": 1,
    "Endnote.pattern.E.enw": 1,
    "MedlinePlainImporterTestMultiAbstract.txt": 1,
    "MedlinePlainImporterTestMultiTitle.txt": 1,
    # One with a PubMed id, six that begin with 'PMC -', 'PMCR-' or 'PMID-' after an empty line.
    "MedlinePlainImporterTestMultipleEntries.txt": 7,
    # It has two records, and the first tag of the second is indented by a tab.
    "baseline_tag_and_field_definitions.ris": 2,
}


@cache
def table(path: Path) -> pd.DataFrame:
    """Read a table with pandas, starting at the row that a person would take for its header."""
    skipped = {"_baseline_embase.csv": 3, "_baseline_excel.csv": 3, "_baseline_embase.xlsx": 3, "_baseline.xlsx": 1}
    rows: dict[str, Any] = {"skiprows": skipped.get(path.name, 0), "dtype": str, "keep_default_na": False}
    if path.suffix == ".xlsx":
        return pd.read_excel(path, **rows)
    first = path.read_text(encoding="utf-8-sig").split("\n")[rows["skiprows"]]
    delimiter = max(",;\t", key=first.count)
    return pd.read_csv(path, sep=delimiter, encoding="utf-8-sig", engine="python", index_col=False, **rows)


# The same records from about 30 systems.

# Columns of titles, years, DOIs and authors, read off the files.
COLUMNS = {
    "_baseline.csv": ("Title", "Publication Year", "DOI", "Author/s"),
    "_baseline.tsv": ("Title", "Publication Year", "DOI", "Author/s"),
    "_baseline.xlsx": ("Title", "Publication Year", "DOI", "Author/s"),
    "_baseline_cinahl.csv": ("Article Title", "Publication Date", "DOI", "Author"),
    "_baseline_cochrane.csv": ("Title", "Year", "DOI", "Author(s)"),
    "_baseline_covidence.csv": ("Title", "Published Year", "DOI", "Authors"),
    "_baseline_embase.csv": ("Title", "Publication Year", "DOI", "Author Names"),
    "_baseline_embase.xlsx": ("Title", "Publication Year", "DOI", "Author Names"),
    "_baseline_eppireviewer.xlsx": ("Title", "Year", "", ""),
    "_baseline_excel.csv": ("Title", "Publication Year", "DOI", "Author Names"),
    "_baseline_googlescholar.csv": ("Title", "Year", "", "Authors"),
    "_baseline_openalex.csv": ("title", "publication_year", "doi", "authorships.author.display_name"),
    "_baseline_pubmed.csv": ("Title", "Publication Year", "DOI", "Authors"),
    "_baseline_rayyan.csv": ("title", "year", "doi", "authors"),
    "_baseline_refworks.tsv": ("Title Primary", "Pub Year", "DOI", "Authors, Primary"),
    "_baseline_scopus.csv": ("Title", "Year", "DOI", "Authors"),
    "_baseline_zotero.csv": ("Title", "Publication Year", "DOI", "Author"),
}


@pytest.mark.parametrize("path", **named([path for path in FILES if path.name in COLUMNS and SAME in path.parents]))
def test_tables_agree_with_pandas(path: Path) -> None:
    title, year, doi, authors = COLUMNS[path.name]
    rows = [row for _, row in table(path).iterrows() if row[title].strip()]
    for record, row in zip(outcome(path).records, rows, strict=True):
        assert record.title == " ".join(row[title].split())
        assert str(record.year) in row[year]
        assert record.doi == (normalise_doi(row[doi]) if doi else None)
        first = re.split(r";|\||,? and |\n", row[authors])[0] if authors else ""
        if record.authors or first.strip():
            family, _, given = record.authors[0].partition(",")
            assert family in first
            assert words(first) >= words(given)


def ris_records(path: Path) -> list[dict[str, list[str]]]:
    """Return the values of each record by tag, read with rispy after the spacing around the dashes was made uniform."""
    text = path.read_text(encoding="utf-8-sig")
    text = re.sub(r"^([A-Z][A-Z0-9])[ \t]+-[ \t]*", r"\1  - ", text, flags=re.M)
    tags = list(rispy.TAG_KEY_MAPPING)
    found = rispy.loads(text, mapping={tag: tag for tag in tags}, list_tags=tags, delimiter_tags_mapping={})
    return [{**item.pop("UK", {}), **item} for item in found]


def first(item: dict[str, list[str]], *tags: str) -> str:
    return next((item[tag][0] for tag in tags if item.get(tag) and item[tag][0]), "")


CLEAN_RIS = [path for path in FILES if path.suffix == ".ris" and SAME in path.parents and "pubmed" not in path.name]


@pytest.mark.parametrize("path", **named(CLEAN_RIS))
def test_ris_agrees_with_rispy(path: Path) -> None:
    for record, item in zip(outcome(path).records, ris_records(path), strict=True):
        assert record.title == " ".join(re.sub(r"</?[a-z]+>", "", first(item, "TI", "T1")).split())
        assert str(record.year) in first(item, "PY", "Y1", "DA")
        assert record.doi == normalise_doi(first(item, "DO", "L3"))
        authors = [name.strip() for tag in ("AU", "A1") for name in item.get(tag, []) if name.strip()]
        assert list(map(words, record.authors)) == list(map(words, dict.fromkeys(authors)))


def test_systems_agree_on_title_year_doi_and_first_author() -> None:
    outcomes = [outcome(path) for path in FILES if SAME in path.parents]
    systems = {found.file for found in outcomes}
    assert all(found.records for found in outcomes)
    assert len(systems) >= 40
    found = pairs(outcomes)
    assert len(found) > 3000
    # Nearly every system has papers in common with another system.
    assert systems - {file for pair in found for file in pair.files} == {
        *("_baseline_eric_ovid.ris", "_baseline_mdpi.ris")
    }
    differences = {
        (name, *sorted(str(part) for part in shown(pair, name))) for pair in found for name in pair.differs()
    }
    assert differences == {
        # Two papers by the same authors with the same title: an article and a meeting abstract.
        ("doi", "10.1016/j.jvir.2013.12.293", "10.1371/journal.pone.0086394"),
        # Web of Science exports '<i>Spinosaurus</i>is not'.
        ("title", "Spinosaurus is not an aquatic dinosaur", "Spinosaurusis not an aquatic dinosaur"),
    }


def shown(pair: Any, name: str) -> list[object]:
    told = [getattr(record, name.replace("first author", "authors")) for record in pair.records]
    return [value.rstrip(".") if name == "title" else value for value in told]


def test_agreement_counts_what_differs() -> None:
    def made(file: str, **values: Any) -> Outcome:
        values = {"title": "One", "doi": "10.5555/1", "year": 2001, "authors": ("de Jong, A",), **values}
        return Outcome(SYSTEMS, file, "RIS", (Record(record_id="x", **values),))

    one, two = made("one"), made("two", year=2002, doi=None, authors=("Jong, Ann de",))
    three = made("three", title="Three", authors=())
    figures = {(row["system"], row["metric"]): row["value"] for row in agreement([one, two, three])}
    assert figures["one", "year agrees"] == 0.5
    assert figures["two", "year agrees"] == 0
    assert figures["one", "title agrees"] == 0.5
    assert figures["one", "doi compared"] == 1
    assert figures["one", "first author compared"] == 1
    assert figures["one", "first author agrees"] == 1
    assert ("two", "doi agrees") not in figures


# RefLib: the same records in four formats, and MEDLINE.


@pytest.mark.parametrize("path", **named([path for path in FILES if path.suffix == ".nbib"]))
def test_nbib_agrees_with_biopython(path: Path) -> None:
    with path.open(encoding="utf-8", newline=None) as file:
        expected = [item for item in Medline.parse(file) if item]
    for record, item in zip(outcome(path).records, expected, strict=True):
        assert record.title.split() == item["TI"].split()
        # The raw field is compared, because publishers' notices are cut from abstracts.
        abstract = " ".join(value for tag, value in record.raw if tag == "AB")
        assert abstract.split() == item.get("AB", "").split()
        assert bool(record.abstract) == bool(abstract)
        assert record.pmid == item["PMID"]
        assert set(record.authors) >= set(item.get("FAU", []))
        assert len(record.authors) == len(dict.fromkeys([*item.get("FAU", []), *item.get("CN", [])]))
        assert record.keywords == tuple(dict.fromkeys([*item.get("OT", []), *item.get("MH", [])]))
        assert (record.volume, record.issue, record.pages) == (item.get("VI"), item.get("IP"), item.get("PG"))
        assert record.journal == item["JT"]
        assert str(record.year) == item["DP"][:4]
        assert record.type == "; ".join(item["PT"])
        dois = [
            normalise_doi(value)
            for value in (*item.get("LID", "").split(" [doi]"), *item.get("AID", []))
            if "10." in value
        ]
        assert record.doi == next(iter(dois), None)


def test_reflib_has_the_same_values_in_four_formats() -> None:
    folder = FOLDER / "reflib/test/data"
    xml = ElementTree.parse(folder / "blue-light.xml").getroot().iter("record")
    expected = [
        {
            "title": "".join(record.find("titles/title").itertext()),  # type: ignore[union-attr]
            "authors": ["".join(author.itertext()) for author in record.iter("author")],
            "pmid": "".join(record.find("accession-num").itertext()),  # type: ignore[union-attr]
        }
        for record in xml
    ]
    assert len(expected) == 102
    for suffix in ("xml", "ris", "json"):
        found = outcome(folder / f"blue-light.{suffix}").records
        assert [record.title for record in found] == [" ".join(item["title"].split()) for item in expected]
        assert [record.authors for record in found] == [tuple(item["authors"]) for item in expected]
        if suffix != "json":
            assert [record.pmid for record in found] == [item["pmid"] for item in expected]
    by_pmid = {record.pmid: record for record in outcome(folder / "blue-light.xml").records}
    nbib = outcome(folder / "blue-light.nbib").records
    assert len(nbib) == 80
    for record in nbib:
        other = by_pmid[record.pmid]
        assert normalise_title(record.title) == normalise_title(other.title)
        assert record.year == other.year
        # EndNote's library lacks some DOIs.
        assert other.doi in (record.doi, None) or record.doi is None


# Other RIS and CSV.


@pytest.mark.parametrize(
    "path", **named([p for p in FILES if p.suffix in (".ris", ".txt") and "asreview_demo" in str(p)])
)
def test_asreview_titles_agree_with_rispy(path: Path) -> None:
    expected = [" ".join(first(item, "TI", "T1").split()) for item in ris_records(path)]
    assert [record.title for record in outcome(path).records] == [title for title in expected if title]


def test_abstracts_are_whole() -> None:
    """An abstract that continues over several lines or fields is read as one text."""
    record = ingest([FOLDER / "citation_file_formatting/Datasets/RIS/_baseline_webofscience.ris"]).records[0]
    assert record.abstract.startswith("Background: During much of the Late Cretaceous, a shallow, epeiric sea divided")
    assert "tested. Methodology/Principal Findings: Here we describe two new" in " ".join(record.abstract.split())
    assert record.abstract.count("Conclusions/Significance") == 1


# The benchmark itself.


def test_the_published_table_is_that_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "formats.md").write_text("# Above\n<!-- files -->\nold\n<!-- /files -->\nbelow\n", encoding="utf-8")
    chosen = [outcome(path) for path in FILES if path.parent == JABREF]
    publish(chosen, tmp_path)
    text = (tmp_path / "formats.md").read_text(encoding="utf-8")
    assert text.startswith("# Above\n<!-- files -->\n")
    assert text.endswith("<!-- /files -->\nbelow\n")
    assert "old" not in text
    assert "| jabref_importers | RisImporterTestDOI.ris | RIS | 1 | 0 |  |" in text
    assert "| jabref_importers | CffImporterReferences.cff | | | | refused: this file is a CITATION.cff file," in text
    assert {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| ")} == {7}
    (tmp_path / "formats.md").write_text("no place for it", encoding="utf-8")
    with pytest.raises(MechtagError, match="the line <!-- files --> or <!-- /files --> is missing"):
        publish(chosen, tmp_path)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="no such folder; set MECHTAG_BENCH to the folder"):
        files(tmp_path / "references")
