"""Test how papers of several files are assigned to folds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from mechtag.core.codebook import Codebook
from mechtag.core.settings import Settings
from mechtag.models.features import Definitions
from mechtag.pipeline.annotations.coded_records import read_coded
from mechtag.training.baselines import Bench
from mechtag.training.dataset import build_corpus, coded_documents
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import assign_folds, fit
from tests.support.paths import ROOT
from tests.support.toy import WordEncoder, fruit_documents

CODED = ROOT / "data/annotated/coded"
SEED, FOLDS = 2021, 5


def dealt(folder: Path) -> dict[str, int]:
    """Return the fold that training assigns to each paper in a folder of coded records."""
    keys = sorted({name for row in _rows(folder) for name in row["mechanisms"]})
    documents = coded_documents(read_coded(folder, keys), keys)
    _, source = np.unique([document.source for document in documents], return_inverse=True)
    relevant = np.array([float(document.relevant) for document in documents])
    hard = np.array([document.hard is True for document in documents])
    fold = assign_folds(relevant, FOLDS, SEED, 0, source, hard)
    return {document.record_id: int(number) for document, number in zip(documents, fold, strict=True)}


def _rows(folder: Path) -> list[dict[str, list[str]]]:
    return [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]


def _made_up(folder: Path, name: str, papers: int) -> None:
    lines = (CODED / "coded_records.jsonl").read_text(encoding="utf-8").splitlines()[:papers]
    rows = [{**json.loads(line), "doi": None, "title": f"{name} {number}"} for number, line in enumerate(lines)]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_first_168_papers_keep_their_folds_whatever_is_added(tmp_path: Path) -> None:
    (tmp_path / "coded_records.jsonl").write_bytes((CODED / "coded_records.jsonl").read_bytes())
    first = dealt(tmp_path)
    rows = [json.loads(line) for line in (CODED / "coded_records.jsonl").read_text(encoding="utf-8").splitlines()]
    relevant = [row["relevant"] for row in rows]
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    # The same folds as without any other file.
    for number, (_, held_out) in enumerate(splitter.split(relevant, relevant)):
        assert [row for row, fold in enumerate(first.values()) if fold == number] == held_out.tolist()
    assert len(first) == 168
    shipped = dealt(CODED)
    assert {name: shipped[name] for name in first} == first
    # Add files that sort before the first one; one of them has too few papers for five folds.
    _made_up(tmp_path, "a_few", 3)
    _made_up(tmp_path, "b_many", 60)
    more = dealt(tmp_path)
    assert len(more) == 168 + 63
    assert {name: more[name] for name in first} == first


def test_each_file_is_dealt_evenly_with_its_hard_papers() -> None:
    shipped = dealt(CODED)
    for name, kinds in (("coded_records_2", 2), ("journal_style", 3)):
        rows = [json.loads(line) for line in (CODED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        coded = read_coded(CODED / f"{name}.jsonl", [label for row in rows for label in row["mechanisms"]])
        counts = np.zeros((kinds, FOLDS), dtype=int)
        known = sorted({(row["relevant"], row["hard"]) for row in rows})
        for row, record in zip(rows, coded, strict=True):
            counts[known.index((row["relevant"], row["hard"])), shipped[record.record.record_id]] += 1
        assert len(known) == kinds
        assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all(), name


def _fold(relevant: list[int], source: list[int], added: int = 0) -> NDArray[np.int64]:
    return assign_folds(np.array(relevant, dtype=float), 3, 0, added, np.array(source))


def test_files_with_too_few_papers_fill_up_the_emptiest_folds() -> None:
    relevant = [1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0]
    fold = _fold(relevant, [0] * 7 + [1] * 2 + [2] * 2 + [3])
    for kind, least in ((1, 2), (0, 2)):
        counts = np.bincount(fold[np.array(relevant) == kind], minlength=3)
        assert counts.min() == least
        assert counts.max() - counts.min() <= 1


def test_small_files_are_spread_over_the_folds_together() -> None:
    fold = _fold([1, 0] * 3, [0, 0, 1, 1, 2, 2])
    assert sorted(fold[::2]) == sorted(fold[1::2]) == [0, 1, 2]
    # If there are fewer papers of a kind than folds, no fold gets two of them.
    fold = _fold([1, 0, 1, 0, 1], [0, 0, 1, 1, 2])
    assert sorted(fold[::2]) == [0, 1, 2]
    assert len(set(fold[1::2])) == 2


def test_papers_that_retraining_added_come_last_whatever_their_source() -> None:
    before = _fold([1, 0] * 6, [0] * 6 + [1] * 6)
    after = _fold([1, 0] * 6 + [1, 1, 0, 1], [0] * 6 + [1] * 6 + [2] * 4, added=4)
    np.testing.assert_array_equal(after[:12], before)
    assert after[12:].tolist() == [0, 1, 0, 2]


def test_baselines_have_the_folds_of_training(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, frozen: FrozenTrainer
) -> None:
    coded = [
        replace(document, source="ab"[number < 24], hard=not document.relevant and number % 8 == 0)
        for number, document in enumerate(fruit_documents())
    ]
    gold = [replace(document, record_id=f"gold:{document.record_id}", source="gold") for document in coded[:6]]
    settings = Settings.model_validate({"seed": 1, "train": {"folds": 3}})
    whole, own = (
        build_corpus(documents, [], fruit.keys, word_encoder, fruit_definitions) for documents in (coded + gold, coded)
    )
    bench = Bench(settings, fruit, word_encoder, frozen, [], coded, gold, whole)
    np.testing.assert_array_equal(bench.fold, fit(own, frozen, settings.train, settings.seed).fold)
