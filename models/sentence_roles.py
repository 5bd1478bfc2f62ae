"""Classify the sentences of an abstract by their role: background, methods or results.

The classifier is a linear model that uses only the words of a sentence. Its weights come with mechtag. The command
``python -m benchmarks.roles`` fits the weights on structured abstracts from public data, and reports the accuracy of
the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from scipy.special import log_softmax

from mechtag.core.arrays import Array
from mechtag.core.records import ROLES
from mechtag.models.features import Words

_METHODS, _RESULTS = ROLES.index("methods"), ROLES.index("results")
FILE = Path(__file__).with_name("roles.safetensors")
# Lowest log odds at which a sentence counts as methods; 1% of the coded sentences reach them.
METHODS_SURE = 1.0
# Log odds are clipped to this magnitude.
_BOUND = 3.0


@dataclass(frozen=True)
class RoleModel:
    """Multinomial logistic regression that predicts the role of a sentence from its words and word pairs.

    Attributes
    ----------
    words : Words
        Vocabulary.
    weights : ndarray, shape (3, n_terms)
        Weights of the terms; rows in the order of `ROLES`.
    intercept : ndarray, shape (3,)
        Intercept of each role.
    """

    words: Words
    weights: Array
    intercept: Array

    def log_odds(self, texts: Sequence[str]) -> Array:
        """Return the log odds of each role against all other roles, shape (n_texts, 3), in the order of `ROLES`."""
        if not texts:
            return np.zeros((0, len(ROLES)))
        logs = log_softmax(self.words.features(texts) @ self.weights.T + self.intercept, axis=1)
        others = np.stack([np.logaddexp(logs[:, one], logs[:, other]) for one, other in ((1, 2), (0, 2), (0, 1))], 1)
        odds: Array = logs - others
        return odds

    def pack(self) -> bytes:
        """Convert the model to the bytes of a safetensors file."""
        packed: bytes = save(
            {
                "terms": np.frombuffer("\n".join(self.words.terms).encode(), dtype=np.uint8),
                "idf": self.words.idf.astype(np.float32),
                "weights": self.weights.astype(np.float32),
                "intercept": self.intercept.astype(np.float32),
            },
            metadata={"made_by": "python -m benchmarks.roles"},
        )
        return packed


@lru_cache(maxsize=1)
def role_model() -> RoleModel:
    """Load the classifier of sentence roles that comes with mechtag."""
    arrays = load_file(FILE)
    terms = tuple(arrays["terms"].tobytes().decode().split("\n"))
    words = Words(terms, arrays["idf"].astype(np.float64))
    return RoleModel(words, arrays["weights"].astype(np.float64), arrays["intercept"].astype(np.float64))


@dataclass(frozen=True)
class PartRoles:
    """Roles (such as methods or results) of the parts of sentences, which are the pieces between semicolons.

    Attributes
    ----------
    methods : ndarray of bool, shape (n_parts,)
        Whether a part is clearly about methods.
    reports : ndarray, shape (n_parts,)
        Clipped log odds that a part reports results or conclusions.
    """

    methods: NDArray[np.bool_]
    reports: Array


def read_roles(texts: Sequence[str]) -> PartRoles:
    """Return the roles (such as methods or results) of parts of sentences, which are the pieces between semicolons.

    The roles do not depend on the headings in an abstract, because only some journals print headings.

    Parameters
    ----------
    texts
        Texts of the parts.
    """
    # Using headings did not improve accuracy on the coded records.
    odds = role_model().log_odds(texts)
    return PartRoles(odds[:, _METHODS] > METHODS_SURE, np.clip(odds[:, _RESULTS], -_BOUND, _BOUND))
