"""Learn from out-of-fold scores how to calibrate the scores of long texts, such as full texts.

A long text is scored in windows, each about as long as an abstract. The more windows a text has, the higher its highest
window score is by chance alone.

There are no coded full texts, so this module makes up long texts. A made-up text consists of the abstract of a coded
record, followed by windows of sentences from other papers. These sentences lack the label that is scored: the sentence,
or its whole paper, was coded ``no`` for the label, or the paper is irrelevant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.settings import TrainSettings
from mechtag.models.scoring import SHARPNESS, Calibration, pool_scores
from mechtag.models.windows import WindowCalibration, windows
from mechtag.training.calibration import has_both_kinds, refer_band
from mechtag.training.dataset import NO_DOCUMENT, Corpus
from mechtag.training.heads import HeldOut

# Long texts are made up with 2, 4, 8, ... windows, the abstract included.
POWERS = 6
# Lowest correction that is searched, in log odds per doubling of the number of windows.
_LOWEST = -3.0
# What fills the windows: sentences of relevant papers that carry no label, and sentences of irrelevant papers.
ON_TOPIC, OFF_TOPIC = "on topic", "off topic"
FILLINGS = (ON_TOPIC, OFF_TOPIC)


@dataclass(frozen=True)
class LongTexts:
    """Out-of-fold scores of long texts that were made up for training.

    A long text is made from a relevant paper. It consists of the abstract of the paper, followed by windows of
    sentences from other papers. These sentences are called the filling.

    There are two kinds of filling. The filling ``on topic`` consists of sentences without the scored label, from
    relevant papers. The filling ``off topic`` consists of sentences from irrelevant papers. All papers in a long text
    are in the same fold, so the model that scores the text was not trained on any of them.

    Attributes
    ----------
    size
        Number of sentences in a window.
    papers : ndarray of int, shape (n_papers,)
        For each relevant paper, the number of its row in the corpus.
    abstracts : ndarray, shape (n_papers, n_labels)
        Scores of the abstracts.
    filled : dict of ndarray, shape (n_papers, n_windows, n_labels)
        Scores of windows with the title of the paper, keyed by kind of filling. If the fold of a paper has no sentences
        for a kind of filling, the scores are NaN. If no fold has such sentences, the kind of filling is missing.
    filling : dict of ndarray, shape (n_papers, n_windows, n_labels)
        Scores of the same windows without the title.
    """

    size: int
    papers: Index
    abstracts: Array
    filled: dict[str, Array] = field(default_factory=dict)
    filling: dict[str, Array] = field(default_factory=dict)

    def scores(self, filling: str, sentences: int, *, alone: bool = False) -> tuple[Array, int]:
        """Return the scores of long texts, and the number of windows of each of these texts.

        A long text consists of the title and abstract of a paper, followed by sentences from other papers (the
        filling). All texts have the same length.

        Parameters
        ----------
        filling
            Kind of filling; one of `FILLINGS`.
        sentences
            Number of sentences of filling in each text.
        alone
            Whether the texts consist only of filling, without the title and abstract of the paper.

        Returns
        -------
        scores : ndarray of float, shape (n_papers, n_labels)
        count : int
        """
        count = sum(1 for _ in windows([sentences], self.size))
        found = self.filling if alone else self.filled
        highest: Array = found[filling][:, :count].max(axis=1)
        return (highest, count) if alone else (np.maximum(highest, self.abstracts), 1 + count)


def median_length(corpus: Corpus) -> int:
    """Return the median number of sentences per document, without the title; at least 1."""
    document, _ = unit_codes(corpus)
    return max(1, int(np.median(np.bincount(document[document != NO_DOCUMENT]))) - 1)


def unit_codes(corpus: Corpus) -> tuple[Index, Array]:
    """Return the document and the label codes of each unit (title, sentence or exemplar) of a corpus.

    Returns
    -------
    document : ndarray, shape (n_units,)
        Number of the document to which each unit belongs, from 0; ``NO_DOCUMENT`` for exemplars.
    codes : ndarray, shape (n_units, n_labels)
        Codes of each unit, without relevance.
    """
    first = corpus.first_parts
    return corpus.document[first], corpus.unit_targets[first, 1:]


def make_long_texts(
    corpus: Corpus, held_out: HeldOut, fold: Index, seed: int, sharpness: float = SHARPNESS
) -> LongTexts:
    """Make up long texts from papers, and compute their scores from the out-of-fold scores of sentences.

    `LongTexts` explains the long texts and their filling (sentences from other papers).

    The filling ``on topic`` consists of sentences that were coded "no" for all labels. If at least one paper finds no
    such sentences in the other papers of its fold, each label has its own filling instead. The filling of a label
    consists of sentences that were coded "no" for the label, and of uncoded sentences from papers that were coded "no"
    for the label.

    Parameters
    ----------
    sharpness
        Sharpness with which the scores of sentences are pooled; see `scoring.pool_scores`.
    """
    document, codes = unit_codes(corpus)
    title = np.diff(document, prepend=NO_DOCUMENT) != 0
    relevant = corpus.document_targets[:, 0] == 1
    own = (document != NO_DOCUMENT) & ~title
    papers = np.flatnonzero(relevant)
    numbers: list[int] = papers.tolist()
    size = median_length(corpus)
    maker = _Maker(document, title, held_out.units[:, 1:], fold, size, sharpness, np.random.default_rng(seed))
    found = LongTexts(size, papers, held_out.documents[papers, 1:])
    every = np.arange(codes.shape[1])
    # A label of a sentence with several parts is unknown (NaN) for the parts, so their sentences never fill a window.
    without_labels = own & (codes == 0).all(axis=1) & relevant[document]
    on_topic = [(every, without_labels)]
    if not all(maker.others(without_labels, paper).any() for paper in numbers):
        known = (codes == 0) | (np.isnan(codes) & (corpus.document_targets[document, 1:] == 0))
        on_topic = [(every[[label]], own & known[:, label] & relevant[document]) for label in every]
    for filling, parts in {ON_TOPIC: on_topic, OFF_TOPIC: [(every, own & ~relevant[document])]}.items():
        filled, alone = (np.full((len(papers), 2**POWERS - 1, len(every)), np.nan) for _ in range(2))
        for labels, usable in parts:
            for row, paper in enumerate(numbers):
                if (rows := maker.draw(usable, paper)) is not None:
                    filled[row][:, labels], alone[row][:, labels] = maker.windows(rows, paper, labels)
        if not np.isnan(filled).all():
            found.filled[filling], found.filling[filling] = filled, alone
    return found


@dataclass(frozen=True)
class _Maker:
    """Draws the sentences that fill the windows of made-up long texts, and scores the windows."""

    # Number of the document to which each unit (title, sentence or exemplar) belongs.
    document: Index
    # Whether each unit is a title.
    title: Mask
    # Out-of-fold scores of the units, shape (n_units, n_labels).
    scores: Array
    fold: Index
    size: int
    sharpness: float
    rng: np.random.Generator

    def others(self, usable: Mask, paper: int) -> Mask:
        """Return a mask of the ``usable`` sentences from the same fold as a paper, but from other papers."""
        found: Mask = usable & (self.fold[self.document] == self.fold[paper]) & (self.document != paper)
        return found

    def draw(self, usable: Mask, paper: int) -> Index | None:
        """Draw sentences from other papers, to lengthen the abstract of ``paper`` to the length of the longest text.

        The result contains the row numbers of the drawn sentences. All of them are from papers in the fold of
        ``paper``. The mask ``usable`` selects the sentences that may be drawn. The sentences of each drawn paper stay
        together. If there are too few sentences, they are repeated. If there are none, the result is ``None``.
        """
        own = np.flatnonzero(self.others(usable, paper))
        if not len(own):
            return None
        order = {each: place for place, each in enumerate(self.rng.permutation(np.unique(self.document[own])))}
        own = own[np.argsort([order[each] for each in self.document[own]], kind="stable")]
        step = (self.size + 1) // 2
        return np.resize(own, self.size + step * (2**POWERS - 2))

    def windows(self, rows: Index, paper: int, labels: Index) -> tuple[Array, Array]:
        """Divide the sentences in ``rows`` into windows, and return the pooled scores of the windows as two arrays.

        For the first array, the title of the paper is added to each window. For the second array, the windows have no
        title.
        """
        scores = self.scores[:, labels]
        parts = [scores[rows[one.start : one.stop]] for one in windows([len(rows)], self.size)]
        name = scores[self.title & (self.document == paper)]
        lengths = [len(part) for part in parts]
        titled = np.vstack([unit for part in parts for unit in (name, part)])
        return (
            pool_scores(titled, [1 + length for length in lengths], self.sharpness),
            pool_scores(np.vstack(parts), lengths, self.sharpness),
        )


def fit_windows(
    corpus: Corpus,
    held_out: HeldOut,
    fitted: Calibration,
    long_texts: LongTexts,
    documents: Mask,
    settings: TrainSettings,
) -> WindowCalibration:
    """Calibrate the scores of long texts, which are scored in windows.

    A correction that grows with the number of windows is added to the log odds. The slope and intercept that were
    fitted to abstracts are kept. The bounds between which a decision needs review are fitted separately for texts of 2,
    4, 8, ... windows.

    If a label has enough positives and negatives, its correction is fitted to its own data. The remaining labels share
    one correction, which is fitted to the data of all labels.

    The result is `fixed_windows` in two cases: the data of all labels contain too few positives or negatives, or there
    were no sentences to fill windows with.

    Parameters
    ----------
    fitted
        Calibration of abstracts.
    documents : ndarray of bool, shape (n_documents,)
        Mask of the documents to fit on.
    """
    chosen = documents[long_texts.papers]
    codes = corpus.document_targets[long_texts.papers[chosen], 1:]
    margins = log_odds(long_texts, fitted)[:, :, chosen]
    codes = np.where(np.isnan(margins).any(axis=(0, 1)), np.nan, codes)
    if not long_texts.filled or not has_both_kinds(codes, settings.min_positives):
        return fixed_windows(codes.shape[1], long_texts.size)
    correction = np.full(codes.shape[1], _correction(margins, codes))
    for label in range(codes.shape[1]):
        if has_both_kinds(codes[:, label], settings.min_positives):
            correction[label] = _correction(margins[..., [label]], codes[:, [label]])
    relevance = fitted.relevance(held_out.documents[long_texts.papers[chosen], 0])
    judged = ~np.isnan(codes)
    bounds = []
    for power, of_power in enumerate(margins, start=1):
        chances = [relevance[:, None] * expit(one + power * correction) for one in of_power]
        cells = np.concatenate([one[judged] for one in chances])
        bounds.append(refer_band(cells, np.tile(codes[judged], len(chances)), settings.decided_precision))
    low, high = (np.repeat(np.array(bound)[:, None], codes.shape[1], axis=1) for bound in zip(*bounds, strict=True))
    threshold = fitted.threshold[1:]
    return WindowCalibration(long_texts.size, correction, np.minimum(low, threshold), np.maximum(high, threshold))


def log_odds(long_texts: LongTexts, fitted: Calibration) -> Array:
    """Return the log odds of the labels of long texts, without correction for the length of the texts.

    The log odds are computed with ``fitted``, the calibration for abstracts.

    Returns
    -------
    ndarray, shape (POWERS, n_fillings, n_papers, n_labels)
        The first axis is the length of the texts: 2, 4, 8, ... windows. The second axis is the kind of filling, in the
        order of ``long_texts.filled``.
    """
    scores = [
        [
            np.maximum(filled[:, : 2**power - 1].max(axis=1), long_texts.abstracts)
            for filled in long_texts.filled.values()
        ]
        for power in range(1, POWERS + 1)
    ]
    shape = (POWERS, len(long_texts.filled), *long_texts.abstracts.shape)
    return np.array(scores).reshape(shape) * fitted.slope[1:] + fitted.intercept[1:]


def _correction(margins: Array, codes: Array) -> float:
    """Estimate by how much log odds must change each time the number of windows of a text doubles."""
    # Fitted by maximum likelihood.
    # Shapes: margins (POWERS, n_fillings, n_papers, n_labels), codes (n_papers, n_labels).
    judged = ~np.isnan(codes)
    signs, powers = 2 * codes[judged] - 1, np.arange(1, POWERS + 1)[:, None, None]

    def loss(correction: float) -> float:
        return float(np.logaddexp(0, -signs * (margins[..., judged] + correction * powers)).sum())

    return float(minimize_scalar(loss, bounds=(_LOWEST, 0.0), method="bounded").x)


# Number of sentences in a window, and correction, if nothing can be learned: an abstract has about ten sentences, and
# with the correction, the mean probability of models from definitions stays about the same however long the text is, on
# the two codebooks that have coded sentences and irrelevant records (`python -m benchmarks.windows --definitions`).
_WINDOW, _CORRECTION = 10, -0.18


def fixed_windows(n_labels: int, size: int = _WINDOW) -> WindowCalibration:
    """Return the calibration of long texts that is used if there are too few data to learn one.

    With this calibration, every decision on a label needs review.
    """
    return WindowCalibration(
        size=size,
        correction=np.full(n_labels, _CORRECTION),
        low=np.zeros((1, n_labels)),
        high=np.full((1, n_labels), np.inf),
    )


def learn_windows(
    corpus: Corpus, held_out: HeldOut, fold: Index, fitted: Calibration, settings: TrainSettings, seed: int
) -> WindowCalibration:
    """Learn from out-of-fold scores how to calibrate the scores of long texts.

    If there are too few data, for example because no record is relevant, the result of `fixed_windows` is returned.
    """
    if not corpus.n_documents:
        return fixed_windows(len(fitted.slope) - 1)
    long_texts = make_long_texts(corpus, held_out, fold, seed)
    everything = np.ones(corpus.n_documents, dtype=bool)
    return fit_windows(corpus, held_out, fitted, long_texts, everything, settings)
