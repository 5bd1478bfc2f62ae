"""Compute the losses for fine-tuning an encoder with torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, softplus

from mechtag.core.arrays import Index
from mechtag.models.encoder import TransformerEncoder
from mechtag.training.dataset import NO_DOCUMENT, Corpus
from mechtag.training.multiple_instance import SHARPNESS


@dataclass(frozen=True)
class TuningCorpus:
    """A corpus prepared for fine-tuning. An item is an array of units that must be in the same batch.

    Attributes
    ----------
    tokens : list, length n_units
    unit_targets : Tensor, shape (n_units, 1 + n_labels)
    document : ndarray, shape (n_units,)
        See `Corpus`.
    whole_targets : Tensor, shape (n_documents, 1 + n_labels)
        See `Corpus.whole_targets`.
    papers, exemplars : list of ndarray
        Items: all units of each paper, and each exemplar by itself.
    """

    tokens: list[list[int]]
    unit_targets: Tensor
    document: Index
    whole_targets: Tensor
    papers: list[Index]
    exemplars: list[Index]

    @property
    def has_positives(self) -> bool:
        """Return whether any unit or paper is positive for at least one label."""
        return bool((self.unit_targets[:, 1:] == 1).any() or (self.whole_targets[:, 1:] == 1).any())

    @cached_property
    def judged_items(self) -> list[Index]:
        """Return the items with a judged label: individually coded units, and papers that were coded as a whole."""
        units = np.flatnonzero(_judged(self.unit_targets))
        papers = np.flatnonzero(_judged(self.whole_targets))
        return [*(np.array([unit]) for unit in units), *(self.papers[row] for row in papers)]

    def targets_of(self, items: Sequence[Index]) -> Tensor:
        """Return the label targets of items from `judged_items` as a tensor of shape (n_items, n_labels)."""
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
    """Tokenise the texts of a corpus, and move its targets to the device of the encoder."""
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
    """Yield batches of items, in order, of about ``budget`` tokens each.

    If an item is longer than the budget, only a random selection of its units is used, with at least one unit.

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


# Factor of the vectors: they have unit length, so the weights of the heads would otherwise have to be large.
VECTOR_SCALE = 10.0
# Maximum weight of the positives of rare labels.
MAX_POSITIVE_WEIGHT = 10.0
# Ridge penalty on the initial heads.
RIDGE = 1e-3
WARM_UP_STEPS = 60
# Cosines are divided by this in the contrastive loss (0.05 to 0.1 is usual with unit vectors).
TEMPERATURE = 0.1


class Objective(Protocol):
    """Interface of a loss that is computed from batches of items; see `TuningCorpus`."""

    def start(self, corpus: Corpus, data: TuningCorpus, definitions: Tensor) -> None:
        """Initialise the objective's own parameters from the vectors of the original encoder."""
        ...

    def parameters(self) -> list[nn.Parameter]:
        """Return the objective's own parameters."""
        ...

    def items(self, data: TuningCorpus, generator: np.random.Generator) -> list[Index]:
        """Return the items to use in an epoch, in random order."""
        ...

    def loss(self, data: TuningCorpus, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
        """Return the loss of a batch of items.

        Parameters
        ----------
        vectors : Tensor, shape (n_units, size)
            Vectors of the units of all items, in the order of the items.
        definitions : Tensor, shape (n_labels, size)
        """
        ...


def pool_tensor(scores: Tensor, lengths: Sequence[int]) -> Tensor:
    """Pool the scores of each paper's units, with gradients.

    Relevance is pooled by the mean, and labels are pooled as in `training.multiple_instance`.
    """
    parts = nn.utils.rnn.pad_sequence(list(torch.split(scores, list(lengths))), batch_first=True)
    counts = torch.tensor(lengths, device=scores.device)[:, None]
    there = torch.arange(parts.shape[1], device=scores.device) < counts
    peaked = (SHARPNESS * parts).masked_fill(~there[..., None], -torch.inf).logsumexp(dim=1) / SHARPNESS
    return torch.cat([parts[..., :1].sum(dim=1) / counts, peaked[:, 1:]], dim=1)


def judged_loss(scores: Tensor, targets: Tensor, positive_weight: Tensor) -> Tensor:
    """Return the mean binary cross-entropy over judged targets; NaN targets are ignored."""
    judged = ~targets.isnan()
    losses = binary_cross_entropy_with_logits(
        scores, targets.nan_to_num(), pos_weight=positive_weight, reduction="none"
    )
    return (losses * judged).sum() / judged.sum().clamp(min=1)


def positive_weights(targets: Tensor) -> Tensor:
    """Return the weight of positives in each column, which is the number of negatives per positive.

    Weights are limited to the range from 1 to ``MAX_POSITIVE_WEIGHT``.
    """
    positives, negatives = (targets == 1).sum(0), (targets == 0).sum(0)
    return (negatives / positives.clamp(min=1)).clamp(1.0, MAX_POSITIVE_WEIGHT)


class SentenceAndPaperLoss:
    """Cross-entropy loss on coded sentences and on papers that were coded only as a whole.

    The score of a unit is a linear function of its vector, plus its cosine with the label's
    definition multiplied by a factor that all labels share. Labels without examples are
    therefore scored by their definition. The score of a paper is pooled from its units
    (multiple-instance learning), with a separate intercept. Relevance applies to papers
    only, and is pooled by the mean.
    """

    def __init__(self, size: int, n_columns: int, device: torch.device) -> None:
        self.weights = nn.Parameter(torch.zeros(n_columns, size, device=device))
        self.intercept = nn.Parameter(torch.zeros(n_columns, device=device))
        self.paper_intercept = nn.Parameter(torch.zeros(n_columns, device=device))
        # Initial factor of the cosine, and the intercept that goes with it.
        self.likeness = nn.Parameter(torch.tensor([1.0, 0.0], device=device))
        self.sentence_weight = torch.ones(n_columns, device=device)
        self.paper_weight = torch.ones(n_columns, device=device)

    def parameters(self) -> list[nn.Parameter]:
        """Return the objective's own parameters."""
        return [self.weights, self.intercept, self.paper_intercept, self.likeness]

    def start(self, corpus: Corpus, data: TuningCorpus, definitions: Tensor) -> None:
        """Fit the heads first, because random heads would distort the encoder (Kumar et al. 2022, LP-FT)."""
        self.sentence_weight = positive_weights(data.unit_targets)
        self.paper_weight = positive_weights(data.whole_targets)
        vectors = torch.from_numpy(corpus.vectors).to(self.weights.device)
        everything = [*data.papers, *data.exemplars]
        vectors = vectors[np.concatenate(everything)]
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=WARM_UP_STEPS, line_search_fn="strong_wolfe")

        def step() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(data, everything, vectors, definitions) + RIDGE * self.weights.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(step)  # type: ignore[no-untyped-call]

    def items(self, data: TuningCorpus, generator: np.random.Generator) -> list[Index]:
        """Return all papers and all exemplars, in random order."""
        everything = [*data.papers, *data.exemplars]
        return [everything[place] for place in generator.permutation(len(everything))]

    def scores(self, vectors: Tensor, definitions: Tensor) -> Tensor:
        """Return the scores of units as a tensor of shape (n_units, 1 + n_labels)."""
        likeness = self.likeness[0] * VECTOR_SCALE * (vectors @ definitions.T) + self.likeness[1]
        return VECTOR_SCALE * (vectors @ self.weights.T) + self.intercept + nn.functional.pad(likeness, (1, 0))

    def loss(self, data: TuningCorpus, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
        """Return the sum of the losses of sentences and papers; see `Objective.loss`."""
        scores = self.scores(vectors, definitions)
        loss = judged_loss(scores, data.unit_targets[np.concatenate(batch)], self.sentence_weight)
        owners = [int(data.document[units[0]]) for units in batch]
        whole = [place for place, owner in enumerate(owners) if owner != NO_DOCUMENT]
        if not whole:
            return loss
        pooled = pool_tensor(scores, [len(units) for units in batch]) + self.paper_intercept
        targets = data.whole_targets[[owners[place] for place in whole]]
        return loss + judged_loss(pooled[whole], targets, self.paper_weight)


class ContrastiveLoss:
    """Contrastive loss, which attracts texts that share a label and repels all others, as in SetFit.

    See Tunstall et al. (2022) for SetFit.

    The texts are coded sentences, exemplars, papers coded only as a whole (the mean of
    their units), and one definition or rule of each label. Pairs for which it is unknown
    whether they share a label are ignored. Each positive pair is contrasted with the
    negatives of its batch (Khosla et al. 2020, supervised contrastive learning).
    """

    def __init__(self, size: int, n_columns: int, device: torch.device) -> None:
        self.own = torch.eye(n_columns - 1, device=device)

    def parameters(self) -> list[nn.Parameter]:
        """Return the objective's own parameters."""
        return []

    def start(self, corpus: Corpus, data: TuningCorpus, definitions: Tensor) -> None:
        """Do nothing, because there are no heads."""

    def items(self, data: TuningCorpus, generator: np.random.Generator) -> list[Index]:
        """Return all items with at least one label, and at most the same number of randomly drawn other items."""
        items = data.judged_items
        if not items:
            return []
        carries = (data.targets_of(items) == 1).any(dim=1).cpu().numpy()
        carriers, others = np.flatnonzero(carries), np.flatnonzero(~carries)
        drawn = generator.choice(others, min(len(others), len(carriers)), replace=False)
        return [items[place] for place in generator.permutation(np.concatenate([carriers, drawn]))]

    def loss(self, data: TuningCorpus, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
        """Return the loss over all pairs of texts in the batch; see `Objective.loss`."""
        means = [part.mean(dim=0) for part in torch.split(vectors, [len(units) for units in batch])]
        texts = torch.cat([normalize(torch.stack(means), dim=1), definitions])
        targets = torch.cat([data.targets_of(batch), self.own])
        return pair_loss(texts @ texts.T / TEMPERATURE, targets)


def pair_loss(likenesses: Tensor, targets: Tensor) -> Tensor:
    """Return the mean contrastive loss of all pairs of texts in a batch that share a label.

    Parameters
    ----------
    likenesses : Tensor, shape (n, n)
    targets : Tensor, shape (n, n_labels)
        1, 0, or NaN for not judged.
    """
    certain, possible = targets.nan_to_num(0.0), targets.nan_to_num(1.0)
    positive = ((certain @ certain.T) > 0).fill_diagonal_(False)
    negative = (possible @ possible.T) == 0
    against = likenesses.masked_fill(~negative, -1e4).logsumexp(dim=1, keepdim=True)
    losses = softplus(against - likenesses) * positive
    pairs = positive.sum(dim=1)
    anchors = pairs > 0
    return (losses.sum(dim=1) / pairs.clamp(min=1)).sum() / anchors.sum().clamp(min=1)
