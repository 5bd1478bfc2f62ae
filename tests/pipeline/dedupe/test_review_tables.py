"""Test the tables in which people decide about duplicates, and what happens to known papers when new exports arrive."""

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_records, write_records
from mechtag.core.records import Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.dedupe.results import Deduped
from mechtag.pipeline.dedupe.review_tables import read_decisions, write_groups, write_uncertain
from mechtag.pipeline.export.tagged import export
from tests.support.command import call
from tests.support.papers import LONG, SETTINGS, SMITH, TEXT, bare, record
from tests.support.paths import ROOT

RAW = (("TY", "JOUR"), ("TI", LONG), ("VL", "12"))
# Records of the same paper from three databases; each has values that the others lack.
FULL = record(1, raw=RAW)
WITH_DOI = bare(2, doi="10.5555/a.1", pmid="123456", year=2017, volume="12", pages="45")
WITH_ABSTRACT = bare(3, abstract=TEXT, volume="12", pages="45-58", keywords=("teams",))
OTHER = record(4, title="Another paper about something else", pages="9")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def decide(path: Path, tmp_path: Path, decision: str, **where: str) -> Path:
    """Write a decision into the only row whose cells equal ``where``, and return the path of the new table."""
    rows = table(path)
    (row,) = [row for row in rows if all(row[name] == value for name, value in where.items())]
    row["decision"] = decision
    decided = tmp_path / "decided.csv"
    with decided.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return decided


def groups_of(found: Deduped) -> set[frozenset[int]]:
    return {frozenset(member.source_index for member in group.members) for group in found.groups}


def test_what_the_fullest_record_lacks_is_taken_from_the_others(tmp_path: Path) -> None:
    found = dedupe([FULL, WITH_DOI, WITH_ABSTRACT, OTHER], SETTINGS)
    (group,) = found.groups
    kept = group.kept
    assert kept is found.unique[0]
    # The record keeps its own values and its raw fields.
    assert (kept.source_index, kept.title, kept.issue, kept.pages, kept.raw) == (1, LONG, "3", "45-58", RAW)
    assert (kept.doi, kept.pmid, kept.abstract, kept.keywords) == ("10.5555/a.1", "123456", TEXT, ("teams",))
    given = {filled.field: filled.giver.source_index for filled in group.filled}
    assert given == {"doi": 2, "pmid": 2, "abstract": 3, "keywords": 3}
    assert group.members[0] == FULL
    write_groups(tmp_path / "groups.csv", found)
    gave = {row["source_index"]: row["gave"] for row in table(tmp_path / "groups.csv")}
    assert gave == {"1": "", "2": "doi pmid", "3": "abstract keywords"}


def test_a_filled_doi_and_abstract_are_exported(tmp_path: Path) -> None:
    found = dedupe([FULL, WITH_DOI, WITH_ABSTRACT], SETTINGS)
    for name in ("csv", "ris"):
        export(name, tmp_path / f"tagged.{name}", found.unique, [], [("relevant", "Relevant")])
    (row,) = table(tmp_path / "tagged.csv")
    assert row["doi"] == "10.5555/a.1"
    lines = (tmp_path / "tagged.ris").read_text(encoding="utf-8").splitlines()
    assert lines[:5] == ["TY  - JOUR", f"TI  - {LONG}", "VL  - 12", "DO  - 10.5555/a.1", f"AB  - {TEXT.strip()}"]


def test_the_id_comes_from_the_best_identifier_of_the_group() -> None:
    for order in ([FULL, WITH_DOI], [WITH_DOI, FULL]):
        assert dedupe(order, SETTINGS).unique[0].record_id == "doi:10.5555/a.1"
    by_pmid = WITH_DOI.model_copy(update={"doi": None, "record_id": "pmid:123456"})
    assert dedupe([FULL, by_pmid], SETTINGS).unique[0].record_id == "pmid:123456"


def test_the_least_certain_groups_come_first(tmp_path: Path) -> None:
    sure = [record(number, title="A paper of which all is known", doi="10.5555/sure", pages="7") for number in (5, 6)]
    sure[1] = sure[1].model_copy(update={"year": 2018})
    doubtful = [bare(number, year=2017, title=LONG, abstract=text) for number, text in ((7, ""), (8, TEXT))]
    found = dedupe([*sure, *doubtful], SETTINGS)
    write_groups(tmp_path / "groups.csv", found)
    rows = table(tmp_path / "groups.csv")
    assert [row["source_index"] for row in rows] == ["8", "7", "5", "6"]
    assert [float(row["confidence"]) for row in rows] == sorted(float(row["confidence"]) for row in rows)


def test_a_group_can_be_split_and_stays_split(tmp_path: Path) -> None:
    records = [FULL, WITH_DOI, WITH_ABSTRACT, OTHER]
    write_groups(tmp_path / "groups.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "groups.csv", tmp_path, "different", source_index="2")
    again = dedupe(records, SETTINGS, decisions=read_decisions([decided]))
    assert groups_of(again) == {frozenset({1, 3})}
    assert again.unique[0].doi is None
    assert not again.ignored
    # The pair is not listed as uncertain either.
    assert not again.uncertain


def test_identical_records_can_be_split(tmp_path: Path) -> None:
    records = [record(1), record(2), record(3)]
    write_groups(tmp_path / "groups.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "groups.csv", tmp_path, "different", source_index="2")
    found = dedupe(records, SETTINGS, decisions=read_decisions([decided]))
    assert groups_of(found) == {frozenset({1, 3})}


def preprint_and_article() -> list[Record]:
    preprint = bare(1, year=2017, journal="medRxiv", doi="10.1101/2017.01.02.345678", abstract=TEXT)
    return [preprint, record(2, abstract=TEXT), OTHER]


def test_uncertain_pairs_are_listed_side_by_side_and_left_apart(tmp_path: Path) -> None:
    found = dedupe(preprint_and_article(), SETTINGS)
    assert not found.groups
    write_uncertain(tmp_path / "uncertain.csv", found)
    (row,) = table(tmp_path / "uncertain.csv")
    assert {row["title_1"], row["title_2"]} == {LONG}
    assert {row["journal_1"], row["journal_2"]} == {"medRxiv", "Journal of Invented Care"}
    assert (
        row["reason"] == "same title; same authors, year; different journal; one may be a preprint, thesis or data set"
    )
    assert (row["decision"], row["authors_1"]) == ("", "; ".join(SMITH))
    assert 0 < float(row["confidence"]) < 0.8
    names = list(row)
    assert names[names.index("title_1") + 1] == "title_2"


def test_an_uncertain_pair_can_be_joined(tmp_path: Path) -> None:
    records = preprint_and_article()
    write_uncertain(tmp_path / "uncertain.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "uncertain.csv", tmp_path, " Same ", pair="1")
    # The table as Excel saves it in countries with a decimal comma.
    text = decided.read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader(text))
    with decided.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    found = dedupe(records, SETTINGS, decisions=read_decisions([decided]))
    assert groups_of(found) == {frozenset({1, 2})}
    assert (found.groups[0].reason, found.uncertain) == ("decided by a person", ())


def test_a_settled_pair_is_not_asked_again(tmp_path: Path) -> None:
    records = preprint_and_article()
    write_uncertain(tmp_path / "uncertain.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "uncertain.csv", tmp_path, "different", pair="1")
    assert dedupe(records, SETTINGS, decisions=read_decisions([decided])).uncertain == ()


def test_two_papers_are_listed_as_one_pair_however_many_records_they_have() -> None:
    preprint, article, _ = preprint_and_article()
    again = record(3, pages=None, title=LONG.upper(), abstract=TEXT)
    found = dedupe([preprint, article, again], SETTINGS)
    assert groups_of(found) == {frozenset({2, 3})}
    assert len(found.uncertain) == 1


def test_the_twin_of_a_split_record_is_compared_with_others(tmp_path: Path) -> None:
    records = [record(1), record(2), record(3, abstract=TEXT)]
    write_groups(tmp_path / "groups.csv", dedupe(records, SETTINGS))
    rows = table(tmp_path / "groups.csv")
    assert [row["source_index"] for row in rows] == ["3", "1", "2"]
    # The first record is a different paper from both the fuller record and the second twin.
    pairs = [("1", "3"), ("1", "2")]
    header = "decision,source_file_1,source_index_1,title_1,source_file_2,source_index_2,title_2\n"
    lines = [f"different,a.ris,{one},{LONG},a.ris,{other},{LONG}\n" for one, other in pairs]
    (tmp_path / "decided.csv").write_text(header + "".join(lines), encoding="utf-8")
    found = dedupe(records, SETTINGS, decisions=read_decisions([tmp_path / "decided.csv"]))
    assert groups_of(found) == {frozenset({2, 3})}


def test_editorials_are_not_listed_as_uncertain() -> None:
    editorials = [bare(number, title="Editorial", authors=()) for number in range(30)]
    found = dedupe(editorials, SETTINGS)
    assert (found.duplicates, found.uncertain) == (0, ())


def test_decisions_on_missing_records_are_reported(tmp_path: Path) -> None:
    records = preprint_and_article()
    write_uncertain(tmp_path / "uncertain.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "uncertain.csv", tmp_path, "same", pair="1")
    # The file was exported again, and its record 1 is now a different paper.
    moved = [OTHER.model_copy(update={"source_index": 1}), records[1]]
    found = dedupe(moved, SETTINGS, decisions=read_decisions([decided]))
    assert found.ignored == (f"{decided}: line 2",)
    assert not found.groups


def test_contradicting_decisions_are_refused(tmp_path: Path) -> None:
    records = preprint_and_article()
    write_uncertain(tmp_path / "uncertain.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "uncertain.csv", tmp_path, "same", pair="1")
    lines = decided.read_text(encoding="utf-8").splitlines()
    contrary = [lines[0], lines[1], lines[1].replace("1,same,", "2,different,", 1)]
    decided.write_text("\n".join(contrary), encoding="utf-8")
    for rows in (contrary, [contrary[0], *contrary[:0:-1]]):
        decided.write_text("\n".join(rows), encoding="utf-8")
        with pytest.raises(MechtagError, match=r"decided.csv: line 3: this decision contradicts earlier decisions"):
            dedupe(records, SETTINGS, decisions=read_decisions([decided]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "decision,title_1,title_2\nmaybe,a,b\n",
            "line 2: decision 'maybe' is unknown; write 'same' or 'different', or leave the cell empty",
        ),
        ("title,year\na,2017\n", "not a file of decisions; expected .* found title, year"),
        ("", "the file is empty"),
        ("group,decision,kept,title\n1,same,yes,a\n", "line 2: the decision is in the row of the kept record"),
        ("group,decision,kept,title\n1,same,no,a\n", "line 2: the kept record of group 1 is not above"),
    ],
)
def test_a_file_of_decisions_that_makes_no_sense(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "decided.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MechtagError, match=message):
        read_decisions([path])


def test_a_missing_file_of_decisions(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match=r"none.csv: no such file \(expected groups.csv or uncertain.csv"):
        read_decisions([tmp_path / "none.csv"])


@pytest.mark.parametrize("name", ["=a.ris", "'=a.ris"])
def test_a_file_name_like_a_formula_is_found_again(tmp_path: Path, name: str) -> None:
    records = [one.model_copy(update={"source_file": name}) for one in preprint_and_article()]
    write_uncertain(tmp_path / "uncertain.csv", dedupe(records, SETTINGS))
    decided = decide(tmp_path / "uncertain.csv", tmp_path, "same", pair="1")
    assert dedupe(records, SETTINGS, decisions=read_decisions([decided])).duplicates == 1


def update(index: int, **values: Any) -> Record:
    return record(index, **values).model_copy(update={"source_file": "update.ris"})


def test_known_papers_keep_their_ids_and_new_ones_are_reported() -> None:
    first = dedupe([record(1, doi=None), OTHER], SETTINGS)
    ids = [paper.record_id for paper in first.unique]
    newcomers = [update(1, doi="10.5555/a.1", abstract=TEXT), update(2, title="A paper that is new to us", pages="70")]
    found = dedupe(newcomers, SETTINGS, existing=first.unique)
    assert [paper.record_id for paper in found.unique[:2]] == ids
    assert [paper.title for paper in found.new] == ["A paper that is new to us"]
    assert found.unique == (*found.unique[:2], *found.new)
    assert (found.read, found.duplicates) == (4, 1)
    # The known record still represents its paper, with the values that the new export adds.
    assert (found.unique[0].source_file, found.unique[0].doi) == ("a.ris", "10.5555/a.1")


def test_a_newcomer_with_the_doi_of_a_known_paper_does_not_change_its_id() -> None:
    known = record(1, title="Trust in teams of nurses", doi="10.5555/all", pages="S9")
    first = dedupe([known], SETTINGS)
    found = dedupe(
        [update(1, title="Rounds led by pharmacists", doi="10.5555/all", pages="S10")], SETTINGS, existing=first.unique
    )
    assert [paper.record_id for paper in first.unique] == ["doi:10.5555/all"]
    assert found.unique[0].record_id == "doi:10.5555/all"
    assert found.new[0].record_id.startswith("doi:10.5555/all#")


def test_the_same_exports_again_bring_nothing_new() -> None:
    records = [FULL, WITH_DOI, WITH_ABSTRACT, OTHER, *(bare(number, title="Editorial") for number in (7, 8))]
    first = dedupe(records, SETTINGS)
    again = dedupe(records, SETTINGS, existing=first.unique)
    assert again.new == ()
    assert again.unique == first.unique
    renamed = [one.model_copy(update={"source_file": "b.ris"}) for one in records]
    anew = dedupe(renamed, SETTINGS, existing=first.unique)
    assert anew.new == ()
    assert [one.record_id for one in anew.unique] == [one.record_id for one in first.unique]


def test_an_existing_group_is_split_when_its_exports_are_given_again(tmp_path: Path) -> None:
    records = [FULL, WITH_DOI, OTHER]
    first = dedupe(records, SETTINGS)
    write_groups(tmp_path / "groups.csv", first)
    decided = decide(tmp_path / "groups.csv", tmp_path, "different", source_index="2")
    found = dedupe(records, SETTINGS, existing=first.unique, decisions=read_decisions([decided]))
    assert [paper.record_id for paper in found.unique[:2]] == [paper.record_id for paper in first.unique]
    assert found.unique[0].doi is None
    assert [paper.source_index for paper in found.new] == [2]


def test_an_existing_paper_keeps_values_from_exports_that_are_now_missing(tmp_path: Path) -> None:
    first = dedupe([FULL, WITH_DOI, WITH_ABSTRACT], SETTINGS)
    again = dedupe([FULL, OTHER], SETTINGS, existing=first.unique)
    assert again.unique == (*first.unique, OTHER)
    # A record that a person takes out of the group keeps its own values only.
    write_groups(tmp_path / "groups.csv", first)
    decided = decide(tmp_path / "groups.csv", tmp_path, "different", source_index="2")
    split = dedupe([FULL, WITH_DOI], SETTINGS, existing=first.unique, decisions=read_decisions([decided]))
    assert (split.unique[0].doi, split.unique[0].pmid, split.unique[0].abstract) == (None, None, TEXT)


@pytest.mark.parametrize("title", [LONG, LONG.upper()], ids=["behind the known ones", "before the known ones"])
def test_existing_papers_are_joined_by_people_only(title: str, tmp_path: Path) -> None:
    known = [record(1, doi="10.5555/a.1"), record(2)]
    bridge = update(1, doi="10.5555/a.1", title=title)
    found = dedupe([bridge], SETTINGS, existing=known)
    assert [paper.record_id for paper in found.unique] == [paper.record_id for paper in known]
    assert (found.new, found.duplicates) == ((), 1)
    (question,) = found.uncertain
    assert question.confidence > 0.9
    write_uncertain(tmp_path / "uncertain.csv", found)
    decided = decide(tmp_path / "uncertain.csv", tmp_path, "same", pair="1")
    joined = dedupe([bridge], SETTINGS, existing=known, decisions=read_decisions([decided]))
    assert [paper.record_id for paper in joined.unique] == ["doi:10.5555/a.1"]


def test_the_order_of_the_input_does_not_matter() -> None:
    first = dedupe([FULL, OTHER], SETTINGS)
    newcomers = [
        update(1, doi="10.5555/a.1"),
        *(update(number, title=f"New paper number {number} on stroke care", pages=str(number)) for number in (2, 3, 4)),
        update(5, title="New paper number 2 on stroke care", pages="2", abstract=TEXT),
    ]
    expected = dedupe(newcomers, SETTINGS, existing=first.unique)
    for seed in range(5):
        shuffled = random.Random(seed).sample(newcomers, len(newcomers))
        found = dedupe(shuffled, SETTINGS, existing=first.unique)
        assert set(found.unique) == set(expected.unique)
        assert set(found.new) == set(expected.new)
        assert (found.groups, found.uncertain) == (expected.groups, expected.uncertain)


def test_existing_records_with_one_id_are_refused() -> None:
    with pytest.raises(MechtagError, match=r"existing records: record doi:10\.5555/a\.1 appears more than once"):
        dedupe([], DedupeSettings(), existing=[record(1, doi="10.5555/a.1"), record(2, doi="10.5555/a.1")])


def ris(title: str, page: int, doi: str = "") -> str:
    doi = f"DO  - {doi}\n" if doi else ""
    fields = f"AU  - Roe, Rita\nAU  - Doe, Ann\nPY  - 2020\nT2  - Care\nVL  - 3\nSP  - {page}\n{doi}"
    return f"TY  - JOUR\nTI  - {title}\n{fields}ER  - \n"


def test_a_living_review_on_the_command_line(tmp_path: Path) -> None:
    first = ris("Leading a stroke team together", 1) + ris("Trust among nurses on the ward", 9)
    (tmp_path / "first.ris").write_text(first, encoding="utf-8")
    second = ris("Leading a stroke team together", 1, "10.5555/a.1") + ris("Power and place in primary care", 30)
    (tmp_path / "second.ris").write_text(second, encoding="utf-8")
    for name in ("first", "second"):
        assert call("ingest", tmp_path / f"{name}.ris", "-o", tmp_path / f"{name}.parquet")[0] == 0
    old, new = tmp_path / "old", tmp_path / "new"
    status, _, message = call("dedupe", tmp_path / "first.parquet", "-o", old / "unique.parquet")
    assert (status, "2 records, 2 unique, 0 duplicates" in message) == (0, True)
    assert not (old / "new.parquet").exists()
    words = ["dedupe", tmp_path / "second.parquet", "-o", new / "unique.parquet", "--existing", old / "unique.parquet"]
    status, _, message = call(*words)
    assert (status, "4 records, 3 unique, 1 of them new, 1 duplicate" in message) == (0, True), message
    ids = [paper.record_id for paper in read_records(old / "unique.parquet")]
    assert [paper.record_id for paper in read_records(new / "unique.parquet")][:2] == ids
    assert [paper.title for paper in read_records(new / "new.parquet")] == ["Power and place in primary care"]
    decided = decide(new / "groups.csv", tmp_path, "different", source_file="second.ris")
    status, _, message = call(*words, "--decisions", decided)
    assert (status, "4 unique, 2 of them new, 0 duplicates" in message) == (0, True), message
    # The decision is kept in the file, and applies to every run that is given this file.
    again = read_decisions([decided])
    assert [decision.same for decision in again] == [False]
    assert call(*words, "--decisions", tmp_path / "none.csv")[0] == 1


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["-o", "unique.parquet", "--decisions", "groups.csv"], "groups.csv"),
        (["-o", "unique.parquet", "--groups", "mine.csv", "--decisions", "uncertain.csv"], "uncertain.csv"),
        (["-o", "records.parquet"], "records.parquet"),
        (["-o", "unique.parquet", "--groups", "unique.parquet"], "unique.parquet"),
        (["-o", "new.parquet", "--existing", "before.parquet"], "new.parquet"),
    ],
)
def test_no_file_is_written_over_another(
    words: list[str], file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("records.parquet", "before.parquet"):
        write_records(tmp_path / name, [FULL])
    write_groups(tmp_path / "groups.csv", dedupe([FULL, WITH_DOI], SETTINGS))
    write_uncertain(tmp_path / "uncertain.csv", dedupe([FULL], SETTINGS))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, _, message = call("dedupe", "records.parquet", *words, "--project", ROOT)
    assert status != 0
    assert f"{file} would be overwritten" in message or f"to the same file, {file}" in message
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_existing_set_may_be_brought_up_to_date_in_place(tmp_path: Path) -> None:
    write_records(tmp_path / "records.parquet", [OTHER])
    write_records(tmp_path / "unique.parquet", [FULL])
    unique = tmp_path / "unique.parquet"
    status, _, _ = call("dedupe", tmp_path / "records.parquet", "-o", unique, "--existing", unique)
    assert status == 0
    assert list(read_records(unique)) == [FULL, OTHER]
