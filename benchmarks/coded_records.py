"""Which way of tagging is best, by cross-validation on the coded records.

The gold standard has no part in this. ``python -m benchmarks.coded_records`` writes
``docs/benchmarks/coded_records.json`` and its section of ``docs/benchmarks.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.calibrations import compare
from benchmarks.publish import ROOT, publish, result
from benchmarks.variants import (
    FEATURES,
    Ground,
    bagged,
    half_coded,
    load_ground,
    out_of_fold,
    with_co_occurrence,
    zero_shot,
)
from evaluation.evidence import rank_evidence
from evaluation.metrics import Judged, Resamples, as_it_is, label_figures, macro, ranking, within_auc
from evaluation.resampling import draw, interval
from models.calibration import probabilities
from training.examples import NO_DOCUMENT, Corpus
from training.fit import assign_folds, cross_calibrate
from training.trainers import Trainer, make_trainer

Array = NDArray[np.float64]
Index = NDArray[np.int64]

SEEDS = (2021, 2022, 2023)
BOOTSTRAP = 1000
TRAINERS = ("full", "lora", "contrastive")
# Tuned weights of each fold, so that a run that was cut short goes on.
WORK = ROOT / "data/work/benchmarks/coded_records"
REFERENCE = "vectors and words"
SHARPNESSES = (0.0, 0.5, 1.0, 2.0, 4.0, 16.0)
# The rule of ARCHITECTURE.md.
DECIDES, LEAST = "sentence AP", 0.01

TEXT = """## What each part of the tagger is worth

Cross-validation by paper on the coded records (training data of the project, no gold standard): five folds, means of
three seeds, 95% intervals bootstrapped over papers. The rule, written down before it was run: `sentence AP` (macro
average precision over sentences) decides; a part is taken when it adds at least 0.01 and the interval of the
difference to *vectors and words*, with the same resamples, lies above 0. `gain` is that difference.
`across` and `within` are those of the accuracy report, over relevant papers; `relevance AUC` and `recall` (at the
threshold set for 0.95 on the other folds), with `spared`, the share of irrelevant papers under that threshold, are
over all. `evidence P@1` is how often the highest sentence of a paper that carries a label was coded for it.
The trainers that tune the encoder ran under the first seed alone, for they take a hundred times as long; their gain is
over *vectors and words* under that seed.

{outcome}
Pooling with one sharpness for all labels, from mean (0) to maximum, and as learnt a label; and calibration, fitted on
the other folds, log loss and Brier score over all coded papers (lower is better), follow in the same table."""


@dataclass(frozen=True)
class Run:
    """Out-of-fold scores of one way of tagging under one seed; see `training.examples.Corpus` for shapes."""

    corpus: Corpus
    fold: Index
    unit_scores: Array


def figures(ground: Ground, run: Run, weight: Array) -> dict[str, Array]:
    """Compute all figures for the papers as they are (first entry) and for each resample of them.

    Parameters
    ----------
    weight : ndarray, shape (resamples, papers)
    """
    weight = np.vstack([np.ones(weight.shape[1]), weight])
    truth = ground.corpus.unit_targets[: len(run.unit_scores)]
    coded = np.flatnonzero((run.corpus.document != NO_DOCUMENT) & ~np.isnan(truth[:, 1]))
    owner, sentences, scores = run.corpus.document[coded], truth[coded, 1:], run.unit_scores[coded, 1:]
    drawn = weight[:, owner]
    precision = [
        ranking(scores[:, column], drawn * sentences[:, column], drawn * (1 - sentences[:, column]))[1]
        for column in range(sentences.shape[1])
    ]
    targets = ground.corpus.document_targets
    pooled, chances, kept = _documents(ground, run)
    relevant = targets[:, 0] == 1
    judged = Judged(
        truth=np.where(relevant[:, None], targets, np.nan)[:, 1:],
        score=pooled[:, 1:],
        probability=chances[:, 1:],
        decided=chances[:, 1:] >= 0.5,
        referred=np.zeros(pooled[:, 1:].shape, dtype=bool),
        threshold=np.full(pooled[:, 1:].shape, 0.5),
    )
    samples = Resamples(weight, judged.truth[None])
    across = label_figures(judged, samples)["roc_auc"]
    positive, negative = weight * relevant, weight * ~relevant
    evidence = rank_evidence(sentences, scores, owner)
    shown = weight[:, evidence.paper]
    return {
        DECIDES: np.mean(precision, axis=0),
        "evidence P@1": (shown * evidence.precision_at_1).sum(axis=1) / shown.sum(axis=1),
        "across": macro(across, ~np.isnan(label_figures(judged, as_it_is(judged.truth))["roc_auc"][0])),
        "within": within_auc(judged, samples),
        "relevance AUC": ranking(pooled[:, 0], positive, negative)[0],
        "recall": (positive * kept).sum(axis=1) / positive.sum(axis=1),
        "spared": (negative * ~kept).sum(axis=1) / negative.sum(axis=1),
    }


def _documents(ground: Ground, run: Run) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Scores and probabilities of papers, each calibrated on the other folds, and whether relevance keeps them."""
    pooled = np.zeros((run.corpus.n_documents, run.unit_scores.shape[1]))
    chances, kept = np.zeros_like(pooled), np.zeros(len(pooled), dtype=bool)
    for rows, scores, calibration in cross_calibrate(run.corpus, run.unit_scores, run.fold, ground.settings.train):
        pooled[rows] = scores
        chances[rows] = probabilities(scores, calibration.slope, calibration.intercept)
        kept[rows] = chances[rows, 0] >= calibration.threshold[0]
    return pooled, chances, kept


def runs(ground: Ground) -> Iterator[tuple[str, Callable[[int], dict[str, Run]]]]:
    """Name each group of ways of tagging, with what scores it under a seed."""

    def deal(corpus: Corpus, seed: int) -> Index:
        folds = ground.settings.train.folds
        return assign_folds(corpus.document_targets[:, 0], folds, seed, source=corpus.source, hard=corpus.hard)

    def of(corpus: Callable[[int], Corpus], trainer: Trainer, names: dict[str, str]) -> Callable[[int], dict[str, Run]]:
        def score(seed: int) -> dict[str, Run]:
            own = corpus(seed)
            fold = deal(own, seed)
            found = out_of_fold(ground, own, trainer, fold, seed)
            return {name: Run(own, fold, found[part]) for part, name in names.items()}

        return score

    def nothing_learnt(seed: int) -> dict[str, Run]:
        fold = deal(ground.corpus, seed)
        return {"definitions alone (zero-shot)": Run(ground.corpus, fold, zero_shot(ground))}

    yield "definitions", nothing_learnt
    parts = {"both": REFERENCE, "vectors": "vectors alone", "words": "words alone (TF-IDF)"}
    yield "shipped", of(lambda _: ground.corpus, ground.frozen, parts)
    for name, corpus in FEATURES.items():
        yield name, of(lambda _, corpus=corpus: corpus(ground), ground.frozen, {"both": name})  # type: ignore[misc]

    def stacked(seed: int) -> dict[str, Run]:
        fold = deal(ground.corpus, seed)
        both = out_of_fold(ground, ground.corpus, ground.frozen, fold, seed)["both"]
        return {
            "with label co-occurrence": Run(ground.corpus, fold, with_co_occurrence(ground, both, fold)),
            "mean of five heads": Run(ground.corpus, fold, bagged(ground, fold, seed)),
        }

    yield "stacked", stacked
    for name in TRAINERS:
        settings = ground.settings.train.model_copy(update={"trainer": name})
        tuning = make_trainer(ground.encoder, ground.codebook, ground.definitions, settings, work=WORK)
        yield f"trainer {name}", of(lambda _: ground.corpus, tuning, {"both": f"trainer {name}"})
    for name, whole in (("half the papers without codes", False), ("half the papers coded as a whole", True)):
        yield name, of(lambda seed, whole=whole: half_coded(ground, seed, whole=whole), ground.frozen, {"both": name})  # type: ignore[misc]


def pooling(ground: Ground, run: Run) -> dict[str, dict[str, float]]:
    """ROC AUC across relevant papers of fixed poolings and of the one learnt a label."""
    targets = ground.corpus.document_targets
    relevant = targets[:, 0] == 1
    columns = targets.shape[1]

    def across(scores: Array) -> dict[str, float]:
        one = np.ones((1, int(relevant.sum())))
        areas = [
            ranking(scores[relevant, column], one * targets[relevant, column], one * (1 - targets[relevant, column]))[0]
            for column in range(1, columns)
        ]
        return {"across": float(np.mean(areas))}

    fixed = {
        f"pooling, sharpness {value:g}": across(run.corpus.pool(run.unit_scores, np.full(columns, value)))
        for value in SHARPNESSES
    }
    return {**fixed, "pooling, sharpness learnt a label": across(_documents(ground, run)[0])}


def measure(ground: Ground) -> tuple[list[dict[str, Any]], str]:
    """Score every way of tagging, and tell the outcome of the rule in words."""
    weight = draw(len(ground.documents), BOOTSTRAP, 1, np.random.default_rng(ground.settings.seed)).weights
    found: dict[str, list[dict[str, Array]]] = {}
    choices: dict[str, list[dict[str, float]]] = {}
    for group, score in track(list(runs(ground)), description="coded records"):
        for seed in SEEDS[:1] if group.startswith("trainer") else SEEDS:
            for name, run in score(seed).items():
                found.setdefault(name, []).append(figures(ground, run, weight))
                if name == REFERENCE:
                    scores = _documents(ground, run)[0]
                    for part in (pooling(ground, run), compare(run.corpus, scores, run.fold)):
                        for choice, values in part.items():
                            choices.setdefault(choice, []).append(values)
    means = {name: {key: np.mean([one[key] for one in own], axis=0) for key in own[0]} for name, own in found.items()}
    results = []
    taken = []
    for name, own in means.items():
        seeds = len(found[name])
        gain = own[DECIDES] - np.mean([one[DECIDES] for one in found[REFERENCE][:seeds]], axis=0)
        shown = {**own, "gain": gain} if name != REFERENCE else own
        for key, values in shown.items():
            low, high, _ = interval(values[1:], weight.shape[1])
            bounds = None if low is None or high is None else (low, high)
            results.append(result("coded records", name, key, float(values[0]), bounds, runs=seeds))
        low = interval(gain[1:], weight.shape[1])[0]
        if gain[0] >= LEAST and low is not None and low > 0:
            taken.append(f"{name} (+{gain[0]:.3f})")
    for name, parts in choices.items():
        results += [
            result("coded records", name, key, float(np.mean([one[key] for one in parts])), runs=len(SEEDS))
            for key in parts[0]
        ]
    outcome = f"Outcome: beyond *{REFERENCE}* the rule takes {', '.join(taken) if taken else 'nothing'}."
    return results, outcome


def main() -> None:
    """Measure and publish."""
    results, outcome = measure(load_ground())
    text = TEXT.format(outcome=outcome)
    publish("coded_records", "python -m benchmarks.coded_records", results, text, versions=("scikit-learn", "torch"))


if __name__ == "__main__":
    main()
