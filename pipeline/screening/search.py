"""Rank the records found by a literature search.

Texts are encoded as vectors, which are cached on disk.
"""

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
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import predict

# Strength of the classifiers, chosen on four of the reviews of the benchmark; see docs/ranking.md.
_C = 0.2
# Class balance of ELAS u4, the default of ASReview 3, tuned on the SYNERGY reviews;
# https://github.com/asreview/asreview/blob/v3.0.8/asreview/models/models.py.
_BALANCE = 9.8
# A word pair that occurs in only one record carries no information about the other records.
_MIN_DF = 2
# Saturation of repeated words and strength of the correction for length in BM25; the usual values, not tuned.
_K1 = 1.2
_B = 0.75


class Ranker:
    """A ranker that adds the standardised scores of two linear classifiers, one on words and one on vectors.

    Create one ranker per search. After each new decision, only the two classifiers have to be fitted again.

    Parameters
    ----------
    texts
        Title and abstract of each record.
    vectors : ndarray, shape (n_records, size)
        Vector of each text, as the encoder returned it.
    """

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        if len(texts) != len(vectors):
            raise ValueError(f"Ranker: found {len(texts)} texts but {len(vectors)} vectors; pass one vector per text")
        self._views = (word_weights(texts), _centred(vectors))

    def scores(self, labels: Array) -> Array:
        """Fit the classifiers to the judged records, and return a score for every record.

        Parameters
        ----------
        labels : ndarray, shape (n_records,)
            Decision on each record: 1 for relevant, 0 for irrelevant, NaN if not judged.

        Returns
        -------
        ndarray, shape (n_records,)
            A higher score means that the record is more likely relevant. Only the order is meaningful.

        Raises
        ------
        MechtagError
            If no record was judged relevant, or if no record was judged irrelevant.
        """
        judged = ~np.isnan(labels)
        targets = labels[judged]
        if not (targets == 1).any() or not (targets == 0).any():
            raise MechtagError(
                f"the decisions include {int((targets == 1).sum())} relevant and {int((targets == 0).sum())} "
                "irrelevant records; ranking needs at least one of each, so judge more records first"
            )
        weights = _weights(targets)
        words, meaning = (_standardised(_fit(view, judged, targets, weights), ~judged) for view in self._views)
        return words + meaning


def word_weights(texts: Sequence[str]) -> Any:
    """Return the BM25 weights of words and of pairs of adjacent words.

    All texts are scaled by the same factor, so that the mean squared length of the rows is 1. If each text had its own
    factor, the few words of a title without an abstract would count more than the words of a longer text.

    Returns
    -------
    sparse matrix, shape (n_texts, n_terms)
        Weight of each term in each text.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    # If there are few records, every term may be too rare.
    few = len(texts) < 2 * _MIN_DF
    try:
        counts = CountVectorizer(ngram_range=(1, 2), min_df=1 if few else _MIN_DF).fit_transform(texts).tocsr()
    except ValueError:  # No term is left, as in records without words.
        return csr_matrix((len(texts), 1))
    frequency = counts.data.astype(np.float64)
    lengths = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scale = _K1 * (1 - _B + _B * lengths / lengths.mean())
    saturated = frequency * (_K1 + 1) / (frequency + np.repeat(scale, np.diff(counts.indptr)))
    holders = np.bincount(counts.indices, minlength=counts.shape[1])
    rarity = np.log1p((len(texts) - holders + 0.5) / (holders + 0.5))
    data = saturated * rarity[counts.indices]
    # As for embeddings, the mean squared length is 1, so the same regularisation suits the classifiers on both.
    data /= np.sqrt(np.square(data).sum() / len(texts))
    return csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)


def _centred(vectors: Vectors) -> Array:
    """Subtract the mean of all vectors from each vector, and scale each result to length 1."""
    moved = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    unit: Array = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return unit


def _weights(targets: Array) -> Array:
    """Return the weight of each example for fitting a classifier.

    Together, the relevant examples (target 1) weigh ``_BALANCE`` times as much as the irrelevant examples (target 0).
    """
    relevant = targets == 1
    weights = np.where(relevant, 1.0, relevant.sum() / (_BALANCE * (~relevant).sum()))
    scaled: Array = weights * len(targets) / weights.sum()
    return scaled


def _fit(view: Any, judged: NDArray[np.bool_], targets: Array, weights: Array) -> Array:
    from sklearn.svm import LinearSVC

    # Two solvers find the same solution; choose the one that is faster for this shape.
    classifier = LinearSVC(C=_C, dual=bool(judged.sum() < view.shape[1]), max_iter=10_000, random_state=0)
    classifier.fit(view[judged], targets, sample_weight=weights)
    scores: Array = classifier.decision_function(view)
    return scores


def _standardised(scores: Array, unread: NDArray[np.bool_]) -> Array:
    """Shift and scale all scores so that the scores of the unread records have mean 0 and standard deviation 1.

    ``unread`` selects the records without a decision. If there are none, all records are used instead.
    """
    base = scores[unread] if unread.any() else scores
    scaled: Array = (scores - base.mean()) / max(float(base.std()), 1e-12)
    return scaled


# Number of texts encoded between two saves, which is the most that an interrupted run can lose.
_CHUNK = 512
_DIGEST = 16


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_DIGEST]


def _load(path: Path, encoder_id: str) -> dict[bytes, Vectors]:
    """Return the cached vectors, keyed by a hash of the text; ``{}`` if the cache cannot be used with this encoder."""
    try:
        # Open the file here, because numpy does not close a file that it cannot read.
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
    """Return the vectors of texts; vectors in the file ``path`` are reused, and new vectors are added to the file.

    Parameters
    ----------
    load_encoder
        Function that loads the encoder. It is called only if there is something to encode.
    encoder_id
        Identifier of everything that affects a vector, such as the weights of the encoder. Cached vectors with a
        different identifier are discarded.
    texts
        Texts to encode, at least one.
    path
        File of cached vectors, or ``None`` to use no cache. The file is saved every few hundred texts, so an
        interrupted run resumes from the last save. A damaged file is replaced.
    on_progress
        Function that is called with the number of texts encoded since the last call.

    Returns
    -------
    ndarray, shape (n_texts, size)
        Vectors in the order of ``texts``.
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
    """The records of a search, prepared for ranking.

    Attributes
    ----------
    texts
        Title and abstract of each record.
    vectors : ndarray, shape (n_records, size)
        Vector of each text.
    definition : ndarray, shape (size,)
        Vector of the codebook's definition of relevance.
    """

    records: Sequence[Record]
    texts: Sequence[str]
    vectors: Vectors
    definition: Vectors

    @cached_property
    def ranker(self) -> Ranker:
        """Return the `Ranker` of these records, which learns from decisions."""
        return Ranker(self.texts, self.vectors)

    def scores(self, labels: Array, cold: Callable[[], Array] | None = None) -> Array:
        """Return a score for every record.

        There are three cases:

        - Relevant and irrelevant records are known: the `ranker` learns from them.
        - Only relevant records are known: a score is the similarity of a record to the relevant records.
        - No relevant record is known: ``cold`` returns the scores.

        Parameters
        ----------
        labels : ndarray, shape (n_records,)
            Decision on each record: 1 for relevant, 0 for irrelevant, NaN if not judged.
        cold
            Function that returns a score for every record. By default, a score is the similarity of a record to the
            definition of relevance.

        Returns
        -------
        ndarray, shape (n_records,)
            A higher score means that the record is more likely relevant.
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
    """Prepare records for ranking by encoding their texts as vectors.

    Parameters
    ----------
    definition
        Definition of relevance in the codebook.
    cache
        File of cached vectors, or ``None`` to use no cache; see `encode_cached`.

    Raises
    ------
    MechtagError
        For the same reasons as in `encoder.locate_encoder`.
    """
    source = locate_encoder(settings.name, revision=settings.revision, sha256=settings.sha256)

    def load() -> TransformerEncoder:
        return TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)

    texts = [f"{record.title}\n{record.abstract}".strip() for record in records]
    name = f"{source.sha256}/{settings.max_tokens}"
    vectors = encode_cached(load, name, [*texts, definition], cache, on_progress)
    return Search(records, texts, vectors[:-1], vectors[-1])


def cold_scores(folder: Path, search: Search, settings: Settings, codebook: Codebook) -> Callable[[], Array]:
    """Return a function that scores the relevance of each record with the model in ``folder``.

    Pass the function to `Search.scores` as ``cold``. The model is loaded when the function is called, and the function
    raises the same errors as `model_folder.load_model`.
    """

    def scores() -> Array:
        model = load_model(folder, codebook, runtime=settings.tag.runtime, threads=settings.tag.threads)
        sentences = split(search.records, settings.sentences)
        predictions = predict(model.tagger, model.config.model_id, search.records, sentences, evidence_sentences=1)
        return np.array([row.score for row in predictions if row.label == codebook.relevance.key])

    return scores
