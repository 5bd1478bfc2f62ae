"""Write the tables next to ``metrics.json``: metrics per label, predictions with human codes, and plot points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from mechtag.core.files import write_csv
from mechtag.core.records import Evidence, Prediction
from mechtag.evaluation.gold_benchmark import text_basis
from mechtag.evaluation.metrics import Judged
from mechtag.evaluation.predictions import System
from mechtag.evaluation.results import PROTOCOLS, Confusion, Figure, LabelFigures, LearningStep, Results, words_of
from mechtag.evaluation.sections import risk_by_coverage
from mechtag.pipeline.annotations.gold_table import GoldStandard

# Number of points of a reliability curve; with about 240 judgements, each point is a mean of about 50.
_BINS = 5
_PLOTS = ("roc", "precision_recall", "reliability", "coverage_risk", "learning_curve")


def output_files(folder: Path, gold: str | Path) -> tuple[Path, ...]:
    """Return the paths of the files that `write_outputs` writes to a folder; ``gold`` is the path of the gold table."""
    plots = (folder / f"plots/{name}.csv" for name in _PLOTS)
    return (folder / "per_label.csv", _comparison(folder, gold), *plots)


def full_text_files(folder: Path, gold: str | Path) -> tuple[Path, ...]:
    """Return the paths of the files that `write_full_text_outputs` writes to a folder; ``gold`` is the gold table."""
    plots = (folder / f"full_text/plots/{name}.csv" for name in _PLOTS[:-1])
    return (folder / "full_text/per_label.csv", _comparison(folder / "full_text", gold), *plots)


def _comparison(folder: Path, gold: str | Path) -> Path:
    return folder / f"predictions_vs_{Path(gold).stem}.csv"


def write_outputs(
    folder: str | Path,
    results: Results,
    label_keys: Sequence[str],
    gold: GoldStandard,
    systems: Mapping[str, Sequence[Prediction]],
) -> None:
    """Write the tables and the points of the plots that belong to ``metrics.json``.

    The table ``predictions_vs_<name of the gold table>.csv`` contains the predictions of the system ``transfer``. If
    this system is missing, the table contains the predictions of ``leave_one_out``. The file
    ``plots/learning_curve.csv`` contains the learning curve, which is measured on the coded records.

    Parameters
    ----------
    systems
        Predictions, keyed by the name of the system that made them. Only the systems ``transfer`` and ``leave_one_out``
        are used; see `results.Results.protocols`.
    """
    folder = Path(folder)
    protocols = [System(name, systems[name]) for name in PROTOCOLS if name in systems]
    write_per_label(folder / "per_label.csv", results)
    write_predictions_vs_gold(_comparison(folder, gold.matrix.path), gold, label_keys, protocols[0])
    record_ids, truth = [record.record_id for record in gold.evaluated], gold.truth(label_keys)
    judged = {system.name: system.judged(record_ids, label_keys, truth) for system in protocols}
    write_curves(folder / "plots", judged, label_keys)
    write_learning(folder / "plots/learning_curve.csv", results)


def write_full_text_outputs(
    folder: Path, results: Results, label_keys: Sequence[str], gold: GoldStandard, predictions: Sequence[Prediction]
) -> None:
    """Write tables and plot points for predictions based on full texts to the subfolder ``full_text``.

    The files are the same as those of `write_outputs`, but without a learning curve. If ``results`` has no metrics for
    full texts, nothing is written.

    Parameters
    ----------
    gold
        Gold standard that contains all papers, but only the records of papers that have a full text.
    """
    if results.by_full_text is None:
        return
    folder, system = folder / "full_text", System("full text", predictions)
    write_per_label(folder / "per_label.csv", Results(transfer=results.by_full_text.full_text))
    write_predictions_vs_gold(_comparison(folder, gold.matrix.path), gold, label_keys, system)
    record_ids, truth = [record.record_id for record in gold.evaluated], gold.truth(label_keys)
    write_curves(folder / "plots", {PROTOCOLS[0]: system.judged(record_ids, label_keys, truth)}, label_keys)


def write_per_label(path: str | Path, results: Results) -> None:
    """Write a table of counts and metrics, with one row per label and protocol."""
    header = ["protocol", "label", "papers", "support", "prevalence", *Confusion.model_fields, "referred"]
    for name in LabelFigures.words():
        header += [name, f"{name}_ci_low", f"{name}_ci_high"]
    rows: list[list[Any]] = []
    for protocol, system in results.protocols.items():
        for label, own in system.labels.items():
            row: list[Any] = [protocol, label, own.papers, own.support, own.prevalence]
            row += [*dict(own.confusion).values(), own.referred]
            for name in LabelFigures.words():
                row += _with_interval(own.figure(name))
            rows.append([*row, own.note])
    write_csv(path, [*header, "note"], rows)


def write_predictions_vs_gold(path: str | Path, gold: GoldStandard, label_keys: Sequence[str], system: System) -> None:
    """Write a table with the human code and the system's prediction for every paper and label of the gold standard."""
    header = ["key", "paper", "text", "label", "human", "score", "probability", "threshold", "decision"]
    codes = {label: gold.matrix.values(label) for label in label_keys}
    rows: list[list[Any]] = []
    for position, (key, paper) in enumerate(zip(gold.matrix.keys, gold.matrix.papers, strict=True)):
        record = gold.records.get(key)
        for label in label_keys:
            human = codes[label][position]
            if record is None:
                rows.append([key, paper, words_of(text_basis(None)), label, human, *[None] * 4, "no text", None])
                continue
            row = system.row(record.record_id, label)
            text = "full text" if row.basis == "full-text" else words_of(text_basis(record))
            numbers = [row.score, row.probability, row.threshold, row.decision]
            evidence = " | ".join(map(_quoted, row.evidence))
            rows.append([key, paper, text, label, human, *numbers, _agreement(human, row), evidence])
    write_csv(path, [*header, "agreement", "evidence"], rows, bom=True)


def _quoted(sentence: Evidence) -> str:
    return f"{sentence.text} (p. {sentence.page})" if sentence.page else sentence.text


def _agreement(human: int | None, row: Prediction) -> str:
    if human is None:
        return "not judged"
    if row.decision == "refer":
        return "referred"
    return "yes" if (row.decision == "yes") == (human == 1) else "no"


def write_curves(folder: Path, judged: Mapping[str, Judged], label_keys: Sequence[str]) -> None:
    """Write points of ROC, precision-recall, reliability and coverage-risk curves.

    A system is a source of predictions, for example the model under the protocol ``transfer``. Each system has these
    curves:

    - one ROC curve and one precision-recall curve per label, except for labels that all judged papers have or that no
      judged paper has
    - one reliability curve and one coverage-risk curve over all labels, if the system has probabilities

    Parameters
    ----------
    judged
        Predictions and human codes, keyed by the name of the system, such as ``transfer``.
    """
    roc: list[list[Any]] = []
    precision_recall: list[list[Any]] = []
    reliability: list[list[Any]] = []
    coverage: list[list[Any]] = []
    for protocol, one in judged.items():
        for column, label in enumerate(label_keys):
            seen = ~np.isnan(one.truth[:, column])
            truth, score = one.truth[seen, column], one.score[seen, column]
            if len(np.unique(truth)) < 2:
                continue
            false, true, _ = roc_curve(truth, score, drop_intermediate=False)
            roc += [[protocol, label, *point] for point in zip(false.tolist(), true.tolist(), strict=True)]
            precision, recall, _ = precision_recall_curve(truth, score)
            points = zip(recall.tolist(), precision.tolist(), strict=True)
            precision_recall += [[protocol, label, *point] for point in points]
        reliability += [[protocol, *point] for point in reliability_points(one)]
        coverage += [[protocol, *point] for point in risk_by_coverage(one)]
    write_csv(folder / "roc.csv", ["protocol", "label", "false_positive_rate", "true_positive_rate"], roc)
    write_csv(folder / "precision_recall.csv", ["protocol", "label", "recall", "precision"], precision_recall)
    write_csv(folder / "reliability.csv", ["protocol", "predicted", "observed", "judgements"], reliability)
    write_csv(folder / "coverage_risk.csv", ["protocol", "coverage", "risk", "judgements"], coverage)


def reliability_points(judged: Judged) -> list[tuple[float, float, int]]:
    """Return the points of a reliability curve.

    The judgements are sorted by probability and divided into bins of equal size. Each bin yields one point, which is a
    tuple: the mean probability, the proportion of judgements in which people answered yes, and the number of
    judgements.
    """
    seen = ~np.isnan(judged.truth) & ~np.isnan(judged.probability)
    truth, probability = judged.truth[seen], judged.probability[seen]
    order = np.argsort(probability, kind="stable")
    return [
        (float(probability[part].mean()), float(truth[part].mean()), len(part))
        for part in np.array_split(order, _BINS)
        if len(part)
    ]


def _with_interval(figure: Figure) -> list[float | None]:
    return [figure.value, figure.ci_low, figure.ci_high]


def write_learning(path: Path, results: Results) -> None:
    """Write the learning curve as a CSV table, with one row for each number of training papers."""
    write_csv(path, *learning_rows(list(results.learning_curve.values())))


def learning_rows(steps: Sequence[LearningStep]) -> tuple[list[str], list[list[float | None]]]:
    """Return the column names and the rows of the learning curve, with one row for each number of training papers.

    A row contains the number of papers, followed by each metric and the ends of its interval.
    """
    header = ["papers"]
    for name in LearningStep.words():
        header += [name, f"{name}_ci_low", f"{name}_ci_high"]
    rows = [
        [step.papers, *(part for name in LearningStep.words() for part in _with_interval(step.figure(name)))]
        for step in steps
    ]
    return header, rows
