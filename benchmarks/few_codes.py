"""Compare the ROC AUC that ``mechtag train`` prints with the ROC AUC on other records, for models from a few codes.

``python -m benchmarks.few_codes`` draws relevant records from the codebooks of ``benchmarks.codebooks``, coded as whole
papers, and prints a line per codebook and number of records, with means over draws and labels:

- ``true``: ROC AUC of the model of all drawn records, on records that were not drawn;
- ``before``, ``after``: out-of-fold ROC AUC on the drawn records, before and after `heads.aligned`.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.codebook_sets import load_sets
from benchmarks.codebooks import PAPERS, encode
from mechtag.core.arrays import Array, Mask
from mechtag.core.settings import TrainSettings, load_settings
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.trainers import FrozenTrainer
from mechtag.training.heads import aligned, assign_folds, fit_heads, score_folds, score_texts, score_wholes
from mechtag.training.train import load_encoder

SIZES = (8, 12, 16, 20)
# Number of records that are not drawn on which the true value is measured, and fewest of each kind for a value.
REST, _FEWEST = 100, 2


def drawn(relevant: Mask, size: int, seed: int) -> tuple[Mask, Mask]:
    """Draw ``size`` relevant records, and at most `REST` other relevant records."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(relevant))
    chosen, rest = np.zeros(len(relevant), dtype=bool), np.zeros(len(relevant), dtype=bool)
    chosen[rows[:size]] = True
    rest[rows[size : size + REST]] = True
    return chosen, rest


def values(corpus: Corpus, frozen: FrozenTrainer, chosen: Mask, settings: TrainSettings) -> list[tuple[float, ...]]:
    """Return the ROC AUC true, before and after for each label whose codes include both kinds.

    Parameters
    ----------
    chosen
        Records that are trained on; the true value is measured on the others.
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
    """Draw records, train and print the values."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_codes", description=__doc__)
    parser.add_argument("--draws", type=int, default=10, help="number of draws of each size")
    parser.add_argument("--sets", nargs="*", help="names of codebooks; by default, all")
    options = parser.parse_args()
    settings = load_settings()
    transformer = load_encoder(settings)
    sys.stdout.write("codebook\trecords\tvalues\ttrue\tbefore\tafter\n")
    for coded in load_sets():
        if options.sets and coded.name not in options.sets:
            continue
        encoded = encode(coded, transformer)
        corpus = encoded.corpora[PAPERS]
        frozen = FrozenTrainer(encoded.encoder, corpus.definitions)
        relevant = corpus.document_targets[:, 0] == 1
        for size in SIZES:
            rows: list[tuple[float, ...]] = []
            for seed in range(options.draws):
                chosen, rest = drawn(relevant, size, seed)
                kept = chosen | rest
                rows += values(corpus.keep(kept), frozen, chosen[kept], settings.train)
            if rows:
                means = "\t".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
                sys.stdout.write(f"{coded.name}\t{size}\t{len(rows)}\t{means}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
