"""Tag coded papers and variations of their texts, to test whether the predictions stay the same.

A paper is tagged only by models that were not trained on this paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mechtag.core.codebook import Codebook
from mechtag.core.records import Prediction, Record
from mechtag.core.settings import Settings
from mechtag.models.tagger import Tagger
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.reading.text.variations import AS_IT_IS, VARIATIONS, vary
from mechtag.pipeline.tagging.predict import predict
from mechtag.training.finetuning.trainers import Progress, make_trainer
from mechtag.training.heads import assign_folds, cross_calibrate, fit_folds, score_folds
from mechtag.training.train import read_material


def tag_varied(
    settings: Settings, codebook: Codebook, *, work: Path | None = None, on_progress: Progress = lambda _: None
) -> dict[str, list[Prediction]]:
    """Tag each coded paper, and each variation of its text, with a model that was not trained on the paper.

    The papers of each fold are tagged by a model that was trained on the other folds. The folds, the calibration and
    the thresholds are the same as for the out-of-fold predictions that training writes. Varied texts are cleaned and
    split into sentences like the texts of search exports.

    Parameters
    ----------
    work
        Folder for checkpoints, from which interrupted fine-tuning resumes.
    on_progress
        Called with 1 after each fold.

    Returns
    -------
    dict
        Predictions without evidence, keyed by the name of the variation. The key ``AS_IT_IS`` contains the predictions
        for the unchanged texts. If a variation does not change the text of a paper, the predictions for the
        variation do not include this paper.

    Raises
    ------
    MechtagError
        If an annotation file is invalid or has too few annotations to train on, or if the encoder is missing.
    """
    made: dict[str, list[Prediction]] = {name: [] for name in (AS_IT_IS, *VARIATIONS)}
    for records, tagger in fold_taggers(settings, codebook, work=work):
        for name, predictions in tag_fold(records, tagger, settings).items():
            made[name] += predictions
        on_progress(1)
    return made


def fold_taggers(
    settings: Settings, codebook: Codebook, *, work: Path | None = None
) -> Iterator[tuple[list[Record], Tagger]]:
    """Yield the coded records of each fold, with a tagger trained on the other folds."""
    coded, encoder, definitions, corpus = read_material(settings, codebook)
    added = sum(record.added for record in coded)
    relevant, chosen = corpus.document_targets[:, 0], settings.train
    fold = assign_folds(relevant, chosen.folds, settings.seed, added, corpus.source, corpus.hard)
    everything = np.ones(len(coded), dtype=bool)
    trainer = make_trainer(encoder, codebook, definitions, chosen, work=work)
    fitted = fit_folds(corpus, trainer, fold, everything, chosen, settings.seed)
    scores = score_folds(corpus, fold, fitted).documents
    for (encoded, heads), (rows, _, calibration) in zip(
        fitted, cross_calibrate(corpus, scores, fold, chosen), strict=True
    ):
        tagger = Tagger(codebook, encoded.encoder, encoded.definitions, heads, calibration)
        yield [coded[row].record for row in rows], tagger


def tag_fold(records: Sequence[Record], tagger: Tagger, settings: Settings) -> dict[str, list[Prediction]]:
    """Return the predictions of a tagger for records and for each variation of their texts.

    The result is keyed by the name of the variation, as in `tag_varied`.
    """
    whole = _cleaned(records)
    sentences = list(split(whole, settings.sentences))
    texts = {AS_IT_IS: whole} | {name: vary(name, whole, sentences, settings.seed) for name in VARIATIONS}
    # All variations are tagged together, so that sentences that occur in several variations are encoded once.
    together = [
        record.model_copy(update={"record_id": f"{name}/{record.record_id}"})
        for name, varied in texts.items()
        for record in _cleaned(varied)
    ]
    made: dict[str, list[Prediction]] = {name: [] for name in texts}
    for row in predict(tagger, "invariance", together, split(together, settings.sentences), evidence_sentences=0):
        name, _, record_id = row.record_id.partition("/")
        made[name].append(row.model_copy(update={"record_id": record_id}))
    return made


def _cleaned(records: Sequence[Record]) -> list[Record]:
    return [clean_record(record) for record in records]
