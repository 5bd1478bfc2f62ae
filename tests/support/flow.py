"""Counts of a batch and of a whole review, and the flow diagram computed from them."""

from __future__ import annotations

from mechtag.pipeline.export.prisma.counts import Elsewhere, Identification
from mechtag.pipeline.export.prisma.flow import join

# Worked out by hand: 100 + 50 records, of which 20 are duplicates and 5 are not readable.
FOUND = Identification(
    identified_by_source={"a.ris": 100, "b.ris": 50},
    duplicates_removed=20,
    removed_for_other_reasons=5,
    screened=125,
    without_abstract=3,
)
# Counts of a whole review, worked out by hand.
WHOLE = {
    "databases": {"MEDLINE": 700, "Embase": 280},
    "registers": {"ClinicalTrials.gov": 20},
    "removed_before_screening": {"duplicates": 150, "automation": 40, "other_reasons": 10},
    "screening": {"screened": 800, "excluded": 700, "kept": 100},
    "reports": {"sought": 100, "not_retrieved": 10, "assessed": 90, "excluded": {"setting": 50, "design": 20}},
    "other_methods": {
        "sources": {"Websites": 12, "Citation searching": 30},
        "records_excluded": 2,
        "reports": {"sought": 40, "not_retrieved": 3, "assessed": 37, "excluded": 27},
    },
    "included": {"studies": 28, "reports": 30},
    "previous": {"studies": 5, "reports": 6},
}


def flow_of(found: Identification | None = None, **elsewhere: object):
    return join(found, Elsewhere.model_validate(elsewhere))
