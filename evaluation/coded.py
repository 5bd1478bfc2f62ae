"""How the model fares out of fold on the project's own coded records, relevance included.

These codes were made by the project from abstracts, so they are training data and no gold
standard; the figures choose between methods and are never the accuracy of the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.agreement import Array
from evaluation.evidence import evidence_section
from evaluation.join import System
from evaluation.metrics import Judged, Resamples, as_it_is, label_figures, macro, pooled_figures
from evaluation.resampling import Draws, estimates
from evaluation.sections import labels_section, pooled_section, remarks, rounded, values
from pipeline.annotation_files import ADDED
from pipeline.annotations import CodedRecord, Codes
from pipeline.gold import GoldStandard
from pipeline.records import Coding, Prediction

_ADDED_TITLE = "added by mechtag retrain"


@dataclass(frozen=True)
class CodedSet:
    """The project's own coded records and the out-of-fold predictions for them.

    Attributes
    ----------
    documents
        One row a record and label, relevance among the labels.
    sentences
        ``record_id`` is that of the record, ``#`` and the number of the sentence from 0.
    relevance_baselines
        By name: rows of the relevance label.
    second
        A further coder's codes of some of the records.
    table
        What each coder said, where the records were coded in a table, of which they have what all agree on.
    learning
        By the number of papers that a model learnt from: rows as in ``documents``.
    about
        By name of a set of records: its title, and what its texts are.
    """

    records: Sequence[CodedRecord]
    documents: Sequence[Prediction]
    sentences: Sequence[Prediction]
    relevance_baselines: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)
    second: Sequence[Codes] = ()
    table: Sequence[Coding] = ()
    learning: Mapping[int, Sequence[Prediction]] = field(default_factory=dict)
    about: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def truth(self, labels: Sequence[str]) -> Array:
        """Codes of the records, shape (records, labels); NaN for not judged."""
        return np.array([[record.code(label) for label in labels] for record in self.records], dtype=float)

    def described(self, name: str) -> tuple[str, str]:
        """Title of a set of records, and what its texts are."""
        return self.about.get(name, (_ADDED_TITLE if name == ADDED else name, "unknown"))

    def texts(self, record_ids: Collection[str] | None = None) -> dict[str, int]:
        """Count records, by default all, by what their texts are."""
        chosen = [row for row in self.records if record_ids is None or row.record.record_id in record_ids]
        return dict(Counter(self.described(row.set_name)[1] for row in chosen))

    @property
    def record_ids(self) -> list[str]:
        """Of the records, in their order."""
        return [row.record.record_id for row in self.records]


def ticks(carried: Sequence[Sequence[str]], labels: Sequence[str]) -> Array:
    """Codes as numbers: shape (items, labels)."""
    return np.array([[float(label in names) for label in labels] for names in carried]).reshape(-1, len(labels))


def by_sentence(records: Sequence[CodedRecord]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Give the number of the record, that of the sentence, and the labels of each sentence that was coded."""
    return [
        (row, number, names)
        for row, record in enumerate(records)
        for number, names in enumerate(record.sentence_labels or ())
    ]


def coded_section(coded: CodedSet, labels: Sequence[str], draws: Draws, min_positives: int) -> dict[str, Any]:
    """Figures over records and over sentences."""
    records = coded.records
    documents = System("coded records", coded.documents).judged(coded.record_ids, labels, coded.truth(labels))
    section = {
        "records": len(records),
        "relevant": sum(row.relevant for row in records),
        "coders": sorted({row.coder for row in records}),
        "bases": sorted({row.basis for row in records}),
        "documents": {
            **pooled_section(documents, draws),
            "labels": labels_section(documents, labels, draws, min_positives),
        },
    }
    coded_sentences = by_sentence(records)
    if coded_sentences:
        sentences = System("coded sentences", coded.sentences).judged(
            [f"{records[row].record.record_id}#{number}" for row, number, _ in coded_sentences],
            labels,
            ticks([names for *_, names in coded_sentences], labels),
        )
        # Sentences of one record resemble one another, so records are drawn, with all their sentences.
        owner = [row for row, *_ in coded_sentences]
        by_record = Draws(draws.weights[:, owner], draws.orders[:0], draws.papers)
        section["sentences"] = _sentences_section(sentences, labels, by_record, min_positives)
        section["evidence"] = evidence_section(sentences.truth, sentences.score, owner, draws)
    return section


LEARNING = ("across_auc", "within_auc", "macro_f1", "macro_average_precision")


def learning_section(coded: CodedSet, labels: Sequence[str], draws: Draws) -> dict[str, Any]:
    """Figures of ``LEARNING`` on the coded records by how many papers the model learnt from, fewest first."""
    section = {}
    for papers, predictions in sorted(coded.learning.items()):
        judged = System(f"learning curve, {papers} papers", predictions).judged(
            coded.record_ids, labels, coded.truth(labels)
        )
        figures = estimates(pooled_figures, judged, draws)
        own = {name: figures[name][0] for name in LEARNING}
        section[f"papers_{papers}"] = {"papers": papers, **values(own), **remarks(own)}
    return section


def ranking_figures(judged: Judged, samples: Resamples) -> dict[str, Array]:
    """Compute how well sentences are ranked: figures of each label, and their means over the labels."""
    whole, figures = label_figures(judged, as_it_is(judged.truth)), label_figures(judged, samples)

    def mean(name: str) -> Array:
        return macro(figures[name], ~np.isnan(whole[name][0]))

    return {
        "macro_average_precision": mean("average_precision"),
        "across_auc": mean("roc_auc"),
        "average_precision": figures["average_precision"],
        "roc_auc": figures["roc_auc"],
    }


def _sentences_section(judged: Judged, labels: Sequence[str], draws: Draws, min_positives: int) -> dict[str, Any]:
    figures = estimates(ranking_figures, judged, draws)
    pooled = {name: figures[name][0] for name in ("macro_average_precision", "across_auc")}
    support = judged.truth.sum(axis=0)
    section: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(labels):
        own = {name: figures[name][column] for name in ("average_precision", "roc_auc")}
        section[label] = {
            "support": int(support[column]),
            "prevalence": rounded(float(judged.truth[:, column].mean())),
        }
        if support[column] < min_positives:
            section[label]["note"] = f"too few: {int(support[column])} sentences carry the label"
        else:
            section[label] |= {**values(own), **remarks(own)}
    return {"sentences": len(judged.truth), "pooled": values(pooled), **remarks(pooled), "labels": section}


def relevance_section(coded: CodedSet, relevance_key: str, draws: Draws, min_positives: int) -> dict[str, Any]:
    """Figures of relevance on the coded records, out of fold, for the model and its baselines.

    Where all records are relevant there is nothing to tell apart: then the figures have no value, and say why.
    """
    truth = np.array([[float(row.relevant)] for row in coded.records])

    def section(name: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
        judged = System(name, predictions).judged(coded.record_ids, [relevance_key], truth)
        figures: dict[str, Any] = labels_section(judged, [relevance_key], draws, min_positives)[relevance_key]
        return figures

    return {
        "coded_records": section("coded records", coded.documents),
        "baselines": {name: section(name, rows) for name, rows in coded.relevance_baselines.items()},
    }


def gold_relevance(gold: GoldStandard, transfer: System, coded: CodedSet, relevance_key: str) -> dict[str, Any]:
    """Tell how many papers of the gold standard, all of them included by people, the model would have kept.

    Returns
    -------
    dict
        Decisions, and the rank each paper would take among the coded records that are not
        relevant: 1 is above them all, a level score counts against the paper. The scores of
        those are out of fold, so they come from models trained on a little less.
    """
    documents = System("coded records", coded.documents)
    irrelevant = np.array(
        [documents.row(row.record.record_id, relevance_key).score for row in coded.records if not row.relevant]
    )
    rows = {key: transfer.row(record.record_id, relevance_key) for key, record in gold.records.items()}
    decisions = [row.decision for row in rows.values()]
    ranks = {key: 1 + int((irrelevant >= rows[key].score).sum()) for key in gold.matrix.keys if key in rows}
    return {
        "included": len(gold.matrix.keys),
        "papers": len(rows),
        "kept": decisions.count("yes") + decisions.count("refer"),
        **{decision: decisions.count(decision) for decision in ("yes", "refer", "no")},
        "irrelevant_records": len(irrelevant),
        "median_rank": float(np.median(list(ranks.values()))),
        "ranks": ranks,
    }
