"""Compare readers of PDFs by how many sentences of the publisher's XML they keep whole.

``python -m benchmarks.fulltext FOLDER`` reads pairs of files ``NAME.pdf`` and ``NAME.xml`` (JATS) of the same paper.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lxml import etree

_NOT_TEXT = frozenset(
    "table-wrap fig disp-formula inline-formula supplementary-material fn boxed-text table-wrap-group fig-group tex-math".split()
)
_FEWEST_WORDS = 8
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")


def name_of(element: Any) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def text_of(element: Any) -> str:
    """Return the text of an element without tables, figures and formulae."""
    parts = [element.text or ""]
    for child in element:
        if name_of(child) and name_of(child) not in _NOT_TEXT:
            parts.append(text_of(child))
        parts.append(child.tail or "")
    return "".join(parts)


def truth(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Return sentences of the body, titles of cited articles, and titles of sections."""
    tree = etree.parse(
        str(path), etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    )
    sentences = list[str]()
    for body in (e for e in tree.iter() if name_of(e) == "body"):
        for paragraph in (e for e in body.iter() if name_of(e) == "p"):
            if any(name_of(a) in _NOT_TEXT for a in paragraph.iterancestors()):
                continue
            for sentence in _SENTENCE_END.split(" ".join(text_of(paragraph).split())):
                if len(sentence.split()) >= _FEWEST_WORDS and not re.search("[=±<>]", sentence):
                    sentences.append(sentence)
    refs = [
        " ".join(text_of(e).split())
        for ref in tree.iter()
        if name_of(ref) == "ref"
        for e in ref.iter()
        if name_of(e) == "article-title"
    ]
    heads = [
        " ".join(text_of(e).split())
        for b in tree.iter()
        if name_of(b) == "body"
        for e in b.iter()
        if name_of(e) == "title" and name_of(e.getparent()) == "sec"
    ]
    return sentences, [r for r in refs if len(r) > 30], [h for h in heads if h]


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "


def letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalpha())
