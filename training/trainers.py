"""Trainers: what makes the encoder whose vectors the heads are fitted on.

The heads, pooling and calibration are the same for all of them, and so is the codebook's
part: its definitions are encoded by the encoder that a trainer gives, so that a label without
examples still scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.codebook import Codebook
from models.encoder import Encoder
from models.features import Definitions, embed_codebook
from training.examples import Corpus, encode_corpus

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """An encoder with what it makes of the codebook and of a corpus."""

    encoder: Encoder
    definitions: Definitions
    corpus: Corpus


class Trainer(Protocol):
    """Gives the encoder that suits some documents of a corpus."""

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Learn an encoder and encode the whole corpus with it.

        Parameters
        ----------
        corpus
            As `training.examples.build_corpus` made it; its vectors may be replaced.
        documents : ndarray of bool, shape (n_documents,)
            Those that may be learnt from. Exemplars are always learnt from.
        """
        ...


@dataclass(frozen=True)
class Frozen:
    """Takes the encoder as it is."""

    encoder: Encoder
    definitions: Definitions

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Give the corpus back; see `Trainer.encode`."""
        return Encoded(self.encoder, self.definitions, corpus)


def encode_again(corpus: Corpus, encoder: Encoder, codebook: Codebook) -> Encoded:
    """Encode codebook and corpus with another encoder than the corpus was built with."""
    definitions = embed_codebook(codebook, encoder)
    return Encoded(encoder, definitions, encode_corpus(corpus, encoder, definitions))
