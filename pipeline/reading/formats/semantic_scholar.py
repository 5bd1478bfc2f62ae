"""Read papers in Semantic Scholar's JSON (https://api.semanticscholar.org/api-docs/graph)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtag.pipeline.reading.author_lists import family_first
from mechtag.pipeline.reading.formats.json_items import at, json_format, many, text


def _map(item: Mapping[str, Any]) -> Mapping[str, Any]:
    # Lists of citations and references wrap each paper.
    paper = next((found for name in ("citingPaper", "citedPaper") if (found := at(item, name))), item)
    identifiers = at(paper, "externalIds") or at(paper, "externalids")
    return {
        "title": text(paper, "title"),
        "abstract": text(paper, "abstract"),
        "authors": [family_first(text(author, "name") or text(author)) for author in many(paper, "authors")],
        "year": text(paper, "year") or text(paper, "publicationDate"),
        "journal": text(paper, "journal", "name") or text(paper, "publicationVenue", "name") or text(paper, "venue"),
        "volume": text(paper, "journal", "volume"),
        "pages": text(paper, "journal", "pages"),
        "doi": text(identifiers, "DOI") or text(paper, "doi"),
        "pmid": text(identifiers, "PubMed"),
        "type": text(paper, "publicationTypes"),
        "url": text(paper, "url"),
    }


FORMAT = json_format("Semantic Scholar JSON", r'"(?:paperId|corpusId|corpusid|externalIds)"\s*:', _map)
