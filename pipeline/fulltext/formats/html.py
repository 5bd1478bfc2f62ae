"""Read articles from web pages (HTML), or from EPUB books, which are packages of web pages."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from html.parser import HTMLParser
from posixpath import dirname, join, normpath
from urllib.parse import unquote

from mechtag.core.errors import MechtagError
from mechtag.core.full_text import Kind
from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.pipeline.fulltext.document import Block, Draft
from mechtag.pipeline.fulltext.files import decoded, open_package
from mechtag.pipeline.fulltext.sections import kind_of
from mechtag.pipeline.fulltext.xml import every, parse

_HEADING = re.compile(r"h([1-6])$")
_HIDDEN = "#hidden"
# Elements whose text is not part of the article.
_SKIPPED = frozenset(
    "script style noscript template nav footer aside form button select option svg math iframe object head "
    f"{_HIDDEN}".split()
)
_BLOCKS = frozenset(
    "p li dd dt blockquote div section article main td th caption figcaption pre br tr table ul ol dl".split()
)
_KINDS: dict[str, Kind] = {"td": "table", "th": "table", "caption": "caption", "figcaption": "caption"}
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
# Smallest proportion of the text of a page that is in its main part.
_LEAST_MAIN = 1 / 3
_TITLES = ("citation_title", "dc.title", "og:title")
_DOIS = ("citation_doi", "dc.identifier", "prism.doi")
_CHARSET = re.compile(rb"<meta[^<>]+charset=[\"']?([\w-]+)", re.I)


def read(data: bytes, name: str) -> Draft:
    """Read the web page of an article.

    Raises
    ------
    MechtagError
        If the page has hardly any text, apart from headings.
    """
    page, blocks = _parsed(data, _SKIPPED)
    if not _has_text(blocks):
        # Some sites put the whole page into a form.
        page, blocks = _parsed(data, _SKIPPED - {"form"})
    if not _has_text(blocks):
        raise MechtagError(
            f"{name} is a web page without the text of an article; save the page that shows the full text"
        )
    title = next((page.meta[key] for key in _TITLES if page.meta.get(key)), "") or page.title
    doi = next((found for key in _DOIS if (found := normalise_doi(page.meta.get(key)))), None)
    return Draft(
        blocks=blocks, title=" ".join(title.split()), doi=doi, pmid=normalise_pmid(page.meta.get("citation_pmid"))
    )


def read_epub(data: bytes, name: str) -> Draft:
    """Read an EPUB book, and join its pages in reading order.

    Raises
    ------
    MechtagError
        If the book is damaged or contains no text.
    """
    try:
        with open_package(data, name) as package:
            container = parse(package.read("META-INF/container.xml"), name)
            path = next(every(container, "rootfile")).get("full-path")
            content = parse(package.read(path), name)
            files = {item.get("id"): item.get("href") for item in every(content, "item")}
            order = [files[item.get("idref")] for item in every(content, "itemref") if item.get("idref") in files]
            pages = [package.read(normpath(join(dirname(path), unquote(href)))) for href in order]
            titles = [element.text or "" for element in every(content, "title")]
            identifiers = [element.text or "" for element in every(content, "identifier")]
    except (zipfile.BadZipFile, KeyError, StopIteration, NotImplementedError, RuntimeError):
        raise MechtagError(f"{name} cannot be read as an EPUB book, because it is damaged; download it again") from None
    blocks = list[Block]()
    for content in pages:
        blocks += _parsed(content, _SKIPPED)[1]
    if not any(block.text for block in blocks if not block.heading):
        raise MechtagError(f"{name} contains no text; download it again, or save the paper in a different format")
    doi = next((found for each in identifiers if (found := normalise_doi(each))), None)
    return Draft(blocks=blocks, title=titles[0] if titles else "", doi=doi)


def _decoded(data: bytes) -> str:
    declared = _CHARSET.search(data[:4096])
    return decoded(data, "utf-8-sig", *([declared[1].decode("ascii")] if declared else []))


def _parsed(data: bytes, skipped: frozenset[str]) -> tuple[_Page, list[Block]]:
    page = _Page(skipped)
    page.feed(_decoded(data))
    page.close()
    return page, page.blocks()


def _has_text(blocks: Iterable[Block]) -> bool:
    return _length(block for block in blocks if not block.heading) >= 500


def _length(blocks: Iterable[Block]) -> int:
    return sum(len(block.text) for block in blocks)


class _Page(HTMLParser):
    """Parser that collects the headings, paragraphs, title and metadata of a web page.

    The text of the elements in ``skipped`` is left out.
    """

    def __init__(self, skipped: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self._skipped = skipped
        self.meta = dict[str, str]()
        self.title = ""
        self._found = list[tuple[bool, Block]]()  # whether inside the main part, and the block
        self._open = list[str]()
        self._text = list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta":
            key = (values.get("name") or values.get("property") or "").casefold()
            self.meta.setdefault(key, values.get("content") or "")
        if tag in _BLOCKS or _HEADING.match(tag):
            self._finish()
        if tag not in _VOID:
            self._open.append(tag)
            # A whole page may be hidden from screen readers while a dialog was open, but not a word for no reason.
            if "hidden" in values or (tag == "span" and values.get("aria-hidden") == "true"):
                self._open.append(_HIDDEN)  # ends with the element

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS or _HEADING.match(tag):
            self._finish()
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "title" in self._open and not self.title:
            self.title = data.strip()
        if self._skipped.isdisjoint(self._open):
            self._text.append(data)

    def close(self) -> None:
        super().close()
        self._finish()

    def _finish(self) -> None:
        text = " ".join("".join(self._text).split())
        self._text.clear()
        if not text:
            return
        heading = next((int(found[1]) for tag in reversed(self._open) if (found := _HEADING.match(tag))), 0)
        kind = next((_KINDS[tag] for tag in reversed(self._open) if tag in _KINDS), None)
        is_main = "article" in self._open or "main" in self._open
        self._found.append((is_main, Block(text, heading, None if heading else kind)))

    def blocks(self) -> list[Block]:
        """Return the paragraphs and headings in the elements ``article`` and ``main``.

        If these elements are missing or have little of the text, for example because they are only teasers of other
        articles, the paragraphs and headings of the whole page are returned.
        """
        main, whole = [block for is_main, block in self._found if is_main], [block for _, block in self._found]
        found = main if _length(main) > max(500, _LEAST_MAIN * _length(whole)) else whole
        lowest = min((block.heading for block in found if block.heading and kind_of(block.text)), default=1)
        return [
            block._replace(heading=max(1, block.heading - lowest + 1)) if block.heading else block for block in found
        ]
