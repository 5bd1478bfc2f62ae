"""Divide long texts into windows about as long as abstracts, and adjust the calibration to the number of windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mechtag.core.arrays import Array
from mechtag.models.scoring import Calibration


def windows(lengths: Sequence[int], size: int) -> Iterator[range]:
    """Divide runs of consecutive sentences, such as sections, into overlapping windows.

    In each run, a new window begins after every ``size / 2`` sentences (rounded up), so that each sentence is in one or
    two windows. A run that is not longer than ``size`` is one window.

    Parameters
    ----------
    lengths
        Number of sentences in each run.
    size
        Number of sentences in a window. The last window of a run may have fewer.

    Yields
    ------
    range
        Numbers of the sentences of a window. The sentences of all runs are numbered consecutively, from 0.
    """
    step = (size + 1) // 2
    first = 0
    for length in lengths:
        end = first + length
        for start in range(first, end, step):
            yield range(start, min(start + size, end))
            if start + size >= end:
                break
        first = end


@dataclass(frozen=True)
class WindowCalibration:
    """Adjustment of the calibration to the number of windows of a text.

    A window is a run of sentences about as long as an abstract. The score of a label in a long text is the highest
    score of a window. With more windows, the highest score is higher by chance. Therefore, each doubling of the number
    of windows shifts the logistic curve of the label by ``correction``.

    The adjustment is learned from out-of-fold scores of long texts. If it could not be learned, every label of a long
    text needs review.

    Attributes
    ----------
    size
        Number of sentences in a window: the median number of sentences of the training abstracts.
    correction : ndarray, shape (n_labels,)
        Change of the intercept of each label per doubling of the number of windows; at most 0.
    low, high : ndarray, shape (n_powers, n_labels)
        Lower and upper bounds between which decisions need review. The rows are for texts of 2, 4, 8, ... windows; the
        last row also applies to longer texts.
    """

    size: int
    correction: Array
    low: Array
    high: Array

    def of(self, calibration: Calibration, count: int) -> Calibration:
        """Return the calibration for a text with ``count`` windows.

        ``calibration`` is the calibration for abstracts; it is also correct for every text with one window. If a text
        has several windows, the intercepts and bounds of its labels are adjusted. Relevance is never adjusted.
        """
        power = min(round(np.log2(count)), len(self.low))
        if count == 1 or not power:
            return calibration
        return replace(
            calibration,
            intercept=calibration.intercept + np.append(0.0, self.correction * np.log2(count)),
            low=np.append(calibration.low[0], self.low[power - 1]),
            high=np.append(calibration.high[0], self.high[power - 1]),
        )
