"""Test that people's codes are read back from every export that mechtag can read, and a model's decisions never are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import rispy
from bibtexparser.entrypoint import parse_string
from lxml import etree

from mechtag.core.codebook import Codebook, Label
from mechtag.core.errors import MechtagError
from mechtag.core.records import LATER_FIELDS, Coding, Evidence, Prediction, Record, passages_of
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.annotations.coding_table import write_codings
from mechtag.pipeline.annotations.imports.importer import read_codings_from
from mechtag.pipeline.export import eppi, label_studio, matrix, references, refi_qda, workbook
from mechtag.pipeline.export.coded_papers import CodedPapers, codings_of, from_codings, from_predictions, joined
from mechtag.pipeline.reading.ingest import read_sources
from tests.support.hostile import BOOK, hostile_codings, hostile_records, read_back, said

Writer = Callable[[Path, CodedPapers], object]
# Formats that contain the coder, the basis and every answer, including no.
WHOLE: dict[str, Writer] = {
    "codings.csv": lambda path, coded: write_codings(path, codings_of(coded)),
    "coded.xlsx": workbook.write,
    "coded.ris": references.write_ris,
    "coded.bib": references.write_bibtex,
}
# Formats of other programs, with the options for their import. They contain no basis, and some have only ticks.
TICKS = {"basis": "abstract", "unticked": "no"}
OTHERS: dict[str, tuple[Writer, dict[str, Any]]] = {
    "asreview.csv": (references.write_asreview, {"basis": "abstract"}),
    "asreview.ris": (references.write_asreview, {"basis": "abstract"}),
    "rayyan.ris": (references.write_rayyan, TICKS),
    "eppi.json": (eppi.write, {**TICKS, "coder": "Bob <b>"}),
    "tasks.json": (label_studio.write, TICKS),
}


@pytest.fixture
def records() -> list[Record]:
    return hostile_records()


@pytest.mark.parametrize("name", WHOLE)
def test_all_codes_of_two_people_come_back(tmp_path: Path, records: list[Record], name: str) -> None:
    codings = hostile_codings(records)
    WHOLE[name](tmp_path / name, from_codings(codings, records, BOOK))
    found = read_back(tmp_path / name, records)
    assert said(found.codings) == said(codings)
    assert {row.date for row in found.codings} == {"2026-01-02"}


@pytest.mark.parametrize("name", ["codings.csv", "coded.xlsx"])
def test_marked_sentences_and_referred_codes_come_back(tmp_path: Path, records: list[Record], name: str) -> None:
    """Formats that only mechtag reads also keep the fields that no other program has."""
    own = [row for row in hostile_codings(records[:4], ("Ann",)) if row.label in ("relevant", "fig")]
    marked = {
        "sentences": (1, 3),
        "signs": (None, "absent"),
        "sentences_complete": True,
        "assisted": False,
        "model_id": "m1",
    }
    doubt: dict[str, Any] = {"value": None, "refer": True, "reason": "=Ask Bob", "evidence": None}
    given = [row.model_copy(update=marked if row.value == 1 else doubt) for row in own]
    WHOLE[name](tmp_path / name, from_codings(given, records, BOOK))
    found = read_back(tmp_path / name, records).codings
    details = {(row.record_id, row.label): {field: getattr(row, field) for field in LATER_FIELDS} for row in found}
    assert details == {
        (row.record_id, row.label): {field: getattr(row, field) for field in LATER_FIELDS} for row in given
    }


@pytest.mark.parametrize("name", ["p.qdpx", *WHOLE])
def test_signs_come_back(tmp_path: Path, name: str) -> None:
    """Signs that people gave are read back with their passages, and signs that mechtag computed are not."""
    record = Record(
        record_id="doi:10.1234/1",
        doi="10.1234/1",
        title="Fruit",
        abstract="Figs were missing. Figs grew. No fig was picked.",
    )
    given: dict[str, Any] = {"record_id": "doi:10.1234/1", "basis": "abstract", "value": 1}
    passages = ["Figs were missing.", "Figs grew.", "A passage from elsewhere; signs: absent."]
    codings = [
        Coding(**given, coder="Ann", label="fig", evidence=" […] ".join(passages), signs=("absent", None, "unclear")),
        Coding(**given, coder="Bob", label="fig", evidence="Figs grew.", signs=("present",)),
        Coding(**given, coder="Ann", label="apple", evidence="Figs grew."),
    ]
    doubt = Evidence(sentence=2, start=30, end=48, text="No fig was picked.", score=1)
    rows = [prediction(record, key, evidence=(doubt,)) for key in BOOK.all_keys]
    coded = joined(from_codings(codings, [record], BOOK), from_predictions([record], rows, BOOK))
    assert [quote.sign for quote in coded.papers[0].of_label("fig")[-1].quotes] == ["absent"]
    writers = {"p.qdpx": refi_qda.write_project, **WHOLE}
    if name == "coded.xlsx":
        coded = from_codings(codings, [record], BOOK)
    writers[name](tmp_path / name, coded)
    found = read_codings_from([tmp_path / name], [record], BOOK, DedupeSettings()).codings
    signs = {(row.coder, row.label): dict(zip(passages_of(row.evidence), row.signs, strict=False)) for row in found}
    assert {place: signs for place, signs in signs.items() if signs} == {
        ("Ann", "fig"): dict(zip(passages, ("absent", None, "unclear"), strict=True)),
        ("Bob", "fig"): {"Figs grew.": "present"},
    }


@pytest.mark.parametrize("name", OTHERS)
def test_codes_of_one_person_come_back_from_formats_of_other_programs(
    tmp_path: Path, records: list[Record], name: str
) -> None:
    write, given = OTHERS[name]
    codings = hostile_codings(records, ("Bob <b>",))
    write(tmp_path / name, from_codings(codings, records, BOOK))
    assert said(read_back(tmp_path / name, records, **given).codings) == said(codings)


TWINS = Codebook(
    name="twins",
    relevance=BOOK.relevance,
    labels=tuple(
        Label(key=key, name=name, definition=f"Definition of {key}.")
        for key, name in (("trust", "Trust"), ("trust_in_ai", "Trust"), ("care", "Fig"), ("fig", "Figs, dried"))
    ),
)


@pytest.mark.parametrize("name", ["m.csv", "m.xlsx", "p.qdpx", *WHOLE, *OTHERS])
def test_labels_of_the_same_name_are_not_confused(tmp_path: Path, records: list[Record], name: str) -> None:
    given: dict[str, Any] = {"record_id": records[0].record_id, "coder": "Ann", "basis": "abstract"}
    values = {"relevant": 1, "trust": 1, "trust_in_ai": 0, "care": 1, "fig": 0}
    coded = from_codings([Coding(label=key, value=value, **given) for key, value in values.items()], records, TWINS)
    writers = {"p.qdpx": refi_qda.write_project, **WHOLE, **{other: pair[0] for other, pair in OTHERS.items()}}
    write = writers.get(name) or (lambda path, coded: matrix.write(path, matrix.arrange(coded)))
    write(tmp_path / name, coded)
    own: dict[str, Any] = {} if name in WHOLE else {**TICKS, "coder": "Ann"}
    found = read_codings_from([tmp_path / name], records[:1], TWINS, DedupeSettings(), **own).codings
    assert {row.label: row.value for row in found if row.label != "relevant"} == {
        key: value for key, value in values.items() if key != "relevant"
    }


@pytest.mark.parametrize("name", [*WHOLE, *OTHERS])
def test_the_same_codes_are_the_same_bytes(tmp_path: Path, records: list[Record], name: str) -> None:
    coded = from_codings(hostile_codings(records, ("Ann",)), records, BOOK)
    write = WHOLE[name] if name in WHOLE else OTHERS[name][0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / name, coded)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("name", ["coded.ris", "coded.bib", "asreview.csv", "asreview.ris", "rayyan.ris"])
def test_references_are_records_of_the_same_papers(tmp_path: Path, records: list[Record], name: str) -> None:
    coded = from_codings(hostile_codings(records, ("Ann",)), records, BOOK)
    (WHOLE[name] if name in WHOLE else OTHERS[name][0])(tmp_path / name, coded)
    found = read_sources([tmp_path / name], lambda note: pytest.fail(note))
    wanted = [paper.record for paper in coded.papers]
    assert [(one.record_id, one.year, one.journal, one.authors) for one in found] == [
        (one.record_id, one.year, one.journal, one.authors) for one in wanted
    ]
    assert [_letters(one.title) for one in found] == [_letters(one.title) for one in wanted]
    assert [_letters(one.abstract) for one in found] == [_letters(one.abstract) for one in wanted]


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


def test_rispy_and_bibtexparser_read_the_same_codes(tmp_path: Path, records: list[Record]) -> None:
    coded = from_codings(hostile_codings(records), records, BOOK)
    references.write_ris(tmp_path / "a.ris", coded)
    references.write_bibtex(tmp_path / "a.bib", coded)
    with (tmp_path / "a.ris").open(encoding="utf-8") as file:
        ris = rispy.load(file)
    library = parse_string((tmp_path / "a.bib").read_text(encoding="utf-8"))
    assert (len(ris), len(library.entries), library.failed_blocks) == (40, 40, [])
    assert len({entry.key for entry in library.entries}) == 40
    for number in (0, 3):
        notes = [note for note in ris[number]["notes"] if note.startswith("mechtag code: ")]
        assert len(notes) == (8 if number == 0 else 2)
        assert library.entries[number].fields_dict["annote"].value.count("mechtag code: ") == len(notes)
    assert ris[3]["keywords"] == ["mechtag:not-relevant"]
    assert ris[0]["keywords"] == ["mechtag:relevant", "mechtag:apple?"]


def prediction(record: Record, label: str, **values: Any) -> Prediction:
    quote = Evidence(sentence=0, start=0, end=5, text=record.abstract[:5], score=1)
    given = {"score": 1, "probability": 0.75, "decision": "yes", "model_id": "m1", "evidence": (quote,)}
    return Prediction.model_validate({"record_id": record.record_id, "label": label, **given, **values})


@pytest.mark.parametrize("name", ["coded.ris", "coded.bib", "tasks.json"])
def test_decisions_of_a_model_are_not_read_as_codes(tmp_path: Path, records: list[Record], name: str) -> None:
    own = records[:1]
    codings = hostile_codings(own, ("Ann",))
    rows = [prediction(own[0], key) for key in BOOK.all_keys]
    coded = joined(from_codings(codings, own, BOOK), from_predictions(own, rows, BOOK))
    (WHOLE[name] if name in WHOLE else OTHERS[name][0])(tmp_path / name, coded)
    assert "m1" in (tmp_path / name).read_text(encoding="utf-8")
    given = TICKS if name == "tasks.json" else {}
    assert said(read_back(tmp_path / name, records, **given).codings) == said(codings)


def test_spans_of_label_studio_count_as_javascript_does(tmp_path: Path, records: list[Record]) -> None:
    label_studio.write(tmp_path / "t.json", from_codings(hostile_codings(records), records, BOOK))
    tasks = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    spans = 0
    for task in tasks:
        units = task["data"]["text"].encode("utf-16-le")
        for annotation in task["annotations"]:
            for one in annotation["result"]:
                if one["type"] == "labels":
                    value = one["value"]
                    assert units[2 * value["start"] : 2 * value["end"]].decode("utf-16-le") == value["text"]
                    spans += 1
    assert spans == len([row for row in hostile_codings(records) if row.evidence])
    view = etree.parse(tmp_path / "t.xml").getroot()
    names = {element.get("name") for element in view} - {None}
    used = {one[key] for task in tasks for a in task["annotations"] for one in a["result"] for key in ("from_name",)}
    assert used == names - {"text"}
    assert [one.get("value") for one in view.iter("Label")] == [*(one.name for one in BOOK.labels), "Relevant"]


def test_a_quotation_that_is_not_in_the_text_is_counted(tmp_path: Path, records: list[Record]) -> None:
    coding = hostile_codings(records[1:2])[1].model_copy(update={"value": 1, "evidence": "Not there."})
    _, lost = label_studio.write(tmp_path / "t.json", from_codings([coding], records, BOOK))
    assert lost == 1


def test_marked_text_of_eppi_reviewer_is_by_full_text(tmp_path: Path, records: list[Record]) -> None:
    coding = Coding(
        **{"record_id": records[0].record_id, "coder": "Ann", "label": "fig", "value": 1, "basis": "full-text"},
        evidence="Figs ripen. […] Figs fall.",
    )
    eppi.write(tmp_path / "e.json", from_codings([coding], records, BOOK))
    found = read_back(tmp_path / "e.json", records, coder="Ann", basis="abstract")
    assert said(found.codings) == said([coding])


@pytest.mark.parametrize("name", ["asreview.csv", "eppi.json"])
def test_a_file_for_one_person_needs_a_coder(tmp_path: Path, records: list[Record], name: str) -> None:
    coded = from_codings(hostile_codings(records), records, BOOK)
    with pytest.raises(MechtagError, match=r"but Ann, Bob <b> coded these papers; choose one coder"):
        OTHERS[name][0](tmp_path / name, coded)


def test_asreview_reads_csv_and_ris_only(tmp_path: Path, records: list[Record]) -> None:
    coded = from_codings(hostile_codings(records, ("Ann",)), records, BOOK)
    with pytest.raises(MechtagError, match=r"use the extension \.csv or \.ris"):
        references.write_asreview(tmp_path / "a.xlsx", coded)


def test_an_abstract_cannot_pretend_to_be_a_decision_in_rayyan(tmp_path: Path) -> None:
    text = 'We wrote RAYYAN-INCLUSION: {"Eve"=>"Excluded"} | RAYYAN-LABELS: fig | USER-NOTES: {"Eve"=>["x"]}.'
    record = Record(record_id="text:1", title="A title that is long enough to be found", abstract=text, year=2020)
    coding = Coding(record_id="text:1", coder="Ann", label="apple", value=1, basis="abstract", evidence=text)
    relevant = Coding(record_id="text:1", coder="Ann", label="relevant", value=1, basis="abstract")
    references.write_rayyan(tmp_path / "r.ris", from_codings([coding, relevant], [record], BOOK))
    assert said(read_back(tmp_path / "r.ris", [record], basis="abstract").codings) == said([coding, relevant])


def test_the_workbook_has_the_sheets_and_no_formula(tmp_path: Path, records: list[Record]) -> None:
    workbook.write(tmp_path / "w.xlsx", from_codings(hostile_codings(records), records, BOOK))
    book = openpyxl.load_workbook(tmp_path / "w.xlsx")
    assert book.sheetnames == ["Codes", "Evidence", "Matrix", "Codebook", "About this workbook"]
    assert not any(cell.data_type == "f" for sheet in book for row in sheet.iter_rows() for cell in row)
    assert all(sheet.freeze_panes == "B2" and sheet.auto_filter.ref for sheet in book.worksheets[:-1])
    evidence = list(book["Evidence"].values)
    assert len(evidence) == 1 + len([row for row in hostile_codings(records) if row.evidence])
    assert re.fullmatch(r"Ngũgĩ\d+ \(20\d\d\)", str(evidence[1][1]))
    assert [row[0] for row in book["Codebook"].values] == ["key", *BOOK.all_keys]
    assert book["Codebook"]["E4"].value == "sloes; damsons"


def test_sheets_of_other_workbooks_are_read_whatever_their_names(tmp_path: Path, records: list[Record]) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Matrix"
    sheet.append(["record_id", "fig"])
    sheet.append([records[0].record_id, 1])
    book.save(tmp_path / "own.xlsx")
    found = read_back(tmp_path / "own.xlsx", records, basis="abstract", coder="Ann")
    assert [(row.label, row.value) for row in found.codings] == [("fig", 1)]


@pytest.mark.filterwarnings("ignore")  # ASReview itself is warned by pandas.
@pytest.mark.parametrize("name", ["asreview.csv", "asreview.ris"])
def test_asreview_reads_the_same_decisions(tmp_path: Path, records: list[Record], name: str) -> None:
    data = pytest.importorskip("asreview.data", reason="ASReview is not installed")
    codings = hostile_codings(records, ("Ann",))
    references.write_asreview(tmp_path / name, from_codings(codings, records, BOOK))
    reader = data.CSVReader if name.endswith("csv") else data.RISReader
    found = [record.included for record in reader.read_records(tmp_path / name, "x")]
    assert found == [row.value for row in codings if row.label == BOOK.relevance.key]


@pytest.mark.parametrize("name", ["coded.ris", "coded.bib"])
def test_no_name_or_quotation_pretends_to_be_a_code(tmp_path: Path, records: list[Record], name: str) -> None:
    spoof = "mechtag code: Fig [fig] = yes; coder: Eve; basis: abstract"
    book = Codebook(
        name="spoof",
        relevance=BOOK.relevance,
        labels=(Label(key="fig", name=f"[x] {spoof}", definition="F."), *BOOK.labels[:1]),
    )
    codings = [
        Coding(record_id=records[0].record_id, coder=coder, label="apple", value=0, basis="abstract", evidence=spoof)
        for coder in ("Ann; basis: abstract", "mechtag code: Bob")
    ]
    codings.append(codings[0].model_copy(update={"label": "fig", "evidence": None}))
    WHOLE[name](tmp_path / name, from_codings(codings, records, book))
    found = read_codings_from([tmp_path / name], records[:1], book, DedupeSettings())
    assert {(row.coder, row.label, row.value) for row in found.codings} == {
        ("Ann; basis: abstract", "apple", 0),
        ("mechtag code : Bob", "apple", 0),
        ("Ann; basis: abstract", "fig", 0),
    }


def test_notes_of_the_user_stay_in_ris(tmp_path: Path, records: list[Record]) -> None:
    mine, evidence = ("N1", "mechtag missed this paper"), ("N1", 'mechtag evidence for Fig: "Figs."')
    raw = (("TY", "JOUR"), ("TI", records[0].title), mine, evidence)
    own = [records[0].model_copy(update={"raw": raw})]
    references.write_ris(tmp_path / "a.ris", from_codings(hostile_codings(own), own, BOOK))
    text = (tmp_path / "a.ris").read_text(encoding="utf-8")
    assert (mine[1] in text, evidence[1] in text) == (True, False)


def test_names_and_addresses_come_back_from_bibtex(tmp_path: Path) -> None:
    authors = ("Smith, A, Jr, PhD", "Department of Health, London, UK", "Sons AND Daughters", "Plain, Bob")
    record = Record(record_id="doi:10.1234/a_b%c", title="T", authors=authors, doi="10.1234/a_b%c", year=2001)
    record = record.model_copy(update={"url": "https://example.org/a%20b_c?d=1&e={2}#f~g"})
    coding = Coding(record_id=record.record_id, coder="Ann", label="fig", value=1, basis="abstract")
    references.write_bibtex(tmp_path / "a.bib", from_codings([coding], [record], BOOK))
    (found,) = read_sources([tmp_path / "a.bib"], lambda note: pytest.fail(note))
    assert (found.authors, found.doi) == (authors, record.doi)
    assert found.url == "https://example.org/a%20b_c?d=1&e=%7B2%7D#f~g"
    (entry,) = parse_string((tmp_path / "a.bib").read_text(encoding="utf-8")).entries
    assert entry.fields_dict["doi"].value == record.doi


def test_offsets_into_another_version_of_the_text_are_not_used(tmp_path: Path, records: list[Record]) -> None:
    rows = [prediction(records[0], "fig")]
    changed = [records[0].model_copy(update={"abstract": f"New words. {records[0].abstract}"})]
    for own, start in ((records[:1], 0), (changed, None)):
        (code,) = from_predictions(own, rows, BOOK).codes
        assert [(quote.text, quote.start) for quote in code.quotes] == [(records[0].abstract[:5], start)]
    _, lost = label_studio.write(tmp_path / "t.json", from_predictions(changed, rows, BOOK))
    assert lost == 1
