"""Compute the contrastive loss for fine-tuning an encoder with torch.

The loss attracts texts that share a label, and repels texts that share no label, as in SetFit (Tunstall et al. 2022).
Here, the texts are coded sentences, exemplars, whole papers, and one definition or rule per label. A whole paper is
usually used only for labels for which its sentences were not coded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, softplus

from mechtag.core.arrays import Index
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.top_layers import States


@dataclass(frozen=True)
class TuningCorpus:
    """A corpus prepared for fine-tuning.

    A text is a title, or a part of a sentence or exemplar between semicolons, as in `Corpus`. An item is a text that
    was coded individually, or a paper that was coded as a whole. An item is stored as an array with the numbers of its
    texts.

    Attributes
    ----------
    states : list of Tensor, length n_texts
        Hidden states of each text; see `top_layers.States`.
    unit_targets : Tensor, shape (n_texts, 1 + n_labels)
        Codes of each text, with relevance in the first column; see `Corpus`.
    document : ndarray, shape (n_texts,)
        Number of the paper of each text; ``NO_DOCUMENT`` for exemplars.
    whole_targets : Tensor, shape (n_papers, 1 + n_labels)
        Codes of whole papers, with relevance in the first column; see `Corpus.whole_targets`.
    papers : list of ndarray, length n_papers
        Numbers of the texts of each paper.
    """

    states: list[Tensor]
    unit_targets: Tensor
    document: Index
    whole_targets: Tensor
    papers: list[Index]

    @cached_property
    def judged_items(self) -> list[Index]:
        """Return the items that have a code for at least one label.

        An item is a text that was coded individually, or a paper that was coded as a whole.
        """
        units = np.flatnonzero(_judged(self.unit_targets))
        papers = np.flatnonzero(_judged(self.whole_targets))
        return [*(np.array([unit]) for unit in units), *(self.papers[row] for row in papers)]

    def targets_of(self, items: Sequence[Index]) -> Tensor:
        """Return the label codes of items in `judged_items`, shape (n_items, n_labels); relevance is left out."""
        rows = []
        for units in items:
            own = self.unit_targets[units[0]]
            judged = len(units) == 1 and _judged(own[None])[0]
            rows.append(own if judged else self.whole_targets[self.document[units[0]]])
        return torch.stack(rows)[:, 1:]


def _judged(targets: Tensor) -> NDArray[np.bool_]:
    judged: NDArray[np.bool_] = (~targets[:, 1:].isnan()).any(dim=1).cpu().numpy()
    return judged


def prepare_corpus(corpus: Corpus, states: States) -> TuningCorpus:
    """Compute the hidden states of the texts of a corpus, and move the codes to the encoder's device."""
    device = states.encoder.model.device
    return TuningCorpus(
        states=states.of(corpus.texts),
        unit_targets=torch.tensor(corpus.unit_targets, dtype=torch.float32, device=device),
        document=corpus.document,
        whole_targets=torch.tensor(corpus.whole_targets(), dtype=torch.float32, device=device),
        papers=corpus.rows_by_document(),
    )


def cut_batches(
    items: Sequence[Index], lengths: Sequence[int], budget: int, generator: np.random.Generator
) -> Iterator[list[Index]]:
    """Yield the items (see `TuningCorpus`) in batches, in order; ``budget`` is the maximum number of tokens per batch.

    If an item is longer than ``budget``, only some of its texts are used. They are drawn at random. A single text that
    is longer than ``budget`` is not cut.

    Parameters
    ----------
    lengths : sequence of int, length n_texts
        Number of tokens of each text.
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


# Cosines are divided by this in the contrastive loss (0.05 to 0.1 is usual with unit vectors).
TEMPERATURE = 0.1


def draw_items(data: TuningCorpus, generator: np.random.Generator) -> list[Index]:
    """Return the items of one epoch (see `TuningCorpus`), in random order.

    They are all items with a label, and the same number of random items without a label (or all, if there are fewer).
    """
    items = data.judged_items
    if not items:
        return []
    carries = (data.targets_of(items) == 1).any(dim=1).cpu().numpy()
    carriers, others = np.flatnonzero(carries), np.flatnonzero(~carries)
    drawn = generator.choice(others, min(len(others), len(carriers)), replace=False)
    return [items[place] for place in generator.permutation(np.concatenate([carriers, drawn]))]


def batch_loss(data: TuningCorpus, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
    """Return the contrastive loss of the items in a batch and the definitions of the labels; see `pair_loss`.

    The vector of an item is the mean vector of its texts.

    Parameters
    ----------
    batch
        Items from `TuningCorpus.judged_items`.
    vectors : Tensor, shape (n_texts_of_batch, size)
        Vectors of the texts of all items in the batch.
    definitions : Tensor, shape (n_labels, size)
        Vector of the definition, or of one rule, of each label.
    """
    means = [part.mean(dim=0) for part in torch.split(vectors, [len(units) for units in batch])]
    texts = torch.cat([normalize(torch.stack(means), dim=1), definitions])
    own = torch.eye(len(definitions), device=definitions.device)
    return pair_loss(texts @ texts.T / TEMPERATURE, torch.cat([data.targets_of(batch), own]))


def pair_loss(likenesses: Tensor, targets: Tensor) -> Tensor:
    """Return the contrastive loss of a batch (Khosla et al. 2020, supervised contrastive learning).

    A partner of a text is a text that shares a label with it. A stranger is a text that certainly shares no label with
    it. The loss of a text and a partner is small if the text is much more similar to the partner than to all strangers.
    If it is unknown whether two texts share a label, the pair is ignored. The loss is averaged over the partners of
    each text, and then over the texts with partners.

    Parameters
    ----------
    likenesses : Tensor, shape (n, n)
        Cosine similarities of the texts, divided by the temperature of the loss.
    targets : Tensor, shape (n, n_labels)
        Codes of the texts: 1, 0, or NaN for not judged.
    """
    certain, possible = targets.nan_to_num(0.0), targets.nan_to_num(1.0)
    positive = ((certain @ certain.T) > 0).fill_diagonal_(False)
    negative = (possible @ possible.T) == 0
    against = likenesses.masked_fill(~negative, -1e4).logsumexp(dim=1, keepdim=True)
    losses = softplus(against - likenesses) * positive
    pairs = positive.sum(dim=1)
    anchors = pairs > 0
    return (losses.sum(dim=1) / pairs.clamp(min=1)).sum() / anchors.sum().clamp(min=1)
