"""Test the dot chart: it draws values and intervals at the right positions, and describes them for screen readers."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

from mechtag.evaluation.report.svg import Axis, Dot, dot_chart

SVG = "{http://www.w3.org/2000/svg}"
AXIS = Axis("agreement", -0.5, 1, [(-0.5, "-0.5"), (0, "0"), (1, "1")])


def draw(*names: str) -> ElementTree.Element:
    rows = [(name, [Dot(0.25, 0, 0.5), None if place else Dot(1)]) for place, name in enumerate(names)]
    return ElementTree.fromstring(dot_chart(rows, ["alpha", "AC1"], AXIS, title="Agreement", description="0.25 < 1"))


def test_values_and_intervals_are_where_the_axis_says() -> None:
    paths = list(draw("Apple").iter(f"{SVG}path"))
    marks = [path.get("transform") or "" for path in paths if path.get("transform")]
    bars = [path.get("d") or "" for path in paths if path.get("stroke-dasharray")]
    # The axis has 368 pixels from -0.5 to 1, to the right of a margin of 16.
    places = [float(re.findall(r"[\d.]+", mark)[0]) for mark in marks]
    assert places == [200.0, 384.0]
    assert [re.findall(r"[\d.]+", bar)[0] for bar in bars] == ["138.7"]
    assert bars[0].endswith("H261.3")


def test_a_missing_value_leaves_a_gap_and_the_rows_do_not_overlap() -> None:
    paths = list(draw("Apple", "Pear").iter(f"{SVG}path"))
    downs = [float(re.findall(r"[\d.]+", path.get("transform") or "")[1]) for path in paths if path.get("transform")]
    assert len(downs) == 3
    assert downs == sorted(downs)
    assert min(two - one for one, two in pairwise(downs)) >= 18


def test_names_are_escaped_and_cut() -> None:
    drawn = draw("<script>alert(1)</script> & " + "very " * 50)
    texts = [element.text or "" for element in drawn.iter(f"{SVG}text")]
    assert not list(drawn.iter(f"{SVG}script"))
    (name,) = [text for text in texts if text.startswith("<script>")]
    assert name.endswith("…")
    assert len(name) < 70


def test_screen_readers_get_a_title_and_the_description() -> None:
    drawn = draw("Apple")
    ids = str(drawn.get("aria-labelledby")).split()
    assert [drawn.find(f"*[@id='{name}']").text for name in ids] == ["Agreement", "0.25 < 1"]  # type: ignore[union-attr]
