"""TF-IDF of words and word pairs, beside the encoder's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

Array = NDArray[np.float64]

# Single words and pairs; a word that comes twice in a sentence counts little more than once.
COUNTING = {"ngram_range": (1, 2), "sublinear_tf": True}
# A term of one sentence alone can only be learnt by heart.
_MIN_SENTENCES = 2


@dataclass(frozen=True)
class Words:
    """A vocabulary and its weights.

    Attributes
    ----------
    terms : tuple of str
        Column order of the features.
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
        """Give each text its TF-IDF row of unit length, shape (n_texts, n_terms)."""
        if not self.terms or not texts:
            return csr_matrix((len(texts), len(self.terms)))
        return csr_matrix(self._vectorizer.transform(texts))


def fit_words(texts: Sequence[str]) -> Words:
    """Collect the terms that stand in at least two texts, in alphabetical order."""
    vectorizer = TfidfVectorizer(min_df=_MIN_SENTENCES, **COUNTING)
    try:
        vectorizer.fit(texts)
    except ValueError:  # no term is left
        return Words((), np.zeros(0))
    return Words(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_.astype(np.float64))
