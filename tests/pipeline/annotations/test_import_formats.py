"""Test the import of codings from each program, with one small file per format and values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from mechtag.core.errors import MechtagError
from mechtag.pipeline.annotations.imports.label_names import MapFile
from tests.support.coded_papers import (
    CODINGS,
    brief,
    check_counts,
    evidence,
    fixture,
    import_from,
    rows,
    write,
    write_lines,
)

CONTRACT = [
    ("marchetti-2017", "ann", "trust", 1, "full-text"),
    ("brandt-2019", "ann", "trust", 0, "abstract"),
    ("brandt-2019", "bob", "relevant", 1, "abstract"),
    ("brandt-2019", "bob", "trust", None, "abstract"),
]
QUOTE = "Staff came to trust each other."


@pytest.mark.parametrize("name", ["contract.csv", "contract.jsonl"])
def test_the_coding_contract(name: str) -> None:
    imported = fixture(name, basis=None)
    assert rows(imported) == CONTRACT
    first, second, *_ = imported.codings
    assert (first.evidence, first.date, first.codebook_version) == (QUOTE, "2026-03-01", "v2")
    assert (second.evidence, second.date) == (None, "2026-03-01")
    assert imported.files == ((name, "coding contract"),)


def test_the_coding_contract_in_a_workbook(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in (CODINGS / "contract.csv").read_text(encoding="utf-8").splitlines():
        cells = line.replace('"', "").split(",")
        book.active.append([int(cell) if cell in ("0", "1") else cell or None for cell in cells])
    book.save(tmp_path / "codes.xlsx")
    assert rows(import_from(tmp_path / "codes.xlsx", basis=None)) == CONTRACT


def test_rayyan_decisions_are_of_members_and_labels_of_the_team() -> None:
    imported = fixture("rayyan.csv", coder="team")
    assert brief(imported) == [
        "marchetti-2017 Ann relevant=1",
        "marchetti-2017 Bob relevant=0",
        "marchetti-2017 team trust=1",
        "marchetti-2017 team money=1",
        "okafor-2015 Ann relevant=?",
    ]
    assert imported.entries["without codes"] == 1
    (differ,) = imported.disagreements
    assert (differ.label, differ.yes, differ.no) == ("relevant", ("Ann",), ("Bob",))


def test_rayyan_does_not_say_whose_labels_they_are_where_there_are_several_members() -> None:
    with pytest.raises(MechtagError, match=r"record 1 has labels, but Rayyan does not record which .* name one coder"):
        fixture("rayyan.csv")


def test_rayyan_labels_are_those_of_the_only_member(tmp_path: Path) -> None:
    note = '"RAYYAN-INCLUSION: {""Ann""=>""Included""} | RAYYAN-LABELS: trust"'
    path = write(tmp_path / "articles.csv", f"key,title,notes,doi\nrayyan-1,Sharing,{note},10.5555/jic.2019.0007\n")
    assert brief(import_from(path)) == []  # the title is that of another paper
    path = write(tmp_path / "articles.csv", f"key,title,notes,doi\nrayyan-1,,{note},10.5555/jic.2019.0007\n")
    assert brief(import_from(path)) == ["brandt-2019 Ann relevant=1", "brandt-2019 Ann trust=1"]
    assert brief(import_from(path, unticked="no"))[2:] == ["brandt-2019 Ann money=0", "brandt-2019 Ann sharing_power=0"]


def test_rayyan_answers_of_the_extraction_form(tmp_path: Path) -> None:
    header = "key,doi,notes,14-Building trust,15-Mechanisms,16-country"
    row = 'rayyan-1,10.5555/jic.2019.0007,"RAYYAN-INCLUSION: {""Ann""=>""Included""}",no,"Money, shared",Norway'
    imported = import_from(write(tmp_path / "articles.csv", f"{header}\n{row}\n"))
    assert brief(imported) == ["brandt-2019 Ann relevant=1", "brandt-2019 Ann trust=0", "brandt-2019 Ann money=1"]


def test_labels_that_a_rayyan_team_left_unset_on_a_paper_that_nobody_included_are_not_judged(tmp_path: Path) -> None:
    notes = '"RAYYAN-INCLUSION: {{""Ann""=>""Excluded"", ""Bob""=>""{}""}} | RAYYAN-LABELS: trust"'
    head = "key,doi,notes\nrayyan-1,10.5555/jic.2019.0007,"
    path = write(tmp_path / "articles.csv", f"{head}{notes.format('Excluded')}\n")
    assert brief(import_from(path, coder="team", unticked="no"))[2:] == ["brandt-2019 team trust=1"]
    path = write(tmp_path / "articles.csv", f"{head}{notes.format('Included')}\n")
    assert brief(import_from(path, coder="team", unticked="no"))[3:] == [
        *("brandt-2019 team money=0", "brandt-2019 team sharing_power=0"),
    ]


def test_rayyan_as_ris() -> None:
    assert brief(fixture("rayyan.ris")) == ["brandt-2019 Ann relevant=0"]


def test_the_log_of_rayyan_has_no_papers(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "created_at,user_id,article_id,key,value\n2026-01-01,7,1,included,1\n")
    with pytest.raises(MechtagError, match=r"the log of a Rayyan export, .* use articles\.csv"):
        import_from(log)


def test_covidence_tags() -> None:
    imported = fixture("covidence_tags.csv", coder="team")
    assert brief(imported) == ["marchetti-2017 team trust=1", "marchetti-2017 team sharing_power=1"]
    filled = fixture("covidence_tags.csv", coder="team", unticked="no")
    assert brief(filled) == [
        "marchetti-2017 team trust=1",
        "marchetti-2017 team money=0",
        "marchetti-2017 team sharing_power=1",
    ]


def test_covidence_extraction_keeps_reviewers_and_consensus_apart() -> None:
    imported = fixture("covidence_extraction.csv", basis="full-text")
    assert brief(imported) == [
        "marchetti-2017 Ann trust=1",
        "marchetti-2017 Ann money=1",
        "marchetti-2017 Ann sharing_power=1",
        "marchetti-2017 Consensus trust=1",
        "marchetti-2017 Consensus sharing_power=0",
        "brandt-2019 Ann money=1",
        "brandt-2019 Ann sharing_power=0",
    ]
    assert imported.notes == ("covidence_extraction.csv: these columns were ignored: Country",)
    assert {row.basis for row in imported.codings} == {"full-text"}


def test_asreview_1_has_its_decisions_in_another_column(tmp_path: Path) -> None:
    table = "record_id,doi,pmid,included,asreview_ranking,exported_notes_1\n0,10.5555/jic.2017.0045,,1,1,read it\n"
    path = write(tmp_path / "a.csv", f"{table}1,10.5555/jic.2019.0007,,0,2,\n2,,27182818,,3,\n")
    assert brief(import_from(path, coder="us")) == [
        *("marchetti-2017 us relevant=1", "brandt-2019 us relevant=0", "okafor-2015 us relevant=?"),
    ]


@pytest.mark.parametrize("name", ["asreview.csv", "asreview.ris"])
def test_asreview_tags_count_as_no_only_on_relevant_records(name: str) -> None:
    relevant = [
        "marchetti-2017 Ann relevant=1",
        "marchetti-2017 Ann trust=1",
        "marchetti-2017 Ann sharing_power=0",
    ]
    irrelevant = [
        "brandt-2019 bob@example.org relevant=0",
        "brandt-2019 bob@example.org trust=?",
        "brandt-2019 bob@example.org sharing_power=?",
    ]
    imported = fixture(name)
    assert imported.notes == ()
    assert brief(imported) == (relevant + irrelevant if name.endswith("csv") else relevant)
    assert imported.codings[0].date == "2026-02-03"
    assert imported.entries["without codes"] == 1


def test_eppi_reviewer() -> None:
    imported = fixture("eppi.json", coder="team")
    assert rows(imported) == [
        ("marchetti-2017", "team", "relevant", 1, "abstract"),
        ("marchetti-2017", "team", "trust", 1, "abstract"),
        ("marchetti-2017", "team", "trust", 1, "full-text"),
        ("brandt-2019", "team", "relevant", 0, "abstract"),
    ]
    assert evidence(imported) == {"team trust": f"{QUOTE} […] p. 4"}
    assert imported.entries["without codes"] == 1


def test_eppi_reviewer_offers_the_codes_in_its_tree_and_no_others() -> None:
    imported = fixture("eppi.json", coder="team", basis="full-text", unticked="no")
    assert brief(imported) == [
        "marchetti-2017 team relevant=1",
        "marchetti-2017 team trust=1",
        "marchetti-2017 team money=0",
        "brandt-2019 team relevant=0",
    ]


def test_eppi_reviewer_codes_may_be_mapped_by_their_path() -> None:
    path = "Mechanisms / Mechanisms found / Building trust"
    imported = fixture("eppi.json", coder="team", labels={path: "money"})
    assert {row.label for row in imported.codings} == {"relevant", "money"}


def test_eppi_reviewer_branches_may_be_passed_over_and_unknown_codes_are_refused(tmp_path: Path) -> None:
    def report(*codes: int) -> Path:
        tree = [
            {"AttributeId": 1, "AttributeName": "Building trust / bonds"},
            {"AttributeId": 2, "AttributeName": "Setting", "Attributes": {"AttributesList": [
                {"AttributeId": 3, "AttributeName": "Hospital"}]}},
        ]  # fmt: skip
        codes_of = [{"AttributeId": code, "ItemAttributeFullTextDetails": []} for code in codes]
        reference = {"DOI": "10.5555/jic.2019.0007", "Codes": codes_of}
        content = {"CodeSets": [{"SetName": "All", "Attributes": {"AttributesList": tree}}], "References": [reference]}
        return write(tmp_path / "eppi.json", json.dumps(content))

    labels = {"Building trust / bonds": "trust", "All / Setting": None}
    imported = import_from(report(1, 2, 3), coder="us", labels=labels)
    assert (brief(imported), imported.codes["passed over"]) == (["brandt-2019 us trust=1"], 2)
    with pytest.raises(MechtagError, match="'All / Setting / Hospital' "):
        import_from(report(3), coder="us")
    with pytest.raises(MechtagError, match="'AttributeId 9' "):
        import_from(report(9), coder="us", labels=labels)


def test_label_studio_keeps_annotators_apart_and_passes_predictions_and_skipped_tasks_over() -> None:
    imported = fixture("label_studio.json")
    assert brief(imported) == [
        "marchetti-2017 5 trust=1",
        "marchetti-2017 5 money=1",
        "marchetti-2017 ann@example.org relevant=1",
        "marchetti-2017 ann@example.org trust=1",
        "marchetti-2017 ann@example.org sharing_power=1",
    ]
    assert evidence(imported) == {"ann@example.org trust": QUOTE}
    assert {row.date for row in imported.codings} == {"2026-03-10", "2026-03-11"}
    assert imported.entries["without codes"] == 1
    assert imported.notes == ()
    filled = brief(fixture("label_studio.json", unticked="no"))
    assert filled[2] == "marchetti-2017 5 sharing_power=0"
    assert "marchetti-2017 ann@example.org money=0" in filled


def test_label_studio_json_min() -> None:
    imported = fixture("label_studio_min.json", mapped=MapFile(coders={"4": "ann", "5": "bob"}))
    assert brief(imported) == [
        "marchetti-2017 ann relevant=1",
        "marchetti-2017 ann trust=1",
        "marchetti-2017 bob trust=1",
        "marchetti-2017 bob money=1",
    ]
    assert evidence(imported) == {"ann trust": QUOTE}


def test_doccano_texts_without_a_label_are_not_judged() -> None:
    imported = fixture("doccano_classification.jsonl", coder="ann", unticked="no")
    assert brief(imported) == [
        "marchetti-2017 ann relevant=1",
        "marchetti-2017 ann trust=1",
        "marchetti-2017 ann money=0",
        "marchetti-2017 ann sharing_power=0",
    ]
    assert imported.entries["without codes"] == 1


def test_doccano_spans_say_yes_and_texts_find_their_records() -> None:
    imported = fixture("doccano_sequence.jsonl", coder="ann")
    assert brief(imported) == ["marchetti-2017 ann trust=1", "brandt-2019 ann money=1"]
    assert evidence(imported) == {"ann trust": QUOTE, "ann money": "Middle managers held the budget."}
    assert imported.found_by == {"text": 2}


def test_doccano_files_are_named_after_members(tmp_path: Path) -> None:
    content = (CODINGS / "doccano_classification.jsonl").read_text(encoding="utf-8")
    imported = import_from(write(tmp_path / "zoe.jsonl", content))
    assert {row.coder for row in imported.codings} == {"zoe"}
    assert imported.notes == (
        "zoe.jsonl: the file name suggests that the coder is 'zoe'; specify the coder if this is wrong",
    )
    with pytest.raises(
        MechtagError, match=r"all\.jsonl: entry 1: the file does not record the coder; specify the coder"
    ):
        import_from(write(tmp_path / "all.jsonl", content))


def test_doccano_before_version_1_5(tmp_path: Path) -> None:
    old = {"id": 1, "text": "x", "meta": {"key": "brandt-2019"}, "annotation_approver": None}
    spans = write_lines(tmp_path / "a.jsonl", {**old, "labels": [[0, 1, "trust"]]})
    assert brief(import_from(spans, coder="ann")) == ["brandt-2019 ann trust=1"]
    users = write_lines(
        tmp_path / "b.jsonl", {**old, "annotations": [{"label": 3, "user": 1}, {"label": 4, "user": 2}]}
    )
    assert brief(import_from(users, labels={"3": "trust", "4": None})) == ["brandt-2019 1 trust=1"]


def test_prodigy() -> None:
    imported = fixture("prodigy.jsonl")
    assert brief(imported) == [
        # Several choices were allowed: an option that was offered and not chosen is a no.
        "marchetti-2017 care-ann trust=1",
        "marchetti-2017 care-ann money=0",
        "marchetti-2017 care-ann sharing_power=1",
        # One choice was allowed, for one sentence: the other options are not judged.
        "brandt-2019 care-ann money=1",
        # A rejected label, spans, and an ignored task.
        "okafor-2015 care-bob trust=0",
        "lind-2020 care-bob trust=1",
        "lind-2020 care-bob money=?",
    ]
    assert evidence(imported) == {
        "care-ann money": "Middle managers held the budget.",
        "care-bob trust": "Trust grew slowly.",
    }
    assert {row.date for row in imported.codings} == {"2026-03-01"}


def test_prodigy_a_rejected_choice_says_nothing(tmp_path: Path) -> None:
    task = {"text": "x", "meta": {"key": "brandt-2019"}, "options": [{"id": "trust"}], "_annotator_id": "a"}
    path = write_lines(tmp_path / "p.jsonl", {**task, "accept": ["trust"], "answer": "reject"})
    imported = import_from(path, unticked="no")
    assert (brief(imported), imported.entries["without codes"]) == ([], 1)


def test_a_label_that_was_left_unticked_in_one_entry_does_not_contradict_a_tick_in_another(tmp_path: Path) -> None:
    def task(*labels: str) -> dict[str, Any]:
        return {"text": "x", "key": "lind-2020", "label": list(labels)}

    path = write_lines(tmp_path / "ann.jsonl", task("trust"), task("money"))
    imported = import_from(path, unticked="no")
    check_counts(imported)
    assert imported.conflicts == ()
    assert brief(imported) == [
        *("lind-2020 ann trust=1", "lind-2020 ann money=1", "lind-2020 ann sharing_power=0"),
    ]
    excluded = write_lines(tmp_path / "more.jsonl", {"text": "x", "key": "lind-2020", "label": ["maybe"]})
    mapped = MapFile(coders={"more": "ann"})
    assert brief(import_from(path, excluded, unticked="no", mapped=mapped)) == [
        *("lind-2020 ann relevant=?", "lind-2020 ann trust=1", "lind-2020 ann money=1"),
    ]


def test_a_no_for_one_sentence_is_not_a_no_for_the_paper(tmp_path: Path) -> None:
    def task(text: str, answer: str) -> dict[str, Any]:
        return {"text": text, "label": "trust", "meta": {"key": "lind-2020"}, "answer": answer, "_annotator_id": "a"}

    first, last = "Care homes and practices met each month.", "Trust grew slowly."
    imported = import_from(write_lines(tmp_path / "p.jsonl", task(first, "reject"), task(last, "accept")))
    assert brief(imported) == ["lind-2020 a trust=1"]
    assert (evidence(imported), imported.conflicts) == ({"a trust": last}, ())
    assert brief(import_from(write_lines(tmp_path / "p.jsonl", task(first, "reject")))) == ["lind-2020 a trust=?"]
    # The same holds for sentences of a full text that is not available.
    pages = write_lines(tmp_path / "p.jsonl", task("Page one.", "reject"), task("Page two.", "accept"))
    assert brief(import_from(pages)) == ["lind-2020 a trust=1"]
    whole = write_lines(tmp_path / "p.jsonl", task(f"{first} {last}", "reject"))
    assert brief(import_from(whole)) == ["lind-2020 a trust=0"]


def test_whole_texts_in_two_forms_are_not_parts_of_one(tmp_path: Path) -> None:
    abstract = "Care homes and practices met each month. Trust grew slowly."
    title = "Trust between care homes and general practices after a merger"
    tasks = [
        {"text": text, "label": label, "meta": {"key": "lind-2020"}, "answer": "reject", "_annotator_id": "a"}
        for text, label in ((abstract, "trust"), (f"{title}\n{abstract}", "money"))
    ]
    imported = import_from(write_lines(tmp_path / "p.jsonl", *tasks))
    assert brief(imported) == ["lind-2020 a trust=0", "lind-2020 a money=0"]
