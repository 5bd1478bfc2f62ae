"""Read works in OpenAlex's JSON, in which abstracts are inverted indexes: https://docs.openalex.org/api-entities/works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtag.pipeline.reading.author_lists import family_first
from mechtag.pipeline.reading.columns import from_inverted
from mechtag.pipeline.reading.formats.json_items import at, json_format, many, pmid_of, text
from mechtag.pipeline.reading.tagged import page_range


def _map(item: Mapping[str, Any]) -> Mapping[str, Any]:
    names = [text(one, "author", "display_name") or text(one, "raw_author_name") for one in many(item, "authorships")]
    places = [at(item, "primary_location"), *many(item, "locations")]
    sources = [text(place, "source", "display_name") for place in places] + [text(item, "host_venue", "display_name")]
    links = [text(place, "landing_page_url") for place in places]
    words = [text(word, "display_name") or text(word, "keyword") or text(word) for word in many(item, "keywords")]
    return {
        "abstract": from_inverted(item.get("abstract_inverted_index")),
        "authors": list(map(family_first, names)),
        "year": text(item, "publication_year") or text(item, "publication_date"),
        "journal": next(filter(None, sources), ""),
        "volume": text(item, "biblio", "volume"),
        "issue": text(item, "biblio", "issue"),
        "pages": page_range(text(item, "biblio", "first_page"), text(item, "biblio", "last_page")),
        "doi": text(item, "doi") or text(item, "ids", "doi"),
        "pmid": pmid_of(text(item, "ids", "pmid")),
        "keywords": words,
        "url": next(filter(None, links), ""),
    }


FORMAT = json_format(
    "OpenAlex JSON", r'"(?:abstract_inverted_index|authorships)"\s*:|"id"\s*:\s*"https://openalex\.org/W', _map
)
