"""Score papers with an earlier version of mechtag; `benchmarks.codebook_peers` runs this script.

``python previous_peer.py FOLDER`` reads the papers, the codebook, the vectors and the training sets (draws) that
`codebook_peers` wrote to ``FOLDER``, and writes ``scores.npy`` there. The script imports `mechtag` from the working
directory, which contains the earlier version.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _GivenVectors:
    """An encoder that returns precomputed vectors."""

    def __init__(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        self._vectors = dict(zip(texts, vectors, strict=True))

    @property
    def size(self) -> int:
        return len(next(iter(self._vectors.values())))

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        return np.stack([self._vectors[text] for text in texts])


def _module(name: str) -> Any:
    # The earlier version has other names and types, so type checkers must not look at it.
    return import_module(f"mechtag.{name}")


def _with_tuples(value: Any) -> Any:
    """Return a value read from JSON with tuples in place of lists."""
    if isinstance(value, dict):
        return {key: _with_tuples(own) for key, own in value.items()}
    return tuple(_with_tuples(own) for own in value) if isinstance(value, list) else value


def score(folder: Path) -> NDArray[np.float64]:
    """Train on each draw (a set of papers), and return the scores of all papers.

    Returns
    -------
    ndarray, shape (n_draws, n_papers, 1 + n_labels)
        The first score of a paper is that of relevance. All scores are 0 for a draw on which the earlier version cannot
        be trained.
    """
    tables, heads, dataset = _module("models.features"), _module("training.heads"), _module("training.dataset")
    codebook = _module("core.codebook").load_codebook(folder / "codebook.yaml")
    settings = _module("core.settings").load_settings("params.yaml").train
    content = json.loads((folder / "content.json").read_text(encoding="utf-8"))
    encoder = _GivenVectors(content["texts"], np.load(folder / "vectors.npy"))
    papers = [
        dataset.CodedDocument(**{**paper, "document": _module("models.tagger").Document(**paper["document"])})
        for paper in _with_tuples(content["papers"])
    ]
    corpus = dataset.build_corpus(papers, (), codebook.keys, encoder, tables.embed_codebook(codebook, encoder))
    scores = np.zeros((len(content["draws"]), *corpus.document_targets.shape))
    everything = np.ones(len(corpus.texts), dtype=bool)
    for found, rows in zip(scores, content["draws"], strict=True):
        learned = np.zeros(len(papers), dtype=bool)
        learned[rows] = True
        try:
            fitted = heads.fit_heads(corpus, learned, settings)
        except _module("core.errors").MechtagError:
            continue  # This version needs a label with three positive papers; without one, all papers score alike.
        relevance = fitted.relevance.score(corpus.wholes)
        found[:] = corpus.score_documents(relevance, heads.score_texts(corpus, fitted, everything))
    return scores


if __name__ == "__main__":
    np.save(Path(sys.argv[1]) / "scores.npy", score(Path(sys.argv[1])))
