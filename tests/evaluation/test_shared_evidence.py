"""Test that the agreement on marked sentences equals an independent computation, for any number of coders."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest

from mechtag.evaluation.resampling import draw_resamples
from mechtag.evaluation.shared_evidence import Marks, evidence_agreement

LABELS = ("apple", "pear", "plum")


def marks(generator: np.random.Generator, records: int) -> list[Marks]:
    found = []
    for record in range(records):
        length = int(generator.integers(3, 9))
        for label in range(2):
            people = 2 + int(generator.random() < 0.3)
            base = int(generator.integers(length))
            sets = [
                {base if generator.random() < 0.6 else int(generator.integers(length)), int(generator.integers(length))}
                for _ in range(people)
            ]
            found.append(Marks(record, label, tuple(sets), length))
    return found


def test_alpha_and_shared_sentences_equal_a_plain_count() -> None:
    given = marks(np.random.default_rng(1), 40)
    section = evidence_agreement(given, LABELS, draw_resamples(40, 200, 0, np.random.default_rng(0)), 5)
    for label, chosen in (("apple", [row for row in given if row.label == 0]), ("all", given)):
        found = section["all"] if label == "all" else section["labels"][label]
        columns, shared = [], []
        for row in chosen:
            for sentence in range(row.length):
                codes = [float(sentence in own) for own in row.sentences]
                columns.append(codes + [np.nan] * (3 - len(codes)))
            pairs = [
                bool(row.sentences[a] & row.sentences[b])
                for a in range(len(row.sentences))
                for b in range(a + 1, len(row.sentences))
            ]
            shared.append(sum(pairs) / len(pairs))
        alpha = krippendorff.alpha(np.array(columns).T, level_of_measurement="nominal")
        assert found["n"] == len(chosen)
        assert found["krippendorff_alpha"]["value"] == pytest.approx(alpha, abs=1e-6)
        assert found["shared"]["value"] == pytest.approx(sum(shared) / len(shared), abs=1e-6)
        assert found["shared"]["ci_low"] < found["shared"]["value"] < found["shared"]["ci_high"]
    assert "plum" not in section["labels"]


def test_few_marks_get_a_note_and_perfect_agreement_an_interval() -> None:
    given = [Marks(record, int(record % 5 == 0), ({0, 1}, {1}), 4) for record in range(20)]
    section = evidence_agreement(given, LABELS, draw_resamples(20, 200, 0, np.random.default_rng(0)), 5)
    assert section["labels"]["pear"] == {
        "n": 4,
        "note": "too few: 4 items with sentences marked by several people; metrics need 5",
    }
    one = evidence_agreement(given[:5], LABELS, draw_resamples(5, 200, 0, np.random.default_rng(0)), 5)
    assert one["labels"]["pear"]["note"].startswith("too few: 1 item with sentences")
    apple = section["labels"]["apple"]["shared"]
    assert apple["value"] == 1
    assert apple["ci_low"] < 1
