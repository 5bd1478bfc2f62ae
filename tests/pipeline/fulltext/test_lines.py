"""Test that divided words, running heads and wrong ligatures are repaired by what the rest of the document shows."""

from __future__ import annotations

from collections import Counter

import pytest

from mechtag.pipeline.fulltext.lines import Line, joined_rows, mend, vocabulary, with_ligatures, without_running_heads


def line(
    text: str, *, page: int = 1, left: float = 50, right: float = 250, bottom: float = 400, size: float = 10
) -> Line:
    return Line(text, page, left, right, bottom, size, ("Times",))


@pytest.mark.parametrize(
    ("text", "document", "expected"),
    [
        ("har\x02vest", "harvest", "harvest"),
        ("har\ufffevest", "", "harvest"),
        ("well\x02kept", "well-kept", "well-kept"),
        ("self\x02aware", "aware", "self-aware"),
        ("inter\x02ested", "", "interested"),
        ("post\x02Brexit", "", "post-Brexit"),
        ("COVID\x02related", "", "COVID-related"),
        ("type 2\x02diabetic", "", "type 2-diabetic"),
        ("multi-pro\x02fessional", "professional", "multi-professional"),
        ("decision\x02making", "decision decision making", "decision-making"),
        ("for 10weeks and 5mg", "", "for 10 weeks and 5 mg"),
    ],
)
def test_a_divided_word_is_joined_as_the_document_writes_it(text: str, document: str, expected: str) -> None:
    words = vocabulary([line(document)]) if document else Counter[str]()
    assert mend(text, words) == expected


def test_running_heads_and_page_numbers_are_left_out_and_repeated_sentences_are_not() -> None:
    pages = [
        [
            line(f"Orchards 2020, page {number}", page=number, bottom=800),
            *(line(f"{'abcd'[number - 1] * row} fell.", page=number, bottom=710 + row) for row in range(1, 4)),
            line("They said no.", page=number, bottom=550 - number),
            *(line(f"{'abcd'[number - 1] * (row + 1)} grew.", page=number, bottom=700 - 12 * row) for row in range(24)),
            line(str(number), page=number, bottom=20),
        ]
        for number in range(1, 5)
    ]
    texts = [row.text for lines in without_running_heads(pages) for row in lines]
    assert not [text for text in texts if text.startswith("Orchards") or text.isdigit()]
    assert texts.count("They said no.") == 4


def test_parts_of_a_row_around_a_superscript_are_one_row() -> None:
    parts = [
        line("56.40 x 10", right=100),
        line("4", left=100, right=104, bottom=404, size=6),
        line("apples were picked", left=108, bottom=400),
        line("in one day.", bottom=388),
    ]
    assert [row.text for row in joined_rows(parts)] == ["56.40 x 104 apples were picked", "in one day."]


def test_a_ligature_that_the_font_names_wrongly_is_written_out_if_it_is_frequent() -> None:
    rows = [line(f"*e orchard {number} is old. *ese trees stand.") for number in range(3)]
    assert [row.text for row in with_ligatures(rows)] == [
        f"The orchard {number} is old. These trees stand." for number in range(3)
    ]
    rare = [line("*e orchard is old."), line("a footnote* stands")]
    assert with_ligatures(rare) == rare
