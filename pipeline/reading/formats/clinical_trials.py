"""Read registrations from ClinicalTrials.gov: JSON from its API, and XML from its former site.

The CSV files of the site are read as tables (see `delimited`). A registration has no authors. Its year is the year of
the first posting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading import markup
from mechtag.pipeline.reading.formats.json_items import at, json_format, many, text
from mechtag.pipeline.reading.tagged import Entry, Format

_XML = re.compile(r"<clinical_study\b")
_PAGE = "https://clinicaltrials.gov/study/"


def _map(item: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = at(item, "protocolSection") or item
    title, status = at(parts, "identificationModule"), at(parts, "statusModule")
    dates = ("studyFirstPostDateStruct", "studyFirstSubmitDate", "startDateStruct")
    number = text(title, "nctId")
    return {
        "title": text(title, "briefTitle") or text(title, "officialTitle"),
        "abstract": text(parts, "descriptionModule", "briefSummary"),
        "year": next(filter(None, (text(status, name, "date") or text(status, name) for name in dates)), ""),
        "keywords": [
            text(word) for name in ("conditions", "keywords") for word in many(parts, "conditionsModule", name)
        ],
        "type": text(parts, "designModule", "studyType"),
        "url": number and _PAGE + number,
    }


def _recognise(source: Source) -> bool:
    return bool(_XML.search(source.head))


def _read(source: Source) -> Iterator[Entry]:
    return markup.read_records(source, "clinical_study")


def _clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    dates = ("study_first_posted", "study_first_submitted", "firstreceived_date", "start_date")
    return {
        "title": markup.text(fields, "brief_title") or markup.text(fields, "official_title"),
        "abstract": markup.text(fields, "brief_summary", "textblock"),
        "year": next(filter(None, (markup.text(fields, name) for name in dates)), ""),
        "keywords": [*markup.texts(fields, "condition"), *markup.texts(fields, "keyword")],
        "type": markup.text(fields, "study_type"),
        "url": markup.text(fields, "required_header", "url"),
    }


FORMAT = json_format("ClinicalTrials.gov JSON", r'"protocolSection"\s*:', _map)
XML_FORMAT = Format("ClinicalTrials.gov XML", _recognise, _read, _clean)
