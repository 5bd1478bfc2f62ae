"""Test the benchmark that damages PDFs, with a few files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import damaged_pdfs
from benchmarks.damaged_pdfs import DAMAGE, attach_damaged, described, pdfs, untiled
from benchmarks.mutations import damaged
from mechtag.core.records import Rejected
from mechtag.pipeline.fulltext.isolated import IsolatedReader, Limits
from mechtag.pipeline.fulltext.reading import ReadFile


def test_files_are_valid_before_they_are_damaged(tmp_path: Path) -> None:
    reasons = []
    with IsolatedReader() as reader:
        for number, data in enumerate(pdfs()):
            (tmp_path / f"{number}.pdf").write_bytes(data)
            found = reader.read(tmp_path / f"{number}.pdf", "a.pdf")
            if isinstance(found, ReadFile):
                assert untiled(found.full_text) == ""
                assert damaged_pdfs.TITLE in found.full_text.text
            else:
                reasons.append(found.reason)
    assert [reason.split(";")[0] for reason in reasons] == [
        "a.pdf is protected by a password",
        "a.pdf is a scan without text (1 of 1 pages have no text)",
    ]


def test_damaged_files_are_all_counted() -> None:
    found = attach_damaged(28, 5)
    assert found.faults == []
    assert found.attached.files == 28
    assert found.attached.rejected
    assert len(found.attached.attached) == 1
    assert described(found)[0].startswith("28 files: 1 attached, ")
    assert sum(found.reasons().values()) == len(found.attached.rejected)


def test_each_kind_of_damage_changes_the_file() -> None:
    data = pdfs()[1]
    for damage in DAMAGE:
        rng = random.Random(1)
        assert any(damaged(data, rng, [damage]) != data for _ in range(5))


def test_faults_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damaged_pdfs, "_BESIDES", -100.0)
    monkeypatch.setattr(damaged_pdfs, "untiled", lambda text: "a hole")
    monkeypatch.setattr(damaged_pdfs, "damaged", lambda data, *_: data)
    monkeypatch.setattr(IsolatedReader, "read", _read)
    found = attach_damaged(2, 1, Limits(seconds=1))
    assert len(found.faults) == 3
    assert found.faults[0].endswith("took 0 seconds")
    assert found.faults[2].endswith(": a hole")
    assert described(found)[-1] == "3 faults"


def _read(self: IsolatedReader, path: Path, name: str) -> ReadFile | Rejected:
    from mechtag.pipeline.fulltext.reading import read_full_text

    return read_full_text(path, name)
