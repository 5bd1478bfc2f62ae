"""Vectors of texts, kept on disk so that a text is encoded once."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.encoder import Encoder, Vectors
from models.files import replacing

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
    path: Path,
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
        File of vectors; it is saved every few hundred texts, so that an interrupted run goes on
        where it was. A damaged file is made anew.
    on_progress
        Called with the number of texts done since the last call.

    Returns
    -------
    ndarray, shape (n_texts, size)
        In the order of ``texts``.
    """
    digests = [_digest(text) for text in texts]
    known = _load(path, encoder_id)
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
            _save(path, encoder_id, known)
            on_progress(len(chunk))
    return np.stack([known[digest] for digest in digests])
