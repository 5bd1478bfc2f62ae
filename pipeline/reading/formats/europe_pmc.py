"""Read Europe PMC's search results in JSON and XML (https://europepmc.org/RestfulWebService)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading import markup
from mechtag.pipeline.reading.author_lists import split_authors
from mechtag.pipeline.reading.formats.json_items import json_format, many, text
from mechtag.pipeline.reading.tagged import Entry, Format

_XML = re.compile(r"<responseWrapper\b|<resultList>\s*<result>")


def _map(item: Mapping[str, Any]) -> Mapping[str, Any]:
    book = ("bookOrReportDetails",)
    authors = [_name(author) for author in many(item, "authorList", "author")]
    links = [text(one, "url") for one in many(item, "fullTextUrlList", "fullTextUrl")]
    return {
        "title": text(item, "title"),
        "abstract": text(item, "abstractText"),
        "authors": authors or split_authors(text(item, "authorString")),
        "year": text(item, "pubYear") or text(item, "firstPublicationDate") or text(item, *book, "yearOfPublication"),
        "journal": text(item, "journalInfo", "journal", "title") or text(item, "journalTitle"),
        "volume": text(item, "journalInfo", "volume") or text(item, "journalVolume"),
        "issue": text(item, "journalInfo", "issue") or text(item, "issue"),
        "pages": text(item, "pageInfo"),
        "doi": text(item, "doi"),
        "pmid": text(item, "pmid"),
        "keywords": [text(word) for word in many(item, "keywordList", "keyword")],
        "type": text(item, "pubTypeList", "pubType") or text(item, "pubType"),
        "language": text(item, "language"),
        "url": next(filter(None, links), ""),
    }


def _name(author: Any) -> str:
    given = text(author, "firstName") or text(author, "initials")
    family = ", ".join(filter(None, (text(author, "lastName"), given)))
    return family or text(author, "fullName") or text(author, "collectiveName")


def _recognise(source: Source) -> bool:
    return bool(_XML.search(source.head))


def _read(source: Source) -> Iterator[Entry]:
    return markup.read_records(source, "result")


def _clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    return _map({name: _unwrapped(value) for name, value in fields})


def _unwrapped(value: Any) -> Any:
    """Convert a parsed XML element to the structure of Europe PMC's JSON."""
    # Only repeated elements become lists; attributes, whose names begin with @, are left out.
    if isinstance(value, list):
        found = [_unwrapped(one) for one in value]
        return found[0] if len(found) == 1 else found
    if isinstance(value, dict):
        return value["#"] if "#" in value else {name: _unwrapped(one) for name, one in value.items() if name[:1] != "@"}
    return value


FORMAT = json_format("Europe PMC JSON", r'"(?:authorString|pubYear|abstractText)"\s*:', _map)
XML_FORMAT = Format("Europe PMC XML", _recognise, _read, _clean)
