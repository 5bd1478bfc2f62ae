"""Read articles and books in PubMed XML, https://dtd.nlm.nih.gov/ncbi/pubmed/doc/out/250101/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtag.core.source import Source
from mechtag.pipeline.reading.markup import every, read_records, text, text_of, texts
from mechtag.pipeline.reading.tagged import Entry, Format, page_range

_RECORD = re.compile(r"<Pubmed(?:Book)?Article(?:\s[^<>]*)?/?>|<Pubmed(?:Book)?ArticleSet\b")
_NOT_AVAILABLE = re.compile(r"\[?not available\]?\.?", re.I)


def recognise(source: Source) -> bool:
    """Return whether a file contains the start of a PubMed record, or of a set of PubMed records."""
    return bool(_RECORD.search(source.head))


def read(source: Source) -> Iterator[Entry]:
    """Yield one entry per article or book."""
    return read_records(source, "PubmedArticle", "PubmedBookArticle")


def clean(fields: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Map the elements of a PubMed article or book to attributes of a record."""
    citation: Any = next(iter(every(fields, "MedlineCitation") + every(fields, "BookDocument")), {})
    article = next(iter(every(citation, "Article")), citation)
    book: Any = next(iter(every(article, "Book")), {})
    issue: Any = next(iter(every(article, "Journal", "JournalIssue")), {})
    titles = [*texts(article, "ArticleTitle"), *texts(article, "VernacularTitle"), *texts(book, "BookTitle")]
    dates = [*every(issue, "PubDate"), *every(book, "PubDate"), *every(article, "ArticleDate")]
    pages = text(article, "Pagination", "MedlinePgn") or page_range(
        text(article, "Pagination", "StartPage"), text(article, "Pagination", "EndPage")
    )
    languages = texts(article, "Language")
    types = [*texts(article, "PublicationTypeList", "PublicationType"), *texts(article, "PublicationType")]
    journals = texts(article, "Journal", "Title") + texts(citation, "MedlineJournalInfo", "MedlineTA")
    return {
        "title": next((title for title in titles if not _NOT_AVAILABLE.fullmatch(title)), None),
        "abstract": _abstract(article) or _abstract({"Abstract": every(citation, "OtherAbstract")}),
        "authors": [name for place in (article, book) for author in _authors(place) if (name := _name(author))],
        "year": next((year for date in dates for year in texts(date, "Year") + texts(date, "MedlineDate")), None),
        "journal": next(iter(journals or texts(book, "BookTitle")[: len(texts(article, "ArticleTitle"))]), None),
        "volume": text(issue, "Volume"),
        "issue": text(issue, "Issue"),
        "pages": pages,
        "doi": _doi(fields, article, book),
        "pmid": text(citation, "PMID"),
        "keywords": [*texts(citation, "KeywordList", "Keyword"), *_headings(citation)],
        "type": "; ".join(types),
        "language": "; ".join(languages),
    }


def _abstract(article: Any) -> str:
    """Return the abstract as text; each section begins with its heading."""
    sections = []
    for part in every(article, "Abstract", "AbstractText"):
        label = part.get("@Label", "") if isinstance(part, dict) else ""
        sections.append(f"{label}: {text_of(part)}" if label not in ("", "UNLABELLED") else text_of(part))
    return " ".join(sections)


def _authors(place: Any) -> list[Any]:
    """Return the author elements of an article or book, without its editors."""
    lists = (found for found in every(place, "AuthorList") if isinstance(found, dict))
    return [author for found in lists if found.get("@Type") != "editors" for author in every(found, "Author")]


def _name(author: Any) -> str:
    given = text(author, "ForeName") or text(author, "Initials")
    parts = text(author, "LastName"), given, text(author, "Suffix")
    return ", ".join(filter(None, parts)) or text(author, "CollectiveName")


def _doi(fields: Sequence[tuple[str, Any]], *places: Any) -> str | None:
    """Return the DOI of an article or book, or ``None`` if it has no DOI."""
    # The elements are named one by one, because references and comments also contain DOIs.
    ids = [(found, "@EIdType") for place in places for found in every(place, "ELocationID")]
    for data in ("PubmedData", "PubmedBookData"):
        ids += [(found, "@IdType") for found in every(fields, data, "ArticleIdList", "ArticleId")]
    ids += [(found, "@IdType") for place in places for found in every(place, "ArticleIdList", "ArticleId")]
    return next((text_of(found) for found, kind in ids if isinstance(found, dict) and found.get(kind) == "doi"), None)


def _headings(citation: Any) -> list[str]:
    """Return the MeSH headings with their qualifiers, such as 'Kidney Diseases/diagnosis/*therapy'."""
    headings = []
    for heading in every(citation, "MeshHeadingList", "MeshHeading"):
        parts = every(heading, "DescriptorName") + every(heading, "QualifierName")
        stars = ["*" if isinstance(part, dict) and part.get("@MajorTopicYN") == "Y" else "" for part in parts]
        headings.append("/".join(f"{star}{text_of(part)}" for star, part in zip(stars, parts, strict=True)))
    return headings


FORMAT = Format("PubMed XML", recognise, read, clean)
