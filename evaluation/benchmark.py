"""Put the accuracy figures of all systems together: the content of ``reports/metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation import gold as gold_standards
from evaluation.coded import CodedSet, coded_section, gold_relevance, learning_section, relevance_section
from evaluation.join import System
from evaluation.resampling import draw
from evaluation.second_coder import coded_agreement, doubted_gold
from evaluation.sections import coverage_risk, labels_section, pooled_section
from evaluation.sets import sets_section
from pipeline.errors import MechtagError
from pipeline.gold import GoldStandard
from pipeline.records import Prediction
from pipeline.settings import EvaluateSettings

PROTOCOLS = ("transfer", "leave_one_out")
BASELINE_FIGURES = ("f1", "roc_auc")


def evaluate(
    label_keys: Sequence[str],
    gold: GoldStandard,
    systems: Mapping[str, Sequence[Prediction]],
    settings: EvaluateSettings,
    generator: np.random.Generator,
    *,
    coded: CodedSet | None = None,
    relevance_key: str = "relevant",
) -> dict[str, Any]:
    """Compute all accuracy figures.

    Parameters
    ----------
    label_keys
        Labels of the codebook, without relevance, in its order.
    systems
        Predictions for the gold papers by name. ``transfer`` and ``leave_one_out`` are the
        model under the two protocols; every other name is a baseline.
    generator
        Source of all resamples; the same state gives the same figures.

    Returns
    -------
    dict
        ``coverage``, ``transfer``, ``leave_one_out``, ``baselines``, ``coded_records``,
        ``learning_curve``, ``relevance``, ``agreement``, ``gold_standard``, ``resampling``; what there are no
        predictions for is left out. Numbers are finite or ``None``.

    Raises
    ------
    MechtagError
        Predictions are missing for a protocol, a record or a label, or contradict themselves.
    """
    if not any(name in systems for name in PROTOCOLS):
        found = ", ".join(systems) or "none"
        raise MechtagError(f"no predictions of the model: one of {', '.join(PROTOCOLS)} is needed; found: {found}")
    record_ids = [record.record_id for record in gold.evaluated]
    truth = gold.truth(label_keys)
    draws = draw(len(truth), settings.bootstrap, settings.permutations, generator)
    sections: dict[str, Any] = {}
    for name, predictions in systems.items():
        judged = System(name, predictions).judged(record_ids, label_keys, truth)
        sections[name] = pooled_section(judged, draws)
        labels = labels_section(judged, label_keys, draws, settings.min_positives)
        if name not in PROTOCOLS:
            # The rest of a naive method's figures of each label nobody asks for.
            labels = {key: {figure: own[figure] for figure in BASELINE_FIGURES} for key, own in labels.items()}
        sections[name]["labels"] = labels
        if name in PROTOCOLS:
            sections[name]["coverage_risk"] = coverage_risk(judged)
    made_by = {row.model_id for row in systems.get("transfer", ())}
    if len(made_by) == 1:
        sections["transfer"]["model_id"] = made_by.pop()
    metrics: dict[str, Any] = {
        "coverage": gold_standards.coverage(gold),
        **{name: sections[name] for name in PROTOCOLS if name in sections},
        "baselines": {name: section for name, section in sections.items() if name not in PROTOCOLS},
    }
    if coded is not None:
        draws = draw(len(coded.records), settings.bootstrap, settings.permutations, generator)
        metrics["coded_records"] = coded_section(coded, label_keys, draws, settings.min_positives)
        if coded.learning:
            metrics["learning_curve"] = learning_section(coded, label_keys, draws)
        metrics["relevance"] = relevance_section(coded, relevance_key, draws, settings.min_positives)
        metrics["agreement"] = coded_agreement(coded, label_keys, relevance_key, settings, generator)
        if "transfer" in systems:
            transfer = System("transfer", systems["transfer"])
            metrics["relevance"]["gold"] = gold_relevance(gold, transfer, coded, relevance_key)
            metrics["agreement"]["gold"] = doubted_gold(gold, transfer, label_keys, settings.min_positives)
        # After all else is drawn, so that figures over all records do not depend on how many sets there are.
        metrics["coded_records"]["texts"] = coded.texts()
        metrics["coded_records"]["sets"] = sets_section(coded, label_keys, relevance_key, settings, generator)
    metrics["gold_standard"] = gold_standards.describe(gold, label_keys)
    metrics["resampling"] = settings.model_dump(include={"bootstrap", "permutations", "min_positives"})
    return metrics
