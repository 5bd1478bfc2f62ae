"""Test that evidence of presence is distinguished from evidence of absence."""

import pytest

from mechtag.pipeline.reading.text.sign import Sign, absence_in, by_words, sign_of


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Leaders shared authority with the front line.", "present"),
        ("Leaders did not share authority with the front line.", "absent"),
        ("LACK OF A SHARED BUDGET slowed the work.", "absent"),
        ("Leaders couldn’t agree on a plan.", "absent"),
        ("Too few managers attended.", "absent"),
        # A word of lack that does not deny the statement.
        ("Authority was shared, and not only in words.", "present"),
        ("Mistakes were discussed without any blame.", "present"),
        ("Staff led themselves rather than waiting without orders.", "present"),
        ("Authority should not be the privilege of a few.", "present"),
        ("The chair resolved a long conflict between the partners.", "present"),
        ("A nurse convinced reluctant doctors to join.", "present"),
        # Of two statements, the one after 'but' or without 'although' decides.
        ("Budgets were never pooled, but the managers planned the service together.", "present"),
        ("The managers planned the service together, but budgets were never pooled.", "absent"),
        ("Although trust was lacking at first, the partners agreed on a plan.", "present"),
        ("Although the partners agreed on a plan, trust was lacking.", "absent"),
        # A clause of only three words after 'but' does not decide.
        ("Budgets were never pooled by the partners, but staff were.", "absent"),
        # Words of lack within longer words.
        ("The notice reached nobles in the knot of northern offices.", "present"),
        ("", "present"),
    ],
)
def test_sign(sentence: str, expected: Sign) -> None:
    assert sign_of(sentence) == expected


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([], ""),
        (["Power was shared.", "Trust grew."], ""),
        (["Power was not shared."], "absent"),
        (["Power was not shared.", "Trust grew.", "Trust grew again."], "partly absent"),
    ],
)
def test_absence_in_several_sentences(sentences: list[str], expected: str) -> None:
    assert absence_in(by_words(sentences)) == expected
