"""The curves that 'mechtag evaluate' wrote as tables, as pictures."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Columns on the axes of each table; those of dvc.yaml.
AXES = {
    "roc": ("false_positive_rate", "true_positive_rate"),
    "precision_recall": ("recall", "precision"),
    "reliability": ("predicted", "observed"),
    "coverage_risk": ("coverage", "risk"),
}


def draw_curves(folder: str | Path) -> Mapping[str, Figure]:
    """Draw the tables of a folder of plots: a panel a protocol, a line a label where there are labels.

    Returns
    -------
    dict
        Figures by the name of their table; a table that is not there is left out.
    """
    from matplotlib.figure import Figure

    figures = {}
    for name, (across, up) in AXES.items():
        path = Path(folder) / f"{name}.csv"
        if not path.is_file():
            continue
        lines: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                lines[row["protocol"]][row.get("label", "")].append((float(row[across]), float(row[up])))
        figure = Figure(figsize=(5.5 * max(len(lines), 1), 5), layout="constrained")
        for number, (protocol, labels) in enumerate(lines.items(), start=1):
            axes = figure.add_subplot(1, len(lines), number)
            axes.set(title=protocol, xlabel=across, ylabel=up, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            for label, points in labels.items():
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
            if name in ("roc", "reliability"):
                axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
            if len(labels) > 1:
                axes.legend(fontsize="small")
        figures[name] = figure
    return figures
