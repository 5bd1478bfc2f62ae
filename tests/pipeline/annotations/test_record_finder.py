"""Test that every command finds a paper in the same way: by record id, key, DOI, PubMed id or title."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.core.records import Record
from mechtag.core.settings import Settings
from mechtag.pipeline.annotations.additions import match_codings
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coding_table import read_annotations, read_codings
from mechtag.pipeline.annotations.gold_table import gold_standard, load_matrix
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.screening.decisions import read_judgements
from tests.support.coded_papers import BOOK, import_from
from tests.support.exports import workbook

RIS = """\
TY  - JOUR
ID  - leadership-2019
TI  - Leadership of joint boards in three regions
AU  - Brandt, Eva
PY  - 2019
DO  - 10.1234/boards.7
AN  - 31234567
ER  -

TY  - JOUR
ID  - meadows
TI  - Soil moisture in alpine meadows over ten years
AU  - Okafor, Ada
PY  - 2015
ER  -
"""
WAYS = {
    "record_id": "doi:10.1234/boards.7",
    "key": "leadership-2019",
    "Key": "leadership-2019",
    "ID": "leadership-2019",
    "DOI": "https://doi.org/10.1234/BOARDS.7",
    "pmid": "31234567",
    "PubMed ID": "31234567",
    "Title": "LEADERSHIP OF JOINT BOARDS IN THREE REGIONS.",
}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    (tmp_path / "export.ris").write_text(RIS, encoding="utf-8")
    first, second = ingest([tmp_path / "export.ris"]).records
    return [first.model_copy(update={"pmid": "31234567"}), second]


def evaluated(folder: Path, records: list[Record], column: str, name: str) -> str | None:
    """Return the id of the record that ``mechtag evaluate`` finds for a paper in a gold standard."""
    (folder / "gold.xlsx").write_bytes(workbook({"codes": [[column, *BOOK.keys], [name, *[1] * len(BOOK.keys)]]}))
    standard = gold_standard(load_matrix(folder / "gold.xlsx"), records)
    assert standard.matrix.columns == BOOK.keys
    return standard.evaluated[0].record_id


def ranked(folder: Path, records: list[Record], column: str, name: str) -> str | None:
    """Return the id of the record that ``mechtag rank --labels`` and ``mechtag simulate`` find for a decision."""
    (folder / "labels.csv").write_text(f"{column},decision\n{name},1\n", encoding="utf-8")
    judged = read_judgements(folder / "labels.csv", BOOK.relevance.key)
    (row,) = judged.order(records)
    return records[int(row)].record_id


def coding_table(folder: Path, column: str, name: str) -> Path:
    path = folder / "codings.csv"
    path.write_text(f"{column},coder,label,value,basis\n{name},ann,{BOOK.keys[0]},1,abstract\n", encoding="utf-8")
    return path


def trained(folder: Path, records: list[Record], column: str, name: str) -> str | None:
    """Return the id of the record that ``mechtag train`` finds for a row of a table of codings."""
    write_records(folder / "records.parquet", records)
    table = coding_table(folder, column, name)
    settings = Settings.model_validate({"train": {"records": str(table), "texts": str(folder / "records.parquet")}})
    (coded,) = read_annotations(settings, BOOK.keys, BOOK.relevance.key)
    return coded.record.record_id


def retrained(folder: Path, records: list[Record], column: str, name: str) -> str | None:
    """Return the id of the record that ``mechtag retrain`` finds for a row of a table of codings."""
    rows = read_codings(coding_table(folder, column, name), BOOK.all_keys, Finder(records))
    (coding,) = match_codings(rows, records, [], Settings().dedupe, "codings.csv").codings
    return coding.record_id


def imported(folder: Path, records: list[Record], column: str, name: str) -> str | None:
    """Return the id of the record that ``mechtag codings`` finds for a row of a table of codings."""
    (coding,) = import_from(coding_table(folder, column, name), records=records).codings
    return coding.record_id


@pytest.mark.parametrize("command", [evaluated, ranked, trained, retrained, imported])
@pytest.mark.parametrize(("column", "name"), WAYS.items())
def test_every_command_finds_the_same_paper(
    tmp_path: Path,
    records: list[Record],
    command: Callable[[Path, list[Record], str, str], str | None],
    column: str,
    name: str,
) -> None:
    assert command(tmp_path, records, column, name) == records[0].record_id


def test_a_number_in_a_list_is_not_a_pubmed_id(records: list[Record]) -> None:
    seven = records[0].model_copy(update={"pmid": "7"})
    assert Finder([seven]).find(CitedPaper(names=("7",))).record is None
    assert Finder([seven]).find(CitedPaper(pmid="7")).record == seven


def test_a_number_next_to_a_citation_of_a_different_paper_belongs_to_a_different_list(records: list[Record]) -> None:
    numbered = records[0].model_copy(update={"raw": (("ID", "1"),)})
    assert Finder([numbered]).find(CitedPaper(names=("1",))).record == numbered
    cited = CitedPaper(names=("1", "Vogel (2008)"), authors=("Vogel",), year=2008)
    assert Finder([numbered]).find(cited).record is None


def test_two_rows_of_one_paper_are_refused_unless_they_repeat_each_other(tmp_path: Path, records: list[Record]) -> None:
    label = BOOK.keys[0]
    path = tmp_path / "codings.csv"
    head = "key,doi,coder,label,value,basis\n"
    path.write_text(f"{head}meadows,,ann,{label},1,abstract\nmeadows,,ann,{label},1,abstract\n", encoding="utf-8")
    assert len(read_codings(path, BOOK.all_keys)) == 1
    twice = f"{head}leadership-2019,,ann,{label},1,abstract\n,10.1234/boards.7,ann,{label},0,abstract\n"
    path.write_text(twice, encoding="utf-8")
    with pytest.raises(MechtagError, match=r"line 3: coder ann coded label 'trust' of this record differently at .*2"):
        read_codings(path, BOOK.all_keys, Finder(records))

    matrix = tmp_path / "gold.csv"
    matrix.write_text("key,doi,x\nleadership-2019,,1\n,10.1234/boards.7,1\n", encoding="utf-8")
    with pytest.raises(MechtagError, match=r"line 3: '10.1234/boards.7' is the same paper as 'leadership-2019'"):
        gold_standard(load_matrix(matrix), records)

    path.write_text("key,doi,decision\nleadership-2019,,1\n,10.1234/boards.7,0\n", encoding="utf-8")
    with pytest.raises(
        MechtagError,
        match=r"'leadership-2019' and '10.1234/boards.7' are the same record .* their decisions differ \(1 and 0\)",
    ):
        read_judgements(path, BOOK.relevance.key).labels(records)


REGISTRATION = Record(
    record_id="nct",
    title="Coaching the boards of community hospitals: a trial",
    year=2015,
    url="https://clinicaltrials.gov/show/NCT01111111",
)


def test_a_registration_is_found_by_its_title() -> None:
    cited = CitedPaper(title=REGISTRATION.title, year=2015)
    assert Finder([REGISTRATION]).find(cited).record == REGISTRATION
    # An article with this title is more likely meant than its registration.
    article = Record(record_id="article", title=REGISTRATION.title, year=2016, authors=("Green, A",))
    assert Finder([REGISTRATION, article]).find(cited).record == article


def test_a_registration_is_not_the_article_of_its_authors() -> None:
    cited = CitedPaper(title=REGISTRATION.title, year=2015, authors=("Green, A",))
    assert Finder([REGISTRATION]).find(cited).record is None
    registered = REGISTRATION.model_copy(update={"authors": ("Green, A",)})
    assert Finder([registered]).find(cited).record == registered
