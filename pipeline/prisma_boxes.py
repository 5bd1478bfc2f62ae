"""What the boxes of a flow diagram say, in the words of the PRISMA 2020 template; for the drawing and for tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from pipeline.prisma_flow import Flow

Panel = Literal["previous", "databases", "other", "together", "included"]
CITATION = (
    "Boxes as in the PRISMA 2020 statement: Page MJ, McKenzie JE, Bossuyt PM, et al. BMJ 2021;372:n71. "
    "doi:10.1136/bmj.n71"
)
#: The steps of a review in their order, with the stage that each belongs to.
STAGES = {
    "identified": "Identification",
    "screened": "Screening",
    "sought": "Screening",
    "assessed": "Screening",
    "included": "Included",
    "total": "Included",
}


@dataclass(frozen=True)
class Line:
    """A count (``None`` where not known) and what it counts; ``level`` 1 is a part of the line above."""

    text: str
    n: int | None
    level: int = 0


@dataclass(frozen=True)
class Box:
    """A box: where it stands (``side`` boxes hold what leaves the flow), and what it says."""

    panel: Panel
    step: str
    lines: tuple[Line, ...]
    heading: str = ""
    side: bool = False


def titles(flow: Flow) -> dict[Panel, str]:
    """Headings of the panels that have one."""
    new = "new studies" if flow.updated else "studies"
    found: dict[Panel, str] = {"previous": "Previous studies"} if flow.updated else {}
    found["databases"] = f"Identification of {new} via databases and registers"
    if flow.other_methods:
        found["other"] = f"Identification of {new} via other methods"
    return found


def _parts(counts: Mapping[str, int | None]) -> list[Line]:
    return [Line(name, n, 1) for name, n in counts.items()]


def _reports(flow: Flow, panel: Panel, place: str, origins: Sequence[Line] = ()) -> Iterator[Box]:
    counts, reasons = flow.counts, flow.reasons.get(place, {})
    excluded = (Line("Reports excluded", counts[f"{place}.excluded"]), *_parts(reasons))
    yield Box(panel, "sought", (Line("Reports sought for retrieval", counts[f"{place}.sought"]), *origins))
    yield Box(panel, "sought", (Line("Reports not retrieved", counts[f"{place}.not_retrieved"]),), side=True)
    yield Box(panel, "assessed", (Line("Reports assessed for eligibility", counts[f"{place}.assessed"]),))
    yield Box(panel, "assessed", excluded, side=True)


def _databases(flow: Flow) -> Iterator[Box]:
    counts = flow.counts
    identified = [
        line
        for group in ("databases", "registers")
        for line in (Line(group.capitalize(), counts[group]), *_parts(flow.sources(group)))
    ]
    yield Box("databases", "identified", tuple(identified), "Records identified from:")
    removed = (
        ("Duplicate records removed", "duplicates"),
        ("Records marked as ineligible by automation tools", "automation"),
        ("Records removed for other reasons", "other_reasons"),
    )
    lines = tuple(Line(text, counts[f"removed_before_screening.{key}"]) for text, key in removed)
    yield Box("databases", "identified", lines, "Records removed before screening:", side=True)
    screened = [Line("Records screened", counts["screening.screened"])]
    if flow.without_abstract:
        screened.append(Line("without abstract", flow.without_abstract, 1))
    yield Box("databases", "screened", tuple(screened))
    excluded = [Line("Records excluded", counts["screening.excluded"])]
    if counts["screening.excluded_by_automation"]:
        excluded.append(Line("by people", counts["screening.excluded_by_people"], 1))
        excluded.append(Line("by automation tools", counts["screening.excluded_by_automation"], 1))
    yield Box("databases", "screened", tuple(excluded), side=True)


def _other_methods(flow: Flow) -> Iterator[Box]:
    lines = [Line(name, n) for name, n in flow.sources("other_methods.sources").items()]
    yield Box("other", "identified", tuple(lines), "Records identified from:")
    if excluded := flow.counts["other_methods.records_excluded"]:
        yield Box("other", "identified", (Line("Records excluded", excluded),), side=True)


def boxes(flow: Flow) -> list[Box]:
    """Fill the boxes, panel by panel and step by step."""
    counts = flow.counts

    def studies(panel: Panel, step: str, key: str, first: str, second: str) -> Box:
        return Box(panel, step, (Line(first, counts[f"{key}.studies"]), Line(second, counts[f"{key}.reports"])))

    found = []
    if flow.updated:
        words = "included in previous version of review"
        found.append(studies("previous", "identified", "previous", f"Studies {words}", f"Reports of studies {words}"))
    found += _databases(flow)
    if not flow.together:
        found += _reports(flow, "databases", "reports")
    if flow.other_methods:
        found += _other_methods(flow)
    if flow.together:
        origins = (
            Line("via databases and registers", counts["screening.kept"], 1),
            Line("via other methods", counts["other_methods.kept"], 1),
        )
        found += _reports(flow, "together", "reports_together", origins)
    elif flow.other_methods:
        found += _reports(flow, "other", "other_methods.reports")
    if flow.updated:
        first, second = "New studies included in review", "Reports of new included studies"
        found.append(studies("included", "included", "included", first, second))
        first, second = "Total studies included in review", "Reports of total included studies"
        found.append(studies("included", "total", "total", first, second))
    else:
        first, second = "Studies included in review", "Reports of included studies"
        found.append(studies("included", "included", "included", first, second))
    return found


#: Columns of `rows`.
HEADER = ("panel", "stage", "item", "n")


def rows(flow: Flow) -> list[tuple[str, str, str, int | str]]:
    """List every count with what it counts: panel, stage, item, number or ``not known``."""
    found = []
    for box in boxes(flow):
        above = ""
        for line in box.lines:
            if line.level == 0:
                above = item = f"{box.heading} {line.text}".strip()
            else:
                item = f"{above}: {line.text}"
            count = "not known" if line.n is None else line.n
            found.append((titles(flow).get(box.panel, ""), STAGES[box.step], item, count))
    return found


def plain_text(flow: Flow) -> Iterator[str]:
    """Tell every count in words, under the headings of the panels; a line is empty where a panel has none."""
    for panel, found in groupby(rows(flow), key=lambda row: row[0]):
        yield panel
        for _, _, item, n in found:
            yield f"  {item}: {n:,}" if isinstance(n, int) else f"  {item}: {n}"
