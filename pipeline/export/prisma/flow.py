"""Combine and complete the counts of a review, and fill in the boxes of the PRISMA 2020 template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from mechtag.core.errors import MechtagError
from mechtag.pipeline.export.prisma.counts import (
    Elsewhere,
    Identification,
    clean_name,
    read_elsewhere,
    read_identification,
)

Counts = dict[str, int | None]
# Keys of a total and of the parts that add up to it.
_Sum = tuple[str, Sequence[str]]

_REMOVED = ("duplicates", "automation", "other_reasons")


@dataclass(frozen=True)
class Flow:
    """The counts in a PRISMA flow diagram.

    Attributes
    ----------
    counts
        Counts, keyed by their path in the user's file of counts, such as ``reports.sought``. A count is ``None`` if it
        is not known. Sources have the keys ``databases.NAME``, ``registers.NAME`` and ``other_methods.sources.NAME``.
        The following totals are not in the user's file: ``identified``, ``databases``, ``registers``,
        ``other_methods.identified``, ``total.studies`` and ``total.reports``.
    reasons
        Numbers of excluded reports for each reason. The keys are ``reports``, ``other_methods.reports`` and
        ``reports_together``. Each value is a dict from reasons to numbers.
    without_abstract
        Number of screened records without an abstract, or ``None`` if not known.
    other_methods
        Whether studies were also identified by other methods.
    together
        Whether reports from databases and from other methods are counted together.
    updated
        Whether the review updates a previous review.
    """

    title: str
    counts: Mapping[str, int | None]
    reasons: Mapping[str, Mapping[str, int]]
    without_abstract: int | None
    other_methods: bool
    together: bool
    updated: bool

    def sources(self, group: str) -> dict[str, int | None]:
        """Return the counts of the sources in one group, keyed by the name of the source.

        ``group`` is ``databases``, ``registers`` or ``other_methods.sources``. A count is ``None`` if it is not known.
        """
        return {key.removeprefix(f"{group}."): n for key, n in self.counts.items() if key.startswith(f"{group}.")}


def _take_files(files: dict[str, int], wanted: Sequence[str], place: str) -> int:
    """Remove the files ``wanted`` from ``files``, and return the sum of their counts."""
    total = 0
    for file in wanted:
        if file not in files:
            raise MechtagError(
                f"{place}: the file {file!r} is not listed in summary.json, or a different line already uses this "
                f"file. Use a file that no line uses yet ({', '.join(files) or 'there is none'}). If you meant a "
                "count, write the number without quotes or commas, such as 5673"
            )
        total += files.pop(file)
    return total


def _identified(found: Identification | None, elsewhere: Elsewhere) -> Counts:
    """Return the number of records from each source, keyed by ``databases.NAME`` or ``registers.NAME``."""
    files = Counter[str]()
    for name, count in ((found and found.identified_by_source) or {}).items():
        files[clean_name(name) or "unnamed file"] += count
    named: Counts = {}
    for group, sources in (("databases", elsewhere.databases), ("registers", elsewhere.registers)):
        for name, value in (sources or {}).items():
            place = f"{group}.{name}"
            named[place] = _take_files(files, value, place) if isinstance(value, tuple) else value
    # A file that the user did not assign to a source counts as a database.
    for file, count in files.items():
        if f"databases.{file}" in named:
            raise MechtagError(
                f"databases.{file}: summary.json already counts this file; delete this line from the counts file. "
                f"If you want to name the database, write 'NAME OF DATABASE: {file}' instead of this line"
            )
        named[f"databases.{file}"] = count
    return named


def _combined(found: Identification | None, elsewhere: Elsewhere) -> Counts:
    """Combine the counts of records from mechtag (``found``) and from the user (``elsewhere``).

    Raises
    ------
    MechtagError
        If the counts contradict each other.
    """
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
    # Records that were identified or removed outside mechtag change the number of records to screen.
    added = removed or any(
        not isinstance(value, tuple)
        for sources in (elsewhere.databases, elsewhere.registers)
        for value in (sources or {}).values()
    )
    if found and not (known and added):
        waiting = elsewhere.screening.not_yet_screened
        if waiting > found.screened:
            raise MechtagError(
                f"screening.not_yet_screened: this count is {waiting}, but summary.json has only {found.screened} "
                "records to screen; correct the count"
            )
        screened = found.screened - waiting
        if counts["screening.screened"] not in (None, screened):
            raise MechtagError(
                f"screening.screened: this count is {counts['screening.screened']}, but it is {screened} according to "
                "summary.json; delete the line 'screened' from the counts file to use the count in summary.json"
            )
        counts["screening.screened"] = screened
    return counts


def _flatten(elsewhere: Elsewhere) -> tuple[Counts, dict[str, Mapping[str, int]]]:
    """Return the counts that the user entered, and how many reports were excluded for each reason.

    The counts are keyed by path, such as ``reports.assessed``. The reasons are keyed by part of the diagram, such as
    ``reports``; each value maps reasons to numbers of reports.
    """
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
    """Return each total of a flow diagram with its parts, which are the counts that must add up to the total.

    Each item is a tuple: the key of the total, and the keys of its parts.
    """
    totals = {"databases": "databases", "registers": "registers", "other_methods.sources": "other_methods.identified"}
    parts = {group: [key for key in counts if key.startswith(f"{group}.")] for group in totals}
    searched = parts["databases"] or parts["registers"]
    # If no databases are listed, their count is 0 only if registers are listed, and vice versa.
    sums: list[_Sum] = [(totals[group], keys) for group, keys in parts.items() if keys or searched]
    removed = [f"removed_before_screening.{key}" for key in _REMOVED]
    sums += [
        ("identified", ("databases", "registers")),
        ("identified", (*removed, "screening.screened", "screening.not_yet_screened")),
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
    def describe(key: str) -> str:
        n = "not known" if counts[key] is None else counts[key]
        return f"{key} ({n}, derived from {' and '.join(derived[key])})" if key in derived else f"{key} ({n})"

    known = sum(counts[part] or 0 for part in parts)
    least = "at least " if any(counts[part] is None for part in parts) else ""
    made = f", which is {least}{known}" if len(parts) > 1 else ""
    return (
        f"the counts do not add up: {describe(total)} should be {' + '.join(map(describe, parts))}{made}; "
        "correct one of these counts"
    )


def _settle(counts: Counts, total: str, parts: Sequence[str], derived: dict[str, Sequence[str]]) -> bool:
    """Compute the unknown counts among a total and its parts, and return whether any count was computed.

    ``derived`` then maps the key of each computed count to the keys of the counts from which it was computed.

    Raises
    ------
    MechtagError
        If the total and its parts contradict each other.
    """
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
    """Combine the counts that mechtag knows with the counts that the user entered, and compute missing counts.

    The user's databases and registers are added to the sources in ``found``. The user's numbers of removed records are
    added to the numbers in ``found``.

    Parameters
    ----------
    found
        Counts that mechtag knows, or ``None`` if there are none.
    elsewhere
        Counts that the user entered.

    Raises
    ------
    MechtagError
        If the counts contradict one another, or if the user names a file that is not in ``found``.
    """
    counts = _combined(found, elsewhere)
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
                f"the counts do not add up: {name}.studies is {studies}, but {name}.reports is {reports}. Each study "
                "has at least one report, and each report belongs to a study. Correct one of the counts"
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
    """Read the counts from a ``summary.json`` and from the user's file, and combine them.

    Parameters
    ----------
    summary, elsewhere
        Path of ``summary.json`` and path of the user's file, or ``None`` if there is no such file.

    Raises
    ------
    MechtagError
        For the same reasons as in `counts.read_identification`, `counts.read_elsewhere` and `join`.
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
#: The steps of a review in order, and the stage that each step belongs to.
STAGES = {
    "identified": "Identification",
    "screened": "Screening",
    "sought": "Screening",
    "assessed": "Screening",
    "included": "Included",
    "total": "Included",
}


@dataclass(frozen=True)
class FlowLine:
    """A line in a box of the flow diagram: a text, and a count ``n``, which is ``None`` if it is not known.

    A line with ``level`` 1 belongs to the nearest line with ``level`` 0 above it, and counts a part of what that line
    counts. For example, it counts the records that were excluded for one reason.
    """

    text: str
    n: int | None
    level: int = 0


@dataclass(frozen=True)
class Box:
    """A box of the diagram, which counts records, reports or studies at one step of the review.

    If ``side`` is true, the box counts what was removed, excluded or not retrieved at this step.
    """

    panel: Panel
    step: str
    lines: tuple[FlowLine, ...]
    heading: str = ""
    side: bool = False


def titles(flow: Flow) -> dict[Panel, str]:
    """Return the heading of each panel of the diagram, keyed by panel; panels without a heading are left out."""
    new = "new studies" if flow.updated else "studies"
    found: dict[Panel, str] = {"previous": "Previous studies"} if flow.updated else {}
    found["databases"] = f"Identification of {new} via databases and registers"
    if flow.other_methods:
        found["other"] = f"Identification of {new} via other methods"
    return found


def _parts(counts: Mapping[str, int | None]) -> list[FlowLine]:
    return [FlowLine(name, n, 1) for name, n in counts.items()]


def _reports(flow: Flow, panel: Panel, place: str, origins: Sequence[FlowLine] = ()) -> Iterator[Box]:
    counts, reasons = flow.counts, flow.reasons.get(place, {})
    excluded = (FlowLine("Reports excluded", counts[f"{place}.excluded"]), *_parts(reasons))
    yield Box(panel, "sought", (FlowLine("Reports sought for retrieval", counts[f"{place}.sought"]), *origins))
    yield Box(panel, "sought", (FlowLine("Reports not retrieved", counts[f"{place}.not_retrieved"]),), side=True)
    yield Box(panel, "assessed", (FlowLine("Reports assessed for eligibility", counts[f"{place}.assessed"]),))
    yield Box(panel, "assessed", excluded, side=True)


def _databases(flow: Flow) -> Iterator[Box]:
    counts = flow.counts
    identified = [
        line
        for group in ("databases", "registers")
        for line in (FlowLine(group.capitalize(), counts[group]), *_parts(flow.sources(group)))
    ]
    yield Box("databases", "identified", tuple(identified), "Records identified from:")
    removed = (
        ("Duplicate records removed", "duplicates"),
        ("Records marked as ineligible by automation tools", "automation"),
        ("Records removed for other reasons", "other_reasons"),
    )
    lines = tuple(FlowLine(text, counts[f"removed_before_screening.{key}"]) for text, key in removed)
    yield Box("databases", "identified", lines, "Records removed before screening:", side=True)
    screened = [FlowLine("Records screened", counts["screening.screened"])]
    if waiting := counts["screening.not_yet_screened"]:
        screened.append(FlowLine("Records not yet screened", waiting))
    elif flow.without_abstract:
        screened.append(FlowLine("without abstract", flow.without_abstract, 1))
    yield Box("databases", "screened", tuple(screened))
    excluded = [FlowLine("Records excluded", counts["screening.excluded"])]
    if counts["screening.excluded_by_automation"]:
        excluded.append(FlowLine("by people", counts["screening.excluded_by_people"], 1))
        excluded.append(FlowLine("by automation tools", counts["screening.excluded_by_automation"], 1))
    yield Box("databases", "screened", tuple(excluded), side=True)


def _other_methods(flow: Flow) -> Iterator[Box]:
    lines = [FlowLine(name, n) for name, n in flow.sources("other_methods.sources").items()]
    yield Box("other", "identified", tuple(lines), "Records identified from:")
    if excluded := flow.counts["other_methods.records_excluded"]:
        yield Box("other", "identified", (FlowLine("Records excluded", excluded),), side=True)


def boxes(flow: Flow) -> list[Box]:
    """Return the boxes of the diagram with their text, ordered by panel and step."""
    counts = flow.counts

    def studies(panel: Panel, step: str, key: str, first: str, second: str) -> Box:
        return Box(panel, step, (FlowLine(first, counts[f"{key}.studies"]), FlowLine(second, counts[f"{key}.reports"])))

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
            FlowLine("via databases and registers", counts["screening.kept"], 1),
            FlowLine("via other methods", counts["other_methods.kept"], 1),
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


#: Columns of `table_rows`.
HEADER = ("panel", "stage", "item", "n")


def table_rows(flow: Flow) -> list[tuple[str, str, str, int | str]]:
    """Return all counts as rows of a table.

    The columns are panel, stage (such as screening), item and number. The number is ``not known`` if the count is
    ``None``.
    """
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
    """Yield the counts as lines of text, grouped by the panels of the diagram, such as *Identification*.

    The first line of each panel is its heading, or an empty line if the panel has no heading.
    """
    for panel, found in groupby(table_rows(flow), key=lambda row: row[0]):
        yield panel
        for _, _, item, n in found:
            yield f"  {item}: {n:,}" if isinstance(n, int) else f"  {item}: {n}"
