"""Compute the features of texts: TF-IDF weights of words, and vectors relative to the codebook's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from mechtag.core.arrays import Array
from mechtag.core.codebook import Codebook
from mechtag.models.encoder import Encoder, Vectors
from mechtag.models.scoring import SHARPNESS

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
        """Return the TF-IDF weights of the terms in each text, shape (n_texts, n_terms).

        Each row has unit length, or contains only zeros if its text contains none of the terms.
        """
        if not self.terms or not texts:
            return csr_matrix((len(texts), len(self.terms)))
        return csr_matrix(self._vectorizer.transform(texts))


def fit_words(texts: Sequence[str]) -> Words:
    """Return the terms that occur in at least two texts, in alphabetical order, with their IDF weights."""
    vectorizer = TfidfVectorizer(min_df=_MIN_SENTENCES, **COUNTING)
    try:
        vectorizer.fit(texts)
    except ValueError:  # no term is left
        return Words((), np.zeros(0))
    # Rounded as stored.
    idf = vectorizer.idf_.astype(np.float32).astype(np.float64)
    return Words(tuple(vectorizer.get_feature_names_out().tolist()), idf)


# Weight of a definition's score. With the pooling of `scoring`, it makes the highest-scoring parts of a paper
# count most, as a softened maximum with sharpness 20 would.
DEFINITION_WEIGHT = 20 / SHARPNESS
# Weight of the score for relevance: on the two codebooks of reviews with irrelevant records, the log odds of
# relevance rose by 8.3 and 8.7 per unit of `Definitions.relevance`, and were about even at 1.
RELEVANCE_WEIGHT = 8.5
_ROLE_SCALE = 0.3
# Prevents division by zero if the texts of a codebook have nothing in common.
_LEAST_PRODUCT = 1e-6


@dataclass(frozen=True)
class Definitions:
    """Vectors that represent a codebook, so that texts can be scored without any coded record.

    The texts of a label, or of relevance, are its definition and its ``include`` rules.

    All texts about one subject have similar vectors. Therefore, ``centre`` is subtracted from vectors before they are
    compared with ``labels``. The subtraction improved the ranking of texts on each of five codebooks
    (``python -m benchmarks.codebooks``).

    Attributes
    ----------
    centre : ndarray, shape (size,)
        What the labels have in common. The vectors of each label's texts are averaged. The averages are added up, and
        the sum is divided by the number of labels plus one.
    labels : ndarray, shape (n_labels, size)
        One vector per label. ``centre`` is subtracted from the vectors of the label's texts. The differences are scaled
        to length 1 and then averaged.
    relevance : ndarray, shape (size,)
        Mean vector of the texts of relevance, plus mean vector of the texts of all labels. The sum is scaled so that
        its scalar product with the vector of such a text is 1 on average.
    """

    centre: Array
    labels: Array
    relevance: Array

    def features(self, vectors: Vectors, reports: Array) -> Array:
        """Return the features by which parts of sentences (pieces between semicolons) are scored for each label.

        Parameters
        ----------
        vectors : ndarray, shape (n_parts, size)
            Vectors of the parts.
        reports : ndarray, shape (n_parts,)
            Log odds that a part reports results; see `sentence_roles.PartRoles`.

        Returns
        -------
        ndarray, shape (n_parts, size + 1)
            One row per part: the vector of the part minus `centre`, scaled to length 1, followed by its scaled log
            odds.
        """
        return np.hstack([_centred(vectors.astype(np.float64), self.centre), _ROLE_SCALE * reports[:, None]])

    def label_weights(self) -> Array:
        """Return the weights that turn the features of a part into its label scores, shape (n_labels, size + 1).

        A part is a sentence, or a piece of a sentence between semicolons. The weights depend only on the codebook's
        definitions. `features` computes the features.
        """
        return np.pad(DEFINITION_WEIGHT * self.labels, ((0, 0), (0, 1)))

    def relevance_weights(self) -> tuple[Array, float]:
        """Return the weights and the intercept that turn the vector of a whole text into its log odds of relevance.

        Both depend only on the codebook's definitions.

        Returns
        -------
        weights : ndarray, shape (size,)
        intercept : float
        """
        return RELEVANCE_WEIGHT * self.relevance, -RELEVANCE_WEIGHT


def _centred(vectors: Array, centre: Array) -> Array:
    moved = vectors - centre
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    unit: Array = moved / np.where(lengths > 0, lengths, 1)
    return unit


def definition_texts(codebook: Codebook) -> tuple[list[str], list[int]]:
    """Return the texts (definitions and ``include`` rules) of all labels, and the label index of each text."""
    texts: list[str] = []
    owner: list[int] = []
    for index, label in enumerate(codebook.labels):
        own: Sequence[str] = (label.definition, *label.include)
        texts.extend(own)
        owner.extend([index] * len(own))
    return texts, owner


def embed_codebook(codebook: Codebook, encoder: Encoder) -> Definitions:
    """Encode the definition and the ``include`` rules of each label and of relevance.

    ``exclude`` rules are not used.
    """
    # Subtracting the similarity to `exclude` rules did not change the ranking or made it worse, on the codebooks that
    # have such rules.
    texts, owner = definition_texts(codebook)
    rule = (codebook.relevance.definition, *codebook.relevance.include)
    vectors = encoder.encode([*texts, *rule]).astype(np.float64)
    own, relevance = vectors[: len(texts)], vectors[len(texts) :]
    rows = [np.array(owner) == label for label in range(len(codebook.keys))]
    centre = np.sum([own[row].mean(axis=0) for row in rows], axis=0) / (len(rows) + 1)
    centred = _centred(own, centre)
    direction = relevance.mean(axis=0) + own.mean(axis=0)
    return Definitions(
        centre=centre,
        labels=np.stack([centred[row].mean(axis=0) for row in rows]),
        relevance=direction / max(float((vectors @ direction).mean()), _LEAST_PRODUCT),
    )
