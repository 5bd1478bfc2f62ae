"""Test that the title of a section shows which kind of section it is."""

from __future__ import annotations

import pytest

from mechtag.core.full_text import Kind
from mechtag.pipeline.fulltext.sections import kind_of, without_number


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Introduction", "introduction"),
        ("1. INTRODUCTION AND AIMS", "introduction"),
        ("Literature review", "introduction"),
        ("2 Materials and methods", "methods"),
        ("II. Methodology", "methods"),
        ("Qualitative methods", "methods"),
        ("Data collection and analysis", "methods"),
        ("Results and discussion", "results"),
        ("Key findings", "results"),
        ("Strengths and limitations", "discussion"),
        ("Implications for practice", "discussion"),
        ("5. Concluding remarks", "conclusion"),
        ("Summary", "abstract"),
        ("References cited", "references"),
        ("Bibliography", "references"),
        ("Acknowledgments", "back"),
        ("Appendix A. Interview guide", "back"),
        ("Conflict of interest", "back"),
        ("Declaration of competing interest", "back"),
        ("Author contributions", "back"),
        ("Trust between organisations", None),
        ("Results show that leaders listen to those who work with them", None),
        ("", None),
    ],
)
def test_a_title_is_known_by_its_words(title: str, kind: Kind | None) -> None:
    assert kind_of(title) == kind


@pytest.mark.parametrize(
    ("title", "bare"),
    [
        ("2.1. Data", "Data"),
        ("IV. Results", "Results"),
        ("A. Setting", "Setting"),
        ("Chapter 3: Trust", "Trust"),
        ("3D models", "3D models"),
    ],
)
def test_the_number_of_a_title_is_taken_off(title: str, bare: str) -> None:
    assert without_number(title) == bare
