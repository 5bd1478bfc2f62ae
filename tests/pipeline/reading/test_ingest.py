from pathlib import Path

import pytest

from mechtag.core.errors import MechtagError
from mechtag.pipeline.reading.ingest import Note, SourceCounts, ingest
from tests.support.command import call
from tests.support.paths import ROOT

DATA = ROOT / "data/raw"
RIS = "TY  - JOUR\nTI  - One\nAB  - Text.\nER  - \nTY  - JOUR\nTI  - Two\nER  - \nTY  - JOUR\nAB  - No title.\nER  - \n"
CSV = "title,abstract\nThree,\n,Text.\n"


def test_counts_of_each_source_add_up(tmp_path: Path) -> None:
    (tmp_path / "a.ris").write_text(RIS)
    (tmp_path / "b.csv").write_text(CSV)
    found = ingest([tmp_path / "b.csv", tmp_path / "a.ris"])
    assert found.sources == (
        SourceCounts("b.csv", "CSV or TSV", kept=1, rejected=1, without_abstract=1),
        SourceCounts("a.ris", "RIS", kept=2, rejected=1, without_abstract=1),
    )
    assert [source.read for source in found.sources] == [2, 3]
    assert [record.title for record in found.records] == ["Three", "One", "Two"]
    assert [(item.file, item.record, item.line, item.reason) for item in found.rejected] == [
        ("b.csv", 2, 3, "no title"),
        ("a.ris", 3, 8, "no title"),
    ]
    assert found.rejected[1].raw == (("TY", "JOUR"), ("AB", "No title."))
    summary = found.summary()
    assert (summary["read"], summary["kept"], summary["rejected"]) == (5, 3, 2)
    assert summary["sources"][1]["read"] == 3


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.ris", "a.ris", ".DS_Store"):
        (tmp_path / name).write_text(RIS.replace("One", name))
    (tmp_path / "sub").mkdir()
    assert [record.title for record in ingest([tmp_path]).records[::2]] == ["a.ris", "b.ris"]


def test_files_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    for folder in ("ovid/2019", "ovid/2020"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "export.ris").write_text(RIS)
    (tmp_path / "other.ris").write_text(RIS)
    found = ingest([tmp_path / "ovid/2019", tmp_path / "ovid/2020", tmp_path / "other.ris"])
    assert [source.file for source in found.sources] == ["2019/export.ris", "2020/export.ris", "other.ris"]
    assert found.records[-1].source_file == "other.ris"
    assert found.rejected[0].file == "2019/export.ris"


def test_records_do_not_depend_on_where_the_file_lies(tmp_path: Path) -> None:
    copy = tmp_path / "search_update.ris"
    copy.write_bytes((DATA / "search_update.ris").read_bytes())
    assert ingest([copy]) == ingest([DATA / "search_update.ris"])


def test_the_shipped_files() -> None:
    update = ingest([DATA / "search_update.ris"])
    assert (len(update.records), update.rejected, update.notes) == (30, (), ())
    gold = ingest([DATA / "gold_records.jsonl"])
    # Two papers could not be identified and have no title; three have a title only.
    assert (len(gold.records), gold.sources[0].without_abstract) == (34, 3)
    assert [dict(item.raw)["key"] for item in gold.rejected] == ["balasubramanian-2012", "roberts-2018"]


def test_a_file_without_records_is_noted(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("title,abstract\n")
    found = ingest([tmp_path / "none.csv"])
    assert found.notes == (Note("none.csv", "contains no records"),)
    assert str(found.notes[0]) == "none.csv: contains no records"
    assert found.sources[0].read == 0


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.ris").write_text(RIS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MechtagError, match=r"missing\.ris: no such file or folder"):
        ingest([tmp_path / "missing.ris"])
    with pytest.raises(MechtagError, match="empty: the folder contains no files"):
        ingest([tmp_path / "empty"])
    with pytest.raises(MechtagError, match=r"a\.ris: the file is listed more than once"):
        ingest([tmp_path, tmp_path / "a.ris"])


def test_results_of_an_earlier_run_in_the_folder_are_skipped_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a.ris").write_text(RIS)
    call("ingest", folder, "-o", folder / "records.parquet")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for sources in ([folder], sorted(folder.iterdir())):
        status, _, messages = call("ingest", *sources, "-o", folder / "records.parquet")
        assert status == 0
        for name in ("ingest.json", "records.parquet", "rejected.jsonl"):
            assert f"note: {name}: not read, because an earlier run of 'mechtag ingest' wrote this file" in messages
        assert (folder / "records.parquet").read_bytes() == before["records.parquet"]
        assert (folder / "rejected.jsonl").read_bytes() == before["rejected.jsonl"]
    # A different name, or a folder that is not read.
    for output in (folder / "more.parquet", folder / "out/records.parquet", folder / "out/records.parquet"):
        output.parent.mkdir(exist_ok=True)
        assert "2 records kept, 1 rejected" in call("ingest", folder, "-o", output)[2]
    with pytest.raises(
        MechtagError, match=r"ingest\.json: an earlier run of 'mechtag ingest' wrote this file; pass the"
    ):
        ingest([folder / "ingest.json"])


def test_tables_and_files_that_only_look_like_results_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.ris").write_text(RIS)
    call("ingest", tmp_path / "a.ris", "-o", tmp_path / "records.parquet")
    table = tmp_path / "records.parquet"
    # Without the exports it was made from, a table is a source, which is not overwritten.
    assert len(ingest([table]).records) == 2
    status, _, message = call("ingest", table, "-o", table)
    assert (status, "would be overwritten, but this command reads it" in message) == (1, True)
    (tmp_path / "b.csv").write_text(CSV)
    assert [source.file for source in ingest([table, tmp_path / "b.csv"]).sources] == ["records.parquet", "b.csv"]
    (tmp_path / "ingest.json").write_text('{\n "title": "A paper"\n}')
    assert [source.file for source in ingest([tmp_path]).sources][2:] == [
        "ingest.json",
        "records.parquet",
        "rejected.jsonl",
    ]
