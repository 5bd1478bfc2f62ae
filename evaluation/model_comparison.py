"""Compare two models on the same papers, and decide whether the newer model may replace the model in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mechtag.core.arrays import Array
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json, write_text
from mechtag.core.settings import RetrainSettings
from mechtag.evaluation.metrics import UNDEFINED, Judged, Resamples, as_it_is, label_figures, pooled_figures
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import Draws, Statistic, draw_resamples, interval, resample
from mechtag.evaluation.results import LOWER_IS_BETTER
from mechtag.pipeline.annotations.coded_records import CodedRecord

# Name of the relevance ranking metric, which is compared in addition to the pooled metrics; the metrics of single
# labels call it roc_auc.
RELEVANCE_AUC = "relevance_auc"


@dataclass(frozen=True)
class Difference:
    """Values of a metric for the champion (the model in use) and the challenger (the new model), and their difference.

    Attributes
    ----------
    figure
        Name of the metric.
    champion, challenger
        Value of the metric for the champion, and for the challenger; ``None`` if the metric is undefined.
    difference
        Value of the challenger minus value of the champion; ``None`` if one of the values is ``None``.
    ci_low, ci_high
        95% interval (expanded percentile) of the difference. Both models use the same resamples of papers.
    """

    figure: str
    champion: float | None
    challenger: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class PromotionVerdict:
    """Decision on whether the challenger (the new model) may replace the champion (the model in use), with reasons."""

    promote: bool
    reasons: tuple[str, ...]


def compare_systems(
    champion: System,
    challenger: System,
    coded: Sequence[CodedRecord],
    labels: Sequence[str],
    relevance_key: str,
    settings: RetrainSettings,
    generator: np.random.Generator,
) -> list[Difference]:
    """Compute the difference between two systems in each metric, on papers on which neither system was trained.

    Parameters
    ----------
    champion, challenger
        Predictions for every record of ``coded`` and every label.
    labels
        Labels that both systems predict.

    Returns
    -------
    list of Difference
        Difference in `RELEVANCE_AUC`, followed by the differences in the metrics of `metrics.pooled_figures`.

    Raises
    ------
    MechtagError
        If a prediction is missing, or if the settings name a metric that is unknown or for which lower is better.
    """
    ids = [record.record.record_id for record in coded]
    relevant = np.array([[float(record.relevant)] for record in coded])
    codes = np.array([[record.code(label) for label in labels] for record in coded], dtype=float)
    draws = draw_resamples(len(coded), settings.bootstrap, 0, generator)
    found = []
    for keys, truth, statistic in (([relevance_key], relevant, _relevance), (labels, codes, pooled_figures)):
        pair = champion.judged(ids, keys, truth), challenger.judged(ids, keys, truth)
        found += compute_differences(statistic, *pair, draws)
    names = [each.figure for each in found]
    if unknown := [name for name in settings.margins if name not in names or name in LOWER_IS_BETTER]:
        raise MechtagError(
            f"retrain.margins in params.yaml: {unknown[0]!r} is not a metric whose higher values are "
            f"better; use one of {', '.join(name for name in names if name not in LOWER_IS_BETTER)}"
        )
    return found


def _relevance(judged: Judged, samples: Resamples) -> Mapping[str, Array]:
    return {RELEVANCE_AUC: label_figures(judged, samples)["roc_auc"][:, 0]}


def compute_differences(statistic: Statistic, champion: Judged, challenger: Judged, draws: Draws) -> list[Difference]:
    """Return, for each metric, the difference between two models, with a bootstrap interval.

    The difference is the value of the challenger minus the value of the champion.

    Parameters
    ----------
    statistic
        Function that computes the metrics.
    """
    values = [statistic(judged, as_it_is(judged.truth)) for judged in (champion, challenger)]
    boot = [resample(statistic, judged, draws.weights) for judged in (champion, challenger)]
    found = []
    for name in values[0]:
        first, second = (_number(value[name][0]) for value in values)
        low, high, _ = interval(boot[1][name] - boot[0][name], draws.papers)
        known = first is not None and second is not None
        found.append(
            Difference(
                figure=name,
                champion=first,
                challenger=second,
                difference=second - first if first is not None and second is not None else None,
                ci_low=low if known else None,
                ci_high=high if known else None,
            )
        )
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def decide_promotion(papers: Mapping[str, Sequence[Difference]], settings: RetrainSettings) -> PromotionVerdict:
    """Decide whether the challenger (the new model) may replace the champion (the model in use).

    The models are compared on every set of papers, in every metric of ``settings.margins``. The challenger passes if
    the lower end of the interval of the difference is above the negative margin. It must pass every comparison. If a
    metric is undefined on a set, or in most resamples of the set, the comparison is skipped. If all comparisons are
    skipped, the champion is kept.

    Parameters
    ----------
    papers
        Differences for each set of papers, keyed by the name of the set.
    """
    reasons, passed = [], []
    for name, differences in papers.items():
        by_figure = {each.figure: each for each in differences}
        for figure, margin in settings.margins.items():
            each = by_figure[figure]
            if each.difference is None or each.ci_low is None or each.ci_high is None:
                why = UNDEFINED.get(figure, "all papers or none are relevant")
                reasons.append(
                    f"{name}, {figure}: not compared: in these papers, or in most random samples of them, {why}"
                )
                continue
            passed.append(each.ci_low > -margin)
            reasons.append(
                f"{name}, {figure}: {each.champion:.3f} before, {each.challenger:.3f} after, difference "
                f"{each.difference:+.3f} (95% interval {each.ci_low:+.3f} to {each.ci_high:+.3f}): "
                f"{'not worse' if passed[-1] else 'may be worse'} by more than {margin}"
            )
    return PromotionVerdict(bool(passed) and all(passed), tuple(reasons))


def write_comparison(
    folder: Path,
    heading: Mapping[str, Any],
    papers: Mapping[str, Sequence[Difference]],
    verdict: PromotionVerdict,
) -> None:
    """Write a comparison of two models to ``comparison.json``, and in readable form to ``comparison.md``.

    Parameters
    ----------
    heading
        Description of the comparison, which is written at the beginning of both files.
    papers
        Differences for each set of papers, keyed by the name of the set.
    """
    sets = {name: [asdict(each) for each in differences] for name, differences in papers.items()}
    content = {**heading, "promoted": verdict.promote, "reasons": list(verdict.reasons), "papers": sets}
    write_json(folder / "comparison.json", content)
    lines = ["# Champion and challenger", "", *(f"- {name}: {value}" for name, value in heading.items()), ""]
    lines += [f"**{'Promoted' if verdict.promote else 'Not promoted'}.**", "", *(f"- {row}" for row in verdict.reasons)]
    for name, differences in papers.items():
        lines += ["", f"## {name[:1].upper()}{name[1:]}", ""]
        lines += ["| figure | champion | challenger | difference | 95% interval |", "|---|---|---|---|---|"]
        lines += [_row(each) for each in differences]
    lines += ["", "What the figures mean: docs/metrics.md. What is compared with what: docs/retraining.md.", ""]
    write_text(folder / "comparison.md", "\n".join(lines))


def _row(each: Difference) -> str:
    values = [each.champion, each.challenger]
    cells = ["undefined" if value is None else f"{value:.3f}" for value in values]
    cells.append("" if each.difference is None else f"{each.difference:+.3f}")
    known = each.ci_low is not None and each.ci_high is not None
    cells.append(f"{each.ci_low:+.3f} to {each.ci_high:+.3f}" if known else "")
    return f"| {each.figure} | {' | '.join(cells)} |"
