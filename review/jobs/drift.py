"""Compute how the agreement between people changes from week to week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from mechtag.core.records import Coding
from mechtag.review.jobs.draws import draw
from mechtag.review.jobs.timeline import day_of, read_finished
from mechtag.review.plan import BASES, STAGES
from mechtag.review.workspace import Workspace

if TYPE_CHECKING:
    from mechtag.core.arrays import Array

#: Smallest number of records in a week for which the agreement is computed.
LEAST = 5


def weekly_agreement(workspace: Workspace, codings: Sequence[Coding]) -> dict[str, list[dict[str, Any]]]:
    """Return the percent agreement between people for each stage and week, with confidence intervals.

    Parameters
    ----------
    codings
        Codes of all people, as they were first given.

    Returns
    -------
    dict
        A list of weeks for each stage, keyed by stage, such as ``screen``. A record belongs to the week in which a
        second person finished it. Weeks with fewer than `LEAST` records are left out. Each week has these keys:

        - ``week``: ISO date of the Monday
        - ``records``: number of records
        - ``agreement``: percent agreement (``value``) and the ends of its interval (``ci_low`` and ``ci_high``)
    """
    from mechtag.evaluation.agreement import tallies
    from mechtag.evaluation.coders import coders_of
    from mechtag.evaluation.resampling import bootstrap

    relevance = workspace.codebook.relevance.key
    found: dict[str, list[dict[str, Any]]] = {}
    for stage in STAGES:
        keys = (relevance,) if stage == "screen" else workspace.codebook.keys
        basis = BASES.get(stage, "abstract")
        rows = [
            row for row in codings if row.label in keys and row.basis == basis and (row.value is not None or row.refer)
        ]
        coders = coders_of(rows, keys, "the codes of this review")
        with workspace.store.read() as connection:
            ends: dict[str, list[str]] = {}
            for row in read_finished(connection, stage):
                if row.name in coders.names:
                    ends.setdefault(row.record_id, []).append(row.at)
        # For labels that fewer than two people judged, there is no agreement.
        terms = tallies(coders.codes)[2:4].sum(axis=2)
        places: dict[str, list[int]] = {}
        for place, record in enumerate(coders.records):
            if terms[0, place] and len(ends.get(record, ())) > 1:
                day = date.fromisoformat(day_of(sorted(ends[record])[1]))
                places.setdefault((day - timedelta(day.weekday())).isoformat(), []).append(place)
        found[stage] = []
        for week, own in sorted(places.items()):
            if len(own) < LEAST:
                continue
            draws = draw(workspace, len(own))
            (figure,) = bootstrap(partial(_agreement, terms[:, own]), draws)["agreement"]
            values = {"value": figure.value, "ci_low": figure.ci_low, "ci_high": figure.ci_high}
            found[stage].append({"week": week, "records": len(own), "agreement": values})
    return found


def _agreement(terms: Array, drawn: Array) -> dict[str, Array]:
    """Compute the percent agreement for each resample of the records.

    ``terms`` has one column per record. Its first row is the number of labels that at least two people judged. Its
    second row is the sum, over these labels, of the proportion of pairs of people who agree. ``drawn`` is the number of
    times that each resample (row) includes each record (column).
    """
    from mechtag.evaluation.agreement import ratio

    shared, agreeing = terms
    return {"agreement": ratio(drawn @ agreeing, drawn @ shared)}
