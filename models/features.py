"""Compute the features of sentences: vectors, TF-IDF weights of words, and similarities to the labels' definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.arrays import Array
from mechtag.core.codebook import Codebook
from mechtag.models.encoder import Encoder, Vectors

# Single words and word pairs, with sublinear term frequency, so a repeated word counts little more than a single one.
COUNTING = {"ngram_range": (1, 2), "sublinear_tf": True}
# A model can only memorise a term that occurs in a single sentence.
_MIN_SENTENCES = 2


@dataclass(frozen=True)
class Words:
    """A TF-IDF vocabulary and its weights.

    Attributes
    ----------
    terms : tuple of str
        Terms in the column order of the features.
    idf : ndarray, shape (n_terms,)
        Inverse document frequency of each term.
    """

    terms: tuple[str, ...]
    idf: Array

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = TfidfVectorizer(vocabulary=self.terms, **COUNTING)
        vectorizer.idf_ = self.idf
        return vectorizer

    def features(self, texts: Sequence[str]) -> csr_matrix:
        """Return a TF-IDF row of unit length for each text, shape (n_texts, n_terms)."""
        if not self.terms or not texts:
            return csr_matrix((len(texts), len(self.terms)))
        return csr_matrix(self._vectorizer.transform(texts))


def fit_words(texts: Sequence[str]) -> Words:
    """Fit a vocabulary: the terms that occur in at least two texts, in alphabetical order, with their IDF weights."""
    vectorizer = TfidfVectorizer(min_df=_MIN_SENTENCES, **COUNTING)
    try:
        vectorizer.fit(texts)
    except ValueError:  # no term is left
        return Words((), np.zeros(0))
    return Words(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_.astype(np.float64))


# Similarities vary little compared with the hundreds of vector elements. Multiplied by this factor,
# they are used by a regularised head too.
LIKENESS_SCALE = 3.0
N_LIKENESSES = 2
# Number of cues: the two similarities, and the log odds that the sentence reports results.
N_CUES = N_LIKENESSES + 1
_ROLE_SCALE = 0.3


@dataclass(frozen=True)
class Definitions:
    """Vectors of the definitions and ``include`` rules in the codebook.

    Attributes
    ----------
    vectors : ndarray, shape (n_texts, size)
    label : ndarray, shape (n_texts,)
        Index of the label to which each row belongs; relevance is not counted. The definition of a
        label comes first, followed by its ``include`` rules.
    """

    vectors: Vectors
    label: NDArray[np.int64]

    def likenesses(self, vectors: Vectors) -> Array:
        """Return the similarity of sentences to each label of the codebook.

        Returns
        -------
        ndarray, shape (n_sentences, n_labels, 2)
            Scaled cosine similarity to the label's definition, and the highest scaled cosine
            similarity to any of its ``include`` rules (to the definition if it has no rules).
        """
        cosines = LIKENESS_SCALE * (vectors.astype(np.float64) @ self.vectors.T.astype(np.float64))
        columns = []
        for label in range(int(self.label.max()) + 1):
            own = cosines[:, self.label == label]
            rules = own[:, 1:] if own.shape[1] > 1 else own
            columns.append(np.stack([own[:, 0], rules.max(axis=1)], axis=1))
        return np.stack(columns, axis=1)


def definition_texts(codebook: Codebook) -> tuple[list[str], list[int]]:
    """Return the definitions and ``include`` rules of all labels, with the label index of each."""
    texts: list[str] = []
    owner: list[int] = []
    for index, label in enumerate(codebook.labels):
        own: Sequence[str] = (label.definition, *label.include)
        texts.extend(own)
        owner.extend([index] * len(own))
    return texts, owner


def embed_codebook(codebook: Codebook, encoder: Encoder) -> Definitions:
    """Encode the definition and ``include`` rules of every label in the codebook."""
    texts, owner = definition_texts(codebook)
    return Definitions(encoder.encode(texts), np.array(owner, dtype=np.int64))


def cues(likenesses: Array, reports: Array) -> Array:
    """Concatenate the similarities of each sentence to each label and the log odds that the sentence reports results.

    Parameters
    ----------
    likenesses : ndarray, shape (n_sentences, n_labels, 2)
        See `Definitions.likenesses`.
    reports : ndarray, shape (n_sentences,)
        See `sentence_roles.PartRoles`.

    Returns
    -------
    ndarray, shape (n_sentences, n_labels, 3)
    """
    role = np.broadcast_to(_ROLE_SCALE * reports[:, None, None], (*likenesses.shape[:2], 1))
    return np.concatenate([likenesses, role], axis=2)
