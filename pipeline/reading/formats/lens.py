"""Read scholarly works in Lens.org's JSON (https://docs.api.lens.org/response-scholar.html)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtag.pipeline.reading.formats.json_items import json_format, many, person, text
from mechtag.pipeline.reading.tagged import page_range


def _map(item: Mapping[str, Any]) -> Mapping[str, Any]:
    ids = {text(one, "type").lower(): text(one, "value") for one in many(item, "external_ids")}
    links = [text(one, "url") for one in many(item, "source_urls")]
    return {
        "title": text(item, "title"),
        "abstract": text(item, "abstract"),
        "authors": [
            person(author, "last_name", "first_name" if text(author, "first_name") else "initials")
            for author in many(item, "authors")
        ],
        "year": text(item, "year_published") or text(item, "date_published"),
        "journal": text(item, "source", "title"),
        "volume": text(item, "volume"),
        "issue": text(item, "issue"),
        "pages": page_range(text(item, "start_page"), text(item, "end_page")),
        "doi": ids.get("doi"),
        "pmid": ids.get("pmid"),
        "keywords": [text(word) for word in many(item, "keywords")],
        "type": text(item, "publication_type"),
        "language": text(item, "languages"),
        "url": next(filter(None, links), ""),
    }


FORMAT = json_format("Lens JSON", r'"lens_id"\s*:', _map)
