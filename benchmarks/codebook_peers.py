"""Systems that `benchmarks.codebooks` compares mechtag with.

They are a linear support vector machine on words, a logistic regression on the vectors of whole texts, SetFit, and an
earlier version of mechtag.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from benchmarks.codebook_sets import CodedSet
from benchmarks.publish import ROOT
from mechtag.core.arrays import Array, Mask
from mechtag.core.files import replacing
from mechtag.models.encoder import Vectors
from mechtag.training.dataset import Corpus

WORK = ROOT / "data/work/benchmarks/codebooks"
# The last commit whose heads did not start from the definitions (docs/decisions/2026-11-29-definitions-first.md).
PREVIOUS = "cfe6fcad025687897967c4b1783ff8b2aba658e5"


@dataclass(frozen=True)
class Scores:
    """Scores that one system assigned to all papers of a data set.

    Attributes
    ----------
    labels : ndarray, shape (n_documents, n_labels)
    relevance : ndarray, shape (n_documents,), optional
        ``None`` if the system does not score relevance.
    """

    labels: Array
    relevance: Array | None = None

    def take(self, rows: Mask) -> Scores:
        """Return the scores of the selected papers."""
        return Scores(self.labels[rows], None if self.relevance is None else self.relevance[rows])


def tfidf(corpus: Corpus, learned: Mask) -> Scores:
    """Score all papers with one linear support vector machine per label on the words and word pairs of whole texts.

    ``learned`` is a mask of the papers to train on.
    """
    own = [text for text, use in zip(corpus.whole_texts, learned, strict=True) if use]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(own) < 100 else 2).fit(own)
    return _by_label(vectorizer.transform(corpus.whole_texts), corpus, learned, lambda: LinearSVC(random_state=0))


def whole_vector(corpus: Corpus, learned: Mask) -> Scores:
    """Score all papers with one logistic regression per label on the vectors of whole texts.

    ``learned`` is a mask of the papers to train on.
    """
    return _by_label(
        corpus.wholes.astype(np.float64), corpus, learned, lambda: LogisticRegression(C=10.0, max_iter=1000)
    )


def _by_label(features: Any, corpus: Corpus, learned: Mask, make: Callable[[], Any]) -> Scores:
    """Fit one classifier for relevance and one per label, and score all papers.

    ``learned`` is a mask of the papers to train on. If a label has only one code (yes or no) in these papers, its
    scores are 0.
    """
    scores = np.zeros(corpus.document_targets.shape)
    for column, codes in enumerate(corpus.document_targets.T):
        rows = learned & ~np.isnan(codes)
        if len(np.unique(codes[rows])) == 2:
            scores[:, column] = make().fit(features[rows], codes[rows]).decision_function(features)
    return Scores(scores[:, 1:], scores[:, 0])


@dataclass(frozen=True)
class SetFitSettings:
    """Settings of SetFit; settings that are not listed here have SetFit's default values.

    Attributes
    ----------
    batch
        Number of text pairs per training step (SetFit's default).
    max_steps
        Maximum number of training steps. By default, SetFit trains for one epoch over all pairs.
    max_tokens
        Maximum number of tokens of a text (the same as for mechtag).
    """

    batch: int = 16
    max_steps: int = 40
    max_tokens: int = 256


def setfit(
    corpus: Corpus,
    learned: Mask,
    held: Mask,
    encoder: Path,
    seed: int,
    *,
    train: bool,
    how: SetFitSettings = SetFitSettings(),
) -> Scores | None:
    """Fine-tune an encoder with SetFit on whole texts, and score papers with one logistic regression per label.

    A label that was not judged counts as absent, because SetFit cannot learn from missing codes. The scores are cached.

    Parameters
    ----------
    learned : ndarray of bool, shape (n_documents,)
        Papers to train on; irrelevant papers among them are ignored.
    held : ndarray of bool, shape (n_documents,)
        Papers to score; the scores of all other papers are NaN.
    encoder
        Folder of the encoder.
    train
        Whether to train if the scores are not cached. If false and they are not cached, the result is ``None``.
    """
    codes = np.nan_to_num(corpus.document_targets[:, 1:]).astype(int).tolist()
    rows = np.flatnonzero(learned & (corpus.document_targets[:, 0] == 1))
    own, labels = [corpus.whole_texts[row] for row in rows], [codes[row] for row in rows]
    texts = [corpus.whole_texts[row] for row in np.flatnonzero(held)]
    scores = np.full(corpus.document_targets[:, 1:].shape, np.nan)
    path = _cache("setfit", [own, labels, texts, encoder.parent.name, seed, asdict(how)])
    if not train and not path.exists():
        return None
    scores[held] = _cached(path, lambda: _setfit_scores(own, labels, texts, encoder, seed, how))
    return Scores(scores)


def _setfit_scores(
    own: Sequence[str], labels: Sequence[list[int]], texts: Sequence[str], encoder: Path, seed: int, how: SetFitSettings
) -> Array:
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments
    from setfit.sampler import ContrastiveDataset

    torch.manual_seed(seed)
    model = SetFitModel.from_pretrained(str(encoder), multi_target_strategy="one-vs-rest")
    model.model_body.max_seq_length = how.max_tokens
    # A maximum number of steps replaces the number of epochs, so it must not exceed one epoch.
    epoch = -(-len(ContrastiveDataset(list(own), labels, multilabel=True)) // how.batch)
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            batch_size=how.batch,
            max_steps=min(epoch, how.max_steps),
            seed=seed,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        Trainer(model, arguments, train_dataset=Dataset.from_dict({"text": list(own), "label": labels})).train()
    return np.asarray(model.predict_proba(list(texts), as_numpy=True), dtype=np.float64)


def previous(coded: CodedSet, draws: Sequence[Mask], vectors: tuple[Sequence[str], Vectors]) -> list[Scores]:
    """Score papers with an earlier version of mechtag (the commit ``PREVIOUS``), in a separate process.

    The scores are cached.

    Parameters
    ----------
    draws
        One mask per draw, which selects the papers to train on.
    vectors
        Texts of the papers and the codebook, and the vector of each text.

    Returns
    -------
    list of Scores
        Scores of all papers, for each draw. They are all 0 if the earlier version could not be trained on the draw.
    """
    content = {
        "papers": [asdict(document) for document in coded.documents],
        "draws": [np.flatnonzero(learned).tolist() for learned in draws],
        "texts": list(vectors[0]),
    }
    codebook = coded.codebook.model_dump_json()

    def compute() -> Array:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "codebook.yaml").write_text(codebook, encoding="utf-8")
            (folder / "content.json").write_text(json.dumps(content), encoding="utf-8")
            np.save(folder / "vectors.npy", vectors[1])
            tree = _previous_tree()
            command = [sys.executable, str(ROOT / "benchmarks/previous_peer.py"), name]
            subprocess.run(command, check=True, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)})
            scores: Array = np.load(folder / "scores.npy")
        return scores

    path = _cache("previous", [PREVIOUS, codebook, content, hashlib.sha256(vectors[1].tobytes()).hexdigest()])
    return [Scores(scores[:, 1:], scores[:, 0]) for scores in _cached(path, compute)]


def _previous_tree() -> Path:
    """Return a folder with the files of the commit ``PREVIOUS``, which the first call extracts."""
    folder = WORK / f"tree-{PREVIOUS[:12]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory() as name, replacing(folder) as part:
            archive = Path(name) / "tree.tar"
            subprocess.run(["git", "archive", "-o", str(archive), PREVIOUS], check=True, cwd=ROOT)
            with tarfile.open(archive) as opened:
                opened.extractall(part, filter="data")
    return folder


def _cache(name: str, content: Any) -> Path:
    """Return the path of the file that caches the scores that a system computes from ``content``."""
    return WORK / f"{name}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}.npy"


def _cached(path: Path, compute: Callable[[], Array]) -> Array:
    """Return the array in a file; if the file does not exist, compute the array and write the file."""
    if not path.exists():
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, compute())
    scores: Array = np.load(path)
    return scores
