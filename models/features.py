"""What a sentence's score is computed from: its vector, and its likeness to each definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.codebook import Codebook
from models.encoder import Encoder, Vectors

Array = NDArray[np.float64]

# Likenesses vary little beside the hundreds of vector elements; this factor lets a
# regularised head make use of them.
LIKENESS_SCALE = 3.0
N_LIKENESSES = 2
# The likenesses, and whether the sentence reports results.
N_CUES = N_LIKENESSES + 1
_ROLE_SCALE = 0.3


@dataclass(frozen=True)
class Definitions:
    """Vectors of the codebook's definitions and of its ``include`` rules.

    Attributes
    ----------
    vectors : ndarray, shape (n_texts, size)
    label : ndarray, shape (n_texts,)
        Index of the label a row belongs to, without relevance. A label's definition
        comes first, its ``include`` rules follow.
    """

    vectors: Vectors
    label: NDArray[np.int64]

    def likenesses(self, vectors: Vectors) -> Array:
        """Compare sentences with the codebook.

        Returns
        -------
        ndarray, shape (n_sentences, n_labels, 2)
            Scaled cosine with the label's definition, and the highest scaled cosine with
            any of its rules (the definition again where it has none).
        """
        cosines = LIKENESS_SCALE * (vectors.astype(np.float64) @ self.vectors.T.astype(np.float64))
        columns = []
        for label in range(int(self.label.max()) + 1):
            own = cosines[:, self.label == label]
            rules = own[:, 1:] if own.shape[1] > 1 else own
            columns.append(np.stack([own[:, 0], rules.max(axis=1)], axis=1))
        return np.stack(columns, axis=1)


def definition_texts(codebook: Codebook) -> tuple[list[str], list[int]]:
    """Give the definitions and ``include`` rules, label after label, and the label of each."""
    texts: list[str] = []
    owner: list[int] = []
    for index, label in enumerate(codebook.labels):
        own: Sequence[str] = (label.definition, *label.include)
        texts.extend(own)
        owner.extend([index] * len(own))
    return texts, owner


def embed_codebook(codebook: Codebook, encoder: Encoder) -> Definitions:
    """Encode the definitions and ``include`` rules of every label."""
    texts, owner = definition_texts(codebook)
    return Definitions(encoder.encode(texts), np.array(owner, dtype=np.int64))


def cues(likenesses: Array, reports: Array) -> Array:
    """Join what is told of a sentence besides its vector and words.

    Parameters
    ----------
    likenesses : ndarray, shape (n_sentences, n_labels, 2)
        See `Definitions.likenesses`.
    reports : ndarray, shape (n_sentences,)
        See `models.role_model.Reading`.

    Returns
    -------
    ndarray, shape (n_sentences, n_labels, 3)
    """
    role = np.broadcast_to(_ROLE_SCALE * reports[:, None, None], (*likenesses.shape[:2], 1))
    return np.concatenate([likenesses, role], axis=2)
