"""Compute metrics on the coded records of a project, by comparing people's codes with out-of-fold decisions.

The coded records are training data, not a gold standard. Their metrics help to choose between methods, and are never
reported as the accuracy of mechtag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, Prediction
from mechtag.core.settings import EvaluateSettings
from mechtag.core.words import counted
from mechtag.evaluation.coders import (
    Coders,
    agreement_section,
    cells_of,
    coders_of,
    pair_section,
    to_adjudicate,
    with_model,
)
from mechtag.evaluation.metrics import Judged, Resamples, as_it_is, label_figures, macro, pooled_figures
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import Draws, draw_resamples, estimates
from mechtag.evaluation.results import LearningStep
from mechtag.evaluation.sections import evidence_section, labels_section, pooled_section, remarks, rounded, values
from mechtag.pipeline.annotations.coded_records import ADDED, CodedRecord, Codes
from mechtag.pipeline.annotations.gold_table import GoldStandard

_ADDED_TITLE = "added by mechtag retrain"


@dataclass(frozen=True)
class CodedSet:
    """The coded records of a project, and the out-of-fold predictions for these records.

    Attributes
    ----------
    records
        The coded records.
    documents
        Predictions for records, one per record and label, including relevance.
    sentences
        Predictions for sentences. ``record_id`` of a prediction consists of the id of the record, ``#``, and the number
        of the sentence from 0.
    relevance_baselines
        Predictions of relevance by each baseline, keyed by the name of the baseline.
    second
        A second coder's codes for some of the records.
    table
        Codings of each coder, if the records were coded in a table. ``records`` then contains only the codes on which
        all coders agree.
    learning
        Predictions for records by models that were trained on fewer papers, keyed by number of training papers.
    about
        Title and kind of text of each set of records, keyed by the name of the set.
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
        """Return the codes of the records, shape (records, labels): 1 for yes, 0 for no, NaN for not judged."""
        return np.array([[record.code(label) for label in labels] for record in self.records], dtype=float)

    def described(self, name: str) -> tuple[str, str]:
        """Return the title of a set of records, and the kind of its texts."""
        return self.about.get(name, (_ADDED_TITLE if name == ADDED else name, "unknown"))

    def texts(self, record_ids: Collection[str] | None = None) -> dict[str, int]:
        """Return the number of coded records for each kind of text, such as synopses.

        ``record_ids`` restricts the records to count. By default, all coded records are counted.
        """
        chosen = [row for row in self.records if record_ids is None or row.record.record_id in record_ids]
        return dict(Counter(self.described(row.set_name)[1] for row in chosen))

    @property
    def record_ids(self) -> list[str]:
        """Return the ids of the coded records, in the order of ``records``."""
        return [row.record.record_id for row in self.records]


def ticks(carried: Sequence[Sequence[str]], labels: Sequence[str]) -> Array:
    """Return an array of shape (items, labels): 1 if the item has the label, otherwise 0.

    Parameters
    ----------
    carried
        Labels of each item.
    """
    return np.array([[float(label in names) for label in labels] for names in carried]).reshape(-1, len(labels))


def by_sentence(records: Sequence[CodedRecord], labels: Sequence[str]) -> tuple[list[tuple[int, int]], Array]:
    """Return the places of the coded sentences, and the codes of these sentences.

    Returns
    -------
    places
        Two indexes for each coded sentence: index of the record in ``records``, and index of the sentence in the
        record.
    codes : ndarray, shape (n_sentences, n_labels)
        Codes of the sentences in the order of ``places``: 1 for yes, 0 for no, NaN for not judged.
    """
    codes = [record.sentence_codes(labels) for record in records]
    places = [(row, number) for row, own in enumerate(codes) for number in range(len(own))]
    return places, np.array([code for own in codes for code in own]).reshape(-1, len(labels))


def coded_section(coded: CodedSet, labels: Sequence[str], draws: Draws, min_positives: int) -> dict[str, Any]:
    """Compute the metrics of the labels on the coded records, for whole records, for sentences and for evidence."""
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
    places, codes = by_sentence(records, labels)
    if places:
        sentences = System("coded sentences", coded.sentences).judged(
            [f"{records[row].record.record_id}#{number}" for row, number in places],
            labels,
            codes,
        )
        # Sentences of one record are similar, so the bootstrap draws whole records.
        owner = [row for row, _ in places]
        by_record = Draws(draws.weights[:, owner], draws.orders[:0], draws.papers)
        section["sentences"] = _sentences_section(sentences, labels, by_record, min_positives)
        section["evidence"] = evidence_section(sentences.truth, sentences.score, owner, draws)
    return section


def learning_section(coded: CodedSet, labels: Sequence[str], draws: Draws) -> dict[str, Any]:
    """Compute the learning curve: the metrics of `LearningStep` for each number of training papers."""
    section = {}
    for papers, predictions in sorted(coded.learning.items()):
        judged = System(f"learning curve, {papers} papers", predictions).judged(
            coded.record_ids, labels, coded.truth(labels)
        )
        figures = estimates(pooled_figures, judged, draws)
        own = {name: figures[name][0] for name in LearningStep.words()}
        section[f"papers_{papers}"] = {"papers": papers, **values(own), **remarks(own)}
    return section


def ranking_figures(judged: Judged, samples: Resamples) -> dict[str, Array]:
    """Compute how well sentences are ranked, for each label and on average over the labels."""
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
    support = (judged.truth == 1).sum(axis=0)
    # The sentences of a record may be coded for some labels only.
    known = (~np.isnan(judged.truth)).sum(axis=0)
    section: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(labels):
        own = {name: figures[name][column] for name in ("average_precision", "roc_auc")}
        section[label] = {
            "support": int(support[column]),
            "prevalence": rounded(support[column] / known[column]) if known[column] else None,
        }
        if support[column] < min_positives:
            section[label]["note"] = f"too few: {int(support[column])} sentences have the label"
        else:
            section[label] |= {**values(own), **remarks(own)}
    return {"sentences": len(judged.truth), "pooled": values(pooled), **remarks(pooled), "labels": section}


def relevance_section(coded: CodedSet, relevance_key: str, draws: Draws, min_positives: int) -> dict[str, Any]:
    """Compute the out-of-fold metrics of relevance on the coded records, for the model and for each baseline.

    If all records are relevant, some metrics are undefined, such as the ROC AUC. The result then states the reason.
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
    """Count the model's decisions on relevant gold papers, and rank each of these papers among irrelevant records.

    The irrelevant records are coded records. A gold paper is relevant unless the gold table codes it as irrelevant.

    Returns
    -------
    dict
        Empty if no relevant gold paper has a record. Otherwise, it has these keys:

        - ``included``: number of relevant gold papers.
        - ``papers``: number of relevant gold papers that have a record.
        - ``yes``, ``refer``, ``no``: number of relevant gold papers with this decision.
        - ``kept``: sum of ``yes`` and ``refer``.
        - ``irrelevant_records``: number of irrelevant records.
        - ``ranks``: rank of each relevant gold paper, keyed by the key of the paper. The rank is 1 plus the number of
          irrelevant records whose score is at least the score of the paper.
        - ``median_rank``: median of ``ranks``.
    """
    documents = System("coded records", coded.documents)
    irrelevant = np.array(
        [documents.row(row.record.record_id, relevance_key).score for row in coded.records if not row.relevant]
    )
    matrix = gold.matrix
    codes = matrix.values(relevance_key) if relevance_key in matrix.columns else [1] * len(matrix.keys)
    included = [key for key, code in zip(matrix.keys, codes, strict=True) if code != 0]
    rows = {key: transfer.row(gold.records[key].record_id, relevance_key) for key in included if key in gold.records}
    if not rows:
        return {}
    decisions = [row.decision for row in rows.values()]
    ranks = {key: 1 + int((irrelevant >= row.score).sum()) for key, row in rows.items()}
    return {
        "included": len(included),
        "papers": len(rows),
        "kept": decisions.count("yes") + decisions.count("refer"),
        **{decision: decisions.count(decision) for decision in ("yes", "refer", "no")},
        "irrelevant_records": len(irrelevant),
        "median_rank": float(np.median(list(ranks.values()))),
        "ranks": ranks,
    }


def coded_agreement(
    coded: CodedSet,
    labels: Sequence[str],
    relevance_key: str,
    settings: EvaluateSettings,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Compare the coders of the coded records with one another and with the out-of-fold model.

    Returns
    -------
    dict
        Result of `coders.agreement_section` for the records that two or more people coded; for all coded records if
        there are no such records. The dict has these additions:

        - ``pairs`` also contains the agreement on sentences, if two people coded sentences.
        - ``adjudicate`` lists the codes that people should resolve; it covers all coded records.
        - ``texts`` contains the number of compared records, keyed by kind of text.

    Raises
    ------
    MechtagError
        If a record of the second coder does not match exactly one coded record; see `first_coding`.
    """
    people = _people(coded, labels, relevance_key)
    everyone = with_model(people, System("coded records", coded.documents))
    several = everyone.of_several()
    draws = draw_resamples(len(several.records), settings.bootstrap, 0, generator)
    section = agreement_section(several, relevance_key, draws, settings.min_positives)
    by_sentence = [
        (first, codes)
        for first, codes in ((first_coding(coded.records, codes), codes) for codes in coded.second)
        if first.sentence_labels and codes.sentence_labels
    ]
    if by_sentence:
        pair = _sentence_pair(by_sentence, labels, several.records, draws, settings.min_positives)
        section["pairs"].append(pair)
    section["texts"] = coded.texts(set(several.records))
    section["adjudicate"] = to_adjudicate(everyone, settings.min_positives)
    return section


def doubted_gold(gold: GoldStandard, transfer: System, labels: Sequence[str], least: int) -> list[dict[str, Any]]:
    """List the codes of the gold standard that the model confidently contradicts, so that people can check them.

    The model was not trained on the gold standard. Papers without a record are omitted. Labels that people gave to
    fewer than ``least`` papers are also omitted.
    """
    matrix = gold.matrix
    codings = [row for row in matrix.codings(labels, "reviewers", "full-text") if row.key in gold.records]
    ids = {key: record.record_id for key, record in gold.records.items()}
    coders = with_model(coders_of(codings, labels, matrix.path, ids), transfer)
    return to_adjudicate(coders, least)


def _people(coded: CodedSet, labels: Sequence[str], relevance_key: str) -> Coders:
    """Return the codes that people gave to coded records, including the codes of second coders."""
    keys = (relevance_key, *labels)
    if coded.table:
        known = {row.record.record_id for row in coded.records}
        first = [row for row in coded.table if row.record_id in known]
    else:
        first = [row for record in coded.records for row in record.codings(labels, relevance_key)]
    second = [
        Coding(
            record_id=first_coding(coded.records, codes).record.record_id,
            key=codes.key,
            coder=codes.coder,
            label=label,
            value=int(codes.relevant if label == relevance_key else label in codes.labels),
            basis=codes.basis,
            codebook_version=codes.codebook,
        )
        for codes in coded.second
        for label in keys
    ]
    return coders_of([*first, *second], keys, "coded records")


def first_coding(records: Sequence[CodedRecord], second: Codes) -> CodedRecord:
    """Return the coded record that a second coder also coded.

    A coded record matches if it has the same key as ``second``. If the second coder coded sentences, the coded record
    must also have the same number of sentences.

    Raises
    ------
    MechtagError
        If no coded record matches, or if several coded records match.
    """
    same_key = [row for row in records if row.key == second.key]
    sentences = len(second.sentence_labels or ())
    found = [row for row in same_key if sentences in (0, len(row.sentences))]
    if len(found) == 1:
        return found[0]
    place = f"second coder: record with the key '{second.key}'"
    if not same_key:
        raise MechtagError(
            f"second coder: no coded record has the key '{second.key}'; correct this key, or add a coded record with "
            "this key"
        )
    if not found:
        counts = ", ".join(str(len(row.sentences)) for row in same_key)
        raise MechtagError(
            f"{place} has {counted(sentences, 'sentence')}, but the coded record with this key has {counts}; correct "
            "the key, or divide the text of the second coder into the same sentences"
        )
    raise MechtagError(
        f"second coder: {len(found)} coded records have the key '{second.key}', so it is unclear which of them the "
        "second coder coded; give each coded record a different key"
    )


def _sentence_pair(
    codes: Sequence[tuple[CodedRecord, Codes]], labels: Sequence[str], records: Sequence[str], draws: Draws, least: int
) -> dict[str, Any]:
    """Compute the agreement of two coders on the labels of sentences."""
    # The bootstrap draws whole records, because codes of sentences in the same record are not independent.
    cells = np.zeros((4, len(records), len(labels)))
    for first, second in codes:
        one, two = np.array(first.sentence_codes(labels)), ticks(second.sentence_labels or (), labels)
        cells[:, records.index(first.record.record_id)] = cells_of(one, two).sum(axis=1)
    return {
        "a": ", ".join(dict.fromkeys(first.coder for first, _ in codes)),
        "b": ", ".join(dict.fromkeys(second.coder for _, second in codes)),
        "kind": "human-human",
        "unit": "sentences",
        **pair_section(cells, labels, "", draws, least),
    }
