"""Test that no command overwrites its input files or a person's decisions."""

import os

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.outputs import check_outputs
from mechtag.core.parquet import write_records
from tests.support.command import call
from tests.support.papers import record
from tests.support.paths import ROOT

DECIDED = "would delete 1 decision that a person filled in"
TABLES = {
    "uncertain.csv": (["pair", "decision", "title_1", "title_2"], [1, "same", "A", "a"]),
    "groups.csv": (["group", "decision", "kept", "title"], [1, "different", "no", "A"]),
    "ranking.csv": (["rank", "record_id", "decision", "title"], [1, "doi:10.1/a", 1, "A"]),
}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("title,year\nPaper one,2001\n")
    return path


def links(path):
    """Create a symbolic link and a hard link to a file, and yield their paths and one path that contains ``..``."""
    for name, make in (("soft", os.symlink), ("hard", os.link)):
        make(path, path.with_name(name))
        yield path.with_name(name)
    yield path.parent / "folder" / ".." / path.name


def test_an_output_must_not_be_a_source_under_another_name(source):
    (source.parent / "folder").mkdir()
    for name in (source, *links(source)):
        with pytest.raises(MechtagError, match="would be overwritten, but this command reads it; choose a different"):
            check_outputs([name], [None, source])


def test_an_output_must_not_be_in_a_folder_of_sources(source):
    check_outputs([source.with_name("new.csv")], [source.parent])
    with pytest.raises(MechtagError, match="this command reads it"):
        check_outputs([source], [source.parent])


def test_two_results_must_not_have_the_same_file(tmp_path):
    with pytest.raises(MechtagError, match=r"would write two results to the same file, .*a\.csv"):
        check_outputs([tmp_path / "a.csv", tmp_path / "a.csv"])


@pytest.mark.parametrize("name", TABLES)
def test_decisions_of_a_person_are_not_overwritten(tmp_path, name):
    header, row = TABLES[name]
    path, index = tmp_path / name, header.index("decision")
    write_csv(path, header, [row], bom=True)
    with pytest.raises(MechtagError, match=DECIDED):
        check_outputs([path])
    check_outputs([path], decided=path)
    path.write_text(";".join(header) + "\n" + ";".join(map(str, row)) + "\n", encoding="utf-16")
    with pytest.raises(MechtagError, match=DECIDED):
        check_outputs([path])
    write_csv(path, header, [[*row[:index], "", *row[index + 1 :]]], bom=True)
    check_outputs([path])


def test_a_broken_table_of_decisions_is_not_overwritten(tmp_path):
    path = tmp_path / "uncertain.csv"
    path.write_text('pair,decision,title_1\n1,"same,A\n')
    with pytest.raises(MechtagError, match="may contain decisions that a person filled in"):
        check_outputs([path])


def test_decisions_of_a_model_are_overwritten(tmp_path):
    write_csv(tmp_path / "a.csv", ["key", "paper", "decision"], [["A", "A 2001", "yes"]])
    check_outputs([tmp_path / "a.csv"])


# Arguments of a command, and the file that it must not change.
COMMANDS = [
    ("ingest few.csv -o few.csv", "few.csv"),
    ("ingest rejected.jsonl -o records.parquet", "rejected.jsonl"),
    ("ingest . -o few.csv", "few.csv"),
    ("dedupe all.parquet -o unique.parquet", "uncertain.csv"),
    ("dedupe all.parquet -o unique.parquet --groups ranking.csv", "ranking.csv"),
    ("sentences all.parquet -o all.parquet", "all.parquet"),
    ("tag tagged.ris -o .", "tagged.ris"),
    ("tag few.csv -o .", "uncertain.csv"),
    ("tag all.parquet -o other --sentences other/records.parquet", "other/records.parquet"),
    ("export predictions.parquet --records all.parquet --to csv -o all.parquet", "all.parquet"),
    ("export predictions.parquet --records all.parquet --to csv -o ranking.csv", "ranking.csv"),
    ("rank few.csv -o few.csv", "few.csv"),
    ("rank ranking.json -o ranking.csv", "ranking.json"),
    ("simulate reading.csv --labels few.csv -o .", "reading.csv"),
    ("simulate few.csv --labels reading.csv -o .", "reading.csv"),
    ("codings few.csv --records all.parquet -o few.csv", "few.csv"),
    ("codings conflicts.csv --records all.parquet -o codes.csv", "conflicts.csv"),
    ("prisma summary.json -o summary.json", "summary.json"),
    ("prisma --elsewhere flow_counts.csv -o flow.svg", "flow_counts.csv"),
    ("report metrics.md -o metrics.md", "metrics.md"),
    ("methods metrics.json -o metrics.json", "metrics.json"),
    ("methods metrics.json -o methods.md --tagged methods.md", "methods.md"),
    ("agreement few.csv -o few.csv", "few.csv"),
    ("agreement few.csv --predictions predictions.parquet -o records.parquet", "records.parquet"),
    ("evaluate predictions.parquet few.csv -o few.csv", "few.csv"),
    ("evaluate predictions.parquet per_label.csv -o metrics.json", "per_label.csv"),
    ("evaluate predictions.parquet few.csv -o headline.json --records headline.json", "headline.json"),
]


@pytest.mark.parametrize(("words", "precious"), COMMANDS)
def test_every_command_refuses_before_it_reads_or_writes(tmp_path, monkeypatch, source, words, precious):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for name, (header, row) in TABLES.items():
        if name == precious:
            write_csv(tmp_path / name, header, [row])
    write_records(tmp_path / "all.parquet", [record(1), record(2)])
    if not (tmp_path / precious).exists():
        (tmp_path / precious).write_text("precious\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    project = [] if words.startswith("ingest") else ["--project", ROOT]
    project = [] if words.startswith("prisma") else project
    status, _, message = call(*words.split(), *project)
    assert status == 1
    assert precious in message
    assert "would be overwritten" in message or "would be lost" in message or "would delete" in message
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
