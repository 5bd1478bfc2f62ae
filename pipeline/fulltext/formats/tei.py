"""Read TEI XML files, which GROBID creates from PDFs (https://grobid.readthedocs.io)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.full_text import Kind
from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.xml import child_of, children, every, first, local, parse, text_of

_LEFT_OUT = frozenset(("figure", "table", "formula", "note"))
_KINDS: dict[str, Kind] = {"acknowledgement": "back", "annex": "back", "availability": "back", "funding": "back"}
_PAGE = re.compile(r"(\d+),")


def read(data: bytes, name: str) -> Draft:
    """Read an article in TEI XML.

    The page numbers are known only if the file contains coordinates, which GROBID writes on request.

    Raises
    ------
    MechtagError
        If the file is not well-formed XML, is not a TEI article, or contains no paragraphs.
    """
    root = parse(data, name)
    header, text = first(every(root, "teiHeader")), first(every(root, "text"))
    body = child_of(text, "body")
    if header is None or body is None or not any(True for _ in every(body, "p")):
        raise MechtagError(
            f"{name} is not an article in TEI XML, or contains no text; create it again from the PDF with GROBID"
        )
    title = " ".join(text_of(first(every(header, "title"))).split())
    blocks = [Block(title, 1, "title")] if title else []
    abstract = first(every(header, "abstract"))
    if abstract is not None and text_of(abstract).strip():
        blocks.append(Block("Abstract", 1, "abstract"))
        blocks += [Block(text_of(paragraph, _LEFT_OUT)) for paragraph in every(abstract, "p")]
    blocks += _content(body)
    back = child_of(text, "back")
    if back is not None:
        blocks += _back(back)
    count = max((block.page or 0 for block in blocks), default=0)
    if count:
        blocks = _with_pages(blocks)
    return Draft(
        blocks=blocks,
        title=title,
        doi=normalise_doi(_identifier(header, "DOI")),
        pmid=normalise_pmid(_identifier(header, "PMID")),
        pmcid=_identifier(header, "PMCID") or None,
        licence=(text_of(first(every(header, "licence"))).strip() or None),
        page_labels=[str(number) for number in range(1, count + 1)],
    )


def _identifier(header: Any, kind: str) -> str:
    return text_of(first(each for each in every(header, "idno") if each.get("type", "").upper() == kind)).strip()


def _page(element: Any) -> int | None:
    """Return the number of the page on which an XML element begins; ``None`` if it is not known."""
    found = _PAGE.match(element.get("coords") or "")
    if found:
        return int(found[1])
    # An element without coordinates begins on the page of its first sentence.
    sentence = first(each for each in every(element, "s") if each is not element)
    return _page(sentence) if sentence is not None else None


def _content(parent: Any) -> Iterator[Block]:
    for child in parent:
        match local(child):
            case "div":
                yield from _content(child)
            case "head":
                number = child.get("n") or ""
                text = " ".join(text_of(child).split())
                level = 1 + number.rstrip(".").count(".") if number else 1
                yield Block(f"{number} {text}".strip(), level, page=_page(child))
            case "p":
                yield Block(text_of(child, _LEFT_OUT), page=_page(child))
            case "figure":
                kind: Kind = "table" if child.get("type") == "table" else "caption"
                parts = (text_of(part) for part in child if local(part) in ("head", "label", "figDesc"))
                yield Block(" ".join(parts), kind="caption", page=_page(child))
                if kind == "table":
                    for row in every(child, "row"):
                        yield Block(" ".join(text_of(cell) for cell in row), kind="table", page=_page(child))
            case "list" | "item" | "quote":
                yield Block(text_of(child), page=_page(child))


def _back(back: Any) -> Iterator[Block]:
    for division in children(back, "div"):
        kind = division.get("type", "")
        entries = list(every(division, "biblStruct"))
        if entries:
            yield Block("References", 1, "references")
            for entry in entries:
                raw = first(each for each in every(entry, "note") if each.get("type") == "raw_reference")
                yield Block(text_of(raw if raw is not None else entry))
            continue
        head = text_of(first(every(division, "head")))
        yield Block(head or kind.capitalize() or "Notes", 1, _KINDS.get(kind, "back"))
        yield from (Block(text_of(paragraph)) for paragraph in every(division, "p"))


def _with_pages(blocks: list[Block]) -> list[Block]:
    """Return the blocks with page numbers that never decrease.

    A number that is missing or lower than the previous number is replaced by the previous number.
    """
    page, found = 1, list[Block]()
    for block in blocks:
        page = max(page, block.page or page)
        found.append(block._replace(page=page))
    return found
