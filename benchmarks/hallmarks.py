"""The Hallmarks of Cancer corpus (Baker et al. 2016): abstracts and their sentences, coded for ten labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.publish import ROOT
from benchmarks.sets import BENCH, read_table
from models.codebook import Codebook, load_codebook
from models.tagger import Document
from training.examples import CodedDocument

CODEBOOK = ROOT / "benchmarks/hallmarks.yaml"
_SEPARATOR = "|"


@dataclass(frozen=True)
class Hallmarks:
    """The abstracts that carry at least one label, as the published comparisons take them.

    Attributes
    ----------
    documents
        With the labels of each sentence. All count as relevant; none has a title.
    targets : ndarray of bool, shape (n_documents, n_labels)
        Labels in the order of the codebook.
    """

    codebook: Codebook
    documents: tuple[CodedDocument, ...]
    targets: NDArray[np.bool_]

    @property
    def texts(self) -> list[str]:
        """The abstracts."""
        return [" ".join(coded.document.sentences) for coded in self.documents]

    def coded(self, rows: Sequence[int] | NDArray[np.int64], *, sentences: bool) -> list[CodedDocument]:
        """Give some documents, with or without the labels of their sentences."""
        chosen = [self.documents[row] for row in rows]
        return chosen if sentences else [replace(coded, sentence_labels=None) for coded in chosen]


def load_hallmarks() -> Hallmarks:
    """Read the corpus from the folder of benchmark data; raises as `benchmarks.sets.read_table`."""
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
