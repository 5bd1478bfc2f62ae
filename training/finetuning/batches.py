"""Data for fine-tuning: texts as tokens, targets as tensors, and batches of items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mechtag.core.arrays import Index
from mechtag.models.encoder import TransformerEncoder
from mechtag.training.dataset import NO_DOCUMENT, Corpus


@dataclass(frozen=True)
class TuningCorpus:
    """A corpus prepared for fine-tuning. An item is an array of units that must be in one batch.

    Attributes
    ----------
    tokens : list, length n_units
    unit_targets : Tensor, shape (n_units, 1 + n_labels)
    document : ndarray, shape (n_units,)
        As in `Corpus`.
    whole_targets : Tensor, shape (n_documents, 1 + n_labels)
        See `Corpus.whole_targets`.
    papers, exemplars : list of ndarray
        Items: the units of each paper, and each exemplar on its own.
    """

    tokens: list[list[int]]
    unit_targets: Tensor
    document: Index
    whole_targets: Tensor
    papers: list[Index]
    exemplars: list[Index]

    @property
    def has_positives(self) -> bool:
        """Return whether any unit or paper carries a label."""
        return bool((self.unit_targets[:, 1:] == 1).any() or (self.whole_targets[:, 1:] == 1).any())

    @cached_property
    def judged_items(self) -> list[Index]:
        """Return the items judged for a label: single units, and papers coded only as a whole."""
        units = np.flatnonzero(_judged(self.unit_targets))
        papers = np.flatnonzero(_judged(self.whole_targets))
        return [*(np.array([unit]) for unit in units), *(self.papers[row] for row in papers)]

    def targets_of(self, items: Sequence[Index]) -> Tensor:
        """Return the labels of items from ``judged_items``, shape (n_items, n_labels)."""
        rows = []
        for units in items:
            own = self.unit_targets[units[0]]
            judged = len(units) == 1 and _judged(own[None])[0]
            rows.append(own if judged else self.whole_targets[self.document[units[0]]])
        return torch.stack(rows)[:, 1:]


def _judged(targets: Tensor) -> NDArray[np.bool_]:
    judged: NDArray[np.bool_] = (~targets[:, 1:].isnan()).any(dim=1).cpu().numpy()
    return judged


def prepare_corpus(corpus: Corpus, encoder: TransformerEncoder) -> TuningCorpus:
    """Tokenise a corpus, and move its targets to the encoder's device."""
    device = encoder.model.device
    return TuningCorpus(
        tokens=encoder.tokens(corpus.texts),
        unit_targets=torch.tensor(corpus.unit_targets, dtype=torch.float32, device=device),
        document=corpus.document,
        whole_targets=torch.tensor(corpus.whole_targets(), dtype=torch.float32, device=device),
        papers=corpus.rows_by_document(),
        exemplars=[np.array([unit]) for unit in np.flatnonzero(corpus.document == NO_DOCUMENT)],
    )


def cut_batches(
    items: Sequence[Index], lengths: Sequence[int], budget: int, generator: np.random.Generator
) -> Iterator[list[Index]]:
    """Group items, in order, into batches of about ``budget`` tokens.

    If an item is longer than that, units are drawn from it at random, at least one.

    Parameters
    ----------
    lengths : sequence of int, length n_units
    """
    batch: list[Index] = []
    spent = 0
    for units in items:
        sizes = np.array([lengths[unit] for unit in units])
        if sizes.sum() > budget:
            order = generator.permutation(len(units))
            count = max(1, int((np.cumsum(sizes[order]) <= budget).sum()))
            drawn = np.sort(order[:count])
            units, sizes = units[drawn], sizes[drawn]
        if batch and spent + sizes.sum() > budget:
            yield batch
            batch, spent = [], 0
        batch.append(units)
        spent += int(sizes.sum())
    if batch:
        yield batch
