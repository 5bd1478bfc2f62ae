"""A line chart as SVG that can be read without colour: each line has its own marker, dash, and name beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from math import ceil, floor

# Lengths in units of the drawing: pixels at full size.
_WIDTH, _HEIGHT = 1000, 460
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 30, 430, 60
_GAP = 18
_STEP = 0.1
_FAMILY = "Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif"
# Six, five and six: no two of thirty lines are drawn alike.
_DASHES = ("none", "9 4", "2 4", "9 4 2 4", "14 4", "4 2")
_MARKERS = ("M-5,-5H5V5H-5Z", "M0,-6L6,5H-6Z", "M0,-6L6,0L0,6L-6,0Z", "M-5,-5L5,5M-5,5L5,-5", "M0,-6V6M-6,0H6")
# Okabe and Ito's, which the colour-blind can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#56b4e9")

Points = Sequence[tuple[float, float]]


def line_chart(lines: Mapping[str, Points], *, title: str, description: str, x_name: str, y_name: str) -> str:
    """Draw lines over steps of equal width: the values of x are names of steps, not lengths.

    Parameters
    ----------
    lines
        Points (x, y) of each line by its name.
    title, description
        What those hear who cannot see it.
    """
    steps = sorted({x for points in lines.values() for x, _ in points})
    values = [y for points in lines.values() for _, y in points]
    low, high = floor(min(values) / _STEP) * _STEP, ceil(max(values) / _STEP) * _STEP
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + width * (steps.index(x) + 0.5) / len(steps)

    def down(y: float) -> float:
        return _TOP + height * (high - y) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-labelledby="title description" font-family="{_FAMILY}" font-size="14">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for tick in range(round((high - low) / _STEP) + 1):
        y = low + tick * _STEP
        parts.append(f'<path d="M{_LEFT},{down(y):.1f}h{width}" stroke="#cccccc"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{down(y) + 5:.1f}" text-anchor="end">{y:.1f}</text>')
    parts += [f'<text x="{across(x):.1f}" y="{_TOP + height + 22}" text-anchor="middle">{x:g}</text>' for x in steps]
    parts.append(
        f'<text x="{_LEFT + width / 2:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x_name)}</text>'
        f'<text transform="translate(18 {_TOP + height / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_name)}</text>"
    )
    names = _apart({name: down(points[-1][1]) for name, points in lines.items()})
    styles = zip(cycle(_DASHES), cycle(_MARKERS), cycle(_COLOURS))
    for (name, points), (dash, marker, colour) in zip(lines.items(), styles, strict=False):
        places = [(across(x), down(y)) for x, y in points]
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places)
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<path d="{path}" {stroke} stroke-dasharray="{dash}"/>')
        spot, end = names[name], _LEFT + width + 16
        for x, y in [*places, (end + 30, spot)]:
            parts.append(f'<path transform="translate({x:.1f} {y:.1f})" d="{marker}" {stroke}/>')
        parts.append(f'<path d="M{end},{spot:.1f}h60" {stroke} stroke-dasharray="{dash}"/>')
        parts.append(f'<text x="{end + 68}" y="{spot + 5:.1f}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """Move heights of names down until they do not overlap, in their order."""
    placed: dict[str, float] = {}
    lowest = float("-inf")
    for name, height in sorted(wanted.items(), key=lambda item: item[1]):
        lowest = max(height, lowest + _GAP)
        placed[name] = lowest
    return placed
