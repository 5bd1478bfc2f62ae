"""Test tagging with Ray and with object stores; a file system in a folder replaces the store."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import mechtag.models.model_folder
import mechtag.pipeline.tagging.start
from mechtag.core.errors import MechtagError
from mechtag.pipeline.tagging.storage import StoragePath, locate
from tests.support.batches import finish, outputs, project, start, toy_model
from tests.support.command import call

COUNT = 63


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechtag.models.model_folder, "load_model", toy_model)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.slow
def test_ray_gives_the_same_as_the_local_engine_even_if_a_worker_is_killed(tmp_path: Path) -> None:
    records, params = project(tmp_path, COUNT)
    assert call("tag", records, "-o", tmp_path / "local", "--project", params.parent)[0] == 0
    expected = outputs(tmp_path / "local")
    log = tmp_path / "log"
    words = ("tag", records, "-o", tmp_path / "ray", "--project", params.parent, "--engine", "ray", "--workers", 2)
    process = start(*words, seconds=1.0, TOY_LOG=str(log))
    deadline = time.monotonic() + 200
    while not log.exists() or log.read_text().count("\n") < 2:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    victim = int(log.read_text().split()[0])
    assert victim != process.pid
    os.kill(victim, signal.SIGKILL)
    status, _, message = finish(process)
    assert status == 0, message
    assert message == ""
    assert outputs(tmp_path / "ray") == expected
    assert len({line.split()[0] for line in log.read_text().splitlines()}) == 3, "two workers, and one in place of one"


@pytest.mark.slow
def test_errors_of_ray_workers_reach_the_user(tmp_path: Path) -> None:
    records, params = project(tmp_path, COUNT)
    with params.open("a", encoding="utf-8") as file:
        file.write("sentences: {spacy_model: no_such_model}\n")
    words = ("tag", records, "-o", tmp_path / "out", "--project", params.parent, "--engine", "ray", "--workers", 1)
    status, _, message = finish(start(*words))
    assert status == 1
    assert message.startswith("mechtag: sentences.spacy_model: the spaCy model 'no_such_model' cannot be loaded")
    assert "Traceback" not in message


def test_a_missing_ray_or_cluster_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, params = project(tmp_path, 1)
    words = ("tag", records, "-o", tmp_path / "out", "--project", params.parent, "--engine", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    status, _, message = call(*words)
    assert status == 1
    assert "the Ray engine needs Ray, which is not installed; run pip install -c constraints.txt -e '.[ray]'" in message
    status, _, message = call(*words, "--resume", "--sentences", records)
    assert status == 1


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fs.FileSystem:
    """Return a file system in a folder, which contains the files whose URIs begin with ``store://``."""
    (tmp_path / "store").mkdir()
    files = fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem())

    def found(text: str | Path) -> StoragePath:
        if not str(text).startswith("store://"):
            return locate(text)
        return StoragePath(files, str(text).removeprefix("store://"), str(text))

    monkeypatch.setattr(mechtag.pipeline.tagging.start, "locate", found)
    monkeypatch.setattr("mechtag.pipeline.tagging.inputs.locate", found)
    return files


def test_records_and_parts_may_lie_in_an_object_store(
    store: fs.FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, params = project(tmp_path, COUNT)
    assert call("tag", records, "-o", tmp_path / "local", "--project", params.parent)[0] == 0
    (tmp_path / "store/in").mkdir()
    (tmp_path / "store/in/records.parquet").write_bytes(records.read_bytes())
    words = ("tag", "store://in/records.parquet", "-o", "store://results/run1", "--project", params.parent)

    really = StoragePath.write

    def write(place: StoragePath, data: bytes) -> None:
        if place.name.endswith("predictions-00003.json"):
            raise KeyboardInterrupt
        really(place, data)

    with monkeypatch.context() as patch:
        patch.setattr(StoragePath, "write", write)
        status, _, message = call(*words)
    assert status == 1
    assert "stopped. 3 of 7 chunks are done; continue the run (add --resume" in message
    status, said, message = call(*words, "--resume")
    assert status == 0, message
    assert "Predictions: the parquet files in store://results/run1/parts" in said

    run = tmp_path / "store/results/run1"
    parts = sorted((run / "parts").glob("*.parquet"))
    assert len(parts) == 7
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert rows == pq.read_table(tmp_path / "local/predictions.parquet").to_pylist()
    assert (run / "summary.json").read_bytes() == (tmp_path / "local/summary.json").read_bytes()
    assert {path.name for path in run.iterdir()} == {"parts", "summary.json"}

    status, _, message = call(*words)
    assert status == 1
    assert "this folder contains an unfinished run, with 7 of 7 chunks done" in message
    time.sleep(0.01)
    (tmp_path / "store/in/records.parquet").write_bytes(records.read_bytes() + b"\0")
    status, _, message = call(*words, "--resume")
    assert status == 1
    assert "source store://in/records.parquet has different content" in message


def test_errors_of_an_object_store_name_the_place(store: fs.FileSystem, tmp_path: Path) -> None:
    _, params = project(tmp_path, 1)
    status, _, message = call("tag", "store://none.parquet", "-o", tmp_path / "out", "--project", params.parent)
    assert status == 1
    assert "store://none.parquet: no such file" in message
    (tmp_path / "store/file").write_text("x")
    with pytest.raises(MechtagError, match=r"store://file/x: .*[Dd]irectory"):
        StoragePath(store, "file/x", "store://file/x").write(b"x")
    place = StoragePath(store, "new/folder/x", "store://x")
    place.write(json.dumps([1]).encode())
    assert place.read() == b"[1]"
    assert StoragePath(store, "nowhere", "store://nowhere").names() == set()
    place.delete()
    place.delete()
    assert not place.exists()
