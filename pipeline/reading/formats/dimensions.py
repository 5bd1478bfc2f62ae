"""Read publications in JSON from Dimensions' API (https://docs.dimensions.ai/dsl/datasource-publications.html)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtag.pipeline.reading.formats.json_items import json_format, many, person, text


def _map(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "title": text(item, "title"),
        "abstract": text(item, "abstract"),
        "authors": [person(author, "last_name", "first_name") for author in many(item, "authors")],
        "year": text(item, "year") or text(item, "date"),
        "journal": text(item, "journal", "title") or text(item, "source_title", "title"),
        "volume": text(item, "volume"),
        "issue": text(item, "issue"),
        "pages": text(item, "pages"),
        "doi": text(item, "doi"),
        "pmid": text(item, "pmid"),
        "keywords": [text(word) for name in ("mesh_terms", "concepts") for word in many(item, name)],
        "type": text(item, "type") or text(item, "document_type", "label"),
        "url": text(item, "dimensions_url") or text(item, "linkout"),
    }


FORMAT = json_format("Dimensions JSON", r'"publications"\s*:\s*\[|"id"\s*:\s*"pub\.\d|"dimensions_url"\s*:', _map)
