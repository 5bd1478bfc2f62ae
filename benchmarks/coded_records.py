"""Compare tagging methods by cross-validation on the coded records.

The gold standard is not used. ``python -m benchmarks.coded_records`` writes
``docs/benchmarks/coded_records.json`` and its section of ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.calibrations import compare_calibrations, decide_both_ways
from benchmarks.publish import publish, result
from benchmarks.variants import (
    FEATURES,
    JOURNAL,
    RELEVANCE,
    SHIPPED_POOLING,
    SHIPPED_RELEVANCE,
    Ground,
    Run,
    half_coded,
    load_ground,
    out_of_fold,
    pooled,
    relevance_out_of_fold,
    zero_shot,
)
from mechtag.core.arrays import Array, Index, Mask
from mechtag.evaluation.agreement import ratio
from mechtag.evaluation.metrics import Judged, Resamples, as_it_is, label_figures, macro, ranking, within_auc
from mechtag.evaluation.resampling import draw_resamples, interval
from mechtag.evaluation.sections import rank_evidence
from mechtag.training.calibration import recall_threshold

Figures = Mapping[str, Array]

SEEDS = (2021, 2022, 2023)
BOOTSTRAP = 500
REFERENCE = "vectors and words (shipped)"
# The selection rule (docs/decisions/2026-11-22-selection-rule.md): the metric that decides, and the smallest gain in it
# for which a method is adopted.
DECIDES, LEAST = "sentence AP", 0.01
GAIN, RELEVANCE_GAIN, POOLING_GAIN = "gain in sentence AP", "gain in AUC", "gain in AUC across"
AREA = "relevance AUC"
SHIPPED = {GAIN: REFERENCE, RELEVANCE_GAIN: SHIPPED_RELEVANCE, POOLING_GAIN: SHIPPED_POOLING}
DECIDED_BY = {GAIN: DECIDES, RELEVANCE_GAIN: AREA, POOLING_GAIN: "AUC across"}

TEXT = """## What each part of the tagger is worth

Cross-validation on the project's own coded records, {counts}. The first two sets are synopses, the third is invented
prose in journal style, so each set has its own rows. Each paper is scored by a model that learned from the other four
of five folds, assigned as in training. All figures are means over three seeds, with 95% intervals bootstrapped over
papers. A *gain* is the difference from mechtag as it is (*shipped*), on the same resamples. The gold standard is not
used here.

The rule was written down before the first run: the macro average precision over sentences of all records (*sentence
AP*) decides which parts contribute to the score of a label. A part is adopted if it adds at least 0.01 and the
interval of the gain lies above 0; it is dropped if leaving it out costs less than 0.01. Pooling is chosen by *AUC
across*, calibration by log loss.

**Relevance.** *AUC, hard* compares the relevant records with the hard irrelevant records, which are easily mistaken
for relevant; in the first set, hard records were not marked. The threshold is the one above which 95% of the relevant
records in the other folds lie: *recall* is the share of relevant records above it, and *spared* the share of
irrelevant records below it. *From ... to* means trained on all texts of one style and tested on the other.

**Labels.** Sentences that mechtag classifies as methods or notes rank last, even if people gave them a label.
*evidence P@1* is the share of the labels of papers for which the highest-ranked sentence was coded with the label;
*across* and *within* are explained in [metrics.md](metrics.md) and computed on relevant papers. Two rows show the
value of coding: in one, half of the papers have no codes; in the other, half of the papers have no codes of
sentences. Fine-tuning and the encoder `accurate` are measured by `python -m benchmarks.finetuning`.

{outcome} Definitions stay whatever they add here: a label without examples is scored from nothing else.

**Pooling** computes the score of a paper from the scores of its sentences. **Decisions**: a label is decided either
by the probability that the paper is relevant and has the label, or by the probability that it has the label given
that it is relevant; each has its own bounds from the other folds. *yes right* is the share of the tool's yes
decisions with which people agree, over all records. *yes or needs review* is the share of the labels that people
assigned for which the tool says yes or needs review. *needs review* is the share of the labels of relevant papers
that the tool leaves to a person. **Calibration**: log loss and Brier score over all records, lower is better."""


class Sample:
    """Some of the papers, with weights for the bootstrap.

    The first row of the weights counts each paper once; each other row is a bootstrap sample.
    """

    def __init__(self, papers: Mask, seed: int) -> None:
        self.papers = np.flatnonzero(papers)
        drawn = draw_resamples(len(self.papers), BOOTSTRAP, 1, np.random.default_rng(seed)).weights
        self.weight = np.vstack([np.ones(len(self.papers)), drawn])


def relevance_figures(ground: Ground, sample: Sample, scores: Array, kept: Mask | None = None) -> Figures:
    """Compute the metrics of relevance in a sample of papers and in its resamples.

    Parameters
    ----------
    scores : ndarray, shape (n_documents,)
        Scores of relevance.
    kept : ndarray of bool, shape (n_documents,), optional
        Whether the score of each paper reaches the threshold of relevance (see `keep`). If ``None``, the metrics
        ``recall`` and ``spared`` are omitted.
    """
    corpus, rows, weight = ground.corpus, sample.papers, sample.weight
    relevant = corpus.document_targets[rows, 0] == 1
    positive, negative = weight * relevant, weight * ~relevant
    found = {
        AREA: ranking(scores[rows], positive, negative)[0],
        "AUC, hard": ranking(scores[rows], positive, weight * corpus.hard[rows])[0],
    }
    if kept is not None:
        found["recall"] = ratio((positive * kept[rows]).sum(axis=1), positive.sum(axis=1))
        found["spared"] = ratio((negative * ~kept[rows]).sum(axis=1), negative.sum(axis=1))
    return found


def keep(scores: Array, relevant: Mask, fold: Index, recall: float) -> Mask:
    """Return whether the score of each paper reaches a threshold that keeps most relevant papers.

    The threshold for each fold is determined on the other folds: it keeps the proportion ``recall`` of the relevant
    papers in these folds.
    """
    kept = np.zeros(len(scores), dtype=bool)
    for held_out in np.unique(fold):
        held = fold == held_out
        kept[held] = scores[held] >= recall_threshold(scores[~held], relevant[~held].astype(float), recall)
    return kept


def _judged(ground: Ground, sample: Sample, scores: Array) -> Judged:
    """Combine the scores and the codes of labels for the papers of a sample; the codes of irrelevant papers are NaN.

    ``scores`` has shape (n_documents, n_labels).
    """
    targets = ground.corpus.document_targets[sample.papers]
    own = scores[sample.papers]
    return Judged(
        truth=np.where(targets[:, :1] == 1, targets, np.nan)[:, 1:],
        score=own,
        probability=np.full(own.shape, np.nan),
        decided=np.zeros(own.shape, dtype=bool),
        referred=np.zeros(own.shape, dtype=bool),
        threshold=np.full(own.shape, np.nan),
    )


def across_figures(ground: Ground, sample: Sample, scores: Array) -> Array:
    """Return the ROC AUC across relevant papers, averaged over the labels, for each resample of the papers."""
    judged = _judged(ground, sample, scores)
    truth = judged.truth
    areas = [
        ranking(own, sample.weight * (codes == 1), sample.weight * (codes == 0))[0]
        for own, codes in zip(judged.score.T, truth.T, strict=True)
    ]
    whole = label_figures(judged, as_it_is(truth))["roc_auc"][0]
    return macro(np.stack(areas, axis=1), ~np.isnan(whole))


def label_run_figures(ground: Ground, sample: Sample, run: Run) -> Figures:
    """Compute the metrics of labels for sentences and for relevant papers, from the scores of one tagging method."""
    codes, owner = ground.sentences
    place = np.full(ground.corpus.n_documents, -1)
    place[sample.papers] = np.arange(len(sample.papers))
    coded = np.flatnonzero(~np.isnan(codes[:, 1:]).any(axis=1) & (place[owner] >= 0))
    truth, scores, own = codes[coded, 1:], run.units[coded, 1:], place[owner[coded]]
    drawn = sample.weight[:, own]
    precision = [
        ranking(scores[:, label], drawn * truth[:, label], drawn * (1 - truth[:, label]))[1]
        for label in np.flatnonzero(truth.any(axis=0))
    ]
    evidence = rank_evidence(truth, scores, own)
    shown = sample.weight[:, evidence.paper]
    judged = _judged(ground, sample, run.documents[:, 1:])
    return {
        DECIDES: np.mean(precision, axis=0),
        "evidence P@1": ratio((shown * evidence.precision_at_1).sum(axis=1), shown.sum(axis=1)),
        "across": across_figures(ground, sample, run.documents[:, 1:]),
        "within": within_auc(judged, Resamples(sample.weight, judged.truth[None])),
    }


def decision_figures(ground: Ground, sample: Sample, decided: NDArray[np.str_]) -> Figures:
    """Compute how many decisions on labels are right, and how many leave the label to a person.

    ``decided`` has shape (n_documents, n_labels).
    """
    targets, own = ground.corpus.document_targets[sample.papers], decided[sample.papers]
    relevant = targets[:, :1] == 1
    codes = np.where(relevant, targets, 0.0)[:, 1:]
    known = ~np.isnan(codes)
    carried, yes, refer = codes == 1, own == "yes", own == "refer"

    def share(part: Mask, whole: Mask) -> Array:
        return ratio(sample.weight @ (part & whole & known).sum(axis=1), sample.weight @ (whole & known).sum(axis=1))

    return {
        "yes right": share(carried, yes),
        "yes or needs review": share(yes | refer, carried),
        "needs review": share(refer, np.broadcast_to(relevant, refer.shape)),
    }


def label_runs(ground: Ground, seed: int) -> Iterator[tuple[str, Run]]:
    """Yield the name of each tagging method and its out-of-fold scores; mechtag's own method comes first."""
    fold, corpus = ground.deal(seed), ground.corpus
    parts = out_of_fold(ground, corpus, ground.frozen, fold, seed)
    yield REFERENCE, parts["both"]
    yield "vectors alone", parts["vectors"]
    yield "words alone (TF-IDF)", parts["words"]
    for name, changed in FEATURES.items():
        yield name, out_of_fold(ground, changed(ground), ground.frozen, fold, seed)["both"]
    yield "definitions alone (zero-shot)", zero_shot(ground)
    for name, whole in (("half the papers without codes", False), ("half the papers coded as a whole", True)):
        yield name, out_of_fold(ground, half_coded(ground, seed, whole=whole), ground.frozen, fold, seed)["both"]


class Table:
    """The metrics of each data set, system and seed, from which the published results are computed."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[Figures]] = {}
        self._papers: dict[str, int] = {}

    def add(self, dataset: str, system: str, figures: Figures, papers: int) -> None:
        """Add the metrics of a system on a data set for one seed; ``papers`` is the number of papers in the set."""
        self._found.setdefault((dataset, system), []).append(figures)
        self._papers[dataset] = papers

    def gain(self, dataset: str, system: str, metric: str, shipped: str) -> Array:
        """Return the difference of a metric between a system and the method ``shipped``, averaged over the seeds.

        Both are measured with the same seeds and on the same resamples of papers.
        """
        own, others = self._found[dataset, system], self._found[dataset, shipped]
        gains = [one[metric] - other[metric] for one, other in zip(own, others, strict=False)]
        mean: Array = np.mean(gains, axis=0)
        return mean

    def bounds(self, dataset: str, values: Array) -> tuple[float, float] | None:
        """Return the interval of a metric, or ``None`` if too many resamples are undefined.

        Parameters
        ----------
        values
            The value of the metric, followed by its values in the resamples.
        """
        low, high, _ = interval(values[1:], self._papers[dataset])
        return None if low is None or high is None else (low, high)

    def results(self) -> list[dict[str, Any]]:
        """Return all results to publish, including the differences from mechtag's own method."""
        rows = []
        for dataset, system in sorted(self._found, key=lambda key: list(self._papers).index(key[0])):
            own = self._found[dataset, system]
            shown = {metric: np.mean([one[metric] for one in own], axis=0) for metric in own[0]}
            for gain, metric in DECIDED_BY.items():
                if metric in shown and SHIPPED[gain] != system:
                    shown[gain] = self.gain(dataset, system, metric, SHIPPED[gain])
            for metric, values in shown.items():
                if not np.isnan(values[0]):
                    value, bounds = float(values[0]), self.bounds(dataset, values)
                    rows.append(result(dataset, system, metric, value, bounds, runs=len(own)))
        return rows

    def outcome(self) -> str:
        """Return a sentence that lists the tagging methods that the selection rule adopts.

        The rule adopts a method that improves the metric `DECIDES` by at least `LEAST`, if the interval of the
        improvement is above 0. The sentence is followed by a list of the parts of mechtag's method whose removal costs
        less than `LEAST`.
        """
        dataset = "labels, all records"
        taken, spare = [], []
        for own, system in self._found:
            if own != dataset or system == REFERENCE:
                continue
            gain = self.gain(own, system, DECIDES, REFERENCE)
            bounds = self.bounds(own, gain)
            if gain[0] >= LEAST and bounds and bounds[0] > 0:
                taken.append(f"{system} (+{gain[0]:.3f})")
            elif system in FEATURES and gain[0] > -LEAST:
                spare.append(f"{system} ({gain[0]:+.3f})")
        told = f"the rule adopts {', '.join(taken) or 'nothing'} beyond what is shipped."
        if spare:
            told += f" Less than {LEAST} is lost {', '.join(spare)}."
        return f"Outcome: {told}"


def measure(ground: Ground) -> tuple[list[dict[str, Any]], str]:
    """Evaluate every tagging method.

    Returns
    -------
    results
        Results to publish.
    outcome
        Sentences that list the methods that the selection rule adopts.
    """
    samples = {name: Sample(papers, ground.settings.seed) for name, papers in ground.sets.items()}
    relevant = ground.corpus.document_targets[:, 0] == 1
    table = Table()
    losses: dict[str, list[dict[str, float]]] = {}

    def take(topic: str, system: str, name: str, found: Figures) -> None:
        table.add(f"{topic}, {name}", system, found, len(samples[name].papers))

    for seed in track(SEEDS, description="relevance"):
        fold = ground.deal(seed)
        for system, way in RELEVANCE.items():
            scores = relevance_out_of_fold(ground, way, fold)
            kept = keep(scores, relevant, fold, ground.settings.train.relevance_recall)
            for name, sample in samples.items():
                take("relevance", system, name, relevance_figures(ground, sample, scores, kept))
    journal = ground.sets[JOURNAL]
    styles = {f"from synopses to {JOURNAL}": journal, f"from {JOURNAL} to synopses": ~journal}
    for dataset, judged in styles.items():
        sample = Sample(judged, ground.settings.seed)
        for system, way in RELEVANCE.items():
            scores = way(ground, ~judged)
            table.add(f"relevance, {dataset}", system, relevance_figures(ground, sample, scores), len(sample.papers))

    for seed in track(SEEDS, description="labels"):
        fold = ground.deal(seed)
        for system, run in label_runs(ground, seed):
            for name, sample in samples.items():
                take("labels", system, name, label_run_figures(ground, sample, run))
            if system == REFERENCE:
                reference = run
        ways = pooled(ground, reference.texts, fold)
        decided = decide_both_ways(ground.corpus, reference.documents, fold, ground.settings.train)
        for name, sample in samples.items():
            for system, scores in ways.items():
                take("pooling", system, name, {"AUC across": across_figures(ground, sample, scores)})
            for system, decisions in decided.items():
                take("decisions", system, name, decision_figures(ground, sample, decisions))
        for method, values in compare_calibrations(ground.corpus, reference.documents, fold).items():
            losses.setdefault(method, []).append(values)

    results = table.results()
    for method, parts in losses.items():
        for key in parts[0]:
            value = float(np.mean([one[key] for one in parts]))
            results.append(result("calibration, all records", method, key, value, runs=len(SEEDS)))
    return results, table.outcome()


def _counts(ground: Ground) -> str:
    """Return a phrase that lists each set with its numbers of records, relevant records and hard irrelevant records."""
    relevant = ground.corpus.document_targets[:, 0] == 1
    told = [
        f"`{name}` ({papers.sum()}, {(papers & relevant).sum()} relevant, "
        f"{(papers & ground.corpus.hard).sum()} irrelevant ones known to be hard)"
        for name, papers in list(ground.sets.items())[1:]
    ]
    return f"{len(ground.documents)} in {len(told)} sets: {', '.join(told)}"


def main() -> None:
    """Evaluate all tagging methods, and publish the results."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    ground = load_ground()
    results, outcome = measure(ground)
    text = TEXT.format(counts=_counts(ground), outcome=outcome)
    publish("coded_records", "python -m benchmarks.coded_records", results, text, versions=("scikit-learn", "torch"))


if __name__ == "__main__":
    main()
