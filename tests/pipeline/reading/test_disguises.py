"""Text within a record does not decide the header or the format of its file."""

from pathlib import Path

import pytest

from mechtag.pipeline.reading.ingest import ingest

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
