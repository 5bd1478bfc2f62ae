"""Compare the ROC AUC that ``mechtag train`` prints for few coded records with the ROC AUC on other records.

``python -m benchmarks.few_codes`` draws relevant records from the sets of ``benchmarks.codebooks``, with the codes of
whole papers only, and writes ``docs/benchmarks/few_codes.json`` and its section of ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.metrics import roc_auc_score

from benchmarks.codebook_sets import load_sets
from benchmarks.codebooks import PAPERS, encode
from benchmarks.publish import publish, result
from mechtag.core.arrays import Array, Mask
from mechtag.core.settings import TrainSettings, load_settings
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import aligned, assign_folds, fit_heads, score_folds, score_texts, score_wholes
from mechtag.training.train import load_encoder

SIZES = (8, 12, 16, 20)
# Maximum number of other records to measure on, and minimum number of positive and of negative codes for a ROC AUC.
REST, _FEWEST = 100, 2
METRICS = ("on other records", "without the shift", "with the shift")

TEXT = """## Accuracy that training prints with few coded records

The ROC AUC of labels that `mechtag train` prints, and that `mechtag retrain` compares, is measured out of fold. This
table compares it with the ROC AUC that the model of all coded records reaches *on other records* of the same codebook,
up to {rest}. The records that are coded are relevant ones, drawn at random and coded as whole papers. *With the shift*
is what mechtag does: it shifts the intercepts of the labels so that out-of-fold scores from different folds can be
compared ([why](retraining.md#with-a-few-coded-records)); *without the shift* is what it would print otherwise. Figures
are means over {draws} draws and over the labels of which both kinds occur at least twice among the drawn records and
among the other records; *labels* counts these."""


def drawn(relevant: Mask, size: int, seed: int) -> tuple[Mask, Mask]:
    """Return masks of ``size`` relevant records to train on and at most `REST` other relevant records to test on."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(relevant))
    chosen, rest = np.zeros(len(relevant), dtype=bool), np.zeros(len(relevant), dtype=bool)
    chosen[rows[:size]] = True
    rest[rows[size : size + REST]] = True
    return chosen, rest


def values(corpus: Corpus, frozen: FrozenTrainer, chosen: Mask, settings: TrainSettings) -> list[tuple[float, ...]]:
    """Return three ROC AUCs, in the order of `METRICS`, for each label that has enough positive and negative codes.

    Parameters
    ----------
    chosen
        Mask of the training records. The first ROC AUC is measured on all other records of the corpus. The other two
        are measured on the training records, out of fold.
    """
    own = corpus.keep(chosen)
    fold = assign_folds(own.document_targets[:, 0], settings.folds, 0, source=own.source, hard=own.hard)
    learned = [fold != held_out for held_out in range(settings.folds)]
    heads = [fit_heads(own, rows, settings) for rows in learned]
    encoded = frozen.encode(own, chosen, 0)
    every = [
        score_folds(own, fold, [(encoded, each) for each in made]).documents
        for made in (heads, aligned([own] * len(heads), heads, learned))
    ]
    model = fit_heads(corpus, chosen, settings)
    relevance = score_wholes(corpus, model, np.ones(corpus.n_documents, dtype=bool))
    found = corpus.score_documents(relevance, score_texts(corpus, model, np.ones(len(corpus.texts), dtype=bool)))
    pairs = [(corpus.document_targets[~chosen], found[~chosen]), *((own.document_targets, each) for each in every)]
    rows = [
        tuple(_auc(codes[:, column], scores[:, column]) for codes, scores in pairs)
        for column in range(1, found.shape[1])
    ]
    return [row for row in rows if not np.isnan(row).any()]


def _auc(codes: Array, scores: Array) -> float:
    judged = ~np.isnan(codes)
    few = min((codes == 1).sum(), (codes == 0).sum()) < _FEWEST
    return np.nan if few else float(roc_auc_score(codes[judged], scores[judged]))


def main() -> None:
    """Draw records, train models on them, and publish the mean ROC AUCs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_codes", description=__doc__)
    parser.add_argument("--draws", type=int, default=10, help="number of draws of each size")
    draws = parser.parse_args().draws
    settings = load_settings()
    transformer = load_encoder(settings)
    results: list[dict[str, Any]] = []
    console = Console(soft_wrap=True)
    for coded in load_sets():
        encoded = encode(coded, transformer)
        corpus = encoded.corpora[PAPERS]
        frozen = FrozenTrainer(encoded.encoder, corpus.definitions)
        relevant = corpus.document_targets[:, 0] == 1
        for size in SIZES:
            rows: list[tuple[float, ...]] = []
            for seed in range(draws):
                chosen, rest = drawn(relevant, size, seed)
                kept = chosen | rest
                rows += values(corpus.keep(kept), frozen, chosen[kept], settings.train)
            if rows:
                dataset = f"{coded.name}, {size} coded records"
                means = dict(zip(METRICS, np.mean(rows, axis=0).tolist(), strict=True))
                results += [result(dataset, "mechtag train", metric, value) for metric, value in means.items()]
                results.append(result(dataset, "mechtag train", "labels", len(rows)))
                console.print(dataset, means, len(rows))
    text = TEXT.format(rest=REST, draws=draws)
    publish("few_codes", f"python -m benchmarks.few_codes --draws {draws}", results, text, versions=("scikit-learn",))


if __name__ == "__main__":
    main()
