"""Test that quotes count if they are found in the text, and that the characters of the text are stored."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechtag.pipeline.llm.prompt import Passage, Quoted
from mechtag.pipeline.llm.verify import SHORTEST, verify

TEXT = (
    "“We  kept our promises”, said the leaders – they meant it.\nTrust grew slowly in the ofﬁces of the north. It hurt."
)
SENTENCES = (
    "“We  kept our promises”, said the leaders – they meant it.",
    "Trust grew slowly in the ofﬁces of the north.",
)
PASSAGES = (
    Passage(0, "Promises of leaders in the north", 0, 32, "title"),
    *(
        Passage(number, one, TEXT.index(one), TEXT.index(one) + len(one), "abstract", number - 1)
        for number, one in enumerate((*SENTENCES, "It hurt."), start=1)
    ),
)


def found(sentence: int, quote: str) -> tuple[list[tuple[int, str]], int, int]:
    result = verify([Quoted(sentence=sentence, quote=quote)], PASSAGES)
    for one in result.found:
        source = PASSAGES[0].text if one.passage.place == "title" else TEXT
        assert source[one.start : one.end] == one.text
    return [(one.passage.number, one.text) for one in result.found], result.moved, result.invented


@pytest.mark.parametrize(
    ("sentence", "quote", "expected"),
    [
        (1, '"We kept our promises", said the leaders - they', "“We  kept our promises”, said the leaders – they"),
        (1, "'we KEPT our promises', said the", "“We  kept our promises”, said the"),
        (2, "grew slowly in the offices of", "grew slowly in the ofﬁces of"),
        (2, '"Trust grew slowly in the offices of the north."', SENTENCES[1]),
        (3, "It hurt.", "It hurt."),
        (0, "promises of leaders in", "Promises of leaders in"),
    ],
    ids=["quotation marks and dashes", "case", "ligature", "in quotation marks", "short sentence", "title"],
)
def test_a_quote_is_found_however_it_is_written(sentence: int, quote: str, expected: str) -> None:
    quotes, moved, invented = found(sentence, quote)
    assert (moved, invented) == (0, 0)
    ((at, text),) = quotes
    assert at == sentence
    assert text.strip("“”") == expected.strip("“”")


def test_a_quote_from_another_sentence_is_moved_there() -> None:
    assert found(1, SENTENCES[1]) == ([(2, SENTENCES[1])], 1, 0)
    assert found(99, SENTENCES[1]) == ([(2, SENTENCES[1])], 1, 0)


@pytest.mark.parametrize(
    "quote",
    [
        "",
        '""',
        "Trust",
        "Trust grew slowly i",
        "Trust grew quickly in the offices of the north.",
        "they meant it. Trust grew slowly",
        "It hurts.",
    ],
    ids=["nothing", "quotation marks", "word", "19 letters", "changed word", "across sentences", "almost a sentence"],
)
def test_a_quote_that_is_too_short_or_in_no_sentence_is_invented(quote: str) -> None:
    assert len("Trust grew slowly i") == SHORTEST - 1
    assert found(2, quote) == ([], 0, 1)


def test_accents_in_two_characters_are_one() -> None:
    text = "Les élèves ont répété la leçon"
    for own, quote in ((text, unicodedata.normalize("NFD", text)), (unicodedata.normalize("NFD", text), text)):
        passage = Passage(1, own, 0, len(own), "abstract", 0)
        (result,) = verify([Quoted(sentence=1, quote=quote)], (passage,)).found
        assert result.text == own


@settings(max_examples=200)
@given(st.text(min_size=1, max_size=60), st.data())
def test_what_is_stored_is_always_in_the_text(text: str, data: st.DataObject) -> None:
    """A quote copied from any text is either found, with offsets that fit, or counted as invented."""
    start = data.draw(st.integers(0, len(text) - 1))
    quote = text[start:] if data.draw(st.booleans()) else text
    passage = Passage(1, text, 7, 7 + len(text), "abstract", 0)
    result = verify([Quoted(sentence=1, quote=quote)], (passage,))
    assert len(result.found) + result.invented == 1
    for one in result.found:
        assert text[one.start - 7 : one.end - 7] == one.text != ""
