"""Test how texts are prepared before they are scored."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.models.tagger import Document, units_of
from mechtag.models.text import beginning, clauses, normalise


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("Themes were: trust; shared budgets; and power.", ("Themes were: trust", "shared budgets", "and power")),
        ("Odds fell (0.46; 95% CI 0.4 to 0.5); staff agreed.", ("Odds fell (0.46; 95% CI 0.4 to 0.5)", "staff agreed")),
        ("1) trust; 2) power (shared; voiced); 3) vision", ("1) trust", "2) power (shared; voiced)", "3) vision")),
        ("It was open (and stayed so; they left", ("It was open (and stayed so", "they left")),
        ("Organisations recognised it.", ("Organizations recognized it",)),
        ("...", ("",)),
    ],
)  # fmt: skip
def test_a_sentence_is_cut_at_its_semicolons(sentence: str, parts: tuple[str, ...]) -> None:
    assert clauses(sentence) == parts


@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("piece", ["A1b2C3d4", "[", "aaaa.", "a;", "www", "(;"])
def test_time_is_linear_in_the_length(piece: str) -> None:
    def seconds(times: int) -> float:
        begun = time.process_time()
        clauses(piece * times)
        return time.process_time() - begun

    assert min(seconds(40_000) for _ in range(2)) < 8 * max(min(seconds(10_000) for _ in range(3)), 0.005)


def test_joined_sentences_are_read_as_two() -> None:
    apart = Document("On joint teams", ("Leaders shared control.", "Staff trusted them."))
    joined = Document("On joint teams", ("Leaders shared control; staff trusted them.",))
    assert [part.lower() for part in units_of([apart]).parts] == [part.lower() for part in units_of([joined]).parts]


def test_repeated_sentences_count_once() -> None:
    units = units_of([Document("Trust", ("Leaders shared control.", "Leaders shared control.")), Document("Trust")])
    assert units.counts.tolist() == [True, True, False, True]


def test_methods_join_the_text_only_where_there_is_no_content_but_the_title() -> None:
    methods = "Interviews were transcribed verbatim and analysed thematically."
    (with_content,) = units_of([Document("", ("Trust grew among partners.", methods))]).whole_texts()
    (without,) = units_of([Document("On trust", (methods,))]).whole_texts()
    assert with_content == "Trust grew among partners"
    assert without == "On trust. Interviews were transcribed verbatim and analyzed thematically"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one", "one"),
        ("one  two ", "one  two "),
        ("one  two\tthree four", "one two"),
    ],
)
def test_the_beginning_of_a_text_is_its_first_words(text: str, expected: str) -> None:
    assert beginning(text, 2) == expected
