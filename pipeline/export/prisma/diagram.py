"""Draw a PRISMA 2020 flow diagram as SVG, and write its counts as a table.

There are two layouts. The wide layout has the panels (previous studies, databases and registers, other methods) side
by side, as in the PRISMA template. The narrow layout, for small screens, has the panels below one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_text
from mechtag.core.svg import FONT_FAMILY, Caption, coordinate, drawing, element, text_width, wrap
from mechtag.pipeline.export.prisma.flow import (
    CITATION,
    HEADER,
    STAGES,
    Box,
    Flow,
    Panel,
    boxes,
    plain_text,
    table_rows,
    titles,
)

# Lengths in units of the drawing: pixels at full size.
_FONT, _LINE = 14, 18
_SMALL, _SMALL_LINE = 11, 14
_PAD, _INDENT, _HANG = 10, 12, 8
_BELOW, _BESIDE, _MARGIN, _RAIL, _LANE = 30, 22, 8, 24, 12
_WIDE_BOX, _NARROW_BOX = 220, 178
# Tints that print almost white; every shape has a black outline, so nothing depends on colour.
_WHITE, _HEADING_FILL, _RAIL_FILL = "#ffffff", "#fff3c9", "#dcebf9"
_BOLD = 1.15  # width of bold text relative to normal text
_CENTRED = {"text-anchor": "middle", "font-weight": "bold"}
_SHRINKING = "max-width:100%;height:auto"
#: Attribute that lets a diagram shrink with the page; remove it for a page that forbids inline styles.
RESPONSIVE = f' style="{_SHRINKING}"'

_Point: TypeAlias = tuple[float, float]
_Key: TypeAlias = tuple[Panel, str, bool]  # panel, step (empty for the panel's heading), side box


@dataclass
class _Shape:
    """A rectangle in the diagram."""

    lines: Sequence[tuple[float, str]]  # pairs (indent, text)
    x: float
    width: float
    heading: bool = False
    # Top of the row and top of the rectangle; set when the heights of all rectangles are known.
    row_top: float = 0.0
    y: float = 0.0
    height: float = field(init=False)

    def __post_init__(self) -> None:
        self.height = len(self.lines) * _LINE + 2 * _PAD

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def centre(self) -> _Point:
        return self.x + self.width / 2, self.y + self.height / 2


def _lines(box: Box, width: float) -> Iterator[tuple[float, str]]:
    room = width - 2 * _PAD
    if box.heading:
        yield from ((0, text) for text in wrap(box.heading, room, _FONT))
    for line in box.lines:
        # No-break spaces keep the count on one line.
        count = "(n\u00a0not\u00a0known)" if line.n is None else f"(n\u00a0=\u00a0{line.n:,})"
        indent = line.level * _INDENT
        for number, text in enumerate(wrap(f"{line.text} {count}", room - indent - _HANG, _FONT)):
            yield indent + (_HANG if number else 0), text


class _Layout:
    """Computes the positions of the boxes and arrows in the wide or the narrow layout of the diagram."""

    def __init__(self, flow: Flow, narrow: bool) -> None:
        self.narrow = narrow
        self._flow = flow
        self._boxes = boxes(flow)
        self._box_width = _NARROW_BOX if narrow else _WIDE_BOX
        # In the narrow layout, lines that pass a panel run in lanes to the left of the panel.
        self._lanes = flow.updated + flow.other_methods if narrow else 0
        self._left = _MARGIN + _RAIL + _BESIDE / 2 + self._lanes * _LANE
        self.shapes = {**self._headings(), **self._filled()}
        self.rails: list[tuple[str, float, float]] = []
        self.width = max(shape.x + shape.width for shape in self.shapes.values()) + _MARGIN
        self.bottom = self._place()

    def _column(self, panel: Panel, side: bool) -> float:
        """Return the x coordinate of the left edge of a panel's main boxes, or side boxes if ``side`` is true."""
        column = int(side)
        if not self.narrow and panel != "previous":
            column += self._flow.updated + 2 * (panel == "other")
        return self._left + column * (self._box_width + _BESIDE)

    def _filled(self) -> dict[_Key, _Shape]:
        return {
            (box.panel, box.step, box.side): _Shape(
                list(_lines(box, self._box_width)), self._column(box.panel, box.side), self._box_width
            )
            for box in self._boxes
        }

    def _headings(self) -> dict[_Key, _Shape]:
        shapes: dict[_Key, _Shape] = {}
        for panel, title in titles(self._flow).items():
            two = self.narrow or any(box.panel == panel and box.side for box in self._boxes)
            width = self._box_width + two * (self._box_width + _BESIDE)
            text = [(0.0, line) for line in wrap(title, width - 2 * _PAD, _FONT * _BOLD)]
            shapes[panel, "", False] = _Shape(text, self._column(panel, False), width, heading=True)
        return shapes

    def _place(self) -> float:
        """Set the vertical positions of all boxes and stage bars, and return the y coordinate of the lowest edge."""
        steps, panels = ("", *STAGES), ("previous", "databases", "other", "together", "included")
        rows: dict[tuple[int, int], list[_Shape]] = {}
        for (panel, step, _), shape in self.shapes.items():
            rows.setdefault((panels.index(panel) if self.narrow else 0, steps.index(step)), []).append(shape)
        bottom: float = _MARGIN - _BELOW
        for stage, places in groupby(sorted(rows), key=lambda place: STAGES.get(steps[place[1]], "")):
            top = bottom + _BELOW
            for place in places:
                height = max(shape.height for shape in rows[place])
                for shape in rows[place]:
                    shape.row_top = bottom + _BELOW
                    shape.height = height if shape.heading else shape.height
                    shape.y = shape.row_top + (height - shape.height) / 2
                bottom += _BELOW + height
            if stage:
                bottom = max(bottom, top + text_width(stage, _FONT * _BOLD) + _PAD)
                self.rails.append((stage, top, bottom))
        return bottom

    def arrows(self) -> Iterator[list[_Point]]:
        """Yield each arrow between two boxes as a list of the points where its line starts, turns and ends."""
        main: dict[Panel, list[_Shape]] = {}
        for (panel, step, side), shape in self.shapes.items():
            if side:
                start = self.shapes[panel, step, False]
                yield [(start.x + start.width, start.centre[1]), (shape.x, shape.centre[1])]
            elif step:
                main.setdefault(panel, []).append(shape)
        for chain in main.values():
            yield from (self._straight(start, end) for start, end in pairwise(chain))
        target = (main.get("together") or main["included"])[0]
        if "together" in main:
            yield self._straight(main["together"][-1], main["included"][0])
        if self.narrow and "other" in main:
            yield self._past(main["databases"][-1], target, self._left - _LANE)
            yield self._straight(main["other"][-1], target)
        else:
            yield self._straight(main["databases"][-1], target)
            if "other" in main:
                yield self._across(main["other"][-1], target)
        if "previous" in main:
            previous, total = main["previous"][0], main["included"][-1]
            if self.narrow:
                yield self._past(previous, total, self._left - self._lanes * _LANE)
            else:
                yield self._across(previous, total)

    def _straight(self, start: _Shape, end: _Shape) -> list[_Point]:
        return [(start.centre[0], start.bottom), (end.centre[0], end.y)]

    def _across(self, start: _Shape, end: _Shape) -> list[_Point]:
        """Return the points of a line that leaves ``start`` downwards and turns sideways just above ``end``."""
        x = start.centre[0]
        return [(x, start.bottom), *self._enter(x, end)]

    def _enter(self, x: float, end: _Shape) -> list[_Point]:
        turn = end.row_top - _BELOW / 2
        return [(x, turn), (end.centre[0], turn), (end.centre[0], end.y)]

    def _past(self, start: _Shape, end: _Shape, lane: float) -> list[_Point]:
        """Return the points of a line from ``start`` to ``end``.

        The long vertical part of the line has the x coordinate ``lane``.
        """
        leave = start.bottom + _BELOW / 2
        return [(start.centre[0], start.bottom), (start.centre[0], leave), (lane, leave), *self._enter(lane, end)]


def _text(x: float, y: float, text: str, size: int, more: Mapping[str, str] = MappingProxyType({})) -> str:
    return element("text", {"x": coordinate(x), "y": coordinate(y), "font-size": size, **more}, text)


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    place = {"x": coordinate(x), "y": coordinate(y), "width": coordinate(width), "height": coordinate(height)}
    return element("rect", {**place, "fill": fill, "stroke": "#000000"})


def _draw_shape(shape: _Shape) -> Iterator[str]:
    yield _rectangle(shape.x, shape.y, shape.width, shape.height, _HEADING_FILL if shape.heading else _WHITE)
    top = shape.centre[1] - len(shape.lines) * _LINE / 2
    for number, (indent, text) in enumerate(shape.lines):
        # The baseline of a line is about a third of the font size below the middle of the line.
        y = top + (number + 0.5) * _LINE + 0.35 * _FONT
        if shape.heading:
            yield _text(shape.centre[0], y, text, _FONT, _CENTRED)
        else:
            yield _text(shape.x + _PAD + indent, y, text, _FONT)


def _draw_rail(stage: str, top: float, bottom: float) -> Iterator[str]:
    yield _rectangle(_MARGIN, top, _RAIL, bottom - top, _RAIL_FILL)
    x, y = coordinate(_MARGIN + _RAIL / 2 + 0.35 * _FONT), coordinate((top + bottom) / 2)
    turn = {"transform": f"translate({x} {y}) rotate(-90)"}
    yield element("text", {**turn, "font-size": _FONT, **_CENTRED}, stage)


def _draw_arrow(corners: Sequence[_Point]) -> Iterator[str]:
    (_, y0), (x, y) = corners[-2:]
    yield element("polyline", {"points": _points(corners), "fill": "none", "stroke": "#000000"})
    wings = ((x - 8, y - 4), (x - 8, y + 4)) if y == y0 else ((x - 4, y - 8), (x + 4, y - 8))
    yield element("polygon", {"points": _points(((x, y), *wings)), "fill": "#000000"})


def _points(corners: Sequence[_Point]) -> str:
    return " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in corners)


def draw_diagram(flow: Flow, narrow: bool = False) -> str:
    """Draw a PRISMA flow diagram and return it as SVG.

    Parameters
    ----------
    flow
        Counts; see `flow.join`.
    narrow
        Whether to place panels below one another instead of side by side.

    Returns
    -------
    str
        SVG with selectable text, and with a title and a description for screen readers. It contains no
        scripts, style sheets or external resources. The same counts always yield the same SVG.
    """
    layout = _Layout(flow, narrow)
    width = layout.width
    parts = [part for rail in layout.rails for part in _draw_rail(*rail)]
    parts += [part for corners in layout.arrows() for part in _draw_arrow(corners)]
    parts += [part for shape in layout.shapes.values() for part in _draw_shape(shape)]
    y = layout.bottom + _BELOW / 2
    for line in wrap(CITATION, width - 2 * _MARGIN, _SMALL):
        y += _SMALL_LINE
        parts.append(_text(_MARGIN, y, line, _SMALL))
    height = y + _MARGIN
    title = "PRISMA 2020 flow diagram" + (f": {flow.title}" if flow.title else "")
    description = ". ".join(line.strip() for line in plain_text(flow) if line) + "."
    caption = Caption("prisma", title, description, str(narrow))
    size = {"width": coordinate(width), "height": coordinate(height)}
    attributes = {
        "viewBox": f"0 0 {coordinate(width)} {coordinate(height)}",
        **size,
        "style": _SHRINKING,
        "role": "img",
        "lang": "en",
        "aria-labelledby": caption.ids,
        "font-family": FONT_FAMILY,
        "fill": "#000000",
        "direction": "ltr",
    }
    return drawing(attributes, caption, [element("rect", {**size, "fill": _WHITE}), *parts])


def counts_path(path: Path) -> Path:
    """Return the path of the table of counts that is written with the diagram at ``path``."""
    return path.with_name(f"{path.stem}_counts.csv")


def write(flow: Flow, path: str | Path, narrow: bool = False) -> Path:
    """Write a diagram and the table of its counts, and return the path of the table.

    The table is ``NAME_counts.csv`` in the folder of the diagram.

    Raises
    ------
    MechtagError
        If ``path`` does not end in ``.svg``.
    """
    path = Path(path)
    if path.suffix.lower() != ".svg":
        raise MechtagError(f"{path}: the diagram is written as SVG; choose a file name that ends in .svg")
    table = counts_path(path)
    write_text(path, draw_diagram(flow, narrow))
    write_csv(table, HEADER, table_rows(flow), bom=True)
    return table
