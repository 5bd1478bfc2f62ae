"""Test that files with values that Python cannot represent, or with deeply nested or repeated content, are refused."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json
from mechtag.core.parquet import RECORDS, RecordTable, read_records
from mechtag.core.settings import load_settings
from mechtag.models.encoder import pack_tuned, unpack_tuned
from mechtag.models.model_folder import _MOST_TEXT, _check_values
from mechtag.pipeline.annotations.coded_records import CodedRecord, json_lines
from mechtag.pipeline.annotations.versions import HISTORY, read_history
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.screening.decisions import read_judgements
from tests.support.paths import ROOT

DEEP = "[" * 100_000
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def test_deeply_nested_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"a": {DEEP}')
    with pytest.raises(MechtagError, match="not readable as JSON: maximum recursion depth"):
        read_json(path)
    with pytest.raises(MechtagError, match="line 1 is not valid JSON"):
        list(json_lines(path, CodedRecord, "records"))
    with pytest.raises(MechtagError, match="line 1 is not valid JSON"):
        read_judgements(path, "relevant")
    (tmp_path / HISTORY).write_text(path.read_text())
    with pytest.raises(MechtagError, match="line 1: the line is not a JSON object"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 5000000000", "seed: Input should be less than 4294967296"),
        ("train: {regularisation: .inf}", "train.regularisation: Input should be a finite number"),
        ("retrain: {bootstrap: 999999999999}", "retrain.bootstrap: Input should be less than or equal to"),
        ("dedupe: {window: 99999999999999999999}", "dedupe.window: Input should be less than or equal to"),
        ('codebook: "a\\0b"', "codebook: the path contains characters that are not allowed"),
        ('codebook: "\\ud800"', "codebook: the path contains characters that are not allowed"),
        ("a: !!timestamp 99999-01-01", "not readable as YAML"),
        (f"a: {DEEP}", "not readable as YAML"),
        (LAUGHS, "the file has more than 100,000 values after its aliases are expanded"),
        ("sources: &a {b: *a}", "the file has more than 100,000 values after its aliases are expanded"),
    ],
)
def test_settings(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(MechtagError, match=message):
        load_settings(tmp_path / "params.yaml")


def test_aliases_in_a_codebook(tmp_path: Path) -> None:
    text = (ROOT / "data/annotated/codebook.yaml").read_text(encoding="utf-8")
    (tmp_path / "codebook.yaml").write_text(text + "source_of_laughs:\n" + LAUGHS.replace("\n", "\n  "))
    with pytest.raises(MechtagError, match=r"values after its aliases are expanded|not readable as YAML"):
        load_codebook(tmp_path / "codebook.yaml")
    (tmp_path / "params.yaml").write_text("sources: &s {a: x}\nretrain: {margins: {kappa: &m 0.1, auc: *m}}\n")
    assert load_settings(tmp_path / "params.yaml").retrain.margins == {"kappa": 0.1, "auc": 0.1}


_NO_TEXT = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([10**8], pa.date32()),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([0], pa.timestamp("us", "No/Where")),
        _NO_TEXT,
    ],
    ids=["date", "time", "zone", "text"],
)
def test_parquet_values_that_python_cannot_hold(tmp_path: Path, column: Any) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"title": ["a"], "notes": column}), path)
    with pytest.raises(MechtagError, match=r"a\.parquet: the file is not readable as parquet"):
        ingest([path])


def _records(**values: Any) -> pa.Table:
    whole = {**dict.fromkeys(RECORDS.names), "record_id": "doi:10.1/a", "title": "T", "abstract": "A", "raw": "[]"}
    whole |= {"authors": [], "keywords": [], "source_file": "a", "source_index": 1, **values}
    return pa.table({name: [value] for name, value in whole.items()}, schema=RECORDS)


def test_table_of_records_with_text_that_is_not_utf8(tmp_path: Path) -> None:
    pq.write_table(_records().set_column(1, "title", _NO_TEXT), tmp_path / "a.parquet")
    with pytest.raises(MechtagError, match="not readable as parquet"):
        read_records(tmp_path / "a.parquet")
    with RecordTable(tmp_path / "a.parquet", "a.parquet") as table:
        with pytest.raises(MechtagError, match="not readable as parquet"):
            table.read(0, 1)
        with pytest.raises(MechtagError, match="not readable as parquet"):
            list(table.rows(["title"]))


@pytest.mark.parametrize("raw", ["{", DEEP, "[1]", '[["a"]]', '[[["a"], 2]]', "[[1, 2]]", f'[["a", {"9" * 5000}]]'])
def test_fields_of_a_record_that_are_not_pairs(tmp_path: Path, raw: str) -> None:
    pq.write_table(_records(raw=raw), tmp_path / "a.parquet")
    with pytest.raises(MechtagError, match=r"row 1: the value in column 'raw' is not a JSON list of names and values"):
        read_records(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"heads.weights": np.array([[np.nan]])}, "'heads.weights' contains values that are not finite"),
        ({"heads.weights": np.array([[True]])}, "'heads.weights' contains values that are not finite"),
    ],
)
def test_weights_of_a_model(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        _check_values(tmp_path, arrays)


_TERMS = zlib.compress(b"apple\npear")


@pytest.mark.parametrize(
    ("stored", "weights"),
    [
        (b"apple\npear", 2),  # not compressed
        (_TERMS[:-1], 2),  # truncated, although all terms can be read
        (_TERMS[:8], 0),
        (_TERMS[:-1] + b"x", 2),  # the checksum is wrong
        (zlib.compress(b"\xff"), 1),
        (_TERMS, 1),
        (_TERMS, 3),
        (b"", 0),
        # One term that is longer than all terms of any model together.
        (zlib.compress(b"a" * (_MOST_TEXT + 1)), 1),
    ],
)
def test_terms_of_a_model(tmp_path: Path, stored: bytes, weights: int) -> None:
    def check(own: bytes, idf: int) -> None:
        _check_values(tmp_path, {"words.terms": np.frombuffer(own, np.uint8), "words.idf": np.ones(idf)})

    check(_TERMS, 2)
    check(zlib.compress(b""), 0)
    with pytest.raises(
        MechtagError, match=r"'words.terms' does not contain one term per weight, so the file is damaged"
    ):
        check(stored, weights)


def test_weights_of_a_tuned_encoder() -> None:
    data = pack_tuned({"layer": np.array([np.inf], dtype=np.float16)})
    with pytest.raises(MechtagError, match="the weights 'layer' contain values that are not finite numbers"):
        unpack_tuned(data, "encoder.safetensors")
