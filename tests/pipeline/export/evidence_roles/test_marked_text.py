"""Test texts in which a marker follows each passage: which forms of markers are read, and what is not a marker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtag.core.codebook import Codebook
from mechtag.pipeline.export.evidence_roles.configurations import read_configurations, write_configurations
from mechtag.pipeline.export.evidence_roles.marked_text import read_marked_text
from tests.support.coded_papers import BOOK


def read(text: str, **given: str) -> list[tuple[str, str, str | None, str]]:
    """Return configuration, role, sign and text of each passage, and assert that no part of the text is rejected."""
    found = read_marked_text(text, BOOK, **{"label": "trust", **given})
    assert not found.rejected
    return [(row.config_id, row.role, row.sign, row.text) for row in found.passages]


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
        ("(M Resource)", "resource", None),
        ("(M+ Resource)", "resource", "present"),
        ("(M, Resource+)", "resource", "present"),
        ("(M-res)", "resource", None),
        ("(M+,\n            Resource)", "resource", "present"),
        ("[C]", "context", None),
        ("[M-, Resource]", "resource", "absent"),
        ("[O+]", "outcome", "present"),
        ("(C, +)", "context", "present"),
        ("(C+/-)", "context", "unclear"),
        ("(C+-)", "context", "unclear"),
        ("(C -/+)", "context", "unclear"),
        ("(C±)", "context", "unclear"),
        ("(M+/-, Resource)", "resource", "unclear"),
        ("(O absent)", "outcome", "absent"),
        ("(O, present)", "outcome", "present"),
    ],
)
def test_forms_of_markers(marker: str, role: str, sign: str | None) -> None:
    assert read(f"Words before it {marker}") == [("1", role, sign, "Words before it")]


@pytest.mark.parametrize(
    "aside",
    [
        *("(Table 2)", "(2012)", "(NHS)", "(see above)", "(a)", "(A)", "(and so on)", "[context]", "[12]", "[sic]"),
        *("(vitamin C)", "(C-reactive protein)", "(C. difficile)", "(O. Smith)", "(for example, context)"),
        *("(contexts and outcomes)", "(Outcomes Framework)", "(Policy Context)", "(R Core Team)", "(+)"),
    ],
)
def test_other_brackets_are_text(aside: str) -> None:
    assert read(f"Words {aside} more (C)") == [("1", "context", None, f"Words {aside} more")]


@pytest.mark.parametrize(
    ("marker", "roles"),
    [
        ("(C/O)", [("context", None), ("outcome", None)]),
        ("(C, O)", [("context", None), ("outcome", None)]),
        ("(C and O)", [("context", None), ("outcome", None)]),
        ("(C+/O-)", [("context", "present"), ("outcome", "absent")]),
        ("(C & O)", [("context", None), ("outcome", None)]),
        ("(C/M, Resource)", [("context", None), ("resource", None)]),
        ("(M-, Resource/Reasoning)", [("resource", "absent"), ("reasoning", "absent")]),
        ("(Resource/Reasoning)", [("resource", None), ("reasoning", None)]),
    ],
)
def test_one_marker_can_name_several_roles(marker: str, roles: list[tuple[str, str | None]]) -> None:
    assert read(f"Words {marker}") == [("1", role, sign, "Words") for role, sign in roles]


_UNCLEAR = "the marker does not clearly name one of these roles: Context, Resource, Reasoning, Outcome"


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        *((marker, _UNCLEAR) for marker in ("(R)", "(Re)", "(M)", "(M+)", "(C, M)", "(M, O)", "(C?)", "(X+)", "[M]")),
        *(
            (marker, _UNCLEAR)
            for marker in ("(M-, Ressource)", "(C: policy)", "(Smith, Resource)", "(C→O)", "(C or O)")
        ),
        ("(C1)", "the marker contains a number, which mechtag does not interpret"),
        ("(Outcome 2)", "the marker contains a number, which mechtag does not interpret"),
        ("(C/O+)", "the marker has a sign for only some of its roles; write one marker for each role"),
        ("(M: Res + Rea)", "the marker has a sign for only some of its roles"),
        (
            "(M+, Resource-)",
            "the marker has two different signs, one for the mechanism and one for its resource or reasoning; write",
        ),
    ],
)
def test_markers_that_are_not_clear_are_rejected_with_their_passage(marker: str, reason: str) -> None:
    found = read_marked_text(f"Words {marker}, others (O).", BOOK, label="trust")
    assert [row.text for row in found.passages] == ["others"]
    (rejected,) = found.rejected
    assert rejected.reason.startswith(f"{marker}: {reason}")
    assert dict(rejected.raw) == {"text": "Words"}


@pytest.mark.parametrize(
    "text", ["Words (C) (C)", "Words (C) (O) (C)", "Words (C/C)", "Words (C+) (C-)", "Words (C); words (O); Words (C)"]
)
def test_a_repeated_role_of_a_passage_is_rejected(tmp_path: Path, text: str) -> None:
    found = read_marked_text(text, BOOK, label="trust")
    assert [row.role for row in found.passages].count("context") == 1
    assert [row.reason.partition(": ")[2] for row in found.rejected] == [
        "the passage already has the role Context; delete one of the markers"
    ]
    write_configurations(tmp_path / "configurations.csv", found.passages)
    assert read_configurations(tmp_path / "configurations.csv", BOOK) == (found.passages, ())


def test_a_heading_may_have_other_text_in_brackets() -> None:
    text = "Box 1. Building trust (Smith 2020)\nTwo boards merged (C)\nBox 2. Money (see Table 2)\nFunds grew (O+)"
    assert [row[1:] for row in read(text, label="")] == [
        ("context", None, "Two boards merged"),
        ("outcome", "present", "Funds grew"),
    ]


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
        ("boxes.txt", 7, "(C): there is no text before this marker; wri"),
        ("boxes.txt", 7, "(M+): the marker does not clearly name one of"),
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


def test_names_of_roles_may_have_several_words_accents_and_digits() -> None:
    named = {"theory": "Programme theory", "resultat": "Résultat", "level_1": "Level 1"}
    roles = [{"key": key, "name": name, "definition": "A role."} for key, name in named.items()]
    book = Codebook.model_validate({**BOOK.model_dump(), "roles": roles})
    text = "One (Programme theory+), two (Résultat), three (Programme theory/Résultat), four (Level 1), five (Ré-)"
    found = read_marked_text(text, book, label="trust")
    assert not found.rejected
    assert [(row.text, row.role, row.sign) for row in found.passages] == [
        ("One", "theory", "present"),
        ("two", "resultat", None),
        ("three", "theory", None),
        ("three", "resultat", None),
        ("four", "level_1", None),
        ("five", "resultat", "absent"),
    ]


@given(st.text(alphabet="(CMO)[]+-/±, Resa\n#1"))
def test_any_text_is_read_and_every_marker_is_accounted_for(text: str) -> None:
    found = read_marked_text(text, BOOK, label="trust")
    assert all(row.text.strip() for row in found.passages)
    for config in {row.config_id for row in found.passages}:
        orders = [row.order for row in found.passages if row.config_id == config]
        assert orders == list(range(1, len(orders) + 1))
