"""Test the PRISMA diagram: every number is right, text stays in its box, and hostile text does no harm."""

from __future__ import annotations

import csv
import re
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json
from mechtag.core.svg import wrap
from mechtag.pipeline.export.prisma.counts import Elsewhere, Identification, read_elsewhere
from mechtag.pipeline.export.prisma.diagram import draw_diagram, write
from mechtag.pipeline.export.prisma.flow import Flow, boxes, join, read_flow, table_rows
from tests.support.command import call
from tests.support.flow import FOUND, WHOLE, flow_of
from tests.support.paths import ROOT

EXAMPLES = ROOT / "docs/examples"
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = {
    "<script>alert('x')</script> & \"quoted\".ris": 3,
    "]]><!--&lt;/text&gt;": 4,
    "a\u202egnp.sir\x00\x1b": 5,
    "قاعدة بيانات 2021": 6,
    "データベース検索結果二〇二一年医学中央雑誌エクスポート.ris": 7,
    "MEDLINE (Ovid MEDLINE(R) and Epub Ahead of Print, In-Process & Other Non-Indexed Citations, Daily)": 8,
    "scopus-export_2021-11-03_final-version-with-a-very-long-name-indeed.csv": 9,
    "W" * 90: 10,
    "e\u0301" * 80: 11,
}


def batch(sources: dict[str, int], without_abstract: int = 0) -> Identification:
    return Identification(
        identified_by_source=sources,
        duplicates_removed=0,
        removed_for_other_reasons=0,
        screened=sum(sources.values()),
        without_abstract=without_abstract,
    )


def cases() -> dict[str, Flow]:
    millions = {
        "screening": {"kept": 43_456_789, "excluded_by_automation": 12_345_678},
        "reports": {"not_retrieved": 23_456_789, "excluded": {"A reason of some length": 4_567_890}},
        "other_methods": {"sources": {"Websites": 15_678_901}},
        "previous": {"studies": 1_234_567, "reports": 2_345_678},
    }
    reasons = {f"Reason number {number}, told at some length": number for number in range(15)}
    found = {
        "one source": flow_of(batch({"search.ris": 30})),
        "twelve sources": flow_of(batch({f"Database number {n} (platform)": 1000 * n for n in range(12)}, 400)),
        "hostile names": flow_of(batch(HOSTILE), title=f"{next(iter(HOSTILE))}\ud800"),
        "zeros": flow_of(batch({"search.ris": 0}), reports={"sought": 0}, included={"studies": 0}),
        "millions": flow_of(batch({"One": 50_000_000, "Two": 23_456_789}, 9_999_999), **millions),
        "many reasons": flow_of(batch({"search.ris": 500}), reports={"excluded": reasons}),
        "nothing known": join(None, Elsewhere()),
        "batch": flow_of(FOUND),
        "whole, updated": flow_of(**WHOLE),
        "whole, new": flow_of(**{key: value for key, value in WHOLE.items() if key != "previous"}),
        "together": join(None, read_elsewhere(EXAMPLES / "sims-2021.yaml")),
    }
    found["together, updated"] = flow_of(
        other_methods={"sources": dict.fromkeys(reasons, 1), "records_excluded": 3},
        reports_together={"excluded": reasons},
        previous={"studies": 3},
    )
    return found


@pytest.fixture(params=[(name, narrow) for name in cases() for narrow in (False, True)], ids=str)
def drawn(request: pytest.FixtureRequest) -> tuple[Flow, ElementTree.Element]:
    name, narrow = request.param
    flow = cases()[name]
    return flow, ElementTree.fromstring(draw_diagram(flow, narrow))


Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def rectangles(svg: ElementTree.Element) -> list[Rectangle]:
    """Return all boxes, without the background, which has no coordinates."""
    found = []
    for rect in svg.iter(f"{SVG}rect"):
        if "x" in rect.attrib:
            x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def holder(found: list[Rectangle], x: float, y: float) -> Rectangle | None:
    return next((box for box in found if box[0] < x < box[2] and box[1] < y < box[3]), None)


def texts(svg: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the texts that are not rotated."""
    return [text for text in svg.iter(f"{SVG}text") if "x" in text.attrib]


def test_every_number_of_the_drawing_is_a_count_and_every_count_is_drawn(
    drawn: tuple[Flow, ElementTree.Element],
) -> None:
    flow, svg = drawn
    shown = [number for text in texts(svg) for number in re.findall(r"\(n\u00a0(?:=\u00a0)?(.*?)\)$", text.text or "")]
    expected = ["not\u00a0known" if line.n is None else f"{line.n:,}" for box in boxes(flow) for line in box.lines]
    assert shown == expected
    description = svg.findtext(f"{SVG}desc") or ""
    for _, _, item, n in table_rows(flow):
        assert f"{item}: {n:,}" in description if isinstance(n, int) else f"{item}: {n}" in description


def test_words_of_the_drawing_are_the_words_of_its_boxes(drawn: tuple[Flow, ElementTree.Element]) -> None:
    flow, svg = drawn
    shown = "".join(text.text or "" for text in texts(svg))
    for box in boxes(flow):
        for line in box.lines:
            assert line.text.replace(" ", "") in shown.replace(" ", "")


def test_nothing_but_plain_shapes_and_text(drawn: tuple[Flow, ElementTree.Element]) -> None:
    _, svg = drawn
    tags = {element.tag.removeprefix(SVG) for element in svg.iter()}
    assert tags == {"svg", "title", "desc", "rect", "text", "polyline", "polygon"}
    names = {name for element in svg.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", ElementTree.tostring(svg, "unicode"))


def test_screen_readers_get_a_title_and_a_description(drawn: tuple[Flow, ElementTree.Element]) -> None:
    _, svg = drawn
    assert svg.attrib["role"] == "img"
    title, description = svg.attrib["aria-labelledby"].split()
    assert [child.attrib.get("id") for child in svg][:2] == [title, description]
    assert (svg.findtext(f"{SVG}title") or "").startswith("PRISMA 2020 flow diagram")


def test_boxes_do_not_overlap_and_lines_do_not_cross_them(drawn: tuple[Flow, ElementTree.Element]) -> None:
    _, svg = drawn
    found = rectangles(svg)
    for one, other in combinations(found, 2):
        apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
        assert apart, (one, other)
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    assert all(0 <= box[0] and 0 <= box[1] and box[2] <= width and box[3] <= height for box in found)
    lines = list(svg.iter(f"{SVG}polyline"))
    assert lines
    for line in lines:
        corners = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for (x0, y0), (x1, y1) in pairwise(corners):
            assert x0 == x1 or y0 == y1
            for step in range(1, 200):
                share = step / 200
                assert holder(found, x0 + (x1 - x0) * share, y0 + (y1 - y0) * share) is None, corners


def test_text_fits_its_box_in_a_wide_font(drawn: tuple[Flow, ElementTree.Element]) -> None:
    """DejaVu Sans is the widest of the fonts in which the diagram may be shown."""
    matplotlib = pytest.importorskip("matplotlib", reason="its copy of DejaVu Sans is needed for measuring")
    image_font = pytest.importorskip("PIL.ImageFont")
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    regular, bold = (image_font.truetype(folder / name, 100) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"))
    _, svg = drawn
    found = rectangles(svg)
    width = float(svg.attrib["width"])
    baselines: dict[Rectangle | None, list[float]] = {}
    for text in texts(svg):
        x, y, size = (float(text.attrib[name]) for name in ("x", "y", "font-size"))
        font = bold if text.attrib.get("font-weight") == "bold" else regular
        length = font.getlength(text.text) * size / 100
        left = x - length / 2 if text.attrib.get("text-anchor") == "middle" else x
        box = holder(found, x, y)
        if box is None:  # the citation below
            assert left + length <= width
            continue
        assert box[0] + 4 <= left, text.text
        assert left + length <= box[2] - 4, text.text
        assert box[1] + 4 <= y - 0.76 * size, text.text
        assert y + 0.24 * size <= box[3] - 4, text.text
        assert all(abs(y - other) >= size for other in baselines.get(box, [])), text.text
        baselines.setdefault(box, []).append(y)
    for text in svg.iter(f"{SVG}text"):
        if "transform" in text.attrib:
            x, y = (float(n) for n in re.findall(r"[\d.]+", text.attrib["transform"])[:2])
            box = holder(found, x, y)
            assert box is not None
            assert bold.getlength(text.text) * 0.14 <= box[3] - box[1]


def test_colours_have_contrast_without_relying_on_the_page(drawn: tuple[Flow, ElementTree.Element]) -> None:
    """Black text has a contrast of at least 15:1 (WCAG 2.1) on every fill, and the diagram has its own background."""
    _, svg = drawn
    background = svg.find(f"{SVG}rect")
    assert background is not None
    assert background.attrib["fill"] == "#ffffff"
    assert (background.attrib["width"], background.attrib["height"]) == (svg.attrib["width"], svg.attrib["height"])
    assert svg.attrib["fill"] == "#000000"
    assert not [text for text in svg.iter(f"{SVG}text") if "fill" in text.attrib]
    for fill in {rect.attrib["fill"] for rect in svg.iter(f"{SVG}rect")}:
        channels = [int(fill[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert (luminance + 0.05) / 0.05 >= 15


def test_narrow_shape_is_legible_on_a_phone() -> None:
    for flow in cases().values():
        width = float(ElementTree.fromstring(draw_diagram(flow, narrow=True)).attrib["width"])
        assert 14 * 360 / width >= 11, "text of 14 units on a screen of 360 pixels"


def test_words_are_broken_only_where_they_must() -> None:
    assert wrap("one two three", 7 * 14, 14) == ["one two", "three"]
    assert wrap("a search-update-of-november.ris", 120, 14) == ["a", "search-update-", "of-november.", "ris"]
    assert wrap("", 100, 14) == [""]
    assert "".join(wrap("e\u0301" * 40, 60, 14)) == "e\u0301" * 40
    assert all(line.startswith("e") for line in wrap("e\u0301" * 40, 60, 14))
    assert wrap("WW", 1, 14) == ["W", "W"]


@pytest.mark.parametrize(("name", "narrow"), [("sims-2021", False), ("sims-2021-narrow", True)])
def test_example_of_the_docs_is_what_the_command_draws(tmp_path: Path, name: str, narrow: bool) -> None:
    words = ["prisma", "--elsewhere", EXAMPLES / "sims-2021.yaml", "-o", tmp_path / f"{name}.svg"]
    status, output, _ = call(*words, *(["--narrow"] if narrow else []))
    assert status == 0
    assert "Reports sought for retrieval: 462" in output
    for file in (f"{name}.svg", f"{name}_counts.csv"):
        assert (tmp_path / file).read_bytes() == (EXAMPLES / file).read_bytes()


def test_command_joins_a_summary_and_counts_from_elsewhere(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"prisma": FOUND.model_dump(mode="json")})
    (tmp_path / "counts.yaml").write_text("databases: {MEDLINE: a.ris}\nreports: {sought: 25}\n", encoding="utf-8")
    words = ["prisma", tmp_path / "summary.json", "--elsewhere", tmp_path / "counts.yaml", "-o", tmp_path / "flow.svg"]
    assert call(*words)[0] == 0
    with (tmp_path / "flow_counts.csv").open(encoding="utf-8-sig", newline="") as file:
        table = {row["item"]: row["n"] for row in csv.DictReader(file)}
    assert table["Records identified from: Databases: MEDLINE"] == "100"
    assert table["Records excluded"] == "100"
    assert table["Studies included in review"] == "not known"


def test_command_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    assert call("prisma", "-o", tmp_path / "flow.svg")[0] == 2
    status, _, message = call("prisma", "--elsewhere", EXAMPLES / "sims-2021.yaml", "-o", tmp_path / "flow.png")
    assert status == 1
    assert "flow.png: the diagram is written as SVG" in message
    (tmp_path / "bad.yaml").write_text("screening: {screened: 5, excluded: 6}\n", encoding="utf-8")
    status, _, message = call("prisma", "--elsewhere", tmp_path / "bad.yaml", "-o", tmp_path / "flow.svg")
    assert status == 1
    assert "bad.yaml: the counts do not add up: screening.screened (5) should be screening.excluded (6)" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]


def test_template_of_the_docs_is_a_file_that_the_command_takes(tmp_path: Path) -> None:
    (template,) = re.findall("```yaml\n(.*?)```", (ROOT / "docs/prisma.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "counts.yaml").write_text(template, encoding="utf-8")
    found = batch({"ovid.ris": 4000, "trials.csv": 12})
    write_json(tmp_path / "summary.json", {"prisma": found.model_dump(mode="json")})
    flow = read_flow(tmp_path / "summary.json", tmp_path / "counts.yaml")
    # 5673 left to screen and 310 removed are 5983, of which 4000 + 12 + 1204 were counted.
    assert flow.counts["databases.PsycINFO"] == 767
    assert flow.counts["included.reports"] == 36


def test_formulas_in_names_are_not_run_by_a_spreadsheet(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match=r"ends in \.svg"):
        write(cases()["batch"], tmp_path / "flow")
    table = write(flow_of(other_methods={"sources": {"=1+1": 3}}), tmp_path / "flow.svg")
    cells = [cell for row in csv.reader(table.read_text(encoding="utf-8-sig").splitlines()) for cell in row]
    assert "Records identified from: =1+1" in cells
    assert not [cell for cell in cells if cell.startswith("=")]
