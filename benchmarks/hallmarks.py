"""Read the Hallmarks of Cancer corpus (Baker et al. 2016): abstracts and their sentences, coded for ten labels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.publish import ROOT
from benchmarks.sets import BENCH, read_table
from mechtag.core.arrays import Index
from mechtag.core.codebook import Codebook, load_codebook
from mechtag.models.tagger import Document
from mechtag.training.dataset import CodedDocument

CODEBOOK = ROOT / "benchmarks/hallmarks.yaml"
SEEDS = (2021, 2022, 2023, 2024, 2025)
SHOTS = (8, 16, 32, 64, 128)
_LEARNT, _VALID = 0.7, 0.1
# One in this many documents of a few-shot sample is a validation document, which systems may use for early stopping and
# thresholds.
_HELD_SHARE = 5
_SEPARATOR = "|"


@dataclass(frozen=True)
class Hallmarks:
    """The abstracts of the corpus that have at least one label, as in the published comparisons.

    Attributes
    ----------
    documents
        Abstracts with the labels of each sentence. All abstracts count as relevant; none has a title.
    targets : ndarray of bool, shape (n_documents, n_labels)
        Whether each document has each label; the order of labels is that of the codebook.
    """

    codebook: Codebook
    documents: tuple[CodedDocument, ...]
    targets: NDArray[np.bool_]

    @property
    def texts(self) -> list[str]:
        """Return each abstract as a single text."""
        return [" ".join(coded.document.sentences) for coded in self.documents]

    def coded(self, rows: Index, *, sentences: bool) -> list[CodedDocument]:
        """Return the documents in the given rows; without ``sentences``, the labels of their sentences are removed."""
        chosen = [self.documents[row] for row in rows]
        return chosen if sentences else [replace(coded, sentence_labels=None) for coded in chosen]


def load_hallmarks() -> Hallmarks:
    """Read the corpus from the folder of benchmark data.

    Raises
    ------
    MechtagError
        If a file of the corpus is missing.
    """
    codebook = load_codebook(CODEBOOK)
    folder = BENCH / "multilabel"
    sentences: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for row in read_table(folder / "hoc_sentences.csv.gz"):
        carried = row["labels"].split(_SEPARATOR)
        sentences[row["pmid"]].append((row["sentence"], tuple(key for key in codebook.keys if key in carried)))
    documents = []
    for row in read_table(folder / "hoc_documents.csv.gz"):
        carried = row["labels"].split(_SEPARATOR)
        codes = {key: int(key in carried) for key in codebook.keys}
        if any(codes.values()):
            texts, labels = zip(*sentences[row["pmid"]], strict=True)
            documents.append(
                CodedDocument(
                    f"pmid:{row['pmid']}", Document("", texts), relevant=True, codes=codes, sentence_labels=labels
                )
            )
    targets = np.array([[coded.codes[key] == 1 for key in codebook.keys] for coded in documents])
    return Hallmarks(codebook, tuple(documents), targets)


@dataclass(frozen=True)
class Task:
    """A division of the documents into training, validation and test documents.

    Attributes
    ----------
    seed
        Seed of the division.
    shots
        Number of documents per label for training and validation; ``None`` if all documents are used.
    learnt, valid, held
        Rows of the training, validation and test documents.
    """

    seed: int
    shots: int | None
    learnt: Index
    valid: Index
    held: Index

    @property
    def known(self) -> Index:
        """Return the rows of the training and validation documents."""
        return np.concatenate([self.learnt, self.valid])


def split(targets: NDArray[np.bool_], seed: int, shots: int | None = None) -> Task:
    """Split documents at random into 70% for training, 10% for validation and 20% for testing.

    If ``shots`` is given, the training and validation documents are a sample of the 70% for training. If possible, the
    sample contains at least ``shots`` documents with each label.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(targets))
    ends = np.cumsum([int(_LEARNT * len(order)), int(_VALID * len(order))])
    learnt, valid, held = np.split(order, ends)
    if shots is not None:
        sample = draw_shots(targets, learnt, shots, generator)
        learnt, valid = sample[len(sample) // _HELD_SHARE :], sample[: len(sample) // _HELD_SHARE]
    return Task(seed, shots, learnt, valid, held)


def draw_shots(targets: NDArray[np.bool_], rows: Index, shots: int, generator: np.random.Generator) -> Index:
    """Draw documents at random until every label has ``shots`` documents, or all documents with the label are drawn.

    Labels are processed from the rarest to the most frequent.

    Returns
    -------
    ndarray of int
        Some of ``rows``, in random order.
    """
    drawn = np.zeros(len(targets), dtype=bool)
    for label in np.argsort(targets[rows].sum(axis=0), kind="stable"):
        carriers = generator.permutation(rows[targets[rows, label] & ~drawn[rows]])
        missing = max(shots - int(targets[drawn, label].sum()), 0)
        drawn[carriers[:missing]] = True
    return generator.permutation(np.flatnonzero(drawn))
