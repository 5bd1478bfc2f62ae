"""Evaluate predictions that are based on full texts instead of abstracts.

The metrics cover the gold papers that have a full text. They are compared with the metrics of naive methods, and with
those of predictions that are based on the abstracts of the same papers. The metrics of the best available text cover
all gold papers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json
from mechtag.core.full_text import FullText, FullTextTagging
from mechtag.core.parquet import FullTextTable
from mechtag.core.records import Prediction, Record, decisive, normalise_title
from mechtag.core.settings import EvaluateSettings
from mechtag.evaluation.coded_records import CodedSet, doubted_gold, gold_relevance
from mechtag.evaluation.metrics import Judged, pooled_figures
from mechtag.evaluation.model_comparison import compute_differences
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import draw_resamples, exchange_p
from mechtag.evaluation.results import LOWER_IS_BETTER, BaselineLabelFigures
from mechtag.evaluation.sections import coverage_risk, labels_section, pooled_section, rounded
from mechtag.pipeline.annotations.gold_table import GoldStandard

# Sections that are not counted in the length of a text or as occurrences of the query.
_NOT_COUNTED = frozenset(("references", "back", "table", "caption"))
WINDOWS, TEXT_LENGTH = "windows", "text_length"
# Metrics that measure how often decisions need review or, without such decisions, equal other metrics.
_OF_REVIEW = frozenset(("referred", "yes_right", "no_right"))


class Counts(NamedTuple):
    """Counts that describe a full text; each naive method scores papers by one of these counts.

    Attributes
    ----------
    words
        Number of words.
    windows
        Number of windows (runs of sentences) in which the full text was scored.
    query_words
        Number of occurrences of the query (a word or phrase) per 1,000 words.
    """

    words: int
    windows: int
    query_words: float


@dataclass(frozen=True)
class FullTextSet:
    """The full texts of papers, and the predictions that are based on them.

    Attributes
    ----------
    predictions
        Predictions based on full texts.
    texts
        Full text of each record in ``predictions``, keyed by record id.
    tagging
        How each of these full texts was tagged, keyed by record id.
    query
        Word or phrase that a naive method counts to score a paper; ``""`` to omit this method.
    """

    predictions: Sequence[Prediction]
    texts: Mapping[str, FullText]
    tagging: Mapping[str, FullTextTagging]
    query: str

    def counts(self, record_id: str) -> Counts:
        """Return the counts that describe the full text of a record."""
        text = self.texts[record_id]
        counted = (text.text[one.start : one.end] for one in text.sections if one.kind not in _NOT_COUNTED)
        words = normalise_title(" ".join(counted)).split()
        query = normalise_title(self.query).split()
        found = sum(words[place : place + len(query)] == query for place in range(len(words))) if query else 0
        return Counts(len(words), self.tagging[record_id].windows, 1000 * found / max(1, len(words)))


def read_full_text_set(
    predictions: Path, rows: Sequence[Prediction], table: Path, gold: GoldStandard, query: str
) -> FullTextSet:
    """Read the full texts of gold papers for the evaluation of predictions based on full texts.

    Parameters
    ----------
    predictions
        File of predictions. The file ``summary.json`` in the same folder must state the number of windows of each full
        text.
    rows
        Predictions in this file that are based on full texts.
    table
        Table of the full texts.
    query
        Word or phrase that a naive method counts to score a paper; ``""`` to omit this method.

    Raises
    ------
    MechtagError
        If no paper of the gold standard was tagged from its full text; if a full text or its number of windows is
        missing; or if a file is invalid.
    """
    evaluated = {record.record_id for record in gold.evaluated}
    own = [row for row in rows if row.record_id in evaluated]
    if not own:
        raise MechtagError(
            f"{predictions}: no paper of the gold standard was tagged from its full text. Tag the papers again with "
            "'mechtag tag --full-texts', or evaluate without full texts",
            options="omit --full-texts",
        )
    ids = {row.record_id for row in own}
    with FullTextTable(table, table) as opened:
        texts = {record_id: text for part in opened.read(ids) for record_id, text in part.items()}
    if missing := sorted(ids - texts.keys()):
        raise MechtagError(
            f"{table}: the full text of record {missing[0]} is missing; pass the table of full texts with which the "
            f"predictions in {predictions} were made"
        )
    summary = predictions.with_name("summary.json")
    try:
        tagging = TypeAdapter(dict[str, FullTextTagging]).validate_python(read_json(summary).get("full_texts", {}))
    except ValidationError:
        tagging = {}
    if missing := sorted(ids - tagging.keys()):
        raise MechtagError(
            f"{summary}: the number of windows (scored parts of the full text) is missing for record {missing[0]}; tag "
            "the papers again with this version of mechtag"
        )
    return FullTextSet(own, texts, tagging, query)


def naive_methods(found: FullTextSet, label_keys: Sequence[str]) -> dict[str, list[Prediction]]:
    """Return the predictions of naive methods for each paper with a full text, keyed by the name of the method.

    The methods score a paper by the number of words, by the number of windows, or by the frequency of the query in the
    full text; see `Counts`. All labels of a paper have the same score and the same decision. The decision is ``yes`` if
    the score is at least the median score of the papers; otherwise, it is ``no``.
    """
    counts = {record_id: found.counts(record_id) for record_id in found.texts}
    scores = {
        TEXT_LENGTH: {record_id: float(one.words) for record_id, one in counts.items()},
        WINDOWS: {record_id: float(one.windows) for record_id, one in counts.items()},
    }
    if found.query:
        name = "_".join([*re.findall(r"\w+", found.query.lower()), "per_1000_words"])
        scores[name] = {record_id: one.query_words for record_id, one in counts.items()}
    return {
        name: [
            Prediction(
                record_id=record_id,
                label=label,
                score=score,
                decision="yes" if score >= median(by_record.values()) else "no",
                model_id=name,
            )
            for record_id, score in by_record.items()
            for label in label_keys
        ]
        for name, by_record in scores.items()
    }


def full_text_section(
    gold: GoldStandard,
    abstracts: Sequence[Prediction],
    found: FullTextSet,
    label_keys: Sequence[str],
    relevance_key: str,
    settings: EvaluateSettings,
    generator: np.random.Generator,
    coded: CodedSet | None = None,
) -> dict[str, Any]:
    """Compute a section of the metrics file: metrics of predictions that are based on full texts.

    The section is described in `results.ByFullText`.

    Parameters
    ----------
    abstracts
        Predictions based on abstracts, for all papers of the gold standard.
    found
        The full texts, and the predictions based on them.
    coded
        Coded records of the project. Each gold paper is ranked by relevance among the irrelevant coded records. If
        ``coded`` is ``None``, this ranking is omitted.
    """
    own = papers_with(gold, found)
    full = System("full text", found.predictions)
    judged, section = _measured(full, own, label_keys, settings, generator)
    naive = {
        name: _measured(System(name, rows), own, label_keys, settings, generator, naive=True)[1]
        for name, rows in naive_methods(found, label_keys).items()
    }
    best = System("best available text", _best_available(gold, abstracts, found))
    result = {
        "coverage": _coverage(gold, found),
        "full_text": section | {"coverage_risk": coverage_risk(judged)},
        "naive": naive,
        "not_above_windows": list(_not_above(section["pooled"], naive[WINDOWS]["pooled"])),
        "labels_not_above_windows": [
            label
            for label, figures in section["labels"].items()
            if list(_not_above({"roc_auc": figures["roc_auc"]}, naive[WINDOWS]["labels"][label]))
        ],
        "paired": _paired(own, System("abstract", abstracts), full, label_keys, settings, generator),
        "best_available": _measured(best, gold, label_keys, settings, generator)[1],
        "doubted": doubted_gold(own, full, label_keys, settings.min_positives),
    }
    if coded is not None and (relevance := gold_relevance(own, full, coded, relevance_key)):
        result["relevance"] = relevance
    return result


def papers_with(gold: GoldStandard, found: FullTextSet) -> GoldStandard:
    """Return a copy of the gold standard that contains only the records of papers with a full text."""
    return replace(gold, records={key: own for key, own in gold.records.items() if own.record_id in found.texts})


def _measured(
    system: System,
    gold: GoldStandard,
    label_keys: Sequence[str],
    settings: EvaluateSettings,
    generator: np.random.Generator,
    *,
    naive: bool = False,
) -> tuple[Judged, dict[str, Any]]:
    """Evaluate a system on gold papers.

    Return two values: the predictions of the system together with the human codes, and the metrics of the system.
    """
    truth = gold.truth(label_keys)
    judged = system.judged([record.record_id for record in gold.evaluated], label_keys, truth)
    draws = draw_resamples(len(truth), settings.bootstrap, settings.permutations, generator)
    labels = labels_section(judged, label_keys, draws, settings.min_positives)
    if naive:
        labels = {key: {name: own[name] for name in BaselineLabelFigures.model_fields} for key, own in labels.items()}
    return judged, pooled_section(judged, draws) | {"labels": labels}


def _best_available(gold: GoldStandard, abstracts: Sequence[Prediction], found: FullTextSet) -> Iterator[Prediction]:
    evaluated = {record.record_id for record in gold.evaluated}
    rows = [row for row in (*abstracts, *found.predictions) if row.record_id in evaluated]
    return decisive(sorted(rows, key=lambda row: row.record_id))


def _not_above(figures: Mapping[str, Any], naive: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the metrics in which a system is not better than a naive method."""
    for name, figure in figures.items():
        mine, other = figure["value"], naive[name]["value"]
        if name in _OF_REVIEW or mine is None or other is None:
            continue
        if (mine >= other) if name in LOWER_IS_BETTER else (mine <= other):
            yield name


def _paired(
    gold: GoldStandard,
    abstract: System,
    full: System,
    label_keys: Sequence[str],
    settings: EvaluateSettings,
    generator: np.random.Generator,
) -> dict[str, Any] | None:
    """Compare predictions from full texts with predictions from abstracts, on papers that have both texts."""
    both = replace(gold, records={key: record for key, record in gold.records.items() if record.abstract})
    if not both.records:
        return None
    ids, truth = [record.record_id for record in both.evaluated], both.truth(label_keys)
    draws = draw_resamples(len(ids), settings.bootstrap, 0, generator)
    pair = abstract.judged(ids, label_keys, truth), full.judged(ids, label_keys, truth)
    exchanged: Array = generator.integers(0, 2, size=(settings.permutations, len(ids))).astype(float)
    p_values = exchange_p(pooled_figures, *pair, exchanged)
    differences = {}
    for each in compute_differences(pooled_figures, *pair, draws):
        known = each.difference is not None
        difference = {
            "value": rounded(each.difference),
            "ci_low": rounded(each.ci_low),
            "ci_high": rounded(each.ci_high),
            "p_value": rounded(p_values[each.figure]) if known else None,
        }
        differences[each.figure] = {
            "abstract": rounded(each.champion),
            "full_text": rounded(each.challenger),
            "difference": difference,
        }
    return {"papers": len(ids), "differences": differences}


def _coverage(gold: GoldStandard, found: FullTextSet) -> dict[str, Any]:
    by_paper: dict[str, Any] = {}
    records = [(key, gold.records[key]) for key in gold.matrix.keys if key in gold.records]
    for key, record in records:
        if text := found.texts.get(record.record_id):
            counts = found.counts(record.record_id)
            by_paper[key] = {
                "file": text.source_file,
                "pages": len(text.pages),
                "word_count": counts.words,
                "windows": counts.windows,
                "query_words": rounded(counts.query_words) if found.query else None,
                "has_abstract": bool(record.abstract),
                "warnings": list(text.warnings),
                "notes": list(found.tagging[record.record_id].notes),
            }
    return {
        "papers": len(gold.matrix.keys),
        "full_text": len(by_paper),
        "both": sum(own["has_abstract"] for own in by_paper.values()),
        "by_paper": by_paper,
        "without": [key for key, _ in records if key not in by_paper],
        "years_with": _years([record for key, record in records if key in by_paper]),
        "years_without": _years([record for key, record in records if key not in by_paper]),
    }


def _years(records: Sequence[Record]) -> dict[str, float] | None:
    years = [record.year for record in records if record.year is not None]
    return {"first": min(years), "median": float(median(years)), "last": max(years)} if years else None
