"""Reader of the WHO's registry platform (ICTRP): XML with one element per trial.

Its CSV is read as a table. A registration has neither authors nor an abstract; its year is that of the registration.
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
    """Return whether the file opens a list of trials, or a trial with its number."""
    return bool(_START.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per trial."""
    source.notes.append("registrations of ICTRP have no authors and no abstracts")
    return markup.read_records(source, "Trial", "trial")


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map elements to attributes of a record; the public title is preferred to the scientific one."""
    values = [(name.lower(), value) for name, value in fields]
    return {
        "title": markup.text(values, "public_title") or markup.text(values, "scientific_title"),
        "year": markup.text(values, "date_registration3") or markup.text(values, "date_registration"),
        "keywords": [word for text in markup.texts(values, "condition") for word in text.split(";")],
        "type": markup.text(values, "study_type"),
        "url": markup.text(values, "web_address") or markup.text(values, "url"),
    }


FORMAT = Format("ICTRP XML", recognise, read, clean)
