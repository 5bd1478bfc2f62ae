"""Draw the charts of the review page, including the matrix of papers by labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import ceil, floor
from typing import Any

from markupsafe import Markup

from mechtag.core.svg import FONT_FAMILY, Caption, drawing, element, opening, text_width
from mechtag.evaluation.report.chart_data import Charts, learning_charts, reliability_charts
from mechtag.evaluation.report.svg import Axis, ChartLine, Dot, Frame, dot_chart, draw_chart, legend_of, share_axis
from mechtag.review.matrix import STATES, MatrixRow
from mechtag.review.plan import STAGE_NAMES

#: Coefficients in the chart of agreement; each is defined for any number of coders.
_COEFFICIENTS = {"krippendorff_alpha": "Krippendorff's alpha", "gwet_ac1": "Gwet's AC1"}
# Name of the line of records with a final decision; people's names are capitalised.
_SETTLED = "settled"
# The last date extends beyond the plot on the right.
_DATES = Frame(350, 300, 60, 12, 30, 52)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Picture:
    """One or more charts with a common legend, as HTML.

    Attributes
    ----------
    legend
        Small drawing and name of each line or symbol.
    panels
        Caption and drawing of each chart.
    header, rows
        Column names and rows of a table with the values in the charts.
    """

    legend: Sequence[tuple[Markup, str]]
    panels: Sequence[tuple[str, Markup]]
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def _picture(charts: Charts) -> Picture:
    # The drawings contain no scripts and no styles, and escape their texts themselves.
    return Picture(
        legend=[(Markup(sample), name) for sample, name in charts.legend],
        panels=[(caption, Markup(drawn)) for caption, drawn in charts.panels],
        header=charts.header,
        rows=charts.rows,
    )


def draw_agreement(section: Mapping[str, Any], names: Mapping[str, str]) -> Picture | None:
    """Draw the agreement between people for each label; return ``None`` if no label has enough codes.

    Parameters
    ----------
    section
        Result of `mechtag.evaluation.coders.agreement_section`.
    names
        Name of each label, keyed by the key of the label.
    """
    humans = section["all"].get("humans", {"labels": {}})
    by_label = {names[key]: humans["labels"][key] for key in names if key in humans["labels"]}
    rows = [(name, [_dot(found.get(key)) for key in _COEFFICIENTS]) for name, found in by_label.items()]
    rows = [(name, dots) for name, dots in rows if any(dots)]
    if not rows:
        return None
    ends = [end for _, dots in rows for dot in dots if dot for end in (dot.value, dot.low) if end is not None]
    low = min(0, floor(min(ends) * 4) / 4)
    marks = [(mark / 4, f"{mark / 4:g}") for mark in range(round(low * 4), 5)]
    values = [
        f"{name}, {said}: {dot.value:.2f}"
        for name, dots in rows
        for said, dot in zip(_COEFFICIENTS.values(), dots, strict=True)
        if dot
    ]
    chart = dot_chart(
        rows,
        list(_COEFFICIENTS.values()),
        Axis("agreement beyond chance, with 95% interval", low, 1, marks),
        title="Agreement between people, by label",
        description=f"{'; '.join(values)}. The intervals are in the table below the chart.",
    )
    legend = legend_of([ChartLine(name, ()) for name in _COEFFICIENTS.values()])
    return _picture(Charts(legend=legend, panels=[("", chart)]))


def _dot(figure: Mapping[str, float | None] | None) -> Dot | None:
    if figure is None or figure["value"] is None:
        return None
    return Dot(figure["value"], figure["ci_low"], figure["ci_high"])


def draw_reliability(points: Sequence[tuple[float, float, int]]) -> Picture | None:
    """Draw the reliability curve of a model: the proportion of yes codes by predicted probability.

    Returns ``None`` if there are no points.

    Parameters
    ----------
    points
        Result of `mechtag.evaluation.output_tables.reliability_points`.
    """
    if not points:
        return None
    rows = [
        {"protocol": "model", "predicted": str(predicted), "observed": str(observed), "judgements": str(number)}
        for predicted, observed, number in points
    ]
    charts = reliability_charts(rows, {"model": "the model"})
    # There is one line only, so its name is not repeated in each row.
    return _picture(replace(charts, header=charts.header[1:], rows=[row[1:] for row in charts.rows]))


def draw_learning(rows: Sequence[Mapping[str, str]]) -> Picture | None:
    """Draw the learning curve of a model: its accuracy by number of training papers.

    Returns ``None`` if there are too few rows for a curve.

    Parameters
    ----------
    rows
        Entry ``rows`` of the result of `mechtag.review.jobs.curve.run`.
    """
    charts = learning_charts(rows)
    return None if charts.missing else _picture(charts)


def draw_progress(progress: Mapping[str, Mapping[str, Any]]) -> Picture | None:
    """Draw how many records each person had judged by each day, and how many records were settled by then.

    There is one chart per stage (screening, coding, full-text coding). Stages with only one day are left out. If no
    stage is left, the result is ``None``.

    Parameters
    ----------
    progress
        Result of `mechtag.review.jobs.timeline.read_timeline`.
    """
    stages = {stage: found for stage, found in progress.items() if len(found["days"]) > 1}
    if not stages:
        return None
    people = list(dict.fromkeys(name for found in stages.values() for name in found["people"]))
    legend = [ChartLine(name, ()) for name in (*people, _SETTLED)]
    panels, table = [], []
    for stage, found in stages.items():
        days = [date.fromisoformat(day) for day in found["days"]]
        numbers = {**{name: found["people"].get(name, [0] * len(days)) for name in people}, _SETTLED: found["settled"]}
        x = [(day - days[0]).days for day in days]
        lines = [ChartLine(name, list(zip(x, map(float, counts), strict=True))) for name, counts in numbers.items()]
        ends = ", ".join(f"{name} {counts[-1]:,}" for name, counts in numbers.items())
        chart = draw_chart(
            lines,
            _dates(days[0], days[-1]),
            _counts("records", max(max(counts) for counts in numbers.values())),
            _DATES,
            title=f"{STAGE_NAMES[stage]}: records over time",
            description=f"Until {_day(days[-1])}: {ends}. The numbers of each day are in the table below the charts.",
        )
        panels.append((STAGE_NAMES[stage], chart))
        table += [
            [STAGE_NAMES[stage], _day(day), *(f"{counts[row]:,}" for counts in numbers.values())]
            for row, day in enumerate(days)
        ]
    samples = legend_of(legend)
    header = ["stage", "day", *people, _SETTLED]
    return _picture(Charts(legend=samples, panels=panels, header=header, rows=table))


# Width of a cell of the matrix, height of a row, and font size, in pixels.
_CELL, _ROW, _TEXT = 10, 40, 14


def draw_matrix(rows: Sequence[MatrixRow], names: Sequence[str]) -> Picture:
    """Draw the matrix of papers by labels, with one row of cells per label and one column per paper.

    Parameters
    ----------
    rows
        Result of `mechtag.review.matrix.read_matrix`: one item per paper.
    names
        Names of the labels, in the order of `MatrixRow.states`.
    """
    width = max(len(rows) * _CELL, *(round(text_width(name, _TEXT)) for name in names)) + 2
    height = len(names) * _ROW
    counts = (Counter(row.states[column] for row in rows) for column in range(len(names)))
    told = "; ".join(f"{name}: {count['yes']} of {len(rows)} papers" for name, count in zip(names, counts, strict=True))
    caption = Caption("matrix", "Papers by labels", f"{told}. The table below the picture lists all papers.")
    parts = []
    for number, name in enumerate(names):
        parts.append(element("text", {"x": 0, "y": number * _ROW + 15}, name))
        for state in STATES:
            places = (place for place, row in enumerate(rows) if row.states[number] == state)
            parts.append(_cells(state, places, number * _ROW + 20))
    attributes = {
        "class": "chart",
        "viewBox": f"0 0 {width} {height}",
        "width": width,
        "height": height,
        "role": "img",
        "aria-labelledby": caption.ids,
        "font-family": FONT_FAMILY,
        "font-size": _TEXT,
    }
    sample = {"class": "swatch", "viewBox": f"0 0 {_CELL} {_CELL}", "width": 16, "height": 16, "aria-hidden": "true"}
    legend = [(f"{opening('svg', sample)}{_cells(state, [0], 0)}</svg>", name) for state, name in STATES.items()]
    return _picture(Charts(legend=legend, panels=[("", drawing(attributes, caption, parts))]))


# Symbol of each state, as the start and the rest of an SVG path: a filled square for yes; a dash, a cross, a ring or a
# dot for the other states.
_SHAPES = {
    "yes": (1, 0, "h8v10h-8Z", {"class": "series-0 filled", "stroke": "#0072b2", "fill": "#0072b2"}),
    "no": (2, 5, "h6", {"class": "reference", "stroke": "#666666", "fill": "none"}),
    "conflict": (1, 1, "l8,8m0,-8l-8,8", {"class": "series-1", "stroke": "#d55e00", "fill": "none"}),
    "referred": (5, 1, "a4,4 0 1 0 .01,0Z", {"class": "series-4", "stroke": "#cc79a7", "fill": "none"}),
    "open": (5, 4, "v2", {"class": "reference", "stroke": "#666666", "fill": "none"}),
}


def _cells(state: str, places: Iterable[int], y: int) -> str:
    """Return an SVG path for all cells with one state in a row of a matrix, or ``""`` if there are no cells.

    ``places`` are the columns of the cells, counted from 0, and ``y`` is the upper edge of the row in pixels.
    """
    across, down, rest, look = _SHAPES[state]
    path = "".join(f"M{place * _CELL + across},{y + down}{rest}" for place in places)
    return element("path", {"d": path, **look, "stroke-width": 2}) if path else ""


def draw_weeks(weeks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Picture | None:
    """Draw the agreement between people by week, with one line per stage.

    The stages are screening, coding and full-text coding. Stages with only one week are left out. If no stage is left,
    the result is ``None``.

    Parameters
    ----------
    weeks
        Result of `mechtag.review.jobs.drift.weekly_agreement`.
    """
    stages = {stage: found for stage, found in weeks.items() if len(found) > 1}
    if not stages:
        return None
    days = sorted({date.fromisoformat(each["week"]) for found in stages.values() for each in found})
    lines, table = [], []
    for stage, found in stages.items():
        points, bars = [], []
        for each in found:
            day, figure = date.fromisoformat(each["week"]), each["agreement"]
            value, low, high = figure["value"], figure["ci_low"], figure["ci_high"]
            points.append((float((day - days[0]).days), value))
            bars.append((value, value) if low is None else (low, high))
            interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
            table.append([STAGE_NAMES[stage], _day(day), f"{each['records']:,}", f"{value:.2f}{interval}"])
        lines.append(ChartLine(STAGE_NAMES[stage], points, bars))
    chart = draw_chart(
        lines,
        replace(_dates(days[0], days[-1]), name="week that begins on"),
        share_axis("percent agreement"),
        _DATES,
        title="Agreement between people, by week",
        description="The numbers are in the table below the chart.",
    )
    legend = legend_of(lines)
    header = ["stage", "week from", "records", "agreement"]
    return _picture(Charts(legend=legend, panels=[("", chart)], header=header, rows=table))


def _day(day: date) -> str:
    # The names of months that Python writes depend on the system.
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _dates(first: date, last: date) -> Axis:
    span = (last - first).days
    places = sorted({0, span // 2, span} if span > 1 else {0, span})
    marks = [(float(place), _day(first + timedelta(place))[:-5]) for place in places]
    return Axis("day", 0, span, marks)


def _counts(name: str, highest: int) -> Axis:
    """Return an axis that starts at 0 and includes ``highest``, with at most five steps."""
    step = next(
        size * 10**power for power in range(12) for size in (1, 2, 5) if size * 10**power * 5 >= max(highest, 1)
    )
    steps = max(1, ceil(highest / step))
    return Axis(name, 0, step * steps, [(step * mark, f"{step * mark:,}") for mark in range(steps + 1)])
