"""Define the tagging methods that are compared on the coded records; all scores are out of fold.

``Ground`` contains the coded records. Each method is a function that returns scores, or a changed corpus to train on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.settings import Settings, load_settings
from mechtag.models.encoder import Encoder, Vectors
from mechtag.models.features import Definitions, embed_codebook, fit_words
from mechtag.models.scoring import SHARPNESS, mean, pool_scores
from mechtag.models.tagger import units_of
from mechtag.pipeline.annotations.coded_records import Exemplar, read_exemplars
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.training.dataset import NO_DOCUMENT, CodedDocument, Corpus, build_corpus, coded_documents, unit_table
from mechtag.training.finetuning.trainers import FrozenTrainer, Trainer
from mechtag.training.heads import assign_folds, fit_folds, fit_relevance, score_texts, score_wholes
from mechtag.training.train import load_encoder

# The set whose texts are prose in journal style; the texts of the other sets are synopses.
JOURNAL = "journal_style"
# C of logistic regressions of relevance, and of labels on whole texts.
_RELEVANCE_C, _WHOLE_C = 30.0, 10.0
# Weight of the score of the whole text relative to that of the sentences.
_WHOLE_WEIGHT = 0.5


@dataclass(frozen=True)
class Ground:
    """The coded records and example sentences in the repository, and cached results computed from them."""

    settings: Settings
    codebook: Codebook
    encoder: Encoder
    documents: Sequence[CodedDocument]
    exemplars: Sequence[Exemplar]

    @cached_property
    def definitions(self) -> Definitions:
        """Return the codebook's definitions, encoded by the encoder."""
        return embed_codebook(self.codebook, self.encoder)

    @cached_property
    def corpus(self) -> Corpus:
        """Return the corpus of all documents, followed by all example sentences."""
        return build_corpus(self.documents, self.exemplars, self.codebook.keys, self.encoder, self.definitions)

    @cached_property
    def with_methods(self) -> Vectors:
        """Return vectors of whole texts that include methods sentences, but exclude notes such as copyright notices."""
        units = units_of([coded.document for coded in self.documents])
        return self.encoder.encode(replace(units, counts=~units.notes).whole_texts())

    @cached_property
    def sentences(self) -> tuple[Array, Index]:
        """Return the codes of titles and sentences, shape (n_units, 1 + n_labels), and the document of each.

        A unit is a title or a sentence. Codes are NaN if a unit was not coded. Documents are given by their index.
        """
        table = unit_table(self.documents, (), self.codebook.keys).with_format("numpy")
        return np.asarray(table["targets"], dtype=np.float64), np.asarray(table["document"], dtype=np.int64)

    @property
    def frozen(self) -> FrozenTrainer:
        """Return the trainer that leaves the encoder unchanged."""
        return FrozenTrainer(self.encoder, self.definitions)

    @property
    def sets(self) -> dict[str, Mask]:
        """Return a mask of the documents of each set, shape (n_documents,); the set of all documents comes first."""
        names = np.array([coded.source for coded in self.documents])
        return {
            "all records": np.ones(len(names), dtype=bool),
            **{str(name): names == name for name in np.unique(names)},
        }

    def deal(self, seed: int) -> Index:
        """Assign each document to a fold, as training does, and return the fold numbers."""
        corpus, added = self.corpus, sum(coded.added for coded in self.documents)
        folds = self.settings.train.folds
        return assign_folds(corpus.document_targets[:, 0], folds, seed, added, corpus.source, corpus.hard)


def load_ground() -> Ground:
    """Read the coded records and example sentences that the project's settings name."""
    settings = load_settings()
    codebook = load_codebook(settings.codebook)
    coded = coded_documents(read_annotations(settings, codebook.keys, codebook.relevance.key), codebook.keys)
    exemplars = read_exemplars(settings.train.exemplars, codebook.keys)
    return Ground(settings, codebook, load_encoder(settings), coded, exemplars)


# Relevance.

# Function that trains on some documents and scores all of them, shape (n_documents,).
Relevance = Callable[[Ground, Mask], Array]


def _regression(features: Array, ground: Ground, learnt: Mask) -> Array:
    targets = ground.corpus.document_targets[:, 0]
    model = LogisticRegression(C=_RELEVANCE_C, max_iter=1000).fit(features[learnt], targets[learnt])
    scores: Array = model.decision_function(features)
    return scores


def of_sentences(ground: Ground, learnt: Mask) -> Array:
    """Score relevance by logistic regression on the mean vector of the title and all sentences, methods included."""
    corpus = ground.corpus
    vectors = corpus.vectors[corpus.document != NO_DOCUMENT].astype(np.float64)
    return _regression(mean(vectors, corpus.lengths), ground, learnt)


def of_words(ground: Ground, learnt: Mask) -> Array:
    """Score relevance by a linear support vector machine on words and word pairs."""
    texts = [" ".join(coded.document.units) for coded in ground.documents]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    vectorizer.fit([text for text, learn in zip(texts, learnt, strict=True) if learn])
    words, targets = vectorizer.transform(texts), ground.corpus.document_targets[:, 0]
    scores: Array = LinearSVC(random_state=0).fit(words[learnt], targets[learnt]).decision_function(words)
    return scores


def of_whole(ground: Ground, learnt: Mask) -> Array:
    """Score relevance by logistic regression on the vector of the whole text."""
    return _regression(ground.corpus.wholes.astype(np.float64), ground, learnt)


def of_whole_and_title(ground: Ground, learnt: Mask) -> Array:
    """Score relevance by logistic regression on the vectors of the whole text and of the title."""
    corpus = ground.corpus
    titles = corpus.vectors[[rows[0] for rows in corpus.rows_by_document()]]
    return _regression(np.hstack([corpus.wholes, titles]).astype(np.float64), ground, learnt)


def of_machine(ground: Ground, learnt: Mask) -> Array:
    """Score relevance as mechtag does, from the whole text without methods sentences."""
    return _fit_and_score(ground.corpus, ground, learnt)


def of_machine_with_methods(ground: Ground, learnt: Mask) -> Array:
    """Score relevance as mechtag does, except that the vectors of whole texts include methods sentences."""
    return _fit_and_score(replace(ground.corpus, wholes=ground.with_methods), ground, learnt)


def _fit_and_score(corpus: Corpus, ground: Ground, learnt: Mask) -> Array:
    own = corpus.texts_of(learnt, exemplars=True)
    words = fit_words([text for text, use in zip(corpus.texts, own, strict=True) if use])
    head = fit_relevance(corpus, learnt, ground.settings.train, words)
    return head.score(corpus.wholes, words.features(corpus.whole_texts))


SHIPPED_RELEVANCE = "whole text, kernel machine (shipped)"
RELEVANCE: dict[str, Relevance] = {
    SHIPPED_RELEVANCE: of_machine,
    "the same, methods left in": of_machine_with_methods,
    "whole text, logistic regression": of_whole,
    "whole text and title, logistic regression": of_whole_and_title,
    "mean of sentences, logistic regression": of_sentences,
    "TF-IDF + linear SVM": of_words,
}


def relevance_out_of_fold(ground: Ground, way: Relevance, fold: Index) -> Array:
    """Score the relevance of each fold's documents with a model trained on the other folds, shape (n_documents,)."""
    scores = np.full(len(fold), np.nan)
    for held_out in np.unique(fold):
        scores[fold == held_out] = way(ground, fold != held_out)[fold == held_out]
    return scores


# Labels.


@dataclass(frozen=True)
class Run:
    """Out-of-fold scores of one tagging method with one seed.

    Attributes
    ----------
    texts : ndarray, shape (n_texts, 1 + n_labels)
        Scores of texts, which are parts of titles and sentences.
    units : ndarray, shape (n_units, 1 + n_labels)
        Scores of titles and sentences; minus infinity if they are not content.
    documents : ndarray, shape (n_documents, 1 + n_labels)
    """

    texts: Array
    units: Array
    documents: Array


# The score of a label: the sum of both parts, or one part alone.
PARTS = ("both", "vectors", "words")


def out_of_fold(ground: Ground, corpus: Corpus, trainer: Trainer, fold: Index, seed: int) -> dict[str, Run]:
    """Score each text with classifiers that were not trained on its document.

    Returns
    -------
    dict
        ``both`` contains the scores of mechtag's own method, which are a sum of two terms. ``vectors`` contains the
        scores from vectors, definitions and sentence roles alone, and ``words`` the scores from words alone.
    """
    n_units = len(ground.sentences[1])
    settings = ground.settings.train.model_copy(update={"folds": int(fold.max()) + 1})
    everything, own = np.ones(corpus.n_documents, dtype=bool), corpus.document != NO_DOCUMENT
    scores = {part: np.full(corpus.unit_targets.shape, np.nan) for part in PARTS}
    relevance = np.full(corpus.n_documents, np.nan)
    fitted = fit_folds(corpus, trainer, fold, everything, settings, seed)
    for held_out, (encoded, heads) in enumerate(fitted):
        rows = np.isin(corpus.document, np.flatnonzero(fold == held_out))
        relevance[fold == held_out] = score_wholes(encoded.corpus, heads, fold == held_out)
        for part, texts in scores.items():
            kept = replace(
                heads,
                weights=heads.weights * (part != "words"),
                word_weights=heads.word_weights * (part != "vectors"),
            )
            texts[rows] = score_texts(encoded.corpus, kept, rows)
    return {
        part: Run(texts[own], corpus.score_units(texts)[:n_units], corpus.score_documents(relevance, texts))
        for part, texts in scores.items()
    }


def zero_shot(ground: Ground) -> Run:
    """Score texts only by their similarity to the definitions, without training; relevance is not scored."""
    corpus, n_units = ground.corpus, len(ground.sentences[1])
    nothing = np.zeros(corpus.n_documents)
    texts = np.pad(corpus.features @ corpus.definitions.label_weights().T, ((0, 0), (1, 0)))
    own = corpus.document != NO_DOCUMENT
    return Run(texts[own], corpus.score_units(texts)[:n_units], corpus.score_documents(nothing, texts))


def without_definitions(ground: Ground) -> Corpus:
    """Return a copy of the corpus without definitions; the weights of labels are then regularised towards zero."""
    definitions = ground.definitions
    return replace(ground.corpus, definitions=replace(definitions, labels=np.zeros_like(definitions.labels)))


def without_exemplars(ground: Ground) -> Corpus:
    """Return a copy of the corpus without example sentences."""
    return ground.corpus.keep(np.ones(ground.corpus.n_documents, dtype=bool), exemplars=False)


def without_roles(ground: Ground) -> Corpus:
    """Return a copy of the corpus without the feature that states whether a sentence reports results.

    Sentences on methods remain excluded from scoring.
    """
    return replace(ground.corpus, reports=np.zeros_like(ground.corpus.reports))


FEATURES: dict[str, Callable[[Ground], Corpus]] = {
    "without definitions": without_definitions,
    "without exemplars": without_exemplars,
    "without the role cue": without_roles,
}


def half_coded(ground: Ground, seed: int, *, whole: bool) -> Corpus:
    """Return a copy of the corpus in which codes of a random half of the papers are removed.

    In this half, the codes of sentences are always removed; the codes of whole papers are kept if ``whole`` is set.
    """
    corpus = ground.corpus
    hidden = np.random.default_rng(seed).random(corpus.n_documents) < 0.5
    texts, documents = corpus.unit_targets.copy(), corpus.document_targets.copy()
    texts[corpus.texts_of(hidden, exemplars=False)] = np.nan
    if not whole:
        documents[hidden, 1:] = np.nan
    return replace(corpus, unit_targets=texts, document_targets=documents)


# Pooling: from texts to papers.

SHIPPED_POOLING = f"log-sum-exp, sharpness {SHARPNESS:g} (shipped)"
_SHARPNESSES = (0.5, 1.0, 1.5, 2.0, 4.0)
_BEST = 2


def pooled(ground: Ground, texts: Array, fold: Index) -> dict[str, Array]:
    """Combine the label scores of a paper's texts into scores of the paper, with each pooling method.

    Parameters
    ----------
    texts : ndarray, shape (n_texts, 1 + n_labels)
        Out-of-fold scores of each text: relevance in column 0, then one column per label.

    Returns
    -------
    dict
        Scores of papers, shape (n_documents, n_labels), keyed by pooling method.
    """
    corpus = ground.corpus
    own = corpus.document != NO_DOCUMENT
    scores = np.where(corpus.counts[own, None], texts, -np.inf)[:, 1:]
    best = [np.sort(scores[rows][corpus.counts[rows]], axis=0)[::-1] for rows in corpus.rows_by_document()]
    found = {"mean": np.stack([rows.mean(axis=0) for rows in best])}
    for sharpness in _SHARPNESSES:
        name = SHIPPED_POOLING if sharpness == SHARPNESS else f"log-sum-exp, sharpness {sharpness:g}"
        found[name] = pool_scores(scores, corpus.lengths, sharpness)
    found["maximum"] = np.stack([rows[0] for rows in best])
    found["mean of the two best"] = np.stack([rows[:_BEST].mean(axis=0) for rows in best])
    found["shipped, and half the score of the whole text"] = found[SHIPPED_POOLING] + _WHOLE_WEIGHT * _labels_of_wholes(
        corpus, fold
    )
    return found


def _labels_of_wholes(corpus: Corpus, fold: Index) -> Array:
    """Return out-of-fold scores of labels by logistic regression on whole texts, shape (n_documents, n_labels)."""
    scores = np.zeros((corpus.n_documents, corpus.document_targets.shape[1] - 1))
    wholes = corpus.wholes.astype(np.float64)
    for held_out in np.unique(fold):
        held = fold == held_out
        for label in range(scores.shape[1]):
            targets = corpus.document_targets[:, 1 + label]
            learnt = ~held & ~np.isnan(targets)
            if len(np.unique(targets[learnt])) == 2:
                model = LogisticRegression(C=_WHOLE_C, max_iter=1000).fit(wholes[learnt], targets[learnt])
                scores[held, label] = model.decision_function(wholes[held])
    return scores
