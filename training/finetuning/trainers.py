"""Define the trainers, which prepare the encoder of a model before the heads are fitted.

The trainer ``frozen`` leaves the encoder unchanged. The trainer ``contrastive`` fine-tunes the top layers of the
encoder on pairs of texts. With both trainers, the definitions of the codebook are encoded by the resulting encoder, so
that labels without examples can be scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mechtag.core.codebook import Codebook
from mechtag.core.settings import TrainSettings, TuningSettings
from mechtag.models.encoder import Arrays, Encoder, TransformerEncoder
from mechtag.models.features import Definitions, embed_codebook
from mechtag.training.dataset import Corpus, encode_corpus

if TYPE_CHECKING:
    from mechtag.training.finetuning.top_layers import States
from mechtag.core.arrays import Mask

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Encoded:
    """The result of a trainer.

    Attributes
    ----------
    encoder
        The encoder, which may have been fine-tuned.
    definitions, corpus
        The definitions of the codebook, and the corpus, both encoded by ``encoder``.
    tuned
        Weights of the encoder that fine-tuning changed; empty if the encoder was not fine-tuned.
    losses
        Mean training loss of each epoch of fine-tuning; empty if the encoder was not fine-tuned.
    """

    encoder: Encoder
    definitions: Definitions
    corpus: Corpus
    tuned: Arrays = field(default_factory=dict)
    losses: tuple[float, ...] = ()


class Trainer(Protocol):
    """Interface of a trainer, which prepares an encoder with selected documents of a corpus."""

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Train an encoder on the selected documents, and encode the whole corpus with it.

        Parameters
        ----------
        corpus
            Corpus returned by `dataset.build_corpus`.
        documents : ndarray of bool, shape (n_documents,)
            Mask of the documents that may be trained on. Exemplars are always trained on.

        Returns
        -------
        Encoded
            The trained encoder, and the corpus encoded by it.
        """
        ...


@dataclass(frozen=True)
class FrozenTrainer:
    """Trainer that leaves the encoder unchanged."""

    encoder: Encoder
    definitions: Definitions

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Return the encoder and the corpus unchanged; see `Trainer.encode`."""
        return Encoded(self.encoder, self.definitions, corpus)


@dataclass(frozen=True)
class TuningTrainer:
    """Trainer that fine-tunes the top layers of the encoder; for the parameters, see `loop.tune`."""

    states: States
    codebook: Codebook
    settings: TuningSettings
    work: Path | None
    on_progress: Progress

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Fine-tune the encoder on the selected documents, and encode the whole corpus again; see `Trainer.encode`."""
        from mechtag.training.finetuning.loop import tune
        from mechtag.training.finetuning.top_layers import TopLayers

        self.states.of([*corpus.texts, *corpus.whole_texts])  # all at once, because the batches affect the last digits
        tuned = tune(
            self.states,
            self.codebook,
            corpus.keep(documents),
            self.settings,
            seed,
            work=self.work,
            on_progress=self.on_progress,
        )
        top = TopLayers(self.states, self.settings.rank)
        top.load(tuned.arrays)
        definitions = embed_codebook(self.codebook, top)
        encoder = self.states.encoder.with_weights(tuned.arrays)
        return Encoded(encoder, definitions, encode_corpus(corpus, top, definitions), tuned.arrays, tuned.losses)


def make_trainer(
    encoder: TransformerEncoder,
    codebook: Codebook,
    definitions: Definitions,
    settings: TrainSettings,
    *,
    work: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Trainer:
    """Return the trainer that the settings select.

    Parameters
    ----------
    definitions
        Definitions of the codebook, encoded by ``encoder``.
    work
        Folder for checkpoints, from which interrupted fine-tuning resumes. If ``None``, no checkpoints are saved.
    on_progress
        Called with the number of fine-tuning epochs finished since the last call; `count_epochs` returns their total.
    """
    if settings.trainer == "frozen":
        return FrozenTrainer(encoder, definitions)
    from mechtag.training.finetuning.top_layers import States

    return TuningTrainer(States(encoder, settings.tuning.layers), codebook, settings.tuning, work, on_progress)


def count_epochs(settings: TrainSettings) -> int:
    """Return the largest possible number of fine-tuning epochs in one call of `heads.fit`.

    The number includes the epochs of all folds and of the final fit.
    """
    return 0 if settings.trainer == "frozen" else settings.tuning.epochs * (settings.folds + 1)
