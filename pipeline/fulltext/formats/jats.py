"""Read articles in JATS XML, the format of publishers and PubMed Central (https://jats.nlm.nih.gov)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.full_text import Kind
from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.sections import kind_of
from mechtag.pipeline.fulltext.xml import attribute, child_of, children, every, first, local, parse, text_of

# Elements whose text is not part of the sentences around them.
_LEFT_OUT = frozenset(
    "table-wrap table-wrap-group fig fig-group disp-formula inline-formula tex-math supplementary-material fn "
    "media graphic inline-graphic alternatives object-id".split()
)
# Abstracts that repeat the abstract in other ways.
_OTHER_ABSTRACTS = frozenset(("graphical", "teaser", "toc", "video", "web-summary", "key-points", "short"))
_TYPES: dict[str, Kind] = {
    "intro": "introduction",
    "background": "introduction",
    "methods": "methods",
    "materials": "methods",
    "subjects": "methods",
    "results": "results",
    "discussion": "discussion",
    "conclusions": "conclusion",
    "supplementary-material": "back",
}


def read(data: bytes, name: str) -> Draft:
    """Read an article in JATS XML.

    Raises
    ------
    MechtagError
        If the file is not well-formed XML; if it is not a JATS article; if it contains several articles; or if it
        contains only the front matter (title, authors and abstract), as some downloads do.
    """
    root = parse(data, name)
    articles = list(every(root, "article"))
    article = root if local(root) == "article" else first(articles)
    if article is not root and len(articles) > 1:
        raise MechtagError(f"{name} contains {len(articles)} articles; save each article as a separate file")
    if article is None:
        raise MechtagError(
            f"{name} is an XML file, but not an article in JATS format; download the XML file from the publisher or "
            "PubMed Central"
        )
    front = child_of(article, "front")
    body = child_of(article, "body")
    if body is None or not any(local(element) == "p" for element in body.iter()):
        raise MechtagError(f"{name} contains only the front matter of an article; download the full text")
    title = text_of(first(every(front, "article-title")) if front is not None else None, frozenset(("xref", "fn")))
    blocks = list[Block]()
    if title.strip():
        blocks.append(Block(title, 1, "title"))
    if front is not None:
        blocks += _abstract(front)
    blocks += _content(body, 1)
    floats = child_of(article, "floats-group")
    if floats is not None:
        # Author manuscripts in PubMed Central have their boxes here, in no section.
        blocks += [block._replace(kind=block.kind or "other") for block in _content(floats, 1)]
    back = child_of(article, "back")
    if back is not None:
        blocks += _back(back)
    doi, pmid, pmcid = _identifiers(front)
    return Draft(blocks=blocks, title=" ".join(title.split()), doi=doi, pmid=pmid, pmcid=pmcid, licence=_licence(front))


def _identifiers(front: Any) -> tuple[str | None, str | None, str | None]:
    """Return the DOI, the PubMed id and the PMC id of an article; an identifier that is missing is ``None``."""
    meta = child_of(front, "article-meta")
    found = dict[str, str]()
    for identifier in children(meta, "article-id") if meta is not None else ():
        found.setdefault(identifier.get("pub-id-type", ""), text_of(identifier).strip())
    pmc = found.get("pmc") or found.get("pmcid") or ""
    pmcid = f"PMC{pmc.upper().removeprefix('PMC')}" if pmc else None
    return normalise_doi(found.get("doi")), normalise_pmid(found.get("pmid")), pmcid


def _licence(front: Any) -> str | None:
    licence = first(every(front, "license")) if front is not None else None
    if licence is None:
        return None
    address = next((value for key, value in licence.attrib.items() if key.endswith("href")), "")
    return address or " ".join(text_of(licence).split()) or None


def _abstract(front: Any) -> Iterator[Block]:
    abstracts = [each for each in every(front, "abstract") if each.get("abstract-type") not in _OTHER_ABSTRACTS]
    abstracts = sorted(abstracts, key=lambda each: _language(each) not in ("", _language(front.getparent())))
    plain = first(each for each in abstracts if not each.get("abstract-type"))
    abstract = plain if plain is not None else first(abstracts)
    if abstract is None:
        return
    yield Block("Abstract", 1, "abstract")
    for block in _content(abstract, 2):
        yield block._replace(kind="abstract") if block.heading else block


def _language(element: Any) -> str:
    """Return the language code of an XML element without the region, such as ``en`` if its language is ``en-GB``."""
    return attribute(element, "lang").casefold().partition("-")[0]


def _content(parent: Any, level: int) -> Iterator[Block]:
    """Yield the headings, paragraphs, lists and captions in an XML element; ``level`` is the level of top headings."""
    for child in parent:
        match local(child):
            case "sec":
                yield from _section(child, level)
            case "p":
                yield from _paragraph(child)
            case "verse-group":
                yield Block(" ".join(text_of(line) for line in children(child, "verse-line")))
            case "boxed-text":
                if (caption := child_of(child, "caption")) is not None:
                    yield _caption(caption)
                yield from _content(child, level)
            case "list" | "def-list" | "disp-quote" | "statement" | "speech" | "list-item" | "def-item" | "def":
                yield from _content(child, level)
            case "table-wrap" | "fig" | "fig-group" | "table-wrap-group":
                yield from _captions(child)


def _section(section: Any, level: int) -> Iterator[Block]:
    title = " ".join(text_of(child_of(section, "title")).split())
    label = " ".join(text_of(child_of(section, "label")).split())
    whole = f"{label} {title}".strip() if label not in title else title
    stated = _TYPES.get((section.get("sec-type") or "").split("|")[0].casefold())
    if whole:
        yield Block(whole, level, kind_of(title) or stated)
        yield from _content(section, level + 1)
        return
    is_below = False  # whether a heading of a subsection has come
    for block in _content(section, level + 1):
        if block.heading:
            is_below = True
            yield block._replace(kind=block.kind or kind_of(block.text) or stated)
        else:
            yield block if is_below or block.kind else block._replace(kind=stated)


def _paragraph(paragraph: Any) -> Iterator[Block]:
    """Yield a paragraph, followed by the lists, quotations, boxes and captions that it contains."""
    inner = _LEFT_OUT | {"list", "def-list", "disp-quote", "boxed-text"}
    yield Block(text_of(paragraph, inner))
    for child in paragraph:
        if local(child) in ("list", "def-list", "disp-quote", "boxed-text"):
            yield from _content([child], 1)
        elif local(child) in ("table-wrap", "fig", "fig-group"):
            yield from _captions(child)


def _captions(element: Any) -> Iterator[Block]:
    return map(_caption, every(element, "caption"))


def _caption(caption: Any) -> Block:
    label = text_of(child_of(caption.getparent(), "label"))
    return Block(f"{label} {' '.join(text_of(part) for part in caption)}", kind="caption")


def _back(back: Any) -> Iterator[Block]:
    for child in back:
        match local(child):
            case "ref-list":
                yield Block(text_of(child_of(child, "title")) or "References", 1, "references")
                for reference in every(child, "ref"):
                    yield Block(" ".join(text_of(part) for part in reference if local(part) != "label"))
            case "ack" | "notes" | "sec" | "app" | "glossary" | "bio":
                heading = text_of(child_of(child, "title")) or _NAMES.get(local(child), "")
                if heading:
                    yield Block(heading, 1, "back")
                for block in _content(child, 2):
                    yield block._replace(kind="back") if block.heading else block
            case "app-group":
                yield from _back(child)


_NAMES = {"ack": "Acknowledgements", "app": "Appendix", "glossary": "Abbreviations", "notes": "Notes"}
