"""Test the benchmark of fine-tuning on toy papers: training, scores, gains and cached runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.coded_records import Figures
from benchmarks.finetuning import (
    FOLDS,
    FROZEN,
    SHOWN,
    TO_JOURNAL,
    TUNED,
    Finished,
    FrozenTop,
    assign,
    cache,
    compute,
    costs,
    load,
    outcome,
    planned,
    results_of,
    samples,
    save,
)
from benchmarks.variants import JOURNAL, Ground, Run
from mechtag.core.codebook import Codebook
from mechtag.core.settings import Settings, TrainSettings, TuningSettings
from mechtag.models.encoder import TransformerEncoder, locate_encoder
from mechtag.models.features import definition_texts
from mechtag.training.finetuning.top_layers import States, TopLayers
from tests.support.toy import fruit_documents, tiny_bert

pytestmark = pytest.mark.usefixtures("one_thread")
TUNING = TuningSettings(epochs=1, learning_rate=1e-2, batch_tokens=256, rank=2)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> tuple[Ground, States]:
    documents = [
        replace(coded, source="synopses" if number < 16 else JOURNAL)
        for number, coded in enumerate(fruit_documents(28))
    ]
    texts = [unit for coded in documents for unit in coded.document.units]
    words = sorted({word for text in [*texts, *definition_texts(fruit)[0]] for word in text.split()})
    encoder = TransformerEncoder(locate_encoder(str(tiny_bert(tmp_path_factory.mktemp("tiny"), words, size=8))))
    states = States(encoder, 1)
    settings = Settings(train=TrainSettings(folds=2, tuning=TUNING))
    top = FrozenTop(states, TopLayers(states, TUNING.rank), low_precision=False)
    return Ground(settings, fruit, top, documents, []), states


def test_the_frozen_top_encodes_as_the_encoder_does(toy: tuple[Ground, States]) -> None:
    ground, states = toy
    texts = ["apple of the garden", "stone"]
    np.testing.assert_allclose(ground.encoder.encode(texts), states.encoder.encode(texts), atol=1e-3)
    anew = States(states.encoder, 1)
    found = FrozenTop(anew, TopLayers(anew, TUNING.rank), low_precision=True).encode(texts)
    assert not np.array_equal(found, ground.encoder.encode(texts))
    np.testing.assert_allclose(found, ground.encoder.encode(texts), atol=0.05)


@pytest.mark.parametrize("trainer", [FROZEN, TUNED])
def test_only_synopses_are_trained_on_and_only_journal_prose_is_scored(
    toy: tuple[Ground, States], trainer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.finetuning.WORK", tmp_path)
    ground, states = toy
    finished = compute(ground, states, 1.5, trainer, TO_JOURNAL, 1)
    journal = ground.sets[JOURNAL]
    assert (assign(ground, TO_JOURNAL, 1) == np.where(journal, 0, -1)).all()
    assert np.isfinite(finished.run.documents[journal]).all()
    assert np.isnan(finished.run.documents[~journal]).all()
    assert (finished.size > 0) is (trainer == TUNED)
    # The codes of the scored papers do not influence their scores.
    blank = {key: 0 for key in ground.codebook.keys}
    hidden = [
        coded if coded.source != JOURNAL else replace(coded, codes=blank, sentence_labels=None)
        for coded in ground.documents
    ]
    again = compute(replace(ground, documents=hidden), states, 1.5, trainer, TO_JOURNAL, 1)
    np.testing.assert_array_equal(again.run.documents, finished.run.documents)
    path = cache(ground, "fast", trainer, TO_JOURNAL, 1)
    save(path, finished)
    read = load(path)
    np.testing.assert_array_equal(read.run.units, finished.run.units)
    assert (read.below, read.fit, read.size) == (1.5, finished.fit, finished.size)


def test_a_cached_run_depends_on_the_codes_and_on_what_is_run(toy: tuple[Ground, States]) -> None:
    ground, _ = toy
    paths = {cache(ground, *key) for key in ((e, t, s, n) for s, n, e, t in planned())}
    assert len(paths) == len(list(planned()))
    other = replace(ground, documents=[*ground.documents[:-1], replace(ground.documents[-1], relevant=False)])
    assert cache(other, "fast", FROZEN, FOLDS, 1) != cache(ground, "fast", FROZEN, FOLDS, 1)


def test_journal_prose_comes_first(toy: tuple[Ground, States]) -> None:
    splits = [split for split, *_ in planned()]
    assert splits == sorted(splits, key=[TO_JOURNAL, FOLDS].index)
    assert list(samples(toy[0], TO_JOURNAL)) == [TO_JOURNAL]
    assert list(samples(toy[0], FOLDS)) == [f"{FOLDS}, all records", f"{FOLDS}, {JOURNAL}", f"{FOLDS}, synopses"]


def figures(value: float, spread: float = 0.0) -> Figures:
    return {metric: value + np.array([0.0, -spread, spread]) for metric in SHOWN}


def test_gains_use_only_the_seeds_that_both_versions_have() -> None:
    runs = {
        (TO_JOURNAL, "fast, frozen"): {1: figures(0.5), 2: figures(0.7)},
        (TO_JOURNAL, "fast, contrastive"): {1: figures(0.6)},
    }
    found = {(row["system"], row["metric"]): row for row in results_of(runs, {TO_JOURNAL: 30})}
    assert found["fast, frozen", "within"]["value"] == pytest.approx(0.6)
    assert found["fast, frozen", "seeds"]["value"] == 2
    gained = found["gain: fast, contrastive instead of frozen", "within"]
    assert gained["value"] == pytest.approx(0.1)
    assert gained["runs"] == found["gain: fast, contrastive instead of frozen", "seeds"]["value"] == 1
    assert not any("accurate" in system for system, _ in found)


def test_the_rule_names_every_condition_that_is_not_met() -> None:
    def rule(journal: float, gain: float, spread: float, seconds: float) -> str:
        runs = {
            (TO_JOURNAL, "fast, frozen"): {1: figures(0.5)},
            (TO_JOURNAL, "fast, contrastive"): {1: figures(0.5 + journal, 0.001)},
            (f"{FOLDS}, all records", "fast, frozen"): {1: figures(0.5)},
            (f"{FOLDS}, all records", "fast, contrastive"): {1: figures(0.5 + gain, spread)},
        }
        nothing = np.zeros((0, 1))
        finished = Finished(Run(nothing, nothing, nothing), 0.0, seconds, 55_000)
        results = results_of(runs, {name: 30 for name, _ in runs})
        return outcome([*results, *costs({"fast": finished}, 6)]).split("`accurate`")[0]

    assert rule(0.0, 0.02, 0.001, 99) == "Conditions that are not met: `fast`: all of this holds. "
    assert "sentence AP on journal prose is lower (-0.010)" in rule(-0.01, 0.02, 0.001, 99)
    assert "the gain in sentence AP is +0.009" in rule(0.0, 0.009, 0.001, 99)
    assert "the gain in sentence AP is +0.020" in rule(0.0, 0.02, 0.03, 99)
    assert "a training takes 6 minutes on two cores" in rule(0.0, 0.02, 0.001, 120)
