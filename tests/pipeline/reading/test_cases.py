"""Test small inputs that reproduce problems reported in public by users of reference managers and screening tools.

``NAME.expected.json`` next to each input contains the correct result: the number of records and rejected entries, and
the fields that matter (``n_authors``: number of authors; suffix ``_has``: contains each value; ``_not``: contains none
of the values; ``_in``: is one of the values).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings, SentenceSettings, load_settings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.sections import role_of
from mechtag.pipeline.reading.text.sentences import split
from tests.support.paths import ROOT

CASES = ROOT / "tests/fixtures/cases"
HOSTILE = CASES / "hostile"
_SUFFIX = ".expected.json"


def _input(expected: Path) -> Path:
    (path,) = (
        path for path in CASES.glob(f"{expected.name.removesuffix(_SUFFIX)}.*") if not path.name.endswith(_SUFFIX)
    )
    return path


INPUTS = {_input(path): json.loads(path.read_text(encoding="utf-8"))["expected"] for path in CASES.glob(f"*{_SUFFIX}")}
READ = {path: expected for path, expected in sorted(INPUTS.items()) if "n" in expected}


def _fits(record: Record, name: str, value: Any) -> bool:
    if name == "n_authors":
        return len(record.authors) == value
    if name.endswith("_has"):
        return all(part in (getattr(record, name.removesuffix("_has")) or "") for part in value)
    if name.endswith("_not"):
        return not any(part in (getattr(record, name.removesuffix("_not")) or "") for part in value)
    if name.endswith("_in"):
        return getattr(record, name.removesuffix("_in")) in value
    found = getattr(record, name)
    return bool((list(found) if isinstance(found, tuple) else found) == value)


@pytest.mark.parametrize("path", READ, ids=lambda path: path.name)
def test_reading(path: Path) -> None:
    expected = READ[path]
    found = ingest([path])
    assert (len(found.records), len(found.rejected)) == (expected["n"], expected["rejected"])
    for record, values in zip(found.records, expected["records"], strict=True):
        wrong = {name: value for name, value in values.items() if not _fits(record, name, value)}
        assert not wrong, record
    if "dedupe_unique" in expected:
        assert len(dedupe(found.records, DedupeSettings()).unique) == expected["dedupe_unique"]


def test_same_papers() -> None:
    path = CASES / "60-same-papers.csv"
    found = dedupe(ingest([path]).records, DedupeSettings())
    pairs = [{dict(member.raw)["pair"] for member in group.members} for group in found.groups]
    assert len(found.unique) == INPUTS[path]["unique"]
    assert sorted(pair for (pair,) in pairs) == sorted(INPUTS[path]["pairs_joined"])


def test_super_and_subscripts_of_two_formats() -> None:
    found = ingest([CASES / "63-subscripts-a.bib", CASES / "63-subscripts-b.ris"])
    assert found.records[0].title.startswith("CO2 exposure of ward teams and 10⁶ breaths: H2O in")
    assert len(dedupe(found.records, DedupeSettings()).unique) == 2


# Titles in each hostile file, in order; what else is in the file is rejected with a reason or noted.
TITLES = {
    "csv_bibtex_in_cell.csv": ["Paper one", "Paper two", "Paper three"],
    "csv_row_taken_for_header.csv": ["Paper one", "Paper two", "Paper three", "Paper four"],
    "nbib_lost_pmid.nbib": ["Paper one", "Paper two"],
    "ovid_lost_number.txt": ["Paper one", "Paper two"],
    "ris_lost_er_ty.ris": ["Paper one", "Paper two"],
    "zip_same_names.zip": ["Beta one", "Beta two", "Beta three", "Alpha one", "Alpha two", "Gamma"],
    "ris_blank_lines_hang.ris": ["Many blank lines"],
}
_NOTES = {
    "nbib_lost_pmid.nbib": "no start line",
    "ovid_lost_number.txt": "no start line",
    "ris_lost_er_ty.ris": "no start line",
}


@pytest.mark.parametrize("name", TITLES)
def test_hostile_file(name: str) -> None:
    found = ingest([HOSTILE / name])
    assert [record.title for record in found.records] == TITLES[name]
    assert not found.rejected
    assert _NOTES.get(name, "") in "; ".join(map(str, found.notes))


def test_table_with_ris_appended() -> None:
    found = ingest([HOSTILE / "cat_csv_ris.txt"])
    assert len(found.records) == 2
    assert any("line 5 starts a record in a different format, RIS" in note.text for note in found.notes)
    lines = (HOSTILE / "cat_csv_ris.txt").read_text(encoding="utf-8").split("\n")
    assert [item.line for item in found.rejected] == [
        number for number, line in enumerate(lines, start=1) if number > 3 and line
    ]


def test_methods_of_abstracts_on_one_line() -> None:
    found = ingest([CASES / "methods-sentences.ris"])
    sentences = list(split(found.records, SentenceSettings()))
    methods = {sentence.text for sentence in sentences if role_of(sentence.section) == "methods"}
    assert methods >= {
        "Data were recorded, transcribed verbatim and analysed thematically.",
        "Purposive sampling was used to ensure maximum variation.",
        "The authors compared two departments led by paired managers.",
    }
    assert not any("leadership" in text for text in methods)


@pytest.mark.parametrize("load", [load_settings, load_codebook], ids=["params", "codebook"])
def test_aliases_that_expand_without_end(load: Any) -> None:
    name = "params" if load is load_settings else "codebook"
    with pytest.raises(MechtagError, match="the file has more than 100,000 values after its aliases are expanded"):
        load(HOSTILE / f"{name}_laughs.yaml")
