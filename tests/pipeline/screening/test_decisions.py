"""Test that reviewers' decisions are read from tables, coded records and JSON Lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_jsonl
from mechtag.core.records import Coding, Record
from mechtag.pipeline.screening.decisions import read_judgements

RECORDS = [
    Record(
        record_id=f"text:{number}", title=f"Paper {number}", raw=(("id", str(10 + number)), ("key", f"roe-{number}"))
    )
    for number in range(4)
]


def written(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_and_order_follow_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "record_id,decision\ntext:2,1\ntext:0,0\ntext:1,\n")
    found = read_judgements(path, "relevant")
    assert found.labels(RECORDS).tolist() == pytest.approx([0, np.nan, 1, np.nan], nan_ok=True)
    assert found.order(RECORDS).tolist() == [2, 0]


@pytest.mark.parametrize(
    "text",
    [
        "id,label\n12,1\n10,0\n",
        "key,included\nroe-2,included\nroe-0,Excluded\n",
        "record_id;relevant\ntext:2;YES\ntext:0;no\n",
        "record_id\trelevant\ntext:2\ttrue\ntext:0\tfalse\n",
        "\ufeffrecord_id,edible\r\ntext:2,1\r\ntext:0,0\r\n",
        'comment,record_id,relevant\n"a, ""quoted""\nname",text:2,1\nb,text:0,0\n',
    ],
)
def test_columns_and_words_that_people_use(tmp_path: Path, text: str) -> None:
    found = read_judgements(written(tmp_path, text), "edible").labels(RECORDS)
    assert found.tolist() == pytest.approx([0, np.nan, 1, np.nan], nan_ok=True)


def test_rows_of_the_coding_contract(tmp_path: Path) -> None:
    def row(name: str, label: str, value: int | None) -> Coding:
        return Coding.model_validate(
            {"record_id": name, "coder": "a", "label": label, "value": value, "basis": "abstract"}
        )

    path = tmp_path / "codings.jsonl"
    write_jsonl(path, [row("text:2", "edible", 1), row("text:2", "apple", 0), row("text:1", "edible", None)])
    assert read_judgements(path, "edible").labels(RECORDS)[[1, 2]].tolist() == pytest.approx([np.nan, 1], nan_ok=True)


def test_coded_records_say_whether_they_are_relevant(tmp_path: Path) -> None:
    rows = [{"key": "roe-1", "relevant": True, "x": "\u2028"}, {"key": "roe-3", "relevant": False}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert read_judgements(written(tmp_path, text, "c.jsonl"), "edible").order(RECORDS).tolist() == [1, 3]


def test_gzipped_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"id,label\n13,1\n"))
    assert read_judgements(path, "edible").order(RECORDS).tolist() == [3]


def test_a_decision_after_an_empty_cell_counts_and_an_empty_cell_after_a_decision_does_not(tmp_path: Path) -> None:
    path = written(tmp_path, "record_id,value\ntext:0,\ntext:1,0\ntext:0,1\ntext:1,\ntext:1,0\n")
    found = read_judgements(path, "edible")
    assert found.labels(RECORDS)[:2].tolist() == [1, 0]
    assert found.order(RECORDS).tolist() == [1, 0]


def test_decisions_on_other_records_are_named(tmp_path: Path) -> None:
    found = read_judgements(written(tmp_path, "record_id,value\ntext:1,1\ntext:9,0\ntext:8,\n"), "edible")
    assert found.unknown(RECORDS) == ["text:9"]
    assert found.order(RECORDS).tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("record_id,decision\n", "contains no decisions on 'edible'"),
        ("paper name,decision\n10.1/x,1\n", "line 2: no column identifies the record.*found: paper name, decision"),
        ("record_id,verdict\ntext:1,1\n", "line 2: no column contains the decision"),
        ("record_id,decision\ntext:1,2\n", "line 2, column decision: '2' is not allowed here"),
        ("record_id,decision\ntext:1,perhaps\n", "'perhaps' is not allowed here; write yes"),
        (
            "record_id,decision\n,1\n",
            "line 2: the record is not identified; fill in one of these columns: record_id, key",
        ),
        (
            "record_id,decision\ntext:1,1\ntext:2,0\ntext:1,0\n",
            "line 4: the decision on 'text:1' is 0 here, but 1 at .*line 2",
        ),
        ("record_id,decision\ntext:1,1,0\n", "line 2: the row has 3 cells, but the header has 2"),
        ("record_id,decision\ntext:1\n", "line 2: the row has 1 cell, but the header has 2"),
        ('record_id,decision\n"text:1,1\n', "line 2: a quotation mark is opened but never closed"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read_judgements(written(tmp_path, text), "edible")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is not valid JSON"),
        ("[1]", "line 1: found a value of type list, but expected one JSON object"),
        ('{"key": "a"}', "no column"),
    ],
)
def test_json_lines_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read_judgements(written(tmp_path, text, "labels.jsonl"), "edible")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="no such file"):
        read_judgements(tmp_path / "none.csv", "edible")
    with pytest.raises(MechtagError, match="no such file"):
        read_judgements(tmp_path / "none.csv.gz", "edible")
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(b"record_id,decision\n")[:-4])
    with pytest.raises(MechtagError, match="the archive is damaged or truncated"):
        read_judgements(broken, "edible")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"%PDF-1.7\n")
    with pytest.raises(MechtagError, match="a binary file, not text"):
        read_judgements(binary, "edible")


def test_decisions_that_fit_no_record_or_two(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="none of the 1 records in this file is among the 4 records"):
        read_judgements(written(tmp_path, "id,label\n99,1\n"), "edible").labels(RECORDS)
    twins = [*RECORDS, RECORDS[0].model_copy(update={"record_id": "text:9"})]
    with pytest.raises(MechtagError, match="'10' belongs to two records"):
        read_judgements(written(tmp_path, "id,label\n10,1\n"), "edible").labels(twins)
