"""Test that a coded paper's sentence, used as an example of a label, never helps to score this paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import ProjectPath, TrainSettings
from mechtag.models.features import Definitions
from mechtag.pipeline.annotations.coded_records import Exemplar, all_exemplars, write_exemplars
from mechtag.training import baselines
from mechtag.training.baselines import Bench, tfidf
from mechtag.training.dataset import NO_DOCUMENT, Corpus, build_corpus
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import fit_folds, fit_heads
from tests.support.toy import WordEncoder, fruit_documents, fruit_project

SETTINGS = TrainSettings()
PAPER = 3
FOLD = np.arange(40) % SETTINGS.folds
# Two sentences with a word that occurs nowhere else, because words that occur only once are not learned.
TEXTS = ("quince apple", "quince cider")


def made(
    fruit: Codebook, encoder: WordEncoder, definitions: Definitions, exemplars: list[Exemplar], count: int = 40
) -> Corpus:
    return build_corpus(fruit_documents(count), exemplars, fruit.keys, encoder, definitions)


@pytest.fixture
def examples() -> list[Exemplar]:
    name = fruit_documents()[PAPER].record_id
    return [Exemplar(id=text, text=text, labels=("apple",), record_id=name) for text in TEXTS]


@pytest.fixture
def corpus(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, examples: list[Exemplar]
) -> Corpus:
    return made(fruit, word_encoder, fruit_definitions, examples)


@pytest.fixture
def without(fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions) -> Corpus:
    return made(fruit, word_encoder, fruit_definitions, [])


def test_the_heads_of_the_fold_of_its_paper_do_not_know_an_example(corpus: Corpus, without: Corpus) -> None:
    for held_out in range(SETTINGS.folds):
        heads, other = (fit_heads(each, FOLD != held_out, SETTINGS) for each in (corpus, without))
        is_own = held_out == FOLD[PAPER]
        assert ("quince" in heads.words.terms) == (not is_own)
        assert np.array_equal(heads.weights, other.weights) == is_own


def test_out_of_fold_scores_of_its_paper_are_those_of_heads_without_the_example(
    corpus: Corpus, word_encoder: WordEncoder, fruit_definitions: Definitions
) -> None:
    trainer = FrozenTrainer(word_encoder, fruit_definitions)
    found = fit_folds(corpus, trainer, FOLD, np.ones(corpus.n_documents, bool), SETTINGS, 1)
    assert ["quince" in heads.words.terms for _, heads in found] == [held_out != FOLD[PAPER] for held_out in range(5)]


def test_a_smaller_corpus_keeps_an_example_only_with_its_paper(corpus: Corpus) -> None:
    everything = np.ones(corpus.n_documents, bool)
    assert corpus.keep(everything).texts == corpus.texts
    others = everything.copy()
    others[0] = False
    fewer = corpus.keep(others)
    assert set(TEXTS) <= set(fewer.texts)
    assert set(fewer.taken_from) == {NO_DOCUMENT, PAPER - 1}
    left = corpus.without(PAPER)
    assert not set(TEXTS) & set(left.texts)
    assert set(left.taken_from) == {NO_DOCUMENT}


def test_word_classifiers_do_not_learn_an_example_for_its_own_paper(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, examples: list[Exemplar],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    learned = list[set[str]]()

    class Noted(type(baselines._vectorizer())):  # type: ignore[misc]
        def fit_transform(self, texts: list[str]) -> object:
            learned.append(set(texts))
            return super().fit_transform(texts)

    monkeypatch.setattr(baselines, "_vectorizer", lambda: Noted(min_df=1))
    coded, gold = fruit_documents(), [replace(each, record_id=f"gold:{each.record_id}") for each in fruit_documents(8)]
    settings = fruit_project(tmp_path, fruit)
    corpus = build_corpus([*coded, *gold], examples, fruit.keys, word_encoder, fruit_definitions)
    trainer = FrozenTrainer(word_encoder, fruit_definitions)
    bench = Bench(settings, fruit, word_encoder, trainer, examples, coded, gold, corpus)
    tfidf(bench)
    knows = [set(TEXTS) <= texts for texts in learned]
    assert knows == [held_out != bench.fold[PAPER] for held_out in range(settings.train.folds)] + [True]


def test_other_labels_of_a_sentence_of_a_paper_are_not_judged(corpus: Corpus, fruit: Codebook) -> None:
    targets = corpus.unit_targets[corpus.document == NO_DOCUMENT]
    np.testing.assert_array_equal(targets, [[np.nan, 1, np.nan, np.nan]] * 2)


def test_an_example_of_a_paper_that_is_not_trained_on_is_left_out(
    fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions, examples: list[Exemplar]
) -> None:
    found = made(fruit, word_encoder, fruit_definitions, examples, count=PAPER)
    assert not set(TEXTS) & set(found.texts)


def test_examples_are_read_next_to_invented_sentences(
    tmp_path: Path, fruit: Codebook, examples: list[Exemplar]
) -> None:
    invented = [Exemplar(id="e", text="pear perry", labels=("pear",))]
    paths = {name: ProjectPath(str(tmp_path / f"{name}.jsonl")) for name in ("exemplars", "examples")}
    settings = SETTINGS.model_copy(update=paths)
    write_exemplars(Path(paths["exemplars"]), invented)
    assert all_exemplars(settings, fruit.keys) == invented
    write_exemplars(Path(paths["examples"]), examples)
    assert all_exemplars(settings, fruit.keys) == [*invented, *examples]
    lines = [json.dumps({"id": "x", "text": "a", "labels": ["grape"], "record_id": "r"})]
    Path(paths["examples"]).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(MechtagError, match="grape"):
        all_exemplars(settings, fruit.keys)
