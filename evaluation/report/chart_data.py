"""Draw the charts of the report, with legends and tables, from the plot points of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

from mechtag.core.tables import read_table
from mechtag.evaluation.report.svg import PANEL, WIDE, Axis, ChartLine, Frame, Points, draw_chart, legend_of, share_axis
from mechtag.evaluation.results import LearningStep, Results, words_of

Row = Mapping[str, str]

PROTOCOL_NAMES = {"transfer": "as for a new review", "leave_one_out": "with the other papers coded"}

_CHANCE = ChartLine("chance", [(0, 0), (1, 1)], markers=False, reference=True)
# Metrics drawn in the chart of the learning curve; its table has all metrics of `LearningStep`.
_DRAWN = ("across_auc", "within_auc", "macro_average_precision")
_FIGURES = {name: words.full for name, words in LearningStep.words().items()}


@dataclass(frozen=True)
class Charts:
    """Charts of one kind, side by side, with one legend and one table.

    Attributes
    ----------
    legend
        Two texts for each line in the charts: a small drawing of the line (SVG), and the name of the line.
    panels
        Two texts for each chart: its caption, and its drawing (SVG). A single chart has the caption ``""``.
    header
        Column names of the table.
    rows
        Rows of the table.
    missing
        Reason why charts are missing; ``""`` if no chart is missing.
    """

    legend: Sequence[tuple[str, str]] = ()
    panels: Sequence[tuple[str, str]] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    missing: str = ""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV table written by `files.write_csv`; raise `MechtagError` if the file is missing or damaged."""
    table = read_table(path, "the table written by 'mechtag evaluate' next to the metrics")
    return [dict(row.cells) for row in table.rows]


def draw_charts(
    folder: Path, results: Results, names: Mapping[str, str], protocols: Mapping[str, str], frame: Frame = PANEL
) -> dict[str, Charts]:
    """Draw the charts from the files of plot points in a folder.

    The charts are returned, keyed by file name without extension.

    Parameters
    ----------
    names
        Display names of labels, keyed by label key.
    protocols
        Display names of the protocols to draw, keyed by protocol. A protocol, such as ``transfer``, states on which
        papers the evaluated model was trained.
    frame
        Size of each chart. If the size is `svg.WIDE`, the name of each line is written next to the line.
    """

    def points(name: str) -> list[dict[str, str]]:
        path = folder / f"{name}.csv"
        return read_rows(path) if path.exists() else []

    return {
        "roc": _by_label(
            points("roc"),
            ("false_positive_rate", "proportion of papers without it"),
            ("true_positive_rate", "proportion of papers with it"),
            ("roc_auc", "ROC curve", "area under it"),
            results,
            names,
            protocols,
            frame,
        ),
        "precision_recall": _by_label(
            points("precision_recall"),
            ("recall", "recall: proportion of ticks found"),
            ("precision", "precision: proportion right"),
            ("average_precision", "precision by recall", "average precision"),
            results,
            names,
            protocols,
            frame,
        ),
        "reliability": reliability_charts(points("reliability"), protocols, frame),
        "coverage_risk": _pooled(
            points("coverage_risk"),
            ("coverage", "proportion of decisions, most certain first"),
            ("risk", "proportion of them that are wrong"),
            "Proportion of wrong decisions, by proportion of decisions taken",
            protocols,
            frame,
        ),
        "learning_curve": learning_charts(points("learning_curve"), frame),
    }


def chart_files(folder: Path, results: Results) -> dict[str, str]:
    """Return the charts of the report as SVG, keyed by file name without extension."""
    names = {label: words_of(label) for system in results.protocols.values() for label in system.labels}
    protocols = {name: PROTOCOL_NAMES[name] for name in results.protocols}
    return {
        f"{name}_{caption}".replace(" ", "_").rstrip("_"): drawing
        for name, figure in draw_charts(folder, results, names, protocols, WIDE).items()
        for caption, drawing in figure.panels
    }


def reliability_charts(rows: Sequence[Row], protocols: Mapping[str, str], frame: Frame = PANEL) -> Charts:
    """Draw a reliability curve for each evaluation protocol.

    A protocol, such as ``transfer``, states on which papers the evaluated model was trained.

    Parameters
    ----------
    rows
        Points of the curves; see `output_tables.reliability_points`.
    protocols
        Display names of the protocols to draw, keyed by protocol.
    """
    return _pooled(
        rows,
        ("predicted", "predicted probability"),
        ("observed", "proportion ticked by people"),
        "Proportion ticked by people, by predicted probability",
        protocols,
        frame,
        [_CHANCE],
    )


def _by_label(
    rows: Sequence[Row],
    x: tuple[str, str],
    y: tuple[str, str],
    figure: tuple[str, str, str],
    results: Results,
    names: Mapping[str, str],
    protocols: Mapping[str, str],
    frame: Frame,
) -> Charts:
    """Draw one ROC or precision-recall chart per label, with one line per protocol."""
    key, kind, area = figure
    known = [name for name in protocols if any(row["protocol"] == name for row in rows)]
    if not known:
        return Charts(missing="There is no curve: no label has enough papers with it and without it.")
    panels, table, few = [], [], []
    for label, said in names.items():
        lines, values = [], []
        for protocol in known:
            own = results.protocols[protocol].labels.get(label)
            found = _points((row for row in rows if (row["protocol"], row["label"]) == (protocol, label)), x[0], y[0])
            if key == "average_precision":
                # If nothing is found, precision is a convention, not an observation.
                found = [point for point in found if point[0] > 0]
            if not found or own is None or (shown := own.figure(key).value) is None:
                continue
            value = f"{shown:.2f}"
            corners = _corners(found)
            lines.append(ChartLine(protocols[protocol], found, markers=False))
            values.append(f"{protocols[protocol]}: {area} {value}")
            table.append(
                [said, protocols[protocol], value, "; ".join(f"{left:.2f}, {right:.2f}" for left, right in corners)]
            )
        if not lines:
            few.append(said)
            continue
        chance = [_CHANCE if key == "roc_auc" else _level(results.protocols[known[0]].labels[label].prevalence or 0)]
        description = f"{'; '.join(values)}. The points are in the table below the charts."
        title = f"{said}: {kind}"
        chart = draw_chart(
            [*chance, *lines], share_axis(x[1]), share_axis(y[1]), frame, title=title, description=description
        )
        panels.append((said, chart))
    legend = [ChartLine(protocols[name], [(0, 0)], markers=False) for name in known]
    legend.append(_CHANCE)
    return Charts(
        legend=legend_of(legend),
        panels=panels,
        header=["label", "protocol", area, f"corners of the curve ({x[1].split(':')[0]}, {y[1].split(':')[0]})"],
        rows=table,
        missing=f"Too few papers for a curve: {', '.join(few)}." if few else "",
    )


def _level(proportion: float) -> ChartLine:
    return ChartLine("chance", [(0, proportion), (1, proportion)], markers=False, reference=True)


def _pooled(
    rows: Sequence[Row],
    x: tuple[str, str],
    y: tuple[str, str],
    title: str,
    protocols: Mapping[str, str],
    frame: Frame,
    reference: Sequence[ChartLine] = (),
) -> Charts:
    """Draw one chart of all labels together, with one line per protocol."""
    lines = [
        ChartLine(said, found)
        for name, said in protocols.items()
        if (found := _points((row for row in rows if row["protocol"] == name), x[0], y[0]))
    ]
    if not lines:
        return Charts(missing="There is no chart: the tool has no probabilities, or nothing was judged.")
    high = max(0.5, ceil(max(across for line in lines for _, across in line.points) * 10) / 10)
    scale = share_axis(y[1])
    if not reference:
        scale = Axis(y[1], 0, high, [(mark / 10, f"{mark / 10:g}") for mark in range(round(high * 10) + 1)])
    chart = draw_chart([*reference, *lines], share_axis(x[1]), scale, frame, title=title, description=_describe(lines))
    legend = [*lines, *(ChartLine("perfect", line.points, markers=False, reference=True) for line in reference)]
    return Charts(
        legend=legend_of(legend),
        panels=[("", chart)],
        header=["protocol", x[1], y[1], "judgements"],
        rows=[
            [protocols[row["protocol"]], f"{float(row[x[0]]):.2f}", f"{float(row[y[0]]):.2f}", row["judgements"]]
            for row in rows
            if row["protocol"] in protocols
        ],
    )


def learning_charts(rows: Sequence[Row], frame: Frame = PANEL) -> Charts:
    """Draw the learning curve from the rows that `mechtag.evaluation.output_tables.write_learning` writes."""
    if len(rows) < 2:
        return Charts(missing="There is no chart: “mechtag curve” was not run, or had too few papers.")
    lines = []
    for name in _DRAWN:
        known = [row for row in rows if row[name] and row[f"{name}_ci_low"]]
        bars = [(float(row[f"{name}_ci_low"]), float(row[f"{name}_ci_high"])) for row in known]
        if known:
            lines.append(ChartLine(_FIGURES[name], _points(known, "papers", name), bars))
    papers = [int(row["papers"]) for row in rows]
    low = min([0.5, *(bar[0] for line in lines for bar in line.bars)]) // 0.1 / 10
    chart = draw_chart(
        lines,
        Axis("training papers", 0, max(papers) * 1.05, [(number, str(number)) for number in (0, *papers)]),
        Axis("metric, out of fold", low, 1, [(mark / 10, f"{mark / 10:g}") for mark in range(round(low * 10), 11)]),
        frame,
        title="Accuracy by number of coded papers used for training",
        description=_describe(lines),
    )
    cells = [[row["papers"], *(_with_interval(row, name) for name in _FIGURES)] for row in rows]
    return Charts(
        legend=legend_of(lines),
        panels=[("", chart)],
        header=["training papers", *_FIGURES.values()],
        rows=cells,
    )


def _with_interval(row: Row, name: str) -> str:
    if not row[name]:
        return "–"
    low, high = row[f"{name}_ci_low"], row[f"{name}_ci_high"]
    return f"{float(row[name]):.2f}" + (f" ({float(low):.2f} to {float(high):.2f})" if low else "")


def _points(rows: Iterable[Row], x: str, y: str) -> Points:
    return [(float(row[x]), float(row[y])) for row in rows]


def _describe(lines: Iterable[ChartLine]) -> str:
    """Return a text with the points of all lines in a chart, for people who cannot see the chart."""
    listed = (f"{line.name}: {', '.join(f'{y:.2f} at {x:.2f}' for x, y in line.points)}" for line in lines)
    return "; ".join(listed) + "."


def _corners(points: Points) -> Points:
    """Return the two ends of a line, and the points at which the line changes its direction."""
    kept = list(points[:1])
    for (x1, y1), (x2, y2) in pairwise(points[1:]):
        x0, y0 = kept[-1]
        if abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) > 1e-9:
            kept.append((x1, y1))
    return [*kept, *points[1:][-1:]]
