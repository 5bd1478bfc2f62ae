"""The records of a search with what ranking needs: texts, and vectors that are computed once and kept on disk."""

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

# Strength and class balance of the classifiers. They are ELAS u4's, ASReview 3's default, which was
# tuned on the SYNERGY reviews; https://github.com/asreview/asreview/blob/v3.0.8/asreview/models/models.py.
# What was tried beside them stands in docs/ranking.md.
_C = 0.11
_BALANCE = 9.8
_MAX_DF = 0.95
# A pair of words that one record alone has tells nothing of the others.
_MIN_DF = 2


class Ranker:
    """Two linear classifiers, on words and on vectors, whose standardised scores are added.

    Made once for a set of records, so that a new label costs only the fit of two linear
    classifiers.

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
        """Score every record by what has been labelled so far.

        Parameters
        ----------
        labels : ndarray, shape (n_records,)
            1 for relevant, 0 for not, NaN for not judged; such a record is no example.

        Returns
        -------
        ndarray, shape (n_records,)
            Higher is more likely relevant. Only the order has a meaning.

        Raises
        ------
        MechtagError
            There is no relevant or no irrelevant record among the labelled ones.
        """
        judged = ~np.isnan(labels)
        targets = labels[judged]
        if not (targets == 1).any() or not (targets == 0).any():
            raise MechtagError(
                f"{int((targets == 1).sum())} records judged relevant and {int((targets == 0).sum())} not; "
                "ranking learns from at least one of each"
            )
        weights = _weights(targets)
        words, meaning = (_standardised(_fit(view, judged, targets, weights), ~judged) for view in self._views)
        return words + meaning


def word_weights(texts: Sequence[str]) -> Any:
    """TF-IDF of words and pairs of neighbouring words; a sparse matrix of shape (n_texts, n_terms)."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    # In a handful of records every term can be too rare or too common.
    few = len(texts) < 2 * _MIN_DF
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=1 if few else _MIN_DF, max_df=1.0 if few else _MAX_DF
    )
    try:
        return vectoriser.fit_transform(texts).tocsr()
    except ValueError:  # no term is left, as in records without any words
        return csr_matrix((len(texts), 1))


def _centred(vectors: Vectors) -> Array:
    """Take off what all records of a search have in common, and give rows unit length again."""
    moved = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    unit: Array = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return unit


def _weights(targets: Array) -> Array:
    """Weigh examples so that the irrelevant ones together count as a fixed part of the relevant ones."""
    relevant = targets == 1
    weights = np.where(relevant, 1.0, relevant.sum() / (_BALANCE * (~relevant).sum()))
    scaled: Array = weights * len(targets) / weights.sum()
    return scaled


def _fit(view: Any, judged: NDArray[np.bool_], targets: Array, weights: Array) -> Array:
    from sklearn.svm import LinearSVC

    # Of the two ways to solve the same problem, the one that is quicker for its shape.
    classifier = LinearSVC(C=_C, dual=bool(judged.sum() < view.shape[1]), max_iter=10_000, random_state=0)
    classifier.fit(view[judged], targets, sample_weight=weights)
    scores: Array = classifier.decision_function(view)
    return scores


def _standardised(scores: Array, unread: NDArray[np.bool_]) -> Array:
    """Bring the scores of a view to mean 0 and standard deviation 1 over the unread, so that views add up."""
    base = scores[unread] if unread.any() else scores
    scaled: Array = (scores - base.mean()) / max(float(base.std()), 1e-12)
    return scaled


# Texts that are encoded between two savings: what an interrupted run can lose.
_CHUNK = 512
_DIGEST = 16


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_DIGEST]


def _load(path: Path, encoder_id: str) -> dict[bytes, Vectors]:
    """Read kept vectors; a file that is missing, damaged or of another encoder holds none."""
    try:
        # Opened here, for numpy leaves a file open that it cannot read.
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
    """Encode texts, taking from ``path`` what was encoded before, and adding the rest to it.

    Parameters
    ----------
    load_encoder
        Called only if there is something to encode.
    encoder_id
        Names the weights and whatever else changes a vector; vectors of another id are dropped.
    texts
        At least one.
    path
        File of vectors, or ``None``; it is saved every few hundred texts, so that an interrupted run goes on
        where it was. A damaged file is made anew.
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
        # Texts of like length stand together, so that little of a batch is padding.
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
        """What learns from decisions."""
        return Ranker(self.texts, self.vectors)

    def scores(self, labels: Array, cold: Callable[[], Array] | None = None) -> Array:
        """Score records by what is known: decisions of both kinds, relevant records alone, or nothing.

        Parameters
        ----------
        labels
            1, 0, or NaN for not judged, shape (n_records,).
        cold
            Gives scores where no record is known to be relevant; by default, the likeness to the
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
    """Encode records, or take their vectors from the file ``cache``, if there is one; see `encode_cached`.

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
    """Give what scores records by the relevance that a trained model sees in them, for `Search.scores`.

    The model is loaded when it is called, which raises as `model_folder.load_model`.
    """

    def scores() -> Array:
        model = load_model(folder, codebook, runtime=settings.tag.runtime, threads=settings.tag.threads)
        sentences = split(search.records, settings.sentences)
        predictions = predict(model.tagger, model.config.model_id, search.records, sentences, evidence_sentences=1)
        return np.array([row.score for row in predictions if row.label == codebook.relevance.key])

    return scores
