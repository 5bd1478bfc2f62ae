"""Compute predictions for the learning curve, with models trained on subsets of the coded papers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mechtag.core.arrays import Index, Mask
from mechtag.core.codebook import Codebook
from mechtag.core.records import Prediction
from mechtag.core.settings import Settings
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.trainers import FrozenTrainer, Progress
from mechtag.training.heads import assign_folds, cross_calibrate, held_out_scores
from mechtag.training.train import predictions_of, read_material

SHARES = (0.25, 0.5, 0.75, 1.0)


def learning_curve(
    settings: Settings, codebook: Codebook, on_progress: Progress = lambda _: None
) -> dict[int, list[Prediction]]:
    """Tag all coded papers out of fold, with models trained on subsets of the coded papers.

    A model that tags a fold is trained on a subset of the papers in the other folds: a quarter, half, three quarters or
    all of them (``SHARES``). Each subset is contained in the next larger subset. The folds are the same as in training.
    Each model is also trained on the exemplars. The calibration and the thresholds of a model are fitted on the same
    papers as the model. The encoder is never fine-tuned, whatever trainer the settings name.

    Parameters
    ----------
    on_progress
        Called with 1 after each subset.

    Returns
    -------
    dict
        Predictions, keyed by the number of papers on which the models were trained. This number is the mean over folds,
        rounded.

    Raises
    ------
    MechtagError
        If an annotation file is invalid or has too few annotations to train on, or if the encoder is missing.
    """
    coded, encoder, definitions, corpus = read_material(settings, codebook)
    added = sum(record.added for record in coded)
    fold = assign_folds(
        corpus.document_targets[:, 0], settings.train.folds, settings.seed, added, corpus.source, corpus.hard
    )
    record_ids = [row.record.record_id for row in coded]
    curve = {}
    # Not fine-tuned, because that would take one fine-tuning run per subset and fold.
    for share, part in parts(corpus, fold, settings.seed).items():
        papers = round(float(np.mean([(part & (fold != held_out)).sum() for held_out in np.unique(fold)])))
        curve[papers] = _tag(
            corpus,
            FrozenTrainer(encoder, definitions),
            fold,
            part,
            settings,
            codebook,
            record_ids,
            f"learning-{share}",
        )
        on_progress(1)
    return curve


def parts(corpus: Corpus, fold: Index, seed: int) -> Mapping[float, Mask]:
    """Draw the training papers for each point of the learning curve at random.

    From each fold, a proportion of the relevant papers and the same proportion of the irrelevant papers are drawn, at
    least one of each.

    Returns
    -------
    dict
        Masks of the drawn papers, keyed by the proportion; see `SHARES`.
    """
    generator = np.random.default_rng(seed)
    relevant = corpus.document_targets[:, 0]
    drawn = {share: np.zeros(len(fold), dtype=bool) for share in SHARES}
    for number in np.unique(fold):
        for kind in np.unique(relevant):
            rows = generator.permutation(np.flatnonzero((fold == number) & (relevant == kind)))
            for share, part in drawn.items():
                part[rows[: int(np.ceil(share * len(rows)))]] = True
    return drawn


def _tag(
    corpus: Corpus,
    trainer: FrozenTrainer,
    fold: Index,
    part: Mask,
    settings: Settings,
    codebook: Codebook,
    record_ids: list[str],
    name: str,
) -> list[Prediction]:
    scores = held_out_scores(corpus, trainer, fold, part, settings.train, settings.seed)
    made: list[Prediction] = []
    for rows, pooled, calibration in cross_calibrate(corpus, scores.documents, fold, settings.train, part):
        made += predictions_of([record_ids[row] for row in rows], codebook, pooled, calibration, name)
    return made
