from __future__ import annotations

import pytest

from mechtag.pipeline.reading.text.reference_numbers import without_reference_numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Leaders improved care12,13 for all.", "Leaders improved care for all."),
        ("Trust grew.4 The teams agreed,5–7 and stayed.128", "Trust grew. The teams agreed, and stayed."),
        ("They called it “safe”3 and (mostly) fair1.", "They called it “safe” and (mostly) fair."),
        ("As Smith and colleagues1-3,9,11–14 said", "As Smith and colleagues said"),
    ],
)
def test_glued_numbers_are_removed(text: str, expected: str) -> None:
    assert without_reference_numbers(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "In 2012, 34 managers of 5 sites (n = 12) took part.",
        "H1N1, CO2 and 12 cm2 of HbA1c at p<0.05",
        "The report2019 and covid19-related care",
        "version3.5 and page12.7",
        "reached42% of staff",
        "[12,13] and (4)",
        "Round 2 of the Delphi",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert without_reference_numbers(text) == text
