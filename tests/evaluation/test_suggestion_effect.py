"""Test that the effect of seeing suggestions equals a plain count, and that its interval contains the true effect."""

from __future__ import annotations

import numpy as np
import pytest

from mechtag.evaluation.resampling import draw_resamples
from mechtag.evaluation.suggestion_effect import ComparedCodes, effect_section

LABELS = ("apple", "pear", "rare")


def make(generator: np.random.Generator, records: int, followed: float) -> ComparedCodes:
    """Simulate the codes of one coder who sees suggestions for half of the records.

    The coder follows a suggestion with probability ``followed``.
    """
    rows = []
    for record in range(records):
        seen = record % 2 == 1
        for label in range(2 if seen and record % 9 else 3):
            suggested, code = generator.integers(2), generator.integers(2)
            if seen and generator.random() < followed:
                code = suggested
            rows.append((record, label, -1 if generator.random() < 0.05 else code, suggested, seen))
    table = np.array(rows)
    return ComparedCodes(
        table[:, 0], table[:, 1], table[:, 2].astype(float), table[:, 3].astype(float), table[:, 4] == 1
    )


def test_proportions_equal_a_plain_count() -> None:
    codes = make(np.random.default_rng(1), 200, 0.5)
    section = effect_section(codes, LABELS, draw_resamples(200, 200, 0, np.random.default_rng(2)), 30)
    for column, label in enumerate(LABELS[:2]):
        shares = {}
        for group, seen in (("without", False), ("with", True)):
            rows = [row for row in range(len(codes.code)) if codes.label[row] == column and codes.seen[row] == seen]
            assert section["labels"][label][f"n_{group}"] == len(rows)
            shares["agreement", group] = sum(codes.code[row] == codes.suggested[row] for row in rows) / len(rows)
            shares["yes", group] = sum(codes.code[row] == 1 for row in rows) / len(rows)
        for (name, group), share in shares.items():
            assert section["labels"][label][f"{name}_{group}"]["value"] == pytest.approx(share, abs=1e-6)
        change = section["labels"][label]["agreement_change"]
        assert change["value"] == pytest.approx(shares["agreement", "with"] - shares["agreement", "without"], abs=1e-6)
        assert change["ci_low"] < change["value"] < change["ci_high"]


def test_too_few_codes_get_a_note_and_no_number() -> None:
    codes = make(np.random.default_rng(1), 200, 0.5)
    row = effect_section(codes, LABELS, draw_resamples(200, 100, 0, np.random.default_rng(2)), 30)["labels"]["rare"]
    assert row["note"] == "too few: 100 codes without a suggestion and 11 with one; a comparison needs 30 of each"
    assert "agreement_change" not in row


def test_the_interval_covers_the_true_effect() -> None:
    """Following half of the suggestions raises agreement from 50% to 75%; 5% of codes need review and never agree."""
    covered = 0
    for seed in range(60):
        codes = make(np.random.default_rng(seed), 120, 0.5)
        draws = draw_resamples(120, 200, 0, np.random.default_rng(seed + 1000))
        change = effect_section(codes, LABELS, draws, 30)["all"]["agreement_change"]
        covered += change["ci_low"] <= 0.95 * 0.25 <= change["ci_high"]
    assert covered >= 52


def test_equal_groups_have_an_interval_of_some_width() -> None:
    size = 80
    everything = np.ones(size)
    codes = ComparedCodes(np.arange(size), np.zeros(size, int), everything, everything, np.arange(size) % 2 == 0)
    row = effect_section(codes, ("apple",), draw_resamples(size, 100, 0, np.random.default_rng(0)), 30)["all"]
    assert row["agreement_with"]["value"] == 1
    assert row["agreement_with"]["ci_low"] < 1
