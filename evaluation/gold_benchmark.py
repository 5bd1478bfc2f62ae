"""Evaluate the model, baselines and language models on the gold standard, and describe the gold standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record, normalise_title
from mechtag.core.settings import EvaluateSettings
from mechtag.core.words import counted
from mechtag.evaluation.by_full_text import FullTextSet, full_text_section
from mechtag.evaluation.coded_records import (
    CodedSet,
    coded_agreement,
    coded_section,
    doubted_gold,
    gold_relevance,
    learning_section,
    relevance_section,
)
from mechtag.evaluation.invariance import invariance_section
from mechtag.evaluation.language_models import LanguageModel, language_models_section
from mechtag.evaluation.predictions import System
from mechtag.evaluation.record_sets import sets_section
from mechtag.evaluation.resampling import draw_resamples
from mechtag.evaluation.results import PROTOCOLS, BaselineLabelFigures, Results, words_of
from mechtag.evaluation.sections import coverage_risk, labels_section, pooled_section
from mechtag.pipeline.annotations.gold_table import GoldNotes, GoldStandard

TextBasis = Literal["abstract", "synopsis", "title_only", "none"]


def text_basis(record: Record | None) -> TextBasis:
    """Return which kind of text the record of a paper contains.

    - ``abstract``: the published abstract.
    - ``synopsis``: a synopsis that was supplied in place of the published abstract. If an abstract replaces the
      synopsis, the kind is ``abstract``.
    - ``title_only``: only a title.
    - ``none``: nothing, because the paper has no record.
    """
    if record is None:
        return "none"
    if not record.abstract:
        return "title_only"
    raw = dict(record.raw)
    synopsis = raw.get("synopsis") or record.abstract
    same = normalise_title(str(synopsis)) == normalise_title(record.abstract)
    return "synopsis" if raw.get("text_basis") == "synopsis" and same else "abstract"


def count_coverage(gold: GoldStandard) -> dict[str, int]:
    """Return the number of gold standard papers with each kind of text, keyed by kind; see `text_basis`."""
    found = [text_basis(gold.records.get(key)) for key in gold.matrix.keys]
    names: tuple[TextBasis, ...] = ("abstract", "synopsis", "title_only", "none")
    return {name: found.count(name) for name in names}


def _list(keys: Sequence[str]) -> str:
    return f"{counted(len(keys), 'paper')} ({', '.join(keys)})"


def describe_gold(gold: GoldStandard, labels: Sequence[str]) -> dict[str, Any]:
    """Describe the gold standard and its known faults; no fault is corrected.

    Returns
    -------
    dict
        The fields of `results.GoldStandard`.
    """
    matrix, notes = gold.matrix, gold.notes or GoldNotes(source="")
    codes = {label: matrix.values(label) for label in labels}
    ticks_of = {label: sum(value == 1 for value in values) for label, values in codes.items()}
    faults = []
    for label, printed in notes.printed_counts.items():
        ticked = sum(value == 1 for value in matrix.values(label))
        if ticked != printed:
            faults.append(
                f"{words_of(label)}: the table ticks {counted(ticked, 'paper')}, the text of the publication counts "
                f"{printed}; "
                "the table is used as it is."
            )
    ticks = dict(zip(matrix.keys, zip(*codes.values(), strict=True), strict=True))
    without = [key for key, row in ticks.items() if 0 in row and 1 not in row]
    if without:
        one = len(without) == 1
        faults.append(
            f"{_list(without)} {'has' if one else 'have'} none of the labels; {'it counts' if one else 'they count'} "
            "as 0 for every label that was judged."
        )
    filled = {}
    for column, why in notes.expected_empty.items():
        keys = [key for key, value in zip(matrix.keys, matrix.values(column), strict=True) if value == 1]
        if keys:
            filled[column] = keys
            verb = "is" if len(keys) == 1 else "are"
            faults.append(f"{words_of(column)}: {_list(keys)} {verb} ticked, though {why}.")
    return {
        "source": notes.source,
        "papers": len(matrix.keys),
        "column_sums": {
            label: {"counted": ticks_of[label], "printed": notes.printed_counts.get(label)} for label in labels
        },
        "without_label": without,
        "expected_empty": filled,
        "other_columns": [column for column in matrix.columns if column not in labels],
        "faults": faults,
        "notes": list(notes.notes),
    }


def evaluate(
    label_keys: Sequence[str],
    gold: GoldStandard,
    systems: Mapping[str, Sequence[Prediction]],
    settings: EvaluateSettings,
    generator: np.random.Generator,
    *,
    coded: CodedSet | None = None,
    relevance_key: str = "relevant",
    variations: Mapping[str, Sequence[Prediction]] | None = None,
    full_texts: FullTextSet | None = None,
    llms: Sequence[LanguageModel] = (),
) -> Results:
    """Compute all accuracy metrics on the gold standard and, if available, on the coded records.

    Parameters
    ----------
    label_keys
        Keys of the labels in codebook order, without relevance.
    systems
        Predictions for the gold papers, keyed by the name of the system. The system ``transfer`` is the model, which
        was not trained on the gold standard. The system ``leave_one_out`` consists of models that were each trained on
        all gold papers but one. All other systems are baselines.
    generator
        Random generator for all resamples; the same state yields the same results.
    variations
        Predictions for the coded records, keyed by the variation that was made to the texts.
    full_texts
        Full texts of gold papers, and the predictions based on them.
    llms
        Language models that coded the gold papers.

    Raises
    ------
    MechtagError
        If both ``transfer`` and ``leave_one_out`` are missing; or if the prediction of a label for a record is missing
        or occurs twice.
    """
    if not any(name in systems for name in PROTOCOLS):
        found = ", ".join(systems) or "none"
        raise MechtagError(
            f"the model's predictions for the gold papers are missing: expected predictions named "
            f"{' or '.join(PROTOCOLS)}, found {found}; run 'mechtag tag' on the gold papers"
        )
    record_ids = [record.record_id for record in gold.evaluated]
    truth = gold.truth(label_keys)
    draws = draw_resamples(len(truth), settings.bootstrap, settings.permutations, generator)
    sections: dict[str, Any] = {}
    for name, predictions in systems.items():
        judged = System(name, predictions).judged(record_ids, label_keys, truth)
        sections[name] = pooled_section(judged, draws)
        labels = labels_section(judged, label_keys, draws, settings.min_positives)
        if name not in PROTOCOLS:
            # The other per-label metrics of a naive method are not reported.
            labels = {
                key: {figure: own[figure] for figure in BaselineLabelFigures.model_fields}
                for key, own in labels.items()
            }
        sections[name]["labels"] = labels
        if name in PROTOCOLS:
            sections[name]["coverage_risk"] = coverage_risk(judged)
    made_by = {row.model_id for row in systems.get("transfer", ())}
    if len(made_by) == 1:
        sections["transfer"]["model_id"] = made_by.pop()
    metrics: dict[str, Any] = {
        "coverage": count_coverage(gold),
        **{name: sections[name] for name in PROTOCOLS if name in sections},
        "baselines": {name: section for name, section in sections.items() if name not in PROTOCOLS},
    }
    if llms:
        metrics["llms"] = language_models_section(llms, gold, label_keys, draws, settings.min_positives)
    if coded is not None:
        draws = draw_resamples(len(coded.records), settings.bootstrap, settings.permutations, generator)
        metrics["coded_records"] = coded_section(coded, label_keys, draws, settings.min_positives)
        if coded.learning:
            metrics["learning_curve"] = learning_section(coded, label_keys, draws)
        metrics["relevance"] = relevance_section(coded, relevance_key, draws, settings.min_positives)
        metrics["agreement"] = coded_agreement(coded, label_keys, relevance_key, settings, generator)
        if "transfer" in systems:
            transfer = System("transfer", systems["transfer"])
            if relevance := gold_relevance(gold, transfer, coded, relevance_key):
                metrics["relevance"]["gold"] = relevance
            metrics["agreement"]["gold"] = doubted_gold(gold, transfer, label_keys, settings.min_positives)
        # Drawn last, so that metrics over all records do not depend on the number of sets.
        metrics["coded_records"]["texts"] = coded.texts()
        metrics["coded_records"]["sets"] = sets_section(coded, label_keys, relevance_key, settings, generator)
    metrics["gold_standard"] = describe_gold(gold, label_keys)
    metrics["resampling"] = settings.model_dump(include={"bootstrap", "permutations", "min_positives"})
    if variations:
        metrics["invariance"] = invariance_section(variations, label_keys, relevance_key, settings.bootstrap, generator)
    if full_texts is not None:
        # Drawn last, so that all other metrics are the same without full texts.
        metrics["by_full_text"] = full_text_section(
            gold, systems["transfer"], full_texts, label_keys, relevance_key, settings, generator, coded
        )
    return Results.model_validate(metrics)
