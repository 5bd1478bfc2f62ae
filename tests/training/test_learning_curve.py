"""Test the learning curve: how parts of the papers are drawn, and which figures are computed from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mechtag.core.codebook import Codebook
from mechtag.core.settings import Settings, TrainSettings
from mechtag.evaluation.coded_records import CodedSet, learning_section
from mechtag.evaluation.resampling import draw_resamples
from mechtag.models.features import Definitions
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.training import train
from mechtag.training.dataset import Corpus, build_corpus, coded_documents
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import assign_folds, cross_calibrate, fit, held_out_scores
from mechtag.training.learning_curve import SHARES, learning_curve, parts
from tests.support.toy import WordEncoder, fruit_documents

TRAIN = TrainSettings(folds=3, min_positives=2, exemplars="")


def fold_of(corpus: Corpus) -> np.ndarray:
    return assign_folds(corpus.document_targets[:, 0], TRAIN.folds, seed=1)


def test_parts_are_nested_and_spread_over_folds_and_kinds(fruit_corpus: Corpus) -> None:
    fold, relevant = fold_of(fruit_corpus), fruit_corpus.document_targets[:, 0]
    drawn = parts(fruit_corpus, fold, seed=1)
    assert list(drawn) == list(SHARES)
    assert drawn[1.0].all()
    for smaller, larger in ((0.25, 0.5), (0.5, 0.75), (0.75, 1.0)):
        assert (drawn[smaller] <= drawn[larger]).all()
        assert drawn[smaller].sum() < drawn[larger].sum()
    for number in range(TRAIN.folds):
        for kind in (0, 1):
            cell = (fold == number) & (relevant == kind)
            assert drawn[0.5][cell].sum() == np.ceil(cell.sum() / 2)
            assert drawn[0.25][cell].sum() >= 1
    again = parts(fruit_corpus, fold, seed=1)
    assert all((again[share] == drawn[share]).all() for share in SHARES)
    assert any((parts(fruit_corpus, fold, seed=2)[share] != drawn[share]).any() for share in SHARES)


def test_papers_outside_a_part_have_no_influence(fruit_corpus: Corpus, frozen: FrozenTrainer) -> None:
    fold = fold_of(fruit_corpus)
    part = parts(fruit_corpus, fold, seed=1)[0.5]
    units, documents = fruit_corpus.unit_targets.copy(), fruit_corpus.document_targets.copy()
    outside = np.isin(fruit_corpus.document, np.flatnonzero(~part))
    units[outside, 1:] = 1 - units[outside, 1:]
    documents[~part] = 1 - documents[~part]
    turned = replace(fruit_corpus, unit_targets=units, document_targets=documents)

    def run(corpus: Corpus) -> list[np.ndarray]:
        scores = held_out_scores(corpus, frozen, fold, part, TRAIN, seed=1)
        found = []
        for rows, pooled, calibration in cross_calibrate(corpus, scores.documents, fold, TRAIN, part):
            found += [rows, pooled, calibration.slope, calibration.threshold, calibration.low, calibration.high]
        return found

    for one, other in zip(run(fruit_corpus), run(turned), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    rows = [
        {
            "key": coded.record_id,
            "title": coded.document.title,
            "relevant": coded.relevant,
            "labels": sorted({label for own in coded.sentence_labels or () for label in own}),
            "sentences": [
                {"text": text, "labels": labels}
                for text, labels in zip(coded.document.sentences, coded.sentence_labels or (), strict=True)
            ],
            "coder": "one",
            "basis": "abstract",
            "codebook": "fruit",
        }
        for coded in fruit_documents()
    ]
    for number, row in enumerate(rows):
        row["title"] = f"{row['title']} {number}"
    # Two files, because each is divided into folds on its own.
    (tmp_path / "coded").mkdir()
    for name, own in (("first", rows[:16]), ("second", rows[16:])):
        text = "".join(json.dumps(row) + "\n" for row in own)
        (tmp_path / f"coded/{name}.jsonl").write_text(text, encoding="utf-8")
    return Settings(seed=1, train=TRAIN.model_copy(update={"records": str(tmp_path / "coded")}))


@pytest.mark.slow
def test_all_papers_give_what_training_gives(
    settings: Settings,
    fruit: Codebook,
    fruit_definitions: Definitions,
    word_encoder: WordEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train, "load_encoder", lambda _: word_encoder)
    steps = []
    curve = learning_curve(settings, fruit, steps.append)
    assert steps == [1] * 4
    assert list(curve) == sorted(curve)
    # Two of three folds of 40 papers; numbers are rounded up in each fold and kind of paper.
    assert max(curve) == 27
    coded = read_annotations(settings, fruit.keys, fruit.relevance.key)
    for predictions in curve.values():
        assert {row.record_id for row in predictions} == {row.record.record_id for row in coded}
        assert len(predictions) == 40 * 4

    corpus = build_corpus(coded_documents(coded, fruit.keys), [], fruit.keys, word_encoder, fruit_definitions)
    trained = fit(corpus, FrozenTrainer(word_encoder, fruit_definitions), settings.train, settings.seed)
    expected = {
        coded[row].record.record_id: scores[place]
        for rows, scores, _ in cross_calibrate(corpus, trained.held_out.documents, trained.fold, settings.train)
        for place, row in enumerate(rows)
    }
    for row in curve[27]:
        assert row.score == pytest.approx(expected[row.record_id][fruit.all_keys.index(row.label)])
    few = {(row.record_id, row.label): row.score for row in curve[min(curve)]}
    assert any(few[row.record_id, row.label] != row.score for row in curve[27])

    draws = draw_resamples(40, 50, 50, np.random.default_rng(3))
    measured = learning_section(CodedSet(coded, (), (), learning=curve), fruit.keys, draws)
    assert list(measured) == [f"papers_{papers}" for papers in curve]
    by_row = {(row.record_id, row.label): row.score for row in curve[27]}
    areas = [
        roc_auc_score(
            [record.code(label) for record in coded], [by_row[record.record.record_id, label] for record in coded]
        )
        for label in fruit.keys
        if any(record.code(label) for record in coded)
    ]
    assert measured["papers_27"]["across_auc"]["value"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert measured["papers_27"]["papers"] == 27


@pytest.mark.slow
def test_parts_with_few_codes_are_on_the_curve_too(
    settings: Settings, fruit: Codebook, word_encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "load_encoder", lambda _: word_encoder)
    for least in (12, 1000):
        asked = settings.train.model_copy(update={"min_positives": least})
        curve = learning_curve(settings.model_copy(update={"train": asked}), fruit)
        assert len(curve) == len(SHARES)
        assert max(curve) == 27
        assert all(len(predictions) == 40 * 4 for predictions in curve.values())
