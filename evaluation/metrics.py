"""Compute metrics of agreement between a system and people, for many resamples at once.

The functions take the judgements and the resamples. For each resample, they return one value per metric, or one value
per metric and label. To compute a metric without resampling, pass the result of `as_it_is`.

Items that were not judged (NaN) are excluded and never count as no. An undefined metric, such as the precision of a
label that was never suggested, is NaN. `UNDEFINED` contains the reasons why metrics are undefined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechtag.core.arrays import Array
from mechtag.evaluation.agreement import alpha_from_coincidences, cohen_kappa, ratio

UNDEFINED: Mapping[str, str] = {
    "precision": "the label was suggested for no paper",
    "recall": "no paper has the label",
    "f1": "no paper has the label and it was never suggested",
    "specificity": "every paper has the label",
    "kappa": "all codes are the same, so agreement by chance cannot be separated",
    "mcc": "people or the system give every paper the same answer",
    "roc_auc": "all papers or none have the label",
    "average_precision": "no paper or sentence has the label",
    "brier": "the system has no probabilities",
    "across_auc": "no label has both papers with it and papers without it",
    "within_auc": "every paper has either all of the labels or none",
    "macro_f1": "no paper has any label, and none was suggested",
    "micro_f1": "no paper has any label, and none was suggested",
    "macro_average_precision": "no paper has any label",
    "alpha": "only one code was ever used",
    "subset_accuracy": "nothing was judged",
    "hamming_loss": "nothing was judged",
    "referred": "nothing was judged",
    "yes_right": "no label was decided yes",
    "no_right": "no label was decided no",
    "precision_at_1": "no sentence has any label",
    "chance": "no sentence has any label",
    "agreement": "no item was judged by both",
    "cohen_kappa": "all codes are the same, so agreement by chance cannot be separated",
    "pabak": "no item was judged by both",
    "gwet_ac1": "no item was judged by two coders",
    "krippendorff_alpha": "only one code was ever used",
    "fleiss_kappa": "only one code was ever used",
}

# Metrics that are biased upwards with few papers: the sample is biased, and every resample is biased further.
BIASED = ("average_precision", "macro_average_precision")


@dataclass(frozen=True)
class Judged:
    """Human codes and a system's predictions; every array has shape (papers, labels).

    Attributes
    ----------
    truth
        Human codes: 1 for yes, 0 for no, NaN for not judged.
    score
        Scores that rank papers within a label; all are finite.
    probability
        Probabilities; NaN if the system has no probabilities.
    decided
        Whether the label counts as predicted: the decision is yes, or it is *needs review* with a probability of at
        least ``threshold``.
    referred
        Whether the decision is *needs review*.
    threshold
        Lowest probability at which *needs review* counts as predicted; NaN if the system has no thresholds.
    """

    truth: Array
    score: Array
    probability: Array
    decided: NDArray[np.bool_]
    referred: NDArray[np.bool_]
    threshold: Array


@dataclass(frozen=True)
class Resamples:
    """Bootstrap or permutation samples of the same papers.

    Attributes
    ----------
    weight
        Number of times that each paper was drawn, shape (resamples, papers).
    truth
        Human codes, shape (resamples, papers, labels). If the codes are the same in all resamples, the shape is (1,
        papers, labels).
    """

    weight: Array
    truth: Array

    @property
    def positive(self) -> Array:
        """Return an array of shape (resamples, papers, labels), with the weights of papers whose code is ``yes``.

        Where the code of a paper for a label is not ``yes``, the array contains 0.
        """
        return np.asarray(self.weight[:, :, None] * (self.truth == 1))

    @property
    def negative(self) -> Array:
        """Return an array of shape (resamples, papers, labels), with the weights of papers whose code is ``no``.

        Where the code of a paper for a label is not ``no``, the array contains 0.
        """
        return np.asarray(self.weight[:, :, None] * (self.truth == 0))


def as_it_is(truth: Array) -> Resamples:
    """Return the original sample as a single resample, in which the weight of each paper is 1.

    Parameters
    ----------
    truth
        Human codes, shape (papers, labels).
    """
    return Resamples(np.ones((1, len(truth))), truth[None])


def confusion(judged: Judged, samples: Resamples) -> tuple[Array, Array, Array, Array]:
    """Return the numbers of true positives, false positives, false negatives and true negatives, in this order.

    Each number is an array of shape (resamples, labels).
    """
    positive, negative, yes = samples.positive, samples.negative, judged.decided
    return (
        (positive * yes).sum(axis=1),
        (negative * yes).sum(axis=1),
        (positive * ~yes).sum(axis=1),
        (negative * ~yes).sum(axis=1),
    )


def ranking(score: Array, positive: Array, negative: Array) -> tuple[Array, Array]:
    """Compute the ROC AUC and average precision of one label.

    Ties count one half in the AUC. In average precision, tied papers count as one step. The results equal those of
    ``roc_auc_score`` and ``average_precision_score`` in scikit-learn.

    Parameters
    ----------
    score
        Scores, shape (papers,).
    positive
        Weights of the papers with the label, shape (resamples, papers); 0 for all other papers.
    negative
        Weights of the papers without the label, shape (resamples, papers); 0 for all other papers.

    Returns
    -------
    auc, average_precision : numpy.ndarray
        Two arrays of shape (resamples,).
    """
    order = np.argsort(score, kind="stable")
    starts = np.unique(score[order], return_index=True)[1]
    # Sum of the weights per distinct score, in ascending order.
    hits = np.add.reduceat(positive[:, order], starts, axis=1)
    misses = np.add.reduceat(negative[:, order], starts, axis=1)
    below = misses.cumsum(axis=1) - misses / 2
    auc = ratio((hits * below).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))
    found = hits[:, ::-1].cumsum(axis=1)
    listed = found + misses[:, ::-1].cumsum(axis=1)
    precision = np.divide(found, listed, out=np.zeros_like(found), where=listed > 0)
    return auc, ratio((hits[:, ::-1] * precision).sum(axis=1), hits.sum(axis=1))


def label_figures(judged: Judged, samples: Resamples) -> dict[str, Array]:
    """Compute all metrics that are defined for single labels.

    Returns
    -------
    dict
        ``precision``, ``recall``, ``f1``, ``specificity``, ``kappa``, ``mcc``, ``roc_auc``, ``average_precision`` and
        ``brier``, each of shape (resamples, labels).
    """
    tp, fp, fn, tn = confusion(judged, samples)
    positive, negative = samples.positive, samples.negative
    ranked = [
        ranking(judged.score[:, label], positive[:, :, label], negative[:, :, label])
        for label in range(judged.score.shape[1])
    ]
    squares = positive * (1 - judged.probability) ** 2 + negative * judged.probability**2
    return {
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "specificity": ratio(tn, tn + fp),
        "kappa": cohen_kappa(tp, fp, fn, tn),
        "mcc": ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "roc_auc": np.stack([auc for auc, _ in ranked], axis=1),
        "average_precision": np.stack([precision for _, precision in ranked], axis=1),
        "brier": ratio(squares.sum(axis=1), (positive + negative).sum(axis=1)),
    }


def macro(figure: Array, labels: NDArray[np.bool_]) -> Array:
    """Average a metric over the chosen labels; the mean is NaN if the metric is undefined for any of these labels.

    Parameters
    ----------
    figure
        Values of the metric, shape (resamples, labels).
    labels
        Whether each label is included, shape (labels,).
    """
    if not labels.any():
        return np.full(len(figure), np.nan)
    return np.asarray(figure[:, labels].mean(axis=1))


def midranks(score: Array, weight: Array) -> Array:
    """Rank papers by score within each label; papers with the same score get the same rank.

    Parameters
    ----------
    score
        Scores, shape (papers, labels).
    weight
        Number of times that each paper was drawn, shape (resamples, papers).

    Returns
    -------
    numpy.ndarray
        Ranks, shape (resamples, papers, labels). A rank is the total weight of the papers with a lower score, plus half
        the total weight of the papers with the same score.
    """
    ranks = np.empty((len(weight), *score.shape))
    for label in range(score.shape[1]):
        _, group = np.unique(score[:, label], return_inverse=True)
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(group.max() + 1))
        mass = np.add.reduceat(weight[:, order], starts, axis=1)
        ranks[:, :, label] = (mass.cumsum(axis=1) - mass / 2)[:, group]
    return ranks


def within_auc(judged: Judged, samples: Resamples) -> Array:
    """Compute the AUC within papers: how well a system ranks the labels of a paper above all other labels.

    Each label that a paper has is compared with each label that this paper does not have. The result is the proportion
    of comparisons in which the label that the paper has ranks higher; ties count one half. Chance gives 0.5. A paper
    with more comparisons has more weight.

    Before the comparison, the scores of each label are converted to ranks over the papers. A label with generally high
    scores therefore has no advantage.

    Returns
    -------
    numpy.ndarray
        Shape (resamples,).
    """
    ranks = midranks(judged.score, samples.weight)
    carried, absent = samples.truth == 1, samples.truth == 0
    labels = judged.score.shape[1]
    won = pairs = np.zeros(np.broadcast_shapes(samples.weight.shape[:1], samples.truth.shape[:1]))
    for up in range(labels):
        for down in range(labels):
            if up == down:
                continue
            mass = samples.weight * (carried[:, :, up] & absent[:, :, down])
            above, level = ranks[:, :, up] > ranks[:, :, down], ranks[:, :, up] == ranks[:, :, down]
            won = won + (mass * (above + level / 2)).sum(axis=1)
            pairs = pairs + mass.sum(axis=1)
    return ratio(won, pairs)


def example_f1(judged: Judged, samples: Resamples) -> Array:
    """Compute example-based F1: the harmonic mean of mean precision and mean recall.

    Precision and recall are computed for each paper, and then averaged over the papers that have labels. The precision
    of a paper is the proportion of its suggested labels that are right; it is 0 if no label was suggested. The recall
    of a paper is the proportion of its labels that were suggested. If no suggested label is right, the result is 0.

    Source: the BLUE benchmark, data set Hallmarks of Cancer (Peng et al. 2019, doi:10.18653/v1/W19-5006).

    Returns
    -------
    numpy.ndarray
        Shape (resamples,).
    """
    carried = (samples.truth == 1).sum(axis=2)
    suggested = (judged.decided & ~np.isnan(samples.truth)).sum(axis=2)
    right = ((samples.truth == 1) & judged.decided).sum(axis=2)
    weight = samples.weight * (carried > 0)
    papers = weight.sum(axis=1)
    precision = ratio((weight * (right / np.maximum(suggested, 1))).sum(axis=1), papers)
    recall = ratio((weight * (right / np.maximum(carried, 1))).sum(axis=1), papers)
    both = precision + recall
    return np.where(both == 0, 0.0, ratio(2 * precision * recall, both))


def pooled_figures(judged: Judged, samples: Resamples) -> dict[str, Array]:
    """Compute all metrics that summarise all labels in one value.

    Returns
    -------
    dict
        Metrics by name, each of shape (resamples,):

        - ``across_auc``, ``macro_f1``, ``macro_average_precision``: means over the labels for which the metric is
          defined in the whole sample.
        - ``within_auc``: how well the labels of a paper are ranked above all other labels; see `within_auc`.
        - ``micro_f1``, ``kappa``, ``alpha``, ``hamming_loss``, ``referred``: metrics in which each combination of paper
          and label is one item.
        - ``subset_accuracy``: proportion of papers for which every label is right.
        - ``yes_right``, ``no_right``: proportion of ``yes`` decisions, and of ``no`` decisions, that agree with
          people's codes. Decisions that need review are excluded.
    """
    whole = label_figures(judged, as_it_is(judged.truth))
    figures = label_figures(judged, samples)
    tp, fp, fn, tn = (count.sum(axis=1) for count in confusion(judged, samples))
    coincidences = np.stack([np.stack([2 * tn, fp + fn], -1), np.stack([fp + fn, 2 * tp], -1)], -1)
    items = tp + fp + fn + tn
    seen = ~np.isnan(samples.truth)
    wrong = ((samples.truth != judged.decided) & seen).any(axis=2)
    papers = samples.weight * seen.any(axis=2)
    referred = samples.weight * (judged.referred & seen).sum(axis=2)
    sure = ~judged.referred
    says_yes, says_no = judged.decided & sure, ~judged.decided & sure
    positive, negative = samples.positive, samples.negative

    def mean(name: str) -> Array:
        return macro(figures[name], ~np.isnan(whole[name][0]))

    return {
        "across_auc": mean("roc_auc"),
        "within_auc": within_auc(judged, samples),
        "macro_f1": mean("f1"),
        "micro_f1": ratio(2 * tp, 2 * tp + fp + fn),
        "macro_average_precision": mean("average_precision"),
        "kappa": cohen_kappa(tp, fp, fn, tn),
        "alpha": alpha_from_coincidences(coincidences),
        "subset_accuracy": ratio((papers * ~wrong).sum(axis=1), papers.sum(axis=1)),
        "hamming_loss": ratio(fp + fn, items),
        "referred": ratio(referred.sum(axis=1), items),
        "yes_right": ratio((positive * says_yes).sum(axis=(1, 2)), ((positive + negative) * says_yes).sum(axis=(1, 2))),
        "no_right": ratio((negative * says_no).sum(axis=(1, 2)), ((positive + negative) * says_no).sum(axis=(1, 2))),
    }
