"""Read XML from the WHO's registry platform (ICTRP), which has one element per trial.

The CSV files of the platform are read as tables (see `delimited`). A registration has neither authors nor an abstract.
The year of a record is the year of the registration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading import markup
from mechtag.pipeline.reading.tagged import Entry, Format

_START = re.compile(r"<Trials_downloaded_from_ICTRP\b|<Trial>\s*(?:<[^<>]+>\s*)?<TrialID>", re.I)


def recognise(source: Source) -> bool:
    """Return whether a file contains an ICTRP list of trials, or a ``<Trial>`` with a ``<TrialID>``."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per XML element ``Trial``."""
    source.notes.append("registrations of ICTRP have no authors and no abstracts")
    return markup.read_records(source, "Trial", "trial")


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the elements of a trial to attributes of a record; the public title is preferred to the scientific title."""
    values = [(name.lower(), value) for name, value in fields]
    return {
        "title": markup.text(values, "public_title") or markup.text(values, "scientific_title"),
        "year": markup.text(values, "date_registration3") or markup.text(values, "date_registration"),
        "keywords": [word for text in markup.texts(values, "condition") for word in text.split(";")],
        "type": markup.text(values, "study_type"),
        "url": markup.text(values, "web_address") or markup.text(values, "url"),
    }


FORMAT = Format("ICTRP XML", recognise, read, clean)
