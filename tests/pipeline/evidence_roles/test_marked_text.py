"""Texts in which markers follow the passages: the forms of markers that reviews print, and what is not a marker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.codebook import Codebook
from mechtag.pipeline.evidence_roles.marked_text import read_marked_text
from tests.support.coded_papers import BOOK


def read(text: str, **given: str) -> list[tuple[str, str, str | None, str]]:
    """Configuration, role, sign and text of each passage of a text from which nothing is rejected."""
    found = read_marked_text(text, BOOK, **{"label": "trust", **given})
    assert not found.rejected
    return [(row.config_id, row.role, row.sign, row.text) for row in found.passages]


def reasons(text: str, **given: str) -> list[str]:
    return [row.reason for row in read_marked_text(text, BOOK, file="boxes.txt", **given).rejected]


@pytest.mark.parametrize(
    ("marker", "role", "sign"),
    [
        ("(C)", "context", None),
        ("(C+)", "context", "present"),
        ("(M+, Resource)", "resource", "present"),
        ("(M-, Reasoning)", "reasoning", "absent"),
        ("(M−, resource)", "resource", "absent"),
        ("(M–, Reasoning)", "reasoning", "absent"),
        ("( M + , Resource )", "resource", "present"),
        ("(M-Res)", "resource", None),
        ("(M-Rea)", "reasoning", None),
        ("(M+Res)", "resource", "present"),
        ("(M- Resource)", "resource", "absent"),
        ("(M– Reasoning)", "reasoning", "absent"),
        ("(M−Res)", "resource", "absent"),
        ("(M − Resource)", "resource", "absent"),
        ("(M - Resource)", "resource", None),
        ("(M: Resource)", "resource", None),
        ("(Mechanism, reasoning)", "reasoning", None),
        ("(O-)", "outcome", "absent"),
        ("(O+)", "outcome", "present"),
        ("(Outcome)", "outcome", None),
        ("(contexts)", "context", None),
    ],
)
def test_forms_of_markers(marker: str, role: str, sign: str | None) -> None:
    assert read(f"Words before it {marker}") == [("1", role, sign, "Words before it")]


@pytest.mark.parametrize("aside", ["(Table 2)", "(2012)", "(NHS)", "(see above)", "(a)", "(A)", "(and so on)", "(R)"])
def test_other_parentheses_are_text(aside: str) -> None:
    if aside == "(R)":  # begins the names of two roles
        assert reasons(f"Words {aside} more (C)", label="trust") == [
            "the marker (R) names none of the roles Context, Resource, Reasoning, Outcome"
        ]
        return
    assert read(f"Words {aside} more (C)") == [("1", "context", None, f"Words {aside} more")]


def test_headings_name_the_label_of_the_paragraphs_below() -> None:
    text = """# Box 1. Building trust
    After a merger (C), leaders
    listen (M+, Resource); people believe them (M+, Reasoning), and stay (O+).

    Sharing power in boards

    Under one director (C) nobody else decides (M-, Resource).

    Box 3: money
    Budgets stay apart (C)"""
    found = read_marked_text(text, BOOK, coder="us", record_id="doi:10.1/1")
    assert not found.rejected
    assert [(row.config_id, row.label, row.order, row.text) for row in found.passages] == [
        ("1", "trust", 1, "After a merger"),
        ("1", "trust", 2, "leaders listen"),
        ("1", "trust", 3, "people believe them"),
        ("1", "trust", 4, "and stay"),
        ("2", "sharing_power", 1, "Under one director"),
        ("2", "sharing_power", 2, "nobody else decides"),
        ("3", "money", 1, "Budgets stay apart"),
    ]
    assert {(row.coder, row.record_id) for row in found.passages} == {("us", "doi:10.1/1")}


def test_two_markers_in_a_row_give_one_passage_two_roles() -> None:
    assert read("Leaders listen (M+, Resource) (M+, Reasoning)") == [
        ("1", "resource", "present", "Leaders listen"),
        ("1", "reasoning", "present", "Leaders listen"),
    ]


def test_nothing_is_lost_without_a_reason() -> None:
    text = "No label here\n\nA merger (C)\n\nTrust, building trust\n\n(C) listen (M+) and stay (O) for years."
    found = read_marked_text(text, BOOK, file="boxes.txt")
    assert [row.text for row in found.passages] == ["and stay"]
    assert [(row.file, row.line, row.reason[:45]) for row in found.rejected] == [
        ("boxes.txt", 3, "the heading 'No label here' names no label of"),
        ("boxes.txt", 7, "there is no text before the marker (C)"),
        ("boxes.txt", 7, "the marker (M+) names none of the roles Conte"),
        ("boxes.txt", 7, "this text follows the last marker of its para"),
    ]
    assert dict(found.rejected[2].raw) == {"text": "listen"}
    assert dict(found.rejected[3].raw) == {"text": "for years"}


def test_the_roles_of_the_codebook_are_the_markers() -> None:
    names = ("Intervention", "Context", "Actor", "Mechanism", "Outcome")
    roles = [{"key": name.lower(), "name": name, "definition": f"The {name}."} for name in names]
    book = Codebook.model_validate({**BOOK.model_dump(), "roles": roles})
    found = read_marked_text(
        "Training (I) in towns (C) for nurses (A) builds skill (M+) and care (O).", book, label="trust"
    )
    assert [row.role for row in found.passages] == ["intervention", "context", "actor", "mechanism", "outcome"]


@given(st.text(alphabet="(CMO)+-, Resa\n#1"))
def test_any_text_is_read_and_every_marker_is_accounted_for(text: str) -> None:
    found = read_marked_text(text, BOOK, label="trust")
    assert all(row.text.strip() for row in found.passages)
    for config in {row.config_id for row in found.passages}:
        orders = [row.order for row in found.passages if row.config_id == config]
        assert orders == list(range(1, len(orders) + 1))
