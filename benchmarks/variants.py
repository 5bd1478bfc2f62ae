"""Ways to tag that are compared on the coded records: sentences are scored by heads that did not see their paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.codebook import Codebook, load_codebook
from models.encoder import TransformerEncoder
from models.features import Definitions, embed_codebook
from pipeline.annotations import Exemplar, read_exemplars
from pipeline.codings import read_annotations
from pipeline.settings import Settings, load_settings
from training.examples import NO_DOCUMENT, CodedDocument, Corpus, build_corpus, coded_documents
from training.fit import fit_heads, score_units
from training.train import load_encoder
from training.trainers import Frozen, Trainer

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# How much the neighbours' vectors count beside a sentence's own.
_NEIGHBOURS = 0.5
# Heads whose scores are averaged.
_BAGS = 5


@dataclass(frozen=True)
class Ground:
    """The shipped coded records with everything that is made from them once."""

    settings: Settings
    codebook: Codebook
    encoder: TransformerEncoder
    documents: Sequence[CodedDocument]
    exemplars: Sequence[Exemplar]

    @cached_property
    def definitions(self) -> Definitions:
        """The codebook as the untuned encoder encodes it."""
        return embed_codebook(self.codebook, self.encoder)

    def encode(self, documents: Sequence[CodedDocument], exemplars: Sequence[Exemplar]) -> Corpus:
        """Encode some of the documents and exemplars with the untuned encoder."""
        return build_corpus(documents, exemplars, self.codebook.keys, self.encoder, self.definitions)

    @cached_property
    def corpus(self) -> Corpus:
        """All documents, then all exemplars."""
        return self.encode(self.documents, self.exemplars)

    @property
    def frozen(self) -> Frozen:
        """The trainer that leaves the encoder as it is."""
        return Frozen(self.encoder, self.definitions)


def load_ground() -> Ground:
    """Read what the project's settings name."""
    settings = load_settings()
    codebook = load_codebook(settings.codebook)
    coded = coded_documents(read_annotations(settings, codebook.keys, codebook.relevance.key), codebook.keys)
    exemplars = read_exemplars(settings.train.exemplars, codebook.keys)
    return Ground(settings, codebook, load_encoder(settings), coded, exemplars)


def out_of_fold(ground: Ground, corpus: Corpus, trainer: Trainer, fold: Index, seed: int) -> dict[str, Array]:
    """Score every unit by heads that did not see its document.

    Returns
    -------
    dict
        ``both``: the shipped heads; ``vectors`` and ``words``: the two parts of their sum.
        Each of shape (n_units, 1 + n_labels), NaN for exemplars.
    """
    scores = {name: np.full(corpus.unit_targets.shape, np.nan) for name in ("both", "vectors", "words")}
    for held_out in np.unique(fold):
        learnt = fold != held_out
        encoded = trainer.encode(corpus, learnt, seed)
        heads = fit_heads(encoded.corpus, learnt, ground.settings.train)
        rows = np.isin(corpus.document, np.flatnonzero(~learnt))
        parts = {
            "both": heads,
            "vectors": replace(heads, word_weights=np.zeros_like(heads.word_weights)),
            "words": replace(
                heads, weights=np.zeros_like(heads.weights), likeness_weights=np.zeros_like(heads.likeness_weights)
            ),
        }
        for name, part in parts.items():
            scores[name][rows] = score_units(encoded.corpus, part, rows)
    return scores


def zero_shot(ground: Ground) -> Array:
    """Score units by their likeness to the definitions alone, relevance included; nothing is learnt."""
    relevance = ground.encoder.encode([ground.codebook.relevance.definition])[0]
    own = ground.corpus.vectors.astype(np.float64) @ relevance.astype(np.float64)
    return np.hstack([own[:, None], ground.corpus.likenesses[:, :, 0]])


def without_definitions(ground: Ground) -> Corpus:
    """Take the likenesses to the codebook away."""
    return replace(ground.corpus, likenesses=np.zeros_like(ground.corpus.likenesses))


def with_neighbours(ground: Ground) -> Corpus:
    """Lay the mean vector of the sentences before and after beside each sentence's own."""
    vectors, owner = ground.corpus.vectors, ground.corpus.document
    follows = (owner[1:] == owner[:-1]) & (owner[1:] != NO_DOCUMENT)
    around = np.zeros_like(vectors)
    around[1:][follows] += vectors[:-1][follows]
    around[:-1][follows] += vectors[1:][follows]
    return replace(ground.corpus, vectors=np.hstack([vectors, _NEIGHBOURS * around / 2]))


def with_position(ground: Ground) -> Corpus:
    """Lay beside each vector whether the unit is the title, and how far down the abstract it stands."""
    place = np.zeros((len(ground.corpus.document), 2), dtype=np.float32)
    for rows in ground.corpus.rows():
        place[rows[0], 0] = 1.0
        place[rows[1:], 1] = np.linspace(0, 1, len(rows) - 1)
    return replace(ground.corpus, vectors=np.hstack([ground.corpus.vectors, place]))


def half_coded(ground: Ground, seed: int, *, whole: bool) -> Corpus:
    """Hide the sentence codes of half the papers, and their paper codes too unless ``whole``."""
    hidden = np.random.default_rng(seed).random(len(ground.documents)) < 0.5
    nothing = dict.fromkeys(ground.codebook.keys)
    documents = [
        replace(document, sentence_labels=None, codes=document.codes if whole else nothing) if hide else document
        for document, hide in zip(ground.documents, hidden, strict=True)
    ]
    return ground.encode(documents, ground.exemplars)


def with_co_occurrence(ground: Ground, scores: Array, fold: Index) -> Array:
    """Score each unit anew from the scores of all labels, its own and those of its paper.

    The second heads are fitted on out-of-fold scores of the other folds; the heads behind those
    have seen the held-out fold, which flatters this variant a little.
    """
    corpus = ground.corpus
    rows = np.flatnonzero(corpus.document != NO_DOCUMENT)
    owner = corpus.document[rows]
    papers = corpus.pool(scores, np.ones(scores.shape[1]))[owner]
    features = np.hstack([scores[rows], papers])
    again = scores.copy()
    for held_out in np.unique(fold):
        held = fold[owner] == held_out
        for column in range(1, scores.shape[1]):
            targets = corpus.unit_targets[rows, column]
            learnt = ~held & ~np.isnan(targets)
            model = LogisticRegression(max_iter=1000).fit(features[learnt], targets[learnt])
            again[rows[held], column] = model.decision_function(features[held])
    return again


def bagged(ground: Ground, fold: Index, seed: int) -> Array:
    """Mean scores of heads that were each fitted on a random four fifths of the papers they may learn from."""
    generator = np.random.default_rng(seed)
    corpus = ground.corpus
    scores = np.full(corpus.unit_targets.shape, np.nan)
    for held_out in np.unique(fold):
        rows = np.isin(corpus.document, np.flatnonzero(fold == held_out))
        parts = []
        for _ in range(_BAGS):
            drawn = (fold != held_out) & (generator.random(len(fold)) < 0.8)
            parts.append(score_units(corpus, fit_heads(corpus, drawn, ground.settings.train), rows))
        scores[rows] = np.mean(parts, axis=0)
    return scores


FEATURES: dict[str, Callable[[Ground], Corpus]] = {
    "without definitions": without_definitions,
    "without exemplars": lambda ground: ground.encode(ground.documents, ()),
    "with neighbouring sentences": with_neighbours,
    "with title and position": with_position,
}
