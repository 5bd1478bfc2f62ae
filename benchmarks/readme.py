"""Update the accuracy figures in the README.

``python -m benchmarks.readme`` reads ``reports/metrics.json``, which ``make run`` writes, and writes the figures to
``docs/benchmarks/readme.json`` and to the section of ``README.md`` between the markers ``<!-- accuracy -->`` and
``<!-- /accuracy -->``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.publish import ROOT, provenance
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json, write_text

COMMAND = "python -m benchmarks.readme"
START, END = "<!-- accuracy -->\n", "<!-- /accuracy -->\n"
SYSTEMS = {
    "transfer": "**mechtag**",
    "definition_cosine": "cosine with the label's definition",
    "tfidf": "TF-IDF on the same training sentences",
    "leadership_cosine": 'cosine with the word "leadership"',
    "text_length": "text length",
}
RANKED = ("across_auc", "within_auc")
DECIDED = ("macro_f1", "kappa", "referred", "yes_right", "no_right")


def collect(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracy figures for the README, taken from the content of ``reports/metrics.json``."""
    baselines = {name: metrics["baselines"][name]["pooled"] for name in SYSTEMS if name != "transfer"}
    gold = metrics["relevance"]["gold"]
    pooled = metrics["transfer"]["pooled"]
    return {
        "relevance": {name: gold[name] for name in ("included", "papers", "yes", "refer", "no")},
        "systems": {
            name: {figure: own[figure] for figure in RANKED} for name, own in {"transfer": pooled, **baselines}.items()
        },
        "transfer": {name: pooled[name] for name in DECIDED},
        "all_positive": {name: metrics["baselines"]["all_positive"]["pooled"][name] for name in ("macro_f1", "kappa")},
        "sets": [_set(own) for own in metrics["coded_records"]["sets"].values()],
    }


def _set(own: Mapping[str, Any]) -> dict[str, Any]:
    relevance, mechanisms = own["relevance"], own["mechanisms"]
    return {
        "title": own["title"],
        "texts": own["texts"],
        "relevance": {name: relevance[name] for name in ("roc_auc", "lost", "yes_right")},
        "mechanisms": {name: mechanisms[name] for name in (*RANKED, "yes_right", "kept")},
        "precision_at_1": own["evidence"]["precision_at_1"],
    }


def section(figures: Mapping[str, Any], hoc: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown of the README's section on accuracy.

    Parameters
    ----------
    figures
        Content of ``docs/benchmarks/readme.json``.
    hoc
        Results in ``docs/benchmarks/hoc.json``: the benchmark on the Hallmarks of Cancer.
    """
    own, ticked, systems = figures["transfer"], figures["all_positive"], figures["systems"]
    across, within = (systems["transfer"][figure] for figure in RANKED)
    public = [
        row["value"]
        for row in hoc
        if row["dataset"] == "all" and row["system"].startswith("mechtag") and row["metric"] == "example-based F1"
    ]
    return (
        Path(__file__)
        .with_suffix(".md")
        .read_text(encoding="utf-8")
        .format(
            **figures["relevance"],
            systems="\n".join(_system(name, found) for name, found in systems.items()),
            sets="\n".join(map(_row, figures["sets"])),
            across_verdict=_verdict(across),
            within_verdict=_verdict(within),
            definition_verdict=(
                "better than"
                if across["ci_low"] > systems["definition_cosine"]["across_auc"]["value"]
                else "no better than"
            ),
            across_p=_number(across["p_value"]),
            within_p=_number(within["p_value"]),
            referred=_percent(own["referred"]),
            yes_right=_percent(own["yes_right"]),
            no_right=_percent(own["no_right"]),
            f1=_number(own["macro_f1"]["value"]),
            kappa=_number(own["kappa"]["value"]),
            ticked_f1=_number(ticked["macro_f1"]["value"]),
            ticked_kappa=_number(ticked["kappa"]["value"]),
            hoc=" to ".join(sorted({_number(min(public)), _number(max(public))})),
            **{name: figures[name] for name in ("commit", "machine", "command")},
        )
    )


def _verdict(figure: Mapping[str, float]) -> str:
    return "better than chance" if figure["p_value"] < 0.05 else "not clearly better than chance"


def _system(name: str, found: Mapping[str, Mapping[str, float]]) -> str:
    bold = "**" if name == "transfer" else ""
    cells = []
    for figure in found.values():
        low, high = figure["ci_low"], figure["ci_high"]
        interval = f" ({_number(low)} to {_number(high)})" if low != high else ""
        cells.append(f"{bold}{_number(figure['value'])}{bold}{interval}")
    return f"| {SYSTEMS[name]} | {' | '.join(cells)} |"


def _row(found: Mapping[str, Any]) -> str:
    relevance, mechanisms = found["relevance"], found["mechanisms"]
    title = found["title"] if found["texts"] in found["title"] else f"{found['title']} ({found['texts']})"
    cells = (
        *(title, _number(relevance["roc_auc"]["value"]), _percent(relevance["lost"]), _percent(relevance["yes_right"])),
        ", ".join(_number(mechanisms[figure]["value"]) for figure in RANKED),
        *(_percent(mechanisms["yes_right"]), _percent(mechanisms["kept"]), _percent(found["precision_at_1"])),
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:.2f}"


def _percent(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.0%}"


def write(metrics: Path, readme: Path, docs: Path) -> None:
    """Write the accuracy figures to ``readme.json`` in the folder ``docs``, and to the README's section on accuracy.

    Raises
    ------
    MechtagError
        If ``metrics`` or ``hoc.json`` is missing or invalid, or if a marker of the section is missing in the README.
    """
    figures = {
        **provenance(COMMAND, ("torch", "transformers", "scikit-learn")),
        **collect(read_json(metrics)),
    }
    page = readme.read_text(encoding="utf-8")
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise MechtagError(
            f"{readme}: the marker {START.strip()} or {END.strip()} is missing; restore both markers "
            "around the section on accuracy"
        )
    text = section(figures, read_json(docs / "hoc.json")["results"])
    write_json(docs / "readme.json", figures)
    write_text(readme, before + START + text + END + after)


if __name__ == "__main__":
    write(ROOT / "reports/metrics.json", ROOT / "README.md", ROOT / "docs/benchmarks")
