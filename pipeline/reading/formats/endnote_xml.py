"""Read EndNote XML, which Bookends, Mendeley, Zotero and other programs also write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.markup import every, read_records, text, texts
from mechtag.pipeline.reading.tagged import Entry, Format

_RECORD = re.compile(r"<record(?:\s[^<>]*)?>")
_TELLTALE = re.compile(r"<(?:ref-type|source-app|contributors|titles|rec-number)\b")
_PMID = re.compile(r"(?:ncbi\.nlm\.nih\.gov/(?:m/)?(?:pubmed/)?|\bPMID:?\s*)(\d{4,9})\b", re.I)


def recognise(source: Source) -> bool:
    """Return whether a file contains a <record> element with child elements that EndNote uses."""
    return bool(_RECORD.search(source.head) and _TELLTALE.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per <record> element."""
    return read_records(source, "record")


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the child elements of a <record> to attributes of a record."""
    kinds = every(fields, "ref-type")
    kind = kinds[0].get("@name") if kinds and isinstance(kinds[0], dict) else text(fields, "ref-type")
    journals = ("titles", "secondary-title"), ("periodical", "full-title"), ("alt-periodical", "full-title")
    keywords = texts(fields, "keywords", "keyword")
    urls = texts(fields, "urls", "related-urls", "url") + texts(fields, "urls", "web-urls", "url")
    return {
        "title": text(fields, "titles", "title"),
        "abstract": text(fields, "abstract"),
        "authors": texts(fields, "contributors", "authors", "author"),
        "year": text(fields, "dates", "year") or text(fields, "dates", "pub-dates", "date"),
        "journal": next(filter(None, (text(fields, *path) for path in journals)), None),
        "volume": text(fields, "volume"),
        "issue": text(fields, "number") or text(fields, "issue"),
        "pages": text(fields, "pages"),
        "doi": text(fields, "electronic-resource-num") or next((url for url in urls if "doi.org/10." in url), None),
        "pmid": _pmid(fields, urls),
        # Some libraries put all keywords in one element, separated by lines or semicolons.
        "keywords": [word for keyword in keywords for word in re.split(r"[;\r\n]", keyword)],
        "type": kind,
        "language": text(fields, "language"),
        "url": next(iter(urls), None),
    }


def _pmid(fields: Sequence[tuple[str, Any]], urls: Sequence[str]) -> str | None:
    """Return the PubMed id of an entry, or ``None`` if the entry has no PubMed id."""
    database = f"{text(fields, 'remote-database-name')} {text(fields, 'remote-database-provider')}".lower()
    number = text(fields, "accession-num")
    if any(name in database for name in ("medline", "pubmed", "nlm")) and number.isdecimal():
        return number
    marked = [url for url in urls if "/pmc/" not in url] + [number]
    return next((found[1] for value in marked if (found := _PMID.search(value))), None)


FORMAT = Format("EndNote XML", recognise, read, clean)
