"""Load papers coded with several codebooks: two sets of the project, and three public sets of abstracts."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.hallmarks import load_hallmarks
from benchmarks.publish import ROOT
from benchmarks.sets import BENCH
from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import Settings, load_settings
from mechtag.models.tagger import Document
from mechtag.pipeline.annotations.coded_records import Exemplar, read_coded, read_exemplars
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import documents_of
from mechtag.training.dataset import CodedDocument, coded_documents

# The first is the only set with exemplars.
LEADERSHIP, GREEN_SPACE = "leadership mechanisms", "green space (invented)"
# Larger sets are reduced to this many papers, drawn at random once.
MOST = 500
_GREEN = ROOT / "data/examples/green-space"
# Names of the corpus for the labels in benchmarks/exposure.yaml.
_EXPOSURE = {
    "exposure biomarker": "exposure_biomarker",
    "effect marker": "effect_marker",
    "oral intake": "oral_intake",
    "inhalation": "inhalation",
    "dermal uptake": "dermal_uptake",
    "workplace": "workplace",
    "polluted area": "polluted_area",
}


@dataclass(frozen=True)
class CodedSet:
    """Papers coded with the same codebook, and example sentences of its labels."""

    name: str
    codebook: Codebook
    documents: Sequence[CodedDocument]
    exemplars: Sequence[Exemplar] = ()

    @property
    def has_sentences(self) -> bool:
        """Return whether sentences of any paper were coded."""
        return any(document.sentence_labels is not None for document in self.documents)

    def without_sentences(self) -> CodedSet:
        """Return a copy of the set without the codes of sentences."""
        return replace(self, documents=[replace(document, sentence_labels=None) for document in self.documents])


def load_sets(names: Collection[str] = ()) -> list[CodedSet]:
    """Read the coded papers of the named sets or, by default, of all sets.

    Raises
    ------
    MechtagError
        If a public set is not in the folder of benchmark data.
    """
    loaders: dict[str, Callable[[Settings], tuple[Codebook, Sequence[CodedDocument]]]] = {
        LEADERSHIP: _shipped,
        GREEN_SPACE: _green_space,
        "hallmarks of cancer": _hallmarks,
        "chemical exposure": _exposure,
        "development goals": _goals,
    }
    settings = load_settings()
    sets = []
    for name, load in loaders.items():
        if names and name not in names:
            continue
        codebook, documents = load(settings)
        rows = np.sort(np.random.default_rng(settings.seed).permutation(len(documents))[:MOST])
        exemplars = read_exemplars(settings.train.exemplars, codebook.keys) if name == LEADERSHIP else ()
        sets.append(CodedSet(name, codebook, [documents[row] for row in rows], exemplars))
    return sets


def _shipped(settings: Settings) -> tuple[Codebook, Sequence[CodedDocument]]:
    codebook = load_codebook(settings.codebook)
    records = read_annotations(settings, codebook.keys, codebook.relevance.key)
    return codebook, coded_documents(records, codebook.keys)


def _green_space(_: Settings) -> tuple[Codebook, Sequence[CodedDocument]]:
    codebook = load_codebook(_GREEN / "codebook.yaml")
    return codebook, coded_documents(read_coded(_GREEN / "coded_records.jsonl", codebook.keys), codebook.keys)


def _hallmarks(_: Settings) -> tuple[Codebook, Sequence[CodedDocument]]:
    corpus = load_hallmarks()
    return corpus.codebook, corpus.documents


def _folder(name: str, source: str) -> Path:
    folder = BENCH / "multilabel" / name
    if not folder.is_dir():
        raise MechtagError(f"{folder}: no such folder; put a copy of {source} there (see benchmarks/README.md)")
    return folder


def _exposure(_: Settings) -> tuple[Codebook, Sequence[CodedDocument]]:
    """Read the Chemical Exposure Information corpus (Larsson et al. 2017), in which people labelled sentences."""
    folder = _folder("chemical_exposure", "github.com/sb895/chemical-exposure-information-corpus")
    codebook = load_codebook(ROOT / "benchmarks/exposure.yaml")
    documents = []
    for path in sorted((folder / "labels").glob("*.txt")):
        text = (folder / "text" / path.name).read_text(encoding="utf-8")
        sentences = tuple(line for line in text.split("\n") if line.strip())
        coded = path.read_text(encoding="utf-8").split("<")[1 : 1 + len(sentences)]
        if len(coded) < len(sentences):
            continue
        labels = [_exposure_labels(own, codebook) for own in coded]
        carried = {label for own in labels for label in own}
        if carried:
            codes = {key: int(key in carried) for key in codebook.keys}
            documents.append(CodedDocument(f"pmid:{path.stem}", Document("", sentences), True, codes, tuple(labels)))
    return codebook, documents


def _exposure_labels(text: str, codebook: Codebook) -> tuple[str, ...]:
    """Return the keys of the codebook's labels that the corpus names in a text.

    An example of such a text is ``Biomonitoring--effect marker--gene AND exposure routes--inhalation``.
    """
    levels = [part.split("--") for part in text.split(" AND ")]
    named = {_EXPOSURE.get(level[1].strip()) for level in levels if len(level) > 1}
    return tuple(key for key in codebook.keys if key in named)


def _goals(settings: Settings) -> tuple[Codebook, Sequence[CodedDocument]]:
    """Read the abstracts of the SwissText 2024 shared task, which are labelled with sustainable development goals."""
    folder = _folder("development_goals", "data/ of github.com/ZurichNLP/sdg_swisstext_2024_sharedtask")
    codebook = load_codebook(ROOT / "benchmarks/goals.yaml")
    records, goals = {}, {}
    for name in ("task1_train.jsonl", "testdata_results.jsonl"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            title, abstract = (" ".join(row[field].split()) for field in ("TITLE", "ABSTRACT"))
            records[row["ID"]] = Record(record_id=row["ID"], title=title, abstract=abstract)
            goals[row["ID"]] = {goal for goal in row.get("SDGS") or [row["SDG"]] if goal}
    given = list(records.values())
    pairs = documents_of(given, list(split(given, settings.sentences)))
    documents = [
        CodedDocument(
            record.record_id,
            document,
            bool(goals[record.record_id]),
            {key: int(int(key.removeprefix("goal_")) in goals[record.record_id]) for key in codebook.keys},
        )
        for record, (document, _) in zip(given, pairs, strict=True)
    ]
    return codebook, documents
