"""Distinguish evidence of presence from evidence of absence by the vectors of sentences, and by their words.

Evidence of absence says that something, such as a mechanism, is absent. It need not contain a word such as *no* or
*lack*: *decisions stayed with the finance director* states that shared decisions are absent. Vectors of the encoder
``accurate`` reveal this, but vectors of the encoder ``fast`` hardly do (see `benchmarks.sign`).

The classifier is a logistic regression on the vector of a sentence and on
`mechtag.pipeline.reading.text.sign.word_features`. It can be used with any codebook, because it was not trained on
labels. It was trained on sentences of coded records and on invented pairs of sentences: one states presence, the other
absence. To train it again, run ``python -m benchmarks.sign_training``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.settings import ENCODERS, TagSettings
from mechtag.models.encoder import Encoder, RememberingEncoder, TransformerEncoder, locate_encoder
from mechtag.pipeline.reading.text.sign import ReadSigns, Sign, by_words, word_features

#: File with the weights of the classifier.
WEIGHTS = Path(__file__).parent / "sign_weights.json"
# Weight of the features of words relative to the vector, whose length is 1.
_WORDS = 0.3
# Number of sentences whose vectors are kept, because several labels often have the same evidence.
_KEPT = 1000


def features(sentences: Sequence[str], vectors: Array) -> Array:
    """Return the features of each sentence: its vector, followed by features computed from its words.

    Parameters
    ----------
    vectors : ndarray, shape (n_sentences, size)
        Vectors of unit length, made by the encoder ``accurate``.

    Returns
    -------
    ndarray, shape (n_sentences, size + n_word_features)
    """
    words = np.array([word_features(sentence) for sentence in sentences], dtype=float)
    return np.hstack([vectors, _WORDS * words.reshape(len(sentences), -1)])


class SignsByVectors:
    """Classifies sentences as ``absent`` if they state that something is absent, and otherwise as ``present``.

    The classification is based on the vectors and the words of the sentences.

    Parameters
    ----------
    encoder
        The encoder ``accurate``, without fine-tuning.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, sentences: Sequence[str]) -> list[Sign]:
        """Return ``absent`` for each sentence that states that something is absent, and ``present`` for all others."""
        if not sentences:
            return []
        weights, intercept = _weights()
        scores = features(sentences, np.asarray(self._encoder.encode(list(sentences)), dtype=float)) @ weights
        return ["absent" if score > -intercept else "present" for score in scores]


def read_signs_by(settings: TagSettings) -> ReadSigns:
    """Return the function that distinguishes evidence of presence from evidence of absence.

    The setting ``tag.sign`` decides whether this is `by_words` or an instance of `SignsByVectors`.

    Raises
    ------
    MechtagError
        If the encoder ``accurate`` is needed, but is not on this machine.
    """
    return by_words if settings.sign == "words" else SignsByVectors(accurate_encoder())


def accurate_encoder() -> Encoder:
    """Return the encoder ``accurate``; raise `MechtagError` if this encoder is not on this machine."""
    name, sha256 = ENCODERS["accurate"]
    return RememberingEncoder(TransformerEncoder(locate_encoder(name, sha256=sha256)), _KEPT)


@cache
def _weights() -> tuple[Array, float]:
    content = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return np.array([*content["vector"], *content["words"]], dtype=float), float(content["intercept"])
