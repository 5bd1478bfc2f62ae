"""Test that sections and pages cover the text without gaps or overlaps, whatever the blocks."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mechtag.core.full_text import Kind
from mechtag.pipeline.fulltext.document import Block, assemble

TEXTS = st.text(("aé\u0301 \n\t\x00\u00ad\u200b\ufb01𝜇.Z"), max_size=12)


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[Block], list[str]]:
    count = draw(st.integers(0, 4))
    blocks, page = list[Block](), 1
    for _ in range(draw(st.integers(0, 8))):
        text = draw(TEXTS)
        heading = draw(st.sampled_from((0, 0, 0, 1, 2)))
        kind = draw(st.sampled_from((None, None, *get_args(Kind))))
        breaks = list[tuple[int, int]]()
        first = page
        if count:
            for offset in sorted(draw(st.sets(st.integers(1, max(1, len(text))), max_size=2))):
                if page < count and offset < len(text):
                    page += 1
                    breaks.append((offset, page))
        blocks.append(Block(text, heading, kind, first if count else None, tuple(breaks)))
        page = min(count, page + draw(st.integers(0, 1))) if count else page
    return blocks, [str(number) for number in range(1, count + 1)]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_sections_and_pages_tile_the_text(document: tuple[list[Block], list[str]]) -> None:
    text, sections, pages = assemble(*document)
    for tiles in (sections, pages):
        assert not tiles or (tiles[0].start == 0 and tiles[-1].end == len(text))
        assert all(one.end == other.start for one, other in pairwise(tiles))
    assert all(text[section.start :].startswith(section.title) for section in sections)
    assert [page.label for page in pages] == document[1]
    assert not {char for char in text if unicodedata.category(char) in ("Cc", "Cf")} - {"\n"}
    assert unicodedata.is_normalized("NFC", text)
    assert assemble(*document) == (text, sections, pages)


def test_a_section_inherits_its_kind_from_the_section_around_it() -> None:
    blocks = [
        Block("Methods", 1),
        Block("Places", 2),
        Block("Two places."),
        Block("Fig. 1", kind="caption"),
        Block("They were old."),
        Block("What they said", 1),
        Block("They listened."),
    ]
    text, sections, _ = assemble(blocks)
    assert [(section.kind, section.title) for section in sections] == [
        ("methods", "Methods"),
        ("methods", "Places"),
        ("caption", ""),
        ("methods", ""),
        ("other", "What they said"),
    ]
    assert text.split("\n\n")[1] == "Places\nTwo places."


def test_a_page_begins_where_its_first_words_are() -> None:
    blocks = [Block("One two ", page=1), Block("three four five", page=1, breaks=((6, 2), (11, 3)))]
    text, _, pages = assemble(blocks, ["i", "ii", "iii", "iv"])
    assert [(page.label, text[page.start : page.end]) for page in pages] == [
        ("i", "One two\nthree "),
        ("ii", "four "),
        ("iii", "five"),
        ("iv", ""),
    ]
