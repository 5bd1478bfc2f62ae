"""Test the benchmark of rules that choose the papers to code, on toy papers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import active
from benchmarks.active import (
    HALLMARKS,
    RANDOM,
    RULES,
    SHIPPED,
    Replay,
    draw,
    figures,
    outcome,
    precision,
    replay,
    score,
)
from mechtag.core.codebook import Codebook
from mechtag.core.settings import TrainSettings
from mechtag.models.features import embed_codebook
from mechtag.training.dataset import Corpus, build_corpus
from tests.support.toy import WordEncoder, fruit_documents


@pytest.fixture(scope="module")
def corpus(fruit: Codebook) -> Corpus:
    encoder = WordEncoder()
    made = build_corpus(fruit_documents(), (), fruit.keys, encoder, embed_codebook(fruit, encoder))
    return replace(made, unit_targets=np.full_like(made.unit_targets, np.nan))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "BATCH", 5)
    monkeypatch.setattr(active, "MOST", 15)


@pytest.mark.parametrize("rule", list(RULES))
def test_a_replay_starts_without_codes_and_never_codes_held_out_papers(corpus: Corpus, rule: str) -> None:
    sample, held = draw(corpus, 1)
    assert held.sum() == 16
    settings = TrainSettings()
    full = precision(sample, held, score(sample, ~held, settings))
    found = replay(sample, held, RULES[rule], full, 1, settings)
    assert found.papers == (0, 5, 10, 15)
    assert found.full == full
    assert found.labels[0] == precision(sample, held, score(sample, np.zeros(40, dtype=bool), settings))[0]


def test_metrics_of_a_replay() -> None:
    labels = (0.5, 0.6, 0.73, 0.8, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)
    found = Replay(tuple(range(0, 110, 10)), labels, (0.5,) * 11, (0.8, 0.5), 23)
    assert found.needed() == 20
    assert Replay((0, 10), (0.5, 0.6), (0.5, 0.5), (0.8, 0.5), 23).needed() == active.MOST
    assert figures(found)["papers to 3 examples per label"] == 23
    assert figures(found)["macro AP after 50"] == 0.9


def test_the_outcome_names_only_rules_with_significant_gains() -> None:
    def row(system: str, metric: str, value: float, high: float) -> dict[str, object]:
        return {
            "dataset": HALLMARKS,
            "system": system,
            "metric": metric,
            "value": value,
            "ci_low": -1.0,
            "ci_high": high,
        }

    rows = [
        *(row(rule, active.COVERED, 30.0, 40.0) for rule in (SHIPPED, RANDOM)),
        row(SHIPPED, f"{active.MEAN_AP}, against random order", 0.01, 0.02),
        row(SHIPPED, f"{active.TO_GOAL}, against random order", -5.0, 2.0),
        row("uncertain labels", f"{active.TO_GOAL}, against random order", -5.0, -1.0),
    ]
    rows += [{**one, "dataset": active.CODED} for one in rows[:3]]
    assert outcome(rows).endswith("than random order: uncertain labels (Hallmarks of Cancer).")
    assert "after 30 papers" in outcome(rows)
