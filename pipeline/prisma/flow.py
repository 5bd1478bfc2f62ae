"""The flow of records through a review: counts joined and added up, and the boxes of the PRISMA 2020 template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from mechtag.core.errors import MechtagError
from mechtag.pipeline.prisma.counts import Elsewhere, Identification, clean_name, read_elsewhere, read_identification

Counts = dict[str, int | None]
# A total and the parts that make it.
_Sum = tuple[str, Sequence[str]]

_REMOVED = ("duplicates", "automation", "other_reasons")


@dataclass(frozen=True)
class Flow:
    """Everything a flow diagram tells.

    Attributes
    ----------
    counts
        By the path of its key in the file of counts, such as ``reports.sought``; ``None``
        where not known. Sources stand there as ``databases.NAME``, ``registers.NAME`` and
        ``other_methods.sources.NAME``. Beside these there are totals which the file does
        not name: ``identified``, ``databases``, ``registers``, ``other_methods.identified``,
        ``total.studies`` and ``total.reports``.
    reasons
        Reports excluded by reason, for ``reports``, ``other_methods.reports`` or
        ``reports_together``.
    without_abstract
        How many of the screened records have none, where known.
    """

    title: str
    counts: Mapping[str, int | None]
    reasons: Mapping[str, Mapping[str, int]]
    without_abstract: int | None
    other_methods: bool
    together: bool
    updated: bool

    def sources(self, group: str) -> dict[str, int | None]:
        """Give the counts of ``databases``, ``registers`` or ``other_methods.sources``, by name."""
        return {key.removeprefix(f"{group}."): n for key, n in self.counts.items() if key.startswith(f"{group}.")}


def _take_files(files: dict[str, int], wanted: Sequence[str], place: str) -> int:
    """Take files out of ``files`` and sum their counts."""
    total = 0
    for file in wanted:
        if file not in files:
            raise MechtagError(
                f"{place}: {file!r} is no file of the summary, or is named twice; still without a name are: "
                f"{', '.join(files) or 'none'}. A count is written without quotes and commas, such as 5673"
            )
        total += files.pop(file)
    return total


def _identified(found: Identification | None, elsewhere: Elsewhere) -> Counts:
    """Count records by source; a file of the summary that was given no name is a database of its own."""
    files = Counter[str]()
    for name, count in ((found and found.identified_by_source) or {}).items():
        files[clean_name(name) or "unnamed file"] += count
    named: Counts = {}
    for group, sources in (("databases", elsewhere.databases), ("registers", elsewhere.registers)):
        for name, value in (sources or {}).items():
            place = f"{group}.{name}"
            named[place] = _take_files(files, value, place) if isinstance(value, tuple) else value
    for file, count in files.items():
        if f"databases.{file}" in named:
            raise MechtagError(
                f"databases.{file}: the summary counts this file already; leave it out, or write "
                f"'DATABASE: {file}' to give it a name"
            )
        named[f"databases.{file}"] = count
    return named


def _given(found: Identification | None, elsewhere: Elsewhere) -> Counts:
    """Gather the counts that were given, before any is worked out from the others."""
    counts = _identified(found, elsewhere)
    known = found is not None and found.identified_by_source is not None
    removed = elsewhere.removed_before_screening
    for key in _REMOVED:
        counts[f"removed_before_screening.{key}"] = getattr(removed, key) if removed else None
    counts |= {f"screening.{key}": n for key, n in elsewhere.screening}
    if found and known:
        ours = (found.duplicates_removed, found.removed_by_automation, found.removed_for_other_reasons)
        for key, n in zip(_REMOVED, ours, strict=True):
            counts[f"removed_before_screening.{key}"] = (n or 0) + (counts[f"removed_before_screening.{key}"] or 0)
    # Records that were identified or removed elsewhere change how many are left to screen.
    added = removed or any(
        not isinstance(value, tuple)
        for sources in (elsewhere.databases, elsewhere.registers)
        for value in (sources or {}).values()
    )
    if found and not (known and added):
        if counts["screening.screened"] not in (None, found.screened):
            raise MechtagError(
                f"screening.screened: {counts['screening.screened']} here, but {found.screened} in the "
                "summary; leave it out"
            )
        counts["screening.screened"] = found.screened
    return counts


def _flatten(elsewhere: Elsewhere) -> tuple[Counts, dict[str, Mapping[str, int]]]:
    """Lay out what was given on reports and studies: counts by key, and reasons of exclusion."""
    counts: Counts = {}
    reasons: dict[str, Mapping[str, int]] = {}
    blocks = {"reports": elsewhere.reports, "reports_together": elsewhere.reports_together}
    other = elsewhere.other_methods
    if other:
        counts |= {f"other_methods.sources.{name}": n for name, n in other.sources.items()}
        counts["other_methods.records_excluded"] = other.records_excluded
        blocks["other_methods.reports"] = other.reports
    for place, block in blocks.items():
        for key, value in block or ():
            if isinstance(value, dict):
                reasons[place] = value
                value = sum(value.values())
            counts[f"{place}.{key}"] = value
    for name, studies in (("included", elsewhere.included), ("previous", elsewhere.previous)):
        counts |= {f"{name}.{key}": n for key, n in studies or ()}
    return counts, reasons


def _sums(counts: Counts, elsewhere: Elsewhere) -> list[_Sum]:
    """List what must add up."""
    totals = {"databases": "databases", "registers": "registers", "other_methods.sources": "other_methods.identified"}
    parts = {group: [key for key in counts if key.startswith(f"{group}.")] for group in totals}
    searched = parts["databases"] or parts["registers"]
    # Nothing named among databases is none only where registers were named, and the other way round.
    sums: list[_Sum] = [(totals[group], keys) for group, keys in parts.items() if keys or searched]
    removed = [f"removed_before_screening.{key}" for key in _REMOVED]
    sums += [
        ("identified", ("databases", "registers")),
        ("identified", (*removed, "screening.screened")),
        ("screening.screened", ("screening.excluded", "screening.kept")),
        ("screening.excluded", ("screening.excluded_by_automation", "screening.excluded_by_people")),
    ]
    flows = ["reports"]
    if elsewhere.reports_together:
        flows = ["reports_together"]
        sums.append(("reports_together.sought", ("screening.kept", "other_methods.kept")))
        sums.append(("other_methods.identified", ("other_methods.records_excluded", "other_methods.kept")))
    else:
        sums.append(("screening.kept", ("reports.sought",)))
        if elsewhere.other_methods:
            flows.append("other_methods.reports")
            sought = "other_methods.reports.sought"
            sums.append(("other_methods.identified", ("other_methods.records_excluded", sought)))
    for flow in flows:
        sums.append((f"{flow}.sought", (f"{flow}.not_retrieved", f"{flow}.assessed")))
        sums.append((f"{flow}.assessed", (f"{flow}.excluded", f"{flow}.included")))
    sums.append(("included.reports", [f"{flow}.included" for flow in flows]))
    if elsewhere.previous:
        sums += [(f"total.{key}", (f"previous.{key}", f"included.{key}")) for key in ("studies", "reports")]
    return sums


def _contradiction(counts: Counts, total: str, parts: Sequence[str], derived: Mapping[str, Sequence[str]]) -> str:
    def tell(key: str) -> str:
        n = "not known" if counts[key] is None else counts[key]
        return f"{key} ({n}, worked out from {' and '.join(derived[key])})" if key in derived else f"{key} ({n})"

    known = sum(counts[part] or 0 for part in parts)
    least = "at least " if any(counts[part] is None for part in parts) else ""
    made = f", which is {least}{known}" if len(parts) > 1 else ""
    return (
        f"the counts do not add up: {tell(total)} should be {' + '.join(map(tell, parts))}{made}; correct one of them"
    )


def _settle(counts: Counts, total: str, parts: Sequence[str], derived: dict[str, Sequence[str]]) -> bool:
    """Work out what a sum leaves no choice about; tell whether anything was."""
    unknown = [part for part in parts if counts[part] is None]
    known = sum(counts[part] or 0 for part in parts)
    whole = counts[total]
    if whole is None:
        if not unknown:
            counts[total], derived[total] = known, parts
        return not unknown
    rest = whole - known
    if rest < 0 or (rest and not unknown):
        raise MechtagError(_contradiction(counts, total, parts, derived))
    if unknown and (rest == 0 or len(unknown) == 1):
        counts |= dict.fromkeys(unknown, rest)
        origin = (total, *(part for part in parts if part not in unknown))
        derived |= {part: origin for part in unknown}
        return True
    return False


def join(found: Identification | None, elsewhere: Elsewhere) -> Flow:
    """Join both kinds of counts, and work out each count that follows from the others.

    Counts of databases, registers and removed records in ``elsewhere`` are added to those
    of ``found``.

    Raises
    ------
    MechtagError
        The counts contradict one another, or name a file that ``found`` does not have.
    """
    counts = _given(found, elsewhere)
    more, reasons = _flatten(elsewhere)
    counts |= more
    sums = _sums(counts, elsewhere)
    for total, parts in sums:
        counts |= {key: counts.get(key) for key in (total, *parts)}
    derived: dict[str, Sequence[str]] = {}
    while any([_settle(counts, total, parts, derived) for total, parts in sums]):
        pass
    for name in ("included", "previous"):
        studies, reports = counts.get(f"{name}.studies"), counts.get(f"{name}.reports")
        if studies is not None and reports is not None and bool(studies) != bool(reports):
            raise MechtagError(
                f"the counts do not add up: {name}.studies ({studies}) with {name}.reports ({reports}); "
                "each study has at least one report"
            )
    return Flow(
        title=clean_name(elsewhere.title),
        counts=counts,
        reasons=reasons,
        without_abstract=found.without_abstract if found else None,
        other_methods=elsewhere.other_methods is not None,
        together=elsewhere.reports_together is not None,
        updated=elsewhere.previous is not None,
    )


def read_flow(summary: str | Path | None, elsewhere: str | Path | None) -> Flow:
    """Join the counts of a ``summary.json`` and of a file of counts, either of which may be missing.

    Raises
    ------
    MechtagError
        As `counts.read_identification`, `counts.read_elsewhere` and `join`.
    """
    found = read_identification(summary) if summary else None
    given = read_elsewhere(elsewhere) if elsewhere else Elsewhere()
    try:
        return join(found, given)
    except MechtagError as error:
        raise MechtagError(f"{' and '.join(str(path) for path in (elsewhere, summary) if path)}: {error}") from None


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
