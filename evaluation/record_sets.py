"""Compute metrics separately for each set of coded records.

The coded records in one file are a set. All records that 'mechtag retrain' added are one more set. Sets differ in kind
of text and in difficulty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mechtag.core.arrays import Array, Mask
from mechtag.core.settings import EvaluateSettings
from mechtag.evaluation.agreement import ratio
from mechtag.evaluation.coded_records import CodedSet, by_sentence, first_coding, ranking_figures, ticks
from mechtag.evaluation.coders import cells_of, pooled_pair
from mechtag.evaluation.metrics import UNDEFINED, Judged, Resamples, pooled_figures, ranking
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import Draws, Estimate, bootstrap, draw_resamples, estimates, of_papers
from mechtag.evaluation.sections import evidence_section, rounded, values
from mechtag.pipeline.annotations.coded_records import CodedRecord, Codes

_NO_FIGURE = Estimate(None, None, None, None, 0)
_RANKED = ("across_auc", "within_auc", "kappa")
_DECIDED = ("yes_right", "yes_found", "kept")
_OVER_ALL = ("macro_average_precision", "across_auc", "within_auc")
_UNKNOWN = "it is not recorded which records are hard"
# The kind of record of which each relevance metric needs a minimum number.
_WORDS = {
    "roc_auc": "irrelevant records",
    "roc_auc_hard": "hard irrelevant records",
    "roc_auc_easy": "easy irrelevant records",
    "kept": "relevant records",
    "lost": "relevant records",
    "yes_right": "records called relevant",
    "hard_yes": "hard irrelevant records",
    "easy_yes": "easy irrelevant records",
}


def sets_section(
    coded: CodedSet,
    labels: Sequence[str],
    relevance_key: str,
    settings: EvaluateSettings,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Compute the metrics of each set of coded records, in the order in which the sets first occur.

    Returns
    -------
    dict
        The fields of `results.RecordSet` for each set, keyed by the name of the set.
    """
    again = [(first_coding(coded.records, codes), codes) for codes in coded.second]
    section = {}
    for name in dict.fromkeys(record.set_name for record in coded.records):
        own = replace(coded, records=[record for record in coded.records if record.set_name == name])
        pairs = [(first, codes) for first, codes in again if first.set_name == name]
        draws = draw_resamples(len(own.records), settings.bootstrap, 0, generator)
        title, texts = coded.described(name)
        hard = [record.hard for record in own.records if not record.relevant]
        section[name] = {
            "title": title,
            "texts": texts,
            "records": len(own.records),
            "relevant": sum(record.relevant for record in own.records),
            # If it is not recorded which records are hard, their number is unknown, not 0.
            "hard": None if all(known is None for known in hard) else sum(known is True for known in hard),
            "relevance": _relevance(own, relevance_key, draws, settings.min_positives),
            "mechanisms": _mechanisms(own, labels, settings, generator),
            **_over_all(own, labels, draws, settings.min_positives),
        }
        if pairs:
            drawn = draw_resamples(len(pairs), settings.bootstrap, 0, generator)
            section[name]["second_coder"] = _second_coder(pairs, labels, drawn, settings.min_positives)
    return section


def _relevance(coded: CodedSet, relevance_key: str, draws: Draws, least: int) -> dict[str, Any]:
    """Compute the metrics of relevance on a set of coded records."""
    system = System("coded records", coded.documents)
    rows = [system.row(record_id, relevance_key) for record_id in coded.record_ids]
    score = np.array([row.score for row in rows])
    relevant = np.array([record.relevant for record in coded.records])
    # Hard records are irrelevant, but easily mistaken for relevant records.
    hard = np.array([record.hard is True for record in coded.records]) & ~relevant
    easy = np.array([record.hard is False for record in coded.records]) & ~relevant
    yes, no = (np.array([row.decision == decision for row in rows]) for decision in ("yes", "no"))
    among = {"roc_auc": ~relevant, "roc_auc_hard": hard, "roc_auc_easy": easy}
    shares = {
        "kept": (~no, relevant),
        "lost": (no, relevant),
        "yes_right": (relevant, yes),
        "hard_yes": (yes, hard),
        "easy_yes": (yes, easy),
    }

    def figures(weights: Array) -> dict[str, Array]:
        ranked = {name: ranking(score, weights * relevant, weights * others)[0] for name, others in among.items()}
        return ranked | {
            name: ratio((weights * (counted & whole)).sum(axis=1), (weights * whole).sum(axis=1))
            for name, (counted, whole) in shares.items()
        }

    found = {name: columns[0] for name, columns in bootstrap(figures, draws).items()}
    reasons = {name: _few(others, _WORDS[name], least) for name, others in among.items()}
    reasons = {name: _few(relevant, "relevant records", least) or why for name, why in reasons.items()}
    for name, (_, whole) in shares.items():
        found[name] = of_papers(found[name], float(whole.sum()))
        reasons[name] = _few(whole, _WORDS[name], least)
    if not (hard | easy).any():
        unknown = dict.fromkeys(("roc_auc_hard", "roc_auc_easy", "hard_yes", "easy_yes"), _UNKNOWN)
        reasons |= unknown
    refer = ~yes & ~no
    decisions = {
        kind: {said: int((mask & own).sum()) for said, mask in (("yes", yes), ("refer", refer), ("no", no))}
        for kind, own in (("relevant", relevant), ("irrelevant", ~relevant), ("hard", hard))
    }
    return {**_laid_out(found, reasons), "decisions": decisions}


def _few(rows: Mask, what: str, least: int) -> str | None:
    """Return why a metric is omitted; ``None`` if ``rows`` selects at least ``least`` records."""
    count = int(rows.sum())
    return f"too few: {count} {what}; the metric needs {least}" if count < least else None


def _mechanisms(
    coded: CodedSet, labels: Sequence[str], settings: EvaluateSettings, generator: np.random.Generator
) -> dict[str, Any]:
    """Compute the metrics of the labels over the relevant papers of a set."""
    # Only relevant papers have coded labels.
    own = replace(coded, records=[record for record in coded.records if record.relevant])
    papers = len(own.records)
    names = (*_RANKED, *_DECIDED)
    if papers < settings.min_positives:
        why = f"too few: {papers} relevant records; the metric needs {settings.min_positives}"
        return {"papers": papers, **_laid_out(dict.fromkeys(names, _NO_FIGURE), dict.fromkeys(names, why))}
    judged = System("coded records", own.documents).judged(own.record_ids, labels, own.truth(labels))
    draws = draw_resamples(papers, settings.bootstrap, 0, generator)
    found = {name: estimate[0] for name, estimate in estimates(_mechanism_figures, judged, draws).items()}
    return {"papers": papers, **_laid_out({name: found[name] for name in names}, {})}


def _mechanism_figures(judged: Judged, samples: Resamples) -> dict[str, Array]:
    carried = samples.positive
    ticked = carried.sum(axis=(1, 2))
    yes = judged.decided & ~judged.referred
    return {
        **pooled_figures(judged, samples),
        "yes_found": ratio((carried * yes).sum(axis=(1, 2)), ticked),
        "kept": ratio((carried * (yes | judged.referred)).sum(axis=(1, 2)), ticked),
    }


def _over_all(coded: CodedSet, labels: Sequence[str], draws: Draws, least: int) -> dict[str, Any]:
    """Compute the metrics over all labels for the papers, the sentences and the evidence of a set."""
    judged = System("coded records", coded.documents).judged(coded.record_ids, labels, coded.truth(labels))
    pooled = estimates(pooled_figures, judged, draws)
    documents = _laid_out({name: pooled[name][0] for name in _OVER_ALL}, {})
    section: dict[str, Any] = {"documents": {"prevalence": _prevalence(judged.truth), **documents}}
    places, codes = by_sentence(coded.records, labels)
    if not places:
        return section
    sentences = System("coded sentences", coded.sentences).judged(
        [f"{coded.records[row].record.record_id}#{number}" for row, number in places],
        labels,
        codes,
    )
    owner = [row for row, _ in places]
    found = estimates(ranking_figures, sentences, Draws(draws.weights[:, owner], draws.orders[:0], draws.papers))
    ranked = {name: found[name][0] for name in ("macro_average_precision", "across_auc")}
    section["sentences"] = {
        "sentences": len(places),
        "prevalence": _prevalence(sentences.truth),
        **_laid_out(ranked, {}),
    }
    evidence = evidence_section(sentences.truth, sentences.score, owner, draws)
    count = evidence["papers_and_labels"]
    if count < least:
        why = f"too few: {count} papers and labels; the metric needs {least}"
        names = ("precision_at_1", "average_precision", "chance")
        evidence = {
            "papers_and_labels": count,
            **_laid_out(dict.fromkeys(names, _NO_FIGURE), dict.fromkeys(names, why)),
        }
    section["evidence"] = evidence
    return section


def _prevalence(truth: Array) -> float | None:
    """Return the proportion of judged papers or sentences that have a label, averaged over the labels."""
    judged = ~np.isnan(truth)
    carried = ratio(np.nansum(truth, axis=0), judged.sum(axis=0).astype(float))
    known = carried[~np.isnan(carried)]
    return rounded(float(known.mean())) if len(known) else None


def _second_coder(
    pairs: Sequence[tuple[CodedRecord, Codes]], labels: Sequence[str], draws: Draws, least: int
) -> dict[str, Any]:
    """Compute the agreement of two coders on relevance, on the labels of papers, and on the labels of sentences."""
    one = np.array([[float(first.relevant)] for first, _ in pairs])
    two = np.array([[float(codes.relevant)] for _, codes in pairs])
    papers = np.array([[first.code(label) for label in labels] for first, _ in pairs], dtype=float)
    again = ticks([codes.labels for _, codes in pairs], labels)
    section = {
        "records": len(pairs),
        "relevance": pooled_pair(cells_of(one, two).sum(axis=2), draws, least),
        "papers": pooled_pair(cells_of(papers, again).sum(axis=2), draws, least),
    }
    cells = np.zeros((4, len(pairs)))
    for row, (first, codes) in enumerate(pairs):
        if first.sentence_labels and codes.sentence_labels:
            both = np.array(first.sentence_codes(labels)), ticks(codes.sentence_labels or (), labels)
            cells[:, row] = cells_of(*both).sum(axis=(1, 2))
    if cells.any():
        section["sentences"] = pooled_pair(cells, draws, least)
    return section


def _laid_out(figures: Mapping[str, Estimate], reasons: Mapping[str, str | None]) -> dict[str, Any]:
    """Convert estimates to the format of the metrics file.

    Each metric without a value has a reason in the result. ``reasons`` contains the reasons for leaving metrics out,
    keyed by metric.
    """
    shown = {name: _NO_FIGURE if reasons.get(name) else found for name, found in figures.items()}
    undefined = {
        name: reasons.get(name) or UNDEFINED.get(name, "there is nothing to count")
        for name, found in shown.items()
        if found.value is None
    }
    dropped = {name: found.dropped for name, found in shown.items() if found.dropped}
    return {
        **values(shown),
        **({"undefined": undefined} if undefined else {}),
        **({"dropped_resamples": dropped} if dropped else {}),
    }
