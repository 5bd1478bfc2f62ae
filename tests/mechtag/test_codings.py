"""Test ``mechtag codings``, which converts the codings of other programs to a table for training."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from mechtag.cli.main import main
from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.core.settings import load_settings
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.annotations.imports.importer import read_codings_from
from mechtag.pipeline.reading.ingest import ingest
from tests.support.coded_papers import CODINGS
from tests.support.command import call

OUTPUTS = {
    *("codings.csv", "codings.json", "conflicts.csv", "disagreements.csv", "notes.csv", "rejected.jsonl"),
    "unmatched.csv",
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """Return settings that train on the codings written by the command, with texts from a Parquet file."""
    write_records(tmp_path / "records.parquet", ingest([CODINGS / "records.jsonl"]).records)
    train = {"records": str(tmp_path / "out/codings.csv"), "texts": str(tmp_path / "records.parquet")}
    settings = {"codebook": str(CODINGS / "codebook.yaml"), "train": train}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return tmp_path / "params.yaml"


def test_codings_of_several_programs_become_one_table_that_training_reads(params: Path) -> None:
    folder = params.parent
    words = ["codings", CODINGS / "rayyan.csv", CODINGS / "matrix.csv", "--records", folder / "records.parquet"]
    words += ["-o", folder / "out/codings.csv", "--project", params.parent, "--coder", "team", "--basis", "abstract"]
    status, output, told = call(*words, "--unticked", "not-judged")
    assert status == 0, told
    assert {path.name for path in (folder / "out").iterdir()} == OUTPUTS
    # The matrix has two papers with three labels each; Rayyan has three decisions and two labels, one of them twice.
    assert "Entries: 6 read = 4 matched (1 by DOI, 1 by title, 2 by key) + 1 without codes + 1 unmatched" in output
    assert "Codes: 14 read = 9 written + 2 repeated or joined + 0 contradicting + 3 in unmatched entries" in output
    assert "unmatched.csv: 1 row to check" in told
    assert "note: matrix.csv: these columns were ignored: setting" in told
    with (folder / "out/codings.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 9
    settings, book = load_settings(params), load_codebook(CODINGS / "codebook.yaml")
    coded = {one.key: one for one in read_annotations(settings, book.keys, book.relevance.key)}
    assert set(coded) == {"marchetti-2017", "brandt-2019", "okafor-2015"}
    assert coded["marchetti-2017"].labels == ("trust", "money", "sharing_power")
    assert [coded["brandt-2019"].code(label) for label in book.keys] == [0, 1, None]
    assert coded["okafor-2015"].not_judged == book.keys


def test_records_that_an_earlier_table_had_are_counted_when_it_is_replaced(params: Path) -> None:
    folder = params.parent
    end = ["--records", folder / "records.parquet", "-o", folder / "out/codings.csv", "--project", folder]
    end += ["--coder", "team", "--basis", "abstract", "--unticked", "not-judged"]
    assert "earlier table" not in call("codings", CODINGS / "rayyan.csv", CODINGS / "matrix.csv", *end)[2]
    assert "earlier table" not in call("codings", CODINGS / "rayyan.csv", CODINGS / "matrix.csv", *end)[2]
    status, _, told = call("codings", CODINGS / "matrix.csv", *end)
    assert status == 0
    assert "the earlier table also had codings of 1 other record, which the new table does not contain" in told


def test_mistakes_are_explained(params: Path) -> None:
    folder = params.parent
    words = ["codings", CODINGS / "matrix.csv", "--records", folder / "records.parquet", "--project", params.parent]
    output = folder / "out/codings.csv"
    message = call(*words, "-o", output, "--coder", "us", "--basis", "abstract")[2]
    assert "the cell is empty, which can mean no or not judged" in message
    assert message.endswith("(--unticked no if they did, --unticked not-judged if they did not)")
    assert not output.exists()
    assert call(*words, "-o", output, "--basis", "hearsay")[0] == 2
    status, _, message = call(*words, "-o", output, "--map", folder / "none.yaml")
    assert (status, "no such map file" in message) == (1, True)


def test_only_the_command_line_names_options(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The review page and the Python API show the same error without options, which they do not have."""
    folder, book = params.parent, load_codebook(CODINGS / "codebook.yaml")
    records = ingest([CODINGS / "records.jsonl"]).records
    with pytest.raises(MechtagError, match=r"state whether reviewers went through all codes$"):
        read_codings_from([CODINGS / "matrix.csv"], records, book, load_settings(params).dedupe, coder="us")
    words = (
        "mechtag",
        "codings",
        CODINGS / "matrix.csv",
        "--records",
        folder / "records.parquet",
        "-o",
        folder / "c.csv",
    )
    monkeypatch.setattr("sys.argv", [*map(str, words), "--coder", "us", "--project", str(folder)])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "(--unticked no if they did, --unticked not-judged if they did not)" in capsys.readouterr().err


def test_help_has_an_example() -> None:
    assert "Example" in call("codings", "--help")[1]
