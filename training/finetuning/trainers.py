"""Trainers: what makes the encoder whose vectors the heads are fitted on.

``frozen`` takes it as it is. ``full`` tunes all its weights, and ``lora`` low-rank changes
to them, on the codes of sentences and papers; ``contrastive`` tunes it on pairs of texts.

The heads, pooling and calibration are the same for all of them, and so is the codebook's
part: its definitions are encoded by the encoder that a trainer gives, so that a label without
examples still scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mechtag.core.codebook import Codebook
from mechtag.core.settings import TrainSettings, TuningSettings
from mechtag.models.encoder import Encoder, TransformerEncoder
from mechtag.models.features import Definitions, embed_codebook
from mechtag.models.weight_changes import Arrays
from mechtag.training.dataset import Corpus, encode_corpus

if TYPE_CHECKING:
    from mechtag.training.finetuning.loop import Method
from mechtag.core.arrays import Mask

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Encoded:
    """An encoder with what it makes of the codebook and of a corpus.

    ``tuned`` and ``losses`` are `loop.Tuned`'s; empty where the encoder was not tuned.
    """

    encoder: Encoder
    definitions: Definitions
    corpus: Corpus
    tuned: Arrays = field(default_factory=dict)
    losses: tuple[float, ...] = ()


class Trainer(Protocol):
    """Gives the encoder that suits some documents of a corpus."""

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Learn an encoder and encode the whole corpus with it.

        Parameters
        ----------
        corpus
            As `dataset.build_corpus` made it; its vectors may be replaced.
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


@dataclass(frozen=True)
class Tuning:
    """Tunes the encoder; parameters as in `loop.tune`."""

    encoder: TransformerEncoder
    codebook: Codebook
    method: Method
    settings: TuningSettings
    work: Path | None
    on_progress: Progress

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Tune on some documents and encode everything again; see `Trainer.encode`."""
        from mechtag.training.finetuning.loop import tune

        tuned = tune(
            self.encoder,
            self.codebook,
            corpus.keep(documents),
            self.method,
            self.settings,
            seed,
            work=self.work,
            on_progress=self.on_progress,
        )
        encoder = self.encoder.with_weights(tuned.arrays)
        definitions = embed_codebook(self.codebook, encoder)
        return Encoded(encoder, definitions, encode_corpus(corpus, encoder, definitions), tuned.arrays, tuned.losses)


def make_trainer(
    encoder: TransformerEncoder,
    codebook: Codebook,
    definitions: Definitions,
    settings: TrainSettings,
    *,
    work: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Trainer:
    """Make the trainer that the settings name.

    Parameters
    ----------
    definitions
        Of the codebook, as the encoder encodes them.
    work
        Folder for checkpoints, so that what is interrupted goes on; ``None`` for none.
    on_progress
        Called with the number of epochs that are over; see `count_epochs`.
    """
    if settings.trainer == "frozen":
        return Frozen(encoder, definitions)
    from mechtag.training.finetuning.loop import METHODS

    return Tuning(encoder, codebook, METHODS[settings.trainer], settings.tuning, work, on_progress)


def count_epochs(settings: TrainSettings) -> int:
    """Give the number of epochs that one `heads.fit` goes through."""
    return 0 if settings.trainer == "frozen" else settings.tuning.epochs * (settings.folds + 1)
