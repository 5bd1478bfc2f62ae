"""Draw SVG charts that are readable without colour, because each line has its own dash pattern, marker and name.

A chart can be saved as a separate file, because its colours are part of the drawing. The style sheet of a page
can change these colours by the CSS classes ``paper``, ``grid``, ``reference`` and ``series-0`` to ``series-5``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil, floor

from mechtag.core.svg import FONT_FAMILY, Caption, drawing, element, opening, wrap

_GAP = 18
_STEP = 0.1
# With six dashes, five markers and six colours, no two of thirty lines look the same.
_DASHES = ("none", "9 4", "2 4", "9 4 2 4", "14 4", "4 2")
_MARKERS = ("M-5,-5H5V5H-5Z", "M0,-6L6,5H-6Z", "M0,-6L6,0L0,6L-6,0Z", "M-5,-5L5,5M-5,5L5,-5", "M0,-6V6M-6,0H6")
# Colours of Okabe and Ito, which colour-blind readers can distinguish.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#56b4e9")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes
    ----------
    low, high
        Range of values.
    marks
        Tick marks, each a tuple of value and text.
    """

    name: str
    low: float
    high: float
    marks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class ChartLine:
    """A line of a chart.

    Attributes
    ----------
    bars
        Interval of each point, as a tuple of lower and upper end. Each interval is drawn as a vertical bar. The list is
        empty if there are no intervals.
    markers
        Whether each point is marked. Curves of many points have no markers.
    reference
        Whether the line is a reference, such as chance. It is then drawn faintly.
    """

    name: str
    points: Points
    bars: Sequence[tuple[float, float]] = ()
    markers: bool = True
    reference: bool = False


@dataclass(frozen=True)
class Frame:
    """Size of a drawing, and width of the margins around its plot, in pixels."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int


#: Frame of a single chart that has the names of its lines next to the lines.
WIDE = Frame(1000, 460, 70, 30, 430, 60)
#: Frame of one of several charts that share a legend; see `legend_of`.
PANEL = Frame(350, 300, 72, 12, 14, 52)


def share_axis(name: str) -> Axis:
    """Return an axis for proportions, from 0 to 1, with the given name."""
    return Axis(name, 0, 1, [(mark / 4, f"{mark / 4:g}") for mark in range(5)])


def line_chart(lines: Mapping[str, Points], *, title: str, description: str, x_name: str, y_name: str) -> str:
    """Draw a line chart as SVG, with x values at equal distances.

    Parameters
    ----------
    lines
        Points of each line, keyed by the name of the line. A point is a tuple (x, y).
    title, description
        Text for screen readers.
    """
    steps = sorted({x for points in lines.values() for x, _ in points})
    values = [y for points in lines.values() for _, y in points]
    low, high = floor(min(values) / _STEP) * _STEP, ceil(max(values) / _STEP) * _STEP
    marks = [low + mark * _STEP for mark in range(round((high - low) / _STEP) + 1)]
    return draw_chart(
        [ChartLine(name, [(steps.index(x) + 0.5, y) for x, y in points]) for name, points in lines.items()],
        Axis(x_name, 0, len(steps), [(place + 0.5, f"{step:g}") for place, step in enumerate(steps)]),
        Axis(y_name, low, high, [(mark, f"{mark:.1f}") for mark in marks]),
        WIDE,
        title=title,
        description=description,
    )


def draw_chart(lines: Sequence[ChartLine], x: Axis, y: Axis, frame: Frame, *, title: str, description: str) -> str:
    """Draw a line chart as SVG, without scripts, style sheets or external resources.

    Parameters
    ----------
    title, description
        Text for screen readers.
    """
    width, height = frame.width - frame.left - frame.right, frame.height - frame.top - frame.bottom

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return (
            frame.left + width * (point[0] - x.low) / (x.high - x.low),
            frame.top + height * (y.high - point[1]) / (y.high - y.low),
        )

    caption = Caption("chart", title, description)
    attributes = _attributes(caption, frame.width, frame.height)
    size = {"width": frame.width, "height": frame.height}
    parts = [element("rect", {"class": "paper", **size, "fill": "#ffffff"})]
    for value, text in y.marks:
        _, down = place((x.low, value))
        parts.append(element("path", {"class": "grid", "d": f"M{frame.left},{down:.1f}h{width}", "stroke": "#cccccc"}))
        parts.append(element("text", {"x": frame.left - 8, "y": f"{down + 5:.1f}", "text-anchor": "end"}, text))
    for value, text in x.marks:
        across, _ = place((value, y.low))
        below = {"x": f"{across:.1f}", "y": frame.top + height + 22}
        parts.append(element("text", {**below, "text-anchor": "middle"}, text))
    middle, turned = f"{frame.left + width / 2:.1f}", f"translate(18 {frame.top + height / 2:.1f}) rotate(-90)"
    parts.append(
        element("text", {"x": middle, "y": frame.height - 10, "text-anchor": "middle"}, x.name)
        + element("text", {"transform": turned, "text-anchor": "middle"}, y.name)
    )
    spots = _apart([place(line.points[-1])[1] for line in lines])
    end = frame.left + width + 16
    for line, style, spot in zip(lines, _styles(lines), spots, strict=True):
        parts += _draw_line(line, style, [place(point) for point in line.points])
        for (across, _), bar in zip(line.points, line.bars, strict=bool(line.bars)):
            (left, bottom), (_, top) = (place((across, value)) for value in bar)
            parts.append(element("path", {"d": f"M{left:.1f},{bottom:.1f}V{top:.1f}", **style.stroke}))
        if frame is WIDE:
            parts += style.sample(line.markers, end, spot)
            parts.append(element("text", {"x": end + 68, "y": f"{spot + 5:.1f}"}, line.name))
    return drawing(attributes, caption, parts)


@dataclass(frozen=True)
class Dot:
    """A value with its interval, drawn as a marker on a horizontal bar."""

    value: float
    low: float | None = None
    high: float | None = None


# Width of a chart of dots and its margins, and heights of its parts, in pixels at full size.
_DOTS_WIDTH, _DOTS_MARGIN, _NAME_HEIGHT, _DOT_HEIGHT, _AXIS_HEIGHT = 400, 16, 24, 18, 52


def dot_chart(
    rows: Sequence[tuple[str, Sequence[Dot | None]]], series: Sequence[str], x: Axis, *, title: str, description: str
) -> str:
    """Draw values with their intervals as SVG.

    Each row shows a name and, below the name, one value per series.

    Parameters
    ----------
    rows
        For each row, a tuple of its name and its values. The values are in the order of ``series``, with ``None`` for a
        missing value.
    series
        Names of the series.
    title, description
        Text for screen readers.
    """
    inner, row_height = _DOTS_WIDTH - 2 * _DOTS_MARGIN, _NAME_HEIGHT + len(series) * _DOT_HEIGHT + 6
    bottom = 6 + len(rows) * row_height
    height = bottom + _AXIS_HEIGHT
    styles = _styles([ChartLine(name, ()) for name in series])

    def across(value: float) -> float:
        return _DOTS_MARGIN + inner * (value - x.low) / (x.high - x.low)

    caption = Caption("dots", title, description)
    attributes = _attributes(caption, _DOTS_WIDTH, height)
    parts = [element("rect", {"class": "paper", "width": _DOTS_WIDTH, "height": height, "fill": "#ffffff"})]
    for value, text in x.marks:
        place = f"{across(value):.1f}"
        parts.append(element("path", {"class": "grid", "d": f"M{place},6V{bottom}", "stroke": "#cccccc"}))
        parts.append(element("text", {"x": place, "y": bottom + 20, "text-anchor": "middle"}, text))
    parts.append(element("text", {"x": _DOTS_WIDTH / 2, "y": height - 8, "text-anchor": "middle"}, x.name))
    for number, (name, dots) in enumerate(rows):
        top = 6 + number * row_height
        first, *rest = wrap(" ".join(name.split()), inner - 14, 14)
        parts.append(element("text", {"x": _DOTS_MARGIN, "y": top + 17}, first + ("…" if rest else "")))
        for place_in_row, (dot, style) in enumerate(zip(dots, styles, strict=True)):
            if dot is None:
                continue
            down = top + _NAME_HEIGHT + place_in_row * _DOT_HEIGHT + _DOT_HEIGHT / 2
            if dot.low is not None and dot.high is not None:
                parts.append(style.line(f"M{across(dot.low):.1f},{down:.1f}H{across(dot.high):.1f}"))
            parts.append(style.mark(across(dot.value), down))
    return drawing(attributes, caption, parts)


def _attributes(caption: Caption, width: float, height: float) -> dict[str, str | float]:
    return {
        "class": "chart",
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-labelledby": caption.ids,
        "font-family": FONT_FAMILY,
        "font-size": 14,
    }


def legend_of(lines: Sequence[ChartLine]) -> list[tuple[str, str]]:
    """Return two texts for each line: a small SVG drawing, which screen readers skip, and the name of the line."""
    attributes = {"class": "swatch", "viewBox": "0 0 64 16", "width": 64, "height": 16, "aria-hidden": "true"}
    return [
        ("".join([opening("svg", attributes), *style.sample(line.markers, 2, 8), "</svg>"]), line.name)
        for line, style in zip(lines, _styles(lines), strict=True)
    ]


@dataclass(frozen=True)
class _Style:
    dash: str
    marker: str
    colour: str
    css: str

    @property
    def stroke(self) -> dict[str, str]:
        return {"class": self.css, "fill": "none", "stroke": self.colour, "stroke-width": "2"}

    def line(self, path: str) -> str:
        return element("path", {"d": path, **self.stroke, "stroke-dasharray": self.dash})

    def mark(self, x: float, y: float) -> str:
        return element("path", {"transform": f"translate({x:.1f} {y:.1f})", "d": self.marker, **self.stroke})

    def sample(self, marker: bool, x: float, y: float) -> list[str]:
        line = self.line(f"M{x},{y:.1f}h60")
        return [self.mark(x + 30, y), line] if marker else [line]


def _styles(lines: Sequence[ChartLine]) -> list[_Style]:
    places = (f"series-{number}" for number in range(len(_COLOURS)))
    own = zip(cycle(_DASHES), cycle(_MARKERS), cycle(zip(_COLOURS, places, strict=True)))
    series = iter(
        [_Style(dash, marker, *colour) for dash, marker, colour in islice(own, len(lines))],
    )
    reference = _Style("1 5", "", "#666666", "reference")
    return [reference if line.reference else next(series) for line in lines]


def _draw_line(line: ChartLine, style: _Style, places: Points) -> Iterator[str]:
    yield style.line("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places))
    if line.markers:
        yield from (style.mark(x, y) for x, y in places)


def _apart(wanted: Sequence[float]) -> list[float]:
    """Return the vertical positions of line names, moved down where names would overlap."""
    placed = list(wanted)
    lowest = float("-inf")
    for row in sorted(range(len(wanted)), key=lambda row: wanted[row]):
        lowest = placed[row] = max(wanted[row], lowest + _GAP)
    return placed
