"""The records of a search prepared for ranking: texts, and vectors that are computed once and cached on disk."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechtag.core.arrays import Array
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.records import Record
from mechtag.core.settings import EncoderSettings, Settings
from mechtag.models.encoder import Encoder, TransformerEncoder, Vectors, locate_encoder
from mechtag.models.model_folder import load_model
from mechtag.pipeline.tagging.predict import predict
from mechtag.pipeline.text.sentences import split

# Strength and class balance of the classifiers. The values are those of ELAS u4, the default of ASReview 3,
# tuned on the SYNERGY reviews; https://github.com/asreview/asreview/blob/v3.0.8/asreview/models/models.py.
# Alternatives that were tried are in docs/ranking.md.
_C = 0.11
_BALANCE = 9.8
_MAX_DF = 0.95
# A word pair that occurs in only one record says nothing about the others.
_MIN_DF = 2


class Ranker:
    """Two linear classifiers, on words and on vectors, whose standardised scores are added.

    Create it once for a set of records; a new label then costs only the fit of two linear classifiers.

    Parameters
    ----------
    texts
        Title and abstract of each record.
    vectors : ndarray, shape (n_records, size)
        The encoder's vector of each text.
    """

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        if len(texts) != len(vectors):
            raise ValueError(f"{len(texts)} texts and {len(vectors)} vectors")
        self._views = (word_weights(texts), _centred(vectors))

    def scores(self, labels: Array) -> Array:
        """Score every record, given the labels so far.

        Parameters
        ----------
        labels : ndarray, shape (n_records,)
            1 for relevant, 0 for irrelevant, NaN for not judged (not used for training).

        Returns
        -------
        ndarray, shape (n_records,)
            Higher means more likely relevant. Only the order is meaningful.

        Raises
        ------
        MechtagError
            If no labelled record is relevant, or none is irrelevant.
        """
        judged = ~np.isnan(labels)
        targets = labels[judged]
        if not (targets == 1).any() or not (targets == 0).any():
            raise MechtagError(
                f"{int((targets == 1).sum())} records judged relevant and {int((targets == 0).sum())} not; "
                "ranking needs at least one of each"
            )
        weights = _weights(targets)
        words, meaning = (_standardised(_fit(view, judged, targets, weights), ~judged) for view in self._views)
        return words + meaning


def word_weights(texts: Sequence[str]) -> Any:
    """Return the TF-IDF of words and adjacent word pairs: a sparse matrix of shape (n_texts, n_terms)."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    # With few records, every term may be too rare or too common.
    few = len(texts) < 2 * _MIN_DF
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=1 if few else _MIN_DF, max_df=1.0 if few else _MAX_DF
    )
    try:
        return vectoriser.fit_transform(texts).tocsr()
    except ValueError:  # No term is left, as in records without words.
        return csr_matrix((len(texts), 1))


def _centred(vectors: Vectors) -> Array:
    """Subtract the mean vector of the search, and normalise rows to unit length again."""
    moved = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    unit: Array = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return unit


def _weights(targets: Array) -> Array:
    """Weight examples so that the irrelevant ones together have a fixed fraction of the relevant ones' weight."""
    relevant = targets == 1
    weights = np.where(relevant, 1.0, relevant.sum() / (_BALANCE * (~relevant).sum()))
    scaled: Array = weights * len(targets) / weights.sum()
    return scaled


def _fit(view: Any, judged: NDArray[np.bool_], targets: Array, weights: Array) -> Array:
    from sklearn.svm import LinearSVC

    # Choose the faster of two solvers of the same problem for its shape.
    classifier = LinearSVC(C=_C, dual=bool(judged.sum() < view.shape[1]), max_iter=10_000, random_state=0)
    classifier.fit(view[judged], targets, sample_weight=weights)
    scores: Array = classifier.decision_function(view)
    return scores


def _standardised(scores: Array, unread: NDArray[np.bool_]) -> Array:
    """Standardise scores to mean 0 and standard deviation 1 over unread records, so that views can be added."""
    base = scores[unread] if unread.any() else scores
    scaled: Array = (scores - base.mean()) / max(float(base.std()), 1e-12)
    return scaled


# Texts encoded between two saves: the most that an interrupted run can lose.
_CHUNK = 512
_DIGEST = 16


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_DIGEST]


def _load(path: Path, encoder_id: str) -> dict[bytes, Vectors]:
    """Read cached vectors; return none if the file is missing, damaged or of another encoder."""
    try:
        # Opened here, because numpy does not close a file that it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            digests, vectors = file["digests"], file["vectors"]
            known_id = str(file["encoder"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    sound = digests.dtype == np.uint8 and digests.shape == (len(vectors), _DIGEST)
    if known_id != encoder_id or not sound or vectors.dtype != np.float32 or vectors.ndim != 2:
        return {}
    return {digest.tobytes(): vector for digest, vector in zip(digests, vectors, strict=True)}


def _save(path: Path, encoder_id: str, known: dict[bytes, Vectors]) -> None:
    digests = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(-1, _DIGEST)
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, encoder=np.array(encoder_id), digests=digests, vectors=np.stack(list(known.values())))


def encode_cached(
    load_encoder: Callable[[], Encoder],
    encoder_id: str,
    texts: Sequence[str],
    path: Path | None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """Encode texts; reuse the vectors in the file ``path``, and add new ones to it.

    Parameters
    ----------
    load_encoder
        Called only if there is something to encode.
    encoder_id
        Identifies the weights and everything else that affects a vector; vectors of another id are discarded.
    texts
        At least one.
    path
        File of vectors, or ``None``; it is saved every few hundred texts, so that an interrupted run
        resumes there. A damaged file is replaced.
    on_progress
        Called with the number of texts done since the last call.

    Returns
    -------
    ndarray, shape (n_texts, size)
        In the order of ``texts``.
    """
    digests = [_digest(text) for text in texts]
    known = _load(path, encoder_id) if path else {}
    missing = list({digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}.items())
    on_progress(len(texts) - len(missing))
    if missing:
        encoder = load_encoder()
        # Texts of similar length are batched together, to reduce padding.
        missing.sort(key=lambda item: len(item[1]))
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            vectors = encoder.encode([text for _, text in chunk])
            known.update({digest: vector for (digest, _), vector in zip(chunk, vectors, strict=True)})
            if path:
                _save(path, encoder_id, known)
            on_progress(len(chunk))
    return np.stack([known[digest] for digest in digests])


@dataclass(frozen=True)
class Search:
    """Records to rank.

    Attributes
    ----------
    texts
        Title and abstract of each.
    vectors
        Shape (n_records, size).
    definition
        Vector of the codebook's definition of relevance, shape (size,).
    """

    records: Sequence[Record]
    texts: Sequence[str]
    vectors: Vectors
    definition: Vectors

    @cached_property
    def ranker(self) -> Ranker:
        """The classifier that learns from decisions."""
        return Ranker(self.texts, self.vectors)

    def scores(self, labels: Array, cold: Callable[[], Array] | None = None) -> Array:
        """Score records, given decisions of both kinds, only relevant records, or no decisions.

        Parameters
        ----------
        labels
            1, 0, or NaN for not judged, shape (n_records,).
        cold
            Returns the scores while no record is known to be relevant; by default, the similarity to the
            definition of relevance.
        """
        relevant = labels == 1
        if relevant.any() and (labels == 0).any():
            return self.ranker.scores(labels)
        if cold is not None and not relevant.any():
            return cold()
        example = self.vectors[relevant].mean(axis=0) if relevant.any() else self.definition
        likeness: Array = (self.vectors @ example).astype(np.float64)
        return likeness


def load_search(
    records: Sequence[Record],
    definition: str,
    settings: EncoderSettings,
    cache: Path | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Search:
    """Encode records, reusing vectors from the file ``cache`` if it is given; see `encode_cached`.

    Raises
    ------
    MechtagError
        As `encoder.locate_encoder`.
    """
    source = locate_encoder(settings.name, revision=settings.revision, sha256=settings.sha256)

    def load() -> TransformerEncoder:
        return TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)

    texts = [f"{record.title}\n{record.abstract}".strip() for record in records]
    name = f"{source.sha256}/{settings.max_tokens}"
    vectors = encode_cached(load, name, [*texts, definition], cache, on_progress)
    return Search(records, texts, vectors[:-1], vectors[-1])


def cold_scores(folder: Path, search: Search, settings: Settings, codebook: Codebook) -> Callable[[], Array]:
    """Return a function for `Search.scores` that scores records by the relevance a trained model predicts.

    The function loads the model when called, and raises as `model_folder.load_model`.
    """

    def scores() -> Array:
        model = load_model(folder, codebook, runtime=settings.tag.runtime, threads=settings.tag.threads)
        sentences = split(search.records, settings.sentences)
        predictions = predict(model.tagger, model.config.model_id, search.records, sentences, evidence_sentences=1)
        return np.array([row.score for row in predictions if row.label == codebook.relevance.key])

    return scores
