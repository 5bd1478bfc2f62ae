"""Test the command ``export``: what it accepts, what it refuses, and which files it leaves unchanged."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import openpyxl
import pytest
import yaml

from mechtag.core.files import write_csv
from mechtag.core.parquet import read_records, write_predictions, write_records
from mechtag.core.records import Evidence, Prediction
from mechtag.core.settings import TagSettings
from mechtag.pipeline.annotations.coding_table import write_codings
from mechtag.pipeline.reading.text import sign_by_vectors
from mechtag.pipeline.reading.text.sign import ReadSigns
from tests.support.command import call
from tests.support.hostile import BOOK, SENTENCES, hostile_codings, hostile_records

PAPERS = 8


def prediction(record_id: str, label: str, number: int, abstract: str) -> Prediction:
    text = SENTENCES.get(label, "Trees stood there.")
    start = abstract.index(text)
    quote = Evidence(sentence=0, start=start, end=start + len(text), text=text, score=1)
    decision = ("yes", "no", "refer")[number % 3] if label != "relevant" else "yes"
    return Prediction.model_validate(
        {
            **{"record_id": record_id, "label": label, "score": 0, "probability": 0.5, "threshold": 0.5},
            **{"decision": decision, "evidence": (quote,), "model_id": "m1"},
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a tagged search in ``out``, and codings of the same papers."""
    records = hostile_records(PAPERS)
    (tmp_path / "out").mkdir()
    write_records(tmp_path / "out/records.parquet", records)
    rows = [
        prediction(one.record_id, key, number + place, one.abstract)
        for number, one in enumerate(records)
        for place, key in enumerate(BOOK.all_keys)
    ]
    write_predictions(tmp_path / "out/predictions.parquet", rows)
    write_codings(tmp_path / "codings.csv", hostile_codings(records))
    (tmp_path / "book.yaml").write_text(yaml.safe_dump(BOOK.model_dump(mode="json")), encoding="utf-8")
    (tmp_path / "params.yaml").write_text("codebook: book.yaml\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def matrix_cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row[1:-2] for row in csv.reader(file)]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", [("--to", "matrix", "-o", "m.csv"), ("--to", "csv", "-o", "t.csv")])
def test_the_settings_choose_how_signs_are_read(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read_signs_by(settings: TagSettings) -> ReadSigns:
        asked.append(settings.sign)
        return lambda texts: ["absent" for _ in texts]

    monkeypatch.setattr(sign_by_vectors, "read_signs_by", read_signs_by)
    Path("params.yaml").write_text("codebook: book.yaml\ntag: {sign: accurate}\n", encoding="utf-8")
    assert call("export", "out", *words)[0] == 0
    assert set(asked) == {"accurate"}
    text = Path(words[-1]).read_text(encoding="utf-8-sig")
    assert ("✓−" if words[1] == "matrix" else "absent") in text
    assert "✓," not in text
    assert "partly" not in text


def test_papers_with_codes_come_first_in_the_evidence_of_decisions_and_codings(folder: Path) -> None:
    records = read_records(folder / "out/records.parquet")
    coded = [row for row in hostile_codings(records) if row.record_id in {records[5].record_id, records[2].record_id}]
    write_codings(folder / "some.csv", coded)
    assert call("export", "out", "--codings", "some.csv", "--to", "xlsx", "-o", "both.xlsx")[0] == 0
    _, *rows = openpyxl.load_workbook("both.xlsx")["Evidence"].iter_rows(values_only=True)
    order = [record.record_id for record in (records[2], records[5], *records[:2], *records[3:5], *records[6:])]
    assert list(dict.fromkeys(row[0] for row in rows)) == order
    by_coder = {str(row[4]) for row in rows if row[0] == records[2].record_id}
    assert {"mechtag (m1)"} < by_coder
    assert {row[4] for row in rows if row[0] == records[0].record_id} == {"mechtag (m1)"}


@pytest.mark.usefixtures("folder")
def test_the_option_what_chooses_decisions_or_codings() -> None:
    words = ("export", "out", "--codings", "codings.csv", "--to", "matrix", "-o", "m.csv")
    status, _, message = call(*words)
    assert (status, "choose one of them (--what decisions or --what codings)" in message) == (1, True)
    assert call(*words, "--what", "decisions")[0] == 0
    assert matrix_cells(Path("m.csv"))[1:-1] == [
        # The evidence for the first label contains a word that expresses absence.
        ["", "?", "✓"] if number % 3 == 0 else ["?", "✓", ""] if number % 3 == 1 else ["✓−", "", "?"]
        for number in range(PAPERS)
    ]
    assert call(*words, "--what", "codings", "--coder", "Ann")[0] == 0
    ann = matrix_cells(Path("m.csv"))
    assert ann[1:-1] == [
        ["✓" if number >> bit & 1 else "" for bit in range(3)] for number in range(PAPERS) if number % 4 != 3
    ]
    words = ("export", "codings.csv", "--records", "out/records.parquet", "--to", "matrix", "-o", "n.csv")
    assert call(*words, "--coder", "Ann")[0] == 0
    assert Path("n.csv").read_bytes() == Path("m.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("out", "--what", "codings"), "contains decisions, but no codings; add a table of codings (--codings)"),
        (("codings.csv",), "name the table of records, or the search export (--records)"),
        (("codings.csv", "--records", "r", "--what", "both"), "is a table of codings and contains no decisions"),
        (("codings.csv", "--codings", "codings.csv"), "export each table separately (omit --codings)"),
        (("nothing", "--what", "decisions"), "nothing: "),
        (
            ("book.yaml",),
            "If the file contains records, tag them first: 'mechtag tag book.yaml -o out'",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_missing_inputs_are_named(words: tuple[str, ...], message: str) -> None:
    status, _, error = call("export", *words, "--to", "matrix", "-o", "m.csv")
    assert status == 1
    assert message in error
    assert not Path("m.csv").exists()


def test_decisions_go_with_the_search_export_that_was_tagged(folder: Path) -> None:
    (folder / "search.ris").write_text("TY  - JOUR\nTI  - One paper\nDO  - 10.1000/one\nER  - \n", encoding="utf-8")
    tagged = [
        Prediction(
            **{"record_id": "doi:10.1000/one", "label": key, "score": 0, "probability": 0.5, "threshold": 0.5},
            **{"decision": "yes", "model_id": "m1"},
        )
        for key in BOOK.all_keys
    ]
    write_predictions(folder / "one.parquet", tagged)
    words = ("export", "one.parquet", "--records", "search.ris", "--to", "csv", "-o", "one.csv")
    status, _, told = call(*words)
    assert (status, told) == (0, "one.csv: 1 record written\n")
    with (folder / "one.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["title"] for row in csv.DictReader(file)] == ["One paper"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "csv", "-o", "a.csv", "--coder", "Ann"), "this export contains only decisions of a model"),
        (
            ("--to", "csv", "-o", "a.csv", "--cells", "value"),
            r"'cells' would have no effect on an export to csv; .*: matrix \(omit --cells, ",
        ),
        (
            ("--to", "qdc", "-o", "a.qdc", "--note", "Coded in May"),
            r"'note' would have no effect .*: matrix \(omit --note, ",
        ),
        (
            ("--to", "qdc", "-o", "a.qdc", "--coder", "Ann"),
            "'coder' would have no effect on an export to qdc; .*: csv, ris, xlsx, ",
        ),
        (("--to", "qdc", "-o", "a.qdc", "--basis", "abstract"), "'basis' would have no effect"),
        (("--to", "qdc", "-o", "a.qdc", "--what", "codings"), "'what' would have no effect"),
        (("--to", "qdc", "-o", "a.qdc", "--codings", "codings.csv"), "'codings' would have no effect"),
        (("--to", "qdc", "-o", "a.qdc", "--records", "out/records.parquet"), "'records' would have no effect"),
        (
            ("--to", "qdc", "-o", "a.qdc", "--without-fetched", "f.csv"),
            r"'fetched' would have no effect .* \(omit --without-fetched, or change --to\)",
        ),
        (
            ("--to", "qdc", "-o", "a.qdc", "--full-texts", "f.parquet"),
            r"'full_texts' would have no effect .* \(omit --full-texts, ",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(folder: Path, words: tuple[str, ...], message: str) -> None:
    status, _, error = call("export", "out", *words)
    assert status == 1
    assert re.search(message, error.strip())
    assert not (folder / words[3]).exists()


@pytest.mark.usefixtures("folder")
def test_an_export_does_not_replace_what_it_reads() -> None:
    before = Path("codings.csv").read_bytes()
    words = ("export", "out", "--codings", "codings.csv", "--what", "codings", "--to", "matrix", "-o", "codings.csv")
    status, _, message = call(*words)
    assert (status, "would be overwritten, but this command reads it" in message) == (1, True)
    assert Path("codings.csv").read_bytes() == before


@pytest.mark.usefixtures("folder")
def test_codings_of_unknown_papers_are_named(folder: Path) -> None:
    write_records(folder / "few.parquet", hostile_records(3))
    status, _, message = call("export", "codings.csv", "--records", "few.parquet", "--to", "matrix", "-o", "m.csv")
    assert (status, "note: few.parquet lacks the records of 5 coded papers" in message) == (0, True)
    assert len(matrix_cells(folder / "m.csv")) == 1 + 6 + 1
    assert "doi:10.1234/paper4" in (folder / "m.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("to", "name"),
    [
        *(("csv", "a.csv"), ("ris", "a.ris"), ("xlsx", "a.xlsx"), ("qdpx", "a.qdpx"), ("bibtex", "a.bib")),
        *(("asreview", "a.csv"), ("rayyan", "a.ris"), ("eppi", "a.json"), ("label-studio", "a.json")),
    ],
)
def test_exported_codings_can_be_imported(folder: Path, to: str, name: str) -> None:
    given = ("--codings", "codings.csv", "--what", "codings", "--coder", "Ann")
    assert call("export", "out", *given, "--to", to, "-o", name)[0] == 0
    words = ("codings", name, "--records", "out/records.parquet", "-o", "back/codings.csv")
    said = ("--basis", "abstract", "--unticked", "no", "--coder", "Ann")
    (folder / "back").mkdir()
    status, output, message = call(*words, *said)
    assert status == 0, message
    ann = [row for row in hostile_codings(hostile_records(PAPERS)) if row.coder == "Ann"]
    assert f"{len(ann)} codings written" in message
    assert f"Written: {sum(row.value == 1 for row in ann)} yes" in output


@pytest.mark.parametrize(("to", "name"), [("rayyan", "a.ris"), ("asreview", "a.csv"), ("eppi", "a.json")])
@pytest.mark.usefixtures("folder")
def test_decisions_of_a_model_are_not_exported_as_codes_of_a_person(to: str, name: str) -> None:
    status, _, message = call("export", "out", "--to", to, "-o", name)
    assert (status, "only codings of people can be exported to the format" in message, Path(name).exists()) == (
        1,
        True,
        False,
    )


@pytest.mark.parametrize(("to", "name"), [("rayyan", "a.ris"), ("asreview", "a.csv"), ("eppi", "a.json")])
def test_codings_of_a_language_model_are_not_exported_as_codes_of_a_person(folder: Path, to: str, name: str) -> None:
    codings = [row for row in hostile_codings(hostile_records(PAPERS)) if row.coder == "Ann"]
    answers = [row.model_copy(update={"coder": "llm:toy"}) for row in codings]
    opposite = [row.model_copy(update={"value": None if row.value is None else 1 - row.value}) for row in answers]
    write_codings(folder / "ann.csv", codings)
    write_codings(folder / "both.csv", [*codings, *opposite])
    write_codings(folder / "llm.csv", answers)
    words = ("--records", "out/records.parquet", "--to", to, "-o")
    assert call("export", "ann.csv", *words, f"ann_{name}")[0] == 0
    status, _, message = call("export", "both.csv", *words, name)
    assert (status, f"{len(codings)} codings by a language model (llm:toy) left out" in message) == (0, True)
    assert (folder / name).read_bytes() == (folder / f"ann_{name}").read_bytes()
    status, _, message = call("export", "llm.csv", *words, f"llm_{name}")
    assert (status, "all codings are by a language model (llm:toy)" in message) == (1, True)
    assert not (folder / f"llm_{name}").exists()


@pytest.mark.usefixtures("folder")
def test_a_workbook_of_both_shows_decisions_and_codes() -> None:
    assert call("export", "out", "--codings", "codings.csv", "--to", "xlsx", "-o", "a.xlsx")[0] == 0
    names = openpyxl.load_workbook("a.xlsx").sheetnames
    assert names == ["Review", "Codes", "Evidence", "Matrix", "Codebook", "About this workbook"]
    status, _, message = call("export", "out", "--codings", "codings.csv", "--to", "csv", "-o", "a.csv")
    assert (status, "a CSV table contains either decisions or codings" in message) == (1, True)


@pytest.mark.parametrize(
    ("to", "output"), [("qdc", "own.yaml"), ("xlsx", "table.csv"), ("label-studio", "tasks.xml"), ("bibtex", "a.txt")]
)
def test_the_extension_must_fit_the_format(folder: Path, to: str, output: str) -> None:
    words = ("export", "codings.csv", "--records", "out/records.parquet", "--to", to, "-o", output)
    status, _, message = call(*words)
    assert (status, f"{output}: programs recognise the format {to} by the extension" in message) == (1, True)
    assert not (folder / output).exists()


def test_an_export_does_not_replace_the_codebook(folder: Path) -> None:
    before = (folder / "book.yaml").read_bytes()
    status, _, message = call("export", "codings.csv", "--to", "qdc", "-o", "book.yaml")
    assert (status, "book.yaml would be overwritten, but this command reads it" in message) == (1, True)
    assert (folder / "book.yaml").read_bytes() == before


def test_an_export_replaces_only_a_file_that_is_a_labelling_configuration(folder: Path) -> None:
    (folder / "codings.xml").write_text("<records/>", encoding="utf-8")
    words = ("export", "codings.csv", "--records", "out/records.parquet", "--to", "label-studio", "-o", "codings.json")
    status, _, message = call(*words)
    assert (status, "codings.xml: the labelling configuration cannot be written to this file" in message) == (1, True)
    assert (folder / "codings.xml").read_text(encoding="utf-8") == "<records/>"
    assert not (folder / "codings.json").exists()
    (folder / "codings.xml").unlink()
    assert (call(*words)[0], call(*words)[0]) == (0, 0)


@pytest.mark.parametrize(("to", "name"), [("ris", "a.ris"), ("csv", "a.csv"), ("qdpx", "a.qdpx"), ("matrix", "a.md")])
def test_a_basis_without_decisions_is_named(folder: Path, to: str, name: str) -> None:
    status, _, message = call("export", "out", "--to", to, "-o", name, "--basis", "full-text")
    assert (status, "no decisions of the model are based on the full text" in message) == (1, True)
    assert not (folder / name).exists()


def test_a_folder_is_not_an_output(folder: Path) -> None:
    (folder / "made.ris").mkdir()
    words = ("export", "codings.csv", "--records", "out/records.parquet", "--to", "ris", "-o", "made.ris")
    status, _, message = call(*words)
    assert (status, "made.ris is a folder; name the file to write" in message) == (1, True)


def test_a_fault_in_the_records_is_noted_once(folder: Path) -> None:
    records = read_records(folder / "out/records.parquet")
    rows = [[one.doi, one.pmid, one.title, one.abstract, one.year, "; ".join(one.authors)] for one in records]
    write_csv(folder / "records.csv", ["doi", "pmid", "title", "abstract", "year", "authors"], rows)
    with (folder / "records.csv").open("a", encoding="utf-8") as file:
        file.write("10.1234/untitled,,,,2001,\n")
    status, _, message = call("export", "out", "--records", "records.csv", "--to", "xlsx", "-o", "a.xlsx")
    assert status == 0, message
    assert message.count("could not be read") == 1
