"""What tuning an encoder minimises, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, softplus

from mechtag.core.arrays import Index
from mechtag.training.dataset import NO_DOCUMENT, Corpus
from mechtag.training.finetuning.batches import Lessons
from mechtag.training.multiple_instance import SHARPNESS

# Vectors have unit length, so weights on them would have to grow large without this.
VECTOR_SCALE = 10.0
# A rare label's positives weigh more, up to this.
MAX_POSITIVE_WEIGHT = 10.0
# Strength of the ridge on the heads that tuning starts from, a sentence.
RIDGE = 1e-3
WARM_UP_STEPS = 60
# Cosines are divided by this before pairs compete (0.05 to 0.1 is usual with unit vectors).
TEMPERATURE = 0.1


class Objective(Protocol):
    """A loss over items of a corpus: units that must stand in one batch."""

    def start(self, corpus: Corpus, lessons: Lessons, definitions: Tensor) -> None:
        """Set the objective's own parameters from the vectors of the untuned encoder."""
        ...

    def parameters(self) -> list[nn.Parameter]:
        """Give the objective's own parameters."""
        ...

    def items(self, lessons: Lessons, generator: np.random.Generator) -> list[Index]:
        """Give the units of each item of an epoch, in random order."""
        ...

    def loss(self, lessons: Lessons, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
        """Give the loss of a batch of items.

        Parameters
        ----------
        vectors : Tensor, shape (n_units, size)
            Of the units of the items, one item after another.
        definitions : Tensor, shape (n_labels, size)
        """
        ...


def pool_tensor(scores: Tensor, lengths: Sequence[int]) -> Tensor:
    """Pool with gradients: relevance, the first column, by the mean, labels as `training.multiple_instance` does."""
    parts = nn.utils.rnn.pad_sequence(list(torch.split(scores, list(lengths))), batch_first=True)
    counts = torch.tensor(lengths, device=scores.device)[:, None]
    there = torch.arange(parts.shape[1], device=scores.device) < counts
    peaked = (SHARPNESS * parts).masked_fill(~there[..., None], -torch.inf).logsumexp(dim=1) / SHARPNESS
    return torch.cat([parts[..., :1].sum(dim=1) / counts, peaked[:, 1:]], dim=1)


def judged_loss(scores: Tensor, targets: Tensor, positive_weight: Tensor) -> Tensor:
    """Mean binary cross-entropy over what was judged; NaN in ``targets`` counts for nothing."""
    judged = ~targets.isnan()
    losses = binary_cross_entropy_with_logits(
        scores, targets.nan_to_num(), pos_weight=positive_weight, reduction="none"
    )
    return (losses * judged).sum() / judged.sum().clamp(min=1)


def positive_weights(targets: Tensor) -> Tensor:
    """Negatives a positive of each column, at least 1 and at most ``MAX_POSITIVE_WEIGHT``."""
    positives, negatives = (targets == 1).sum(0), (targets == 0).sum(0)
    return (negatives / positives.clamp(min=1)).clamp(1.0, MAX_POSITIVE_WEIGHT)


class SentenceAndPaperLoss:
    """Cross-entropy of sentences where they were coded, and of papers where only those were.

    A unit's score is a linear head on its vector plus its cosine with the label's
    definition, times a factor that all labels share, so that a label without examples is
    scored by its definition. A paper's score is pooled from its units (multiple-instance
    learning), with an intercept of its own. Relevance is always a paper's, and pools by
    the mean.
    """

    def __init__(self, size: int, n_columns: int, device: torch.device) -> None:
        self.weights = nn.Parameter(torch.zeros(n_columns, size, device=device))
        self.intercept = nn.Parameter(torch.zeros(n_columns, device=device))
        self.paper_intercept = nn.Parameter(torch.zeros(n_columns, device=device))
        # Factor of the cosine, and the intercept that goes with it.
        self.likeness = nn.Parameter(torch.tensor([1.0, 0.0], device=device))
        self.sentence_weight = torch.ones(n_columns, device=device)
        self.paper_weight = torch.ones(n_columns, device=device)

    def parameters(self) -> list[nn.Parameter]:
        """See `Objective.parameters`."""
        return [self.weights, self.intercept, self.paper_intercept, self.likeness]

    def start(self, corpus: Corpus, lessons: Lessons, definitions: Tensor) -> None:
        """Fit the heads alone, so that what they unlearn does not spoil the encoder (Kumar et al. 2022, LP-FT)."""
        self.sentence_weight = positive_weights(lessons.unit_targets)
        self.paper_weight = positive_weights(lessons.whole_targets)
        vectors = torch.from_numpy(corpus.vectors).to(self.weights.device)
        everything = [*lessons.papers, *lessons.exemplars]
        vectors = vectors[np.concatenate(everything)]
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=WARM_UP_STEPS, line_search_fn="strong_wolfe")

        def step() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(lessons, everything, vectors, definitions) + RIDGE * self.weights.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(step)  # type: ignore[no-untyped-call]

    def items(self, lessons: Lessons, generator: np.random.Generator) -> list[Index]:
        """Give every paper and every exemplar."""
        everything = [*lessons.papers, *lessons.exemplars]
        return [everything[place] for place in generator.permutation(len(everything))]

    def scores(self, vectors: Tensor, definitions: Tensor) -> Tensor:
        """Score units, shape (n_units, 1 + n_labels)."""
        likeness = self.likeness[0] * VECTOR_SCALE * (vectors @ definitions.T) + self.likeness[1]
        return VECTOR_SCALE * (vectors @ self.weights.T) + self.intercept + nn.functional.pad(likeness, (1, 0))

    def loss(self, lessons: Lessons, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
        """Add the losses of sentences and of papers; see `Objective.loss`."""
        scores = self.scores(vectors, definitions)
        loss = judged_loss(scores, lessons.unit_targets[np.concatenate(batch)], self.sentence_weight)
        owners = [int(lessons.document[units[0]]) for units in batch]
        whole = [place for place, owner in enumerate(owners) if owner != NO_DOCUMENT]
        if not whole:
            return loss
        pooled = pool_tensor(scores, [len(units) for units in batch]) + self.paper_intercept
        targets = lessons.whole_targets[[owners[place] for place in whole]]
        return loss + judged_loss(pooled[whole], targets, self.paper_weight)


class ContrastiveLoss:
    """Texts that share a label are drawn together, texts that share none apart, as SetFit does (Tunstall et al. 2022).

    The texts are coded sentences, exemplars, papers coded only as a whole (the mean of
    their units), and one definition or rule of each label. A pair of which it is not known
    whether it shares a label counts for nothing. Each positive pair competes with the
    negatives of its batch (Khosla et al. 2020, supervised contrastive learning).
    """

    def __init__(self, size: int, n_columns: int, device: torch.device) -> None:
        self.own = torch.eye(n_columns - 1, device=device)

    def parameters(self) -> list[nn.Parameter]:
        """See `Objective.parameters`."""
        return []

    def start(self, corpus: Corpus, lessons: Lessons, definitions: Tensor) -> None:
        """Nothing: there are no heads."""

    def items(self, lessons: Lessons, generator: np.random.Generator) -> list[Index]:
        """Give everything that carries a label, and as many others, drawn anew each epoch."""
        items = lessons.judged_items
        if not items:
            return []
        carries = (lessons.targets_of(items) == 1).any(dim=1).cpu().numpy()
        carriers, others = np.flatnonzero(carries), np.flatnonzero(~carries)
        drawn = generator.choice(others, min(len(others), len(carriers)), replace=False)
        return [items[place] for place in generator.permutation(np.concatenate([carriers, drawn]))]

    def loss(self, lessons: Lessons, batch: Sequence[Index], vectors: Tensor, definitions: Tensor) -> Tensor:
        """See `Objective.loss`."""
        means = [part.mean(dim=0) for part in torch.split(vectors, [len(units) for units in batch])]
        texts = torch.cat([normalize(torch.stack(means), dim=1), definitions])
        targets = torch.cat([lessons.targets_of(batch), self.own])
        return pair_loss(texts @ texts.T / TEMPERATURE, targets)


def pair_loss(likenesses: Tensor, targets: Tensor) -> Tensor:
    """Loss of all pairs of a batch.

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
