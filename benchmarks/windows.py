"""Measure how the length of a text changes the labels suggested for it, on long texts made from the coded records.

The gold standard is not used. ``python -m benchmarks.windows`` writes ``docs/benchmarks/windows.json`` and its section
of ``docs/benchmarks.md``. Two options print metrics instead. ``--definitions`` fits the length correction for models
that know only the definitions of labels, on each codebook that has coded sentences and irrelevant records.
``--papers`` measures models that learn from papers coded as a whole, on long texts made from the coded sentences.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from benchmarks.codebook_sets import GREEN_SPACE, LEADERSHIP, load_sets
from benchmarks.publish import publish, result
from benchmarks.variants import load_ground
from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.settings import TrainSettings, load_settings
from mechtag.models.features import embed_codebook
from mechtag.models.scoring import Calibration, pool_scores
from mechtag.models.windows import WindowCalibration
from mechtag.training.calibration import definitions_calibration, fit_curve
from mechtag.training.dataset import NO_DOCUMENT, Corpus, build_corpus
from mechtag.training.finetuning.trainers import Encoded
from mechtag.training.heads import HeldOut, calibrate, fit_folds, fit_heads, score_folds
from mechtag.training.long_texts import (
    FILLINGS,
    LongTexts,
    fit_windows,
    log_odds,
    make_long_texts,
    unit_codes,
)
from mechtag.training.train import load_encoder

LENGTHS = (30, 100, 300)
SHIPPED, UNCORRECTED, BEST_SENTENCE = "corrected windows (shipped)", "windows", "p-value of the best sentence"
# Pooling with this sharpness is the maximum.
_MAXIMUM = 1000.0
TEXT = """## Labels in long texts

There are no coded full texts, so long texts are constructed: each consists of the title and abstract of a relevant
coded record, and of 30, 100 or 300 added sentences of other papers that have no label. In *on topic* rows, the added
sentences are from other relevant records; in *off topic* rows, they are from irrelevant records. All scores are by
models that saw neither the record nor the sentences; curves, corrections and bounds are from the other folds. A label
of the record is thus expressed only in the abstract; a real full text usually mentions it several times.

*still yes*: of the labels of a record that reach the threshold in the abstract, the share that reach it in the long
text too. *false yes*: the share of labels that reach the threshold in texts that consist of added sentences only.
*decided*: the same with the decisions that users see, where a probability at or above the upper bound is a yes and
one below the lower bound is a no. *within AUC*: the probability that a label of the paper ranks above another label,
averaged over papers. *ECE*: the calibration error in ten bins.
"""


@dataclass(frozen=True)
class Curves:
    """Probabilities of the labels of each paper, with the decision thresholds and bounds.

    Attributes
    ----------
    chances : ndarray, shape (n_papers, n_labels)
    threshold, low, high : ndarray, shape (n_papers, n_labels)
        A probability below ``low`` means no, and a probability from ``high`` upwards means yes.
    """

    chances: Array
    threshold: Array
    low: Array
    high: Array


class Windows:
    """Probabilities of long texts, which are scored in windows; each fold is calibrated on the other folds.

    If ``learned_on`` is passed, the correction and the bounds are learned from it instead of from ``long_texts``.
    """

    def __init__(
        self,
        corpus: Corpus,
        held_out: HeldOut,
        fold: Index,
        long_texts: LongTexts,
        settings: TrainSettings,
        corrected: bool,
        learned_on: LongTexts | None = None,
    ) -> None:
        self._texts, self._held_out = long_texts, held_out
        self._fold = fold[long_texts.papers]
        self._fitted: list[tuple[Calibration, WindowCalibration | None]] = []
        for number in range(settings.folds):
            others = fold != number
            fitted = calibrate(corpus, held_out.documents, others, settings)
            texts = learned_on or long_texts
            long = fit_windows(corpus, held_out, fitted, texts, others, settings) if corrected else None
            self._fitted.append((fitted, long))

    def curves(self, scores: Array, count: int) -> Curves:
        """Convert the scores of texts that consist of ``count`` windows to probabilities."""
        relevance = self._held_out.documents[self._texts.papers, 0]
        found = Curves(*(np.zeros(scores.shape) for _ in range(4)))
        for number, (fitted, long) in enumerate(self._fitted):
            own = self._fold == number
            calibration = long.of(fitted, count) if long else fitted
            given = expit(scores[own] * calibration.slope[1:] + calibration.intercept[1:])
            found.chances[own] = calibration.relevance(relevance[own])[:, None] * given
            for name in ("threshold", "low", "high"):
                getattr(found, name)[own] = getattr(calibration, name)[1:]
        return found

    def of(self, filling: str, sentences: int, *, alone: bool = False) -> Curves:
        """Return the probabilities of long texts, or of their abstracts if ``sentences`` is 0.

        The parameters are explained in `LongTexts.scores`.
        """
        if not sentences:
            return self.curves(self._texts.abstracts, 1)
        return self.curves(*self._texts.scores(filling, sentences, alone=alone))


class BestSentence(Windows):
    """Probabilities of long texts that are computed from the best sentence instead of from windows.

    The highest score of a sentence is converted to a p-value: the scores of sentences without labels are the null
    distribution.
    """

    def __init__(
        self,
        corpus: Corpus,
        held_out: HeldOut,
        fold: Index,
        settings: TrainSettings,
        seed: int,
    ) -> None:
        document, codes = unit_codes(corpus)
        units = held_out.units[document != NO_DOCUMENT]
        lengths = np.bincount(document[document != NO_DOCUMENT])
        highest = pool_scores(units[:, 1:], lengths, _MAXIMUM)
        best = replace(held_out, documents=np.hstack([held_out.documents[:, :1], highest]))
        long_texts = make_long_texts(corpus, best, fold, seed, _MAXIMUM)
        super().__init__(corpus, held_out, fold, long_texts, settings, corrected=False)
        relevant = corpus.document_targets[:, 0] == 1
        null = (document != NO_DOCUMENT) & (codes == 0).all(axis=1) & relevant[document]
        null &= np.isfinite(held_out.units[:, 1])
        self._lengths = lengths[long_texts.papers]
        self._null = [
            np.sort(held_out.units[null & (fold[document] != number), 1:], axis=0) for number in range(settings.folds)
        ]
        self._codes = corpus.document_targets[long_texts.papers, 1:]
        self._lines = [list(self._fit(number)) for number in range(settings.folds)]

    def _fit(self, number: int) -> Iterator[tuple[float, float]]:
        rows = self._fold != number
        cases = [(FILLINGS[0], 0), *((filling, length) for filling in FILLINGS for length in LENGTHS)]
        found = np.stack([self._evidence(number, *case)[rows] for case in cases])
        for label in range(found.shape[2]):
            judged = ~np.isnan(self._codes[rows, label])
            codes = np.tile(self._codes[rows, label][judged], len(cases))
            yield fit_curve(found[:, judged, label].ravel(), codes)

    def _evidence(self, number: int, filling: str, sentences: int, alone: bool = False) -> Array:
        """Return -log(p) for each text and label, where p is the p-value of the best sentence of the text.

        The p-value is corrected for the number of sentences in the text. The other parameters are those of
        `LongTexts.scores`.
        """
        scores = self._texts.abstracts
        if sentences:
            scores, _ = self._texts.scores(filling, sentences, alone=alone)
        null = self._null[number]
        above = np.stack(
            [len(null) - np.searchsorted(null[:, label], scores[:, label]) for label in range(scores.shape[1])], axis=1
        )
        tried = (sentences + (0 if alone else self._lengths))[:, None] if not alone else sentences
        return -np.log(-np.expm1(tried * np.log1p(-(1 + above) / (2 + len(null)))))

    def of(self, filling: str, sentences: int, *, alone: bool = False) -> Curves:
        """Return the probabilities of long texts, or of their abstracts if ``sentences`` is 0.

        The parameters are explained in `LongTexts.scores`.
        """
        found = super().of(filling, sentences, alone=alone)
        relevance = self._held_out.documents[self._texts.papers, 0]
        for number, lines in enumerate(self._lines):
            own = self._fold == number
            slope, intercept = np.array(lines).T
            given = expit(self._evidence(number, filling, sentences, alone)[own] * slope + intercept)
            found.chances[own] = self._fitted[number][0].relevance(relevance[own])[:, None] * given
        return found


def within(chances: Array, codes: Array) -> float:
    """Return how well the probabilities of a paper rank its own labels above other labels: the mean AUC over papers.

    Parameters
    ----------
    chances, codes : ndarray, shape (n_papers, n_labels)
    """
    areas = []
    for row, own in zip(chances, codes, strict=True):
        yes, no = row[own == 1], row[own == 0]
        if len(yes) and len(no):
            gaps = yes[:, None] - no
            areas.append(((gaps > 0) + (gaps == 0) / 2).mean())
    return float(np.mean(areas))


def calibration_error(chances: Array, codes: Array) -> float:
    """Return the expected calibration error of probabilities, with ten bins; codes that are NaN are ignored."""
    judged = ~np.isnan(codes)
    found, truth = chances[judged], codes[judged]
    bins = np.minimum((found * 10).astype(int), 9)
    return float(sum(abs((found - truth)[bins == each].sum()) for each in range(10)) / len(found))


def measure(corpus: Corpus, held_out: HeldOut, fold: Index, settings: TrainSettings, seed: int) -> list[dict[str, Any]]:
    """Compute the metrics of all methods on texts of all lengths."""
    long_texts = make_long_texts(corpus, held_out, fold, seed)
    systems: dict[str, Windows] = {
        SHIPPED: Windows(corpus, held_out, fold, long_texts, settings, corrected=True),
        UNCORRECTED: Windows(corpus, held_out, fold, long_texts, settings, corrected=False),
        BEST_SENTENCE: BestSentence(corpus, held_out, fold, settings, seed),
    }
    return _results(systems, corpus.document_targets[long_texts.papers, 1:])


def _results(systems: Mapping[str, Windows], codes: Array) -> list[dict[str, Any]]:
    results = []
    for name, system in systems.items():
        before = system.of(FILLINGS[0], 0)
        for filling in FILLINGS:
            for sentences in (0, *LENGTHS):
                if not sentences and filling != FILLINGS[0]:
                    continue
                data = f"{sentences} sentences {filling}" if sentences else "abstracts"
                found = system.of(filling, sentences)
                alone = system.of(filling, sentences, alone=True) if sentences else None
                for metric, value in _metrics(found, before, alone, codes, decides=name.startswith(SHIPPED)):
                    results.append(result(data, name, metric, value))
    return results


def _metrics(
    found: Curves, before: Curves, alone: Curves | None, codes: Array, decides: bool
) -> Iterator[tuple[str, float]]:
    was_yes: Mask = (before.chances >= before.threshold) & (codes == 1)
    yield "within AUC", within(found.chances, codes)
    yield "ECE", calibration_error(found.chances, codes)
    yield "still yes", float((found.chances >= found.threshold)[was_yes].mean())
    if alone:
        yield "false yes", float((alone.chances >= alone.threshold).mean())
    if not decides:
        return
    decided = (before.chances >= before.high) & (codes == 1)
    yield "decided: still yes", float((found.chances >= found.high)[decided].mean())
    yield "decided: yes or needs review", float((found.chances >= found.low)[decided].mean())
    if alone:
        yield "decided: false yes", float((alone.chances >= alone.high).mean())


def steady_correction(margins: Array, abstracts: Array) -> float:
    """Return the length correction that keeps the mean probability of long texts closest to that of their abstracts.

    A long text has the labels of its abstract, because only sentences without labels were added to it. The correction
    is not fitted by maximum likelihood, because the result would depend on how well probabilities from the definitions
    of the codebook match the true labels.

    Parameters
    ----------
    margins
        Log odds of the labels of long texts; see `log_odds`.
    abstracts
        Log odds of the labels of the abstracts.
    """
    level = expit(abstracts).mean()

    def loss(correction: float) -> float:
        return float(sum((expit(one + correction * power).mean() - level) ** 2 for power, one in enumerate(margins, 1)))

    return float(minimize_scalar(loss, bounds=(-3.0, 0.0), method="bounded").x)


def of_definitions() -> None:
    """Print the length correction of models that know only definitions, and its effect, for each codebook."""
    settings = load_settings()
    encoder = load_encoder(settings)
    for coded in load_sets((LEADERSHIP, GREEN_SPACE)):
        definitions = embed_codebook(coded.codebook, encoder)
        corpus = build_corpus(coded.documents, (), coded.codebook.keys, encoder, definitions)
        fold = np.zeros(corpus.n_documents, dtype=np.int64)
        heads = fit_heads(corpus, fold > 0, settings.train)  # trained on no document, so they use only the definitions
        held_out = score_folds(corpus, fold, [(Encoded(encoder, definitions, corpus), heads)])
        long_texts = make_long_texts(corpus, held_out, fold, settings.seed)
        calibration = definitions_calibration(len(coded.codebook.keys))
        codes = corpus.document_targets[long_texts.papers, 1:]
        abstracts = long_texts.abstracts * calibration.slope[1:] + calibration.intercept[1:]
        correction = steady_correction(log_odds(long_texts, calibration), abstracts)
        print(f"{coded.name}: {len(codes)} papers, windows of {long_texts.size} sentences, correction {correction:.2f}")  # noqa: T201
        for filling in FILLINGS:
            for sentences in (0, *LENGTHS):
                scores, count = long_texts.abstracts, 1
                if sentences:
                    scores, count = long_texts.scores(filling, sentences)
                plain = scores * calibration.slope[1:] + calibration.intercept[1:]
                found = [expit(plain + shift * np.log2(count)) for shift in (0.0, correction)]
                means = [f"{chances[codes == code].mean():.3f}" for chances in found for code in (1, 0)]
                print(f"  {sentences} {filling}:", *means, f"within {within(plain, codes):.3f}")  # noqa: T201


def of_papers() -> None:
    """Print metrics of models that learn from papers coded as a whole, on long texts made from the coded sentences."""
    ground = load_ground()
    settings, seed = ground.settings.train, ground.settings.seed
    units, own = ground.corpus.unit_targets, ground.corpus.document != NO_DOCUMENT
    corpus = replace(ground.corpus, unit_targets=np.where(own[:, None], np.nan, units))
    everything, fold = np.ones(corpus.n_documents, dtype=bool), ground.deal(seed)
    held_out = score_folds(corpus, fold, fit_folds(corpus, ground.frozen, fold, everything, settings, seed))
    long_texts = make_long_texts(ground.corpus, held_out, fold, seed)
    learned_on = make_long_texts(corpus, held_out, fold, seed)
    systems = {
        f"{SHIPPED}, learned on papers": Windows(corpus, held_out, fold, long_texts, settings, True, learned_on),
        f"{SHIPPED}, learned on sentences": Windows(corpus, held_out, fold, long_texts, settings, True),
        UNCORRECTED: Windows(corpus, held_out, fold, long_texts, settings, corrected=False),
    }
    fitted = calibrate(corpus, held_out.documents, everything, settings)
    for name, texts in (("papers", learned_on), ("sentences", long_texts)):
        learned = fit_windows(corpus, held_out, fitted, texts, everything, settings)
        print(f"corrections learned on {name}:", *np.round(learned.correction, 2))  # noqa: T201
    for row in _results(systems, corpus.document_targets[long_texts.papers, 1:]):
        print(row["system"], row["dataset"], row["metric"], f"{row['value']:.3f}", sep=" | ")  # noqa: T201


def main() -> None:
    """Compute the metrics of all methods, and publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--definitions", action="store_true", help="fit the correction of models from definitions")
    parser.add_argument("--papers", action="store_true", help="measure models that learn from papers coded as a whole")
    arguments = parser.parse_args()
    if arguments.definitions or arguments.papers:
        of_definitions() if arguments.definitions else of_papers()
        return
    ground = load_ground()
    corpus, settings, seed = ground.corpus, ground.settings.train, ground.settings.seed
    everything, fold = np.ones(corpus.n_documents, dtype=bool), ground.deal(seed)
    held_out = score_folds(corpus, fold, fit_folds(corpus, ground.frozen, fold, everything, settings, seed))
    results = measure(corpus, held_out, fold, settings, seed)
    publish("windows", "python -m benchmarks.windows", results, TEXT, versions=("scikit-learn", "torch"))


if __name__ == "__main__":
    main()
