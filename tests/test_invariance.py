"""The aims of invariance, on coded records that the model has not seen. Takes some minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from evaluation.invariance import invariance_section
from models.codebook import Codebook
from models.tagger import Tagger
from pipeline.records import Prediction, Record
from pipeline.settings import Settings, load_settings
from pipeline.variations import AS_IT_IS, VARIATIONS
from tests.conftest import ROOT
from tests.themes import share_apart, theme_pairs
from training.invariance import fold_taggers, tag_fold

pytestmark = pytest.mark.slow

MOST_CELLS = 0.02
MOST_PAIRS = 0.1
FEWEST_PAPERS = 10


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The shipped settings, whose files are found from any folder."""
    shipped = load_settings(ROOT / "params.yaml")
    names = ("records", "exemplars", "added")
    train = shipped.train.model_copy(update={name: str(ROOT / getattr(shipped.train, name)) for name in names})
    return shipped.model_copy(update={"train": train})


@pytest.fixture(scope="module")
def held_out(settings: Settings, codebook: Codebook) -> tuple[list[Record], Tagger]:
    """A fifth of the coded records, and a tagger made of the other four."""
    return next(fold_taggers(settings, codebook))


@pytest.fixture(scope="module")
def figures(held_out: tuple[list[Record], Tagger], settings: Settings, codebook: Codebook) -> dict[str, dict[str, Any]]:
    predictions: dict[str, Sequence[Prediction]] = tag_fold(*held_out, settings)
    assert predictions[AS_IT_IS]
    generator = np.random.default_rng(settings.seed)
    return invariance_section(predictions, codebook.keys, codebook.relevance.key, 100, generator)


@pytest.mark.parametrize("name", list(VARIATIONS))
def test_decisions_hold(figures: dict[str, dict[str, Any]], name: str) -> None:
    own = figures[name]
    if own["papers"] < FEWEST_PAPERS:
        pytest.skip(f"{name} changes {own['papers']} of the papers held out, too few to tell")
    assert own["changed_cells"] <= MOST_CELLS * own["cells"], own
    assert own["relevance_reversed"] == 0, own


def test_a_list_of_themes_counts_as_its_told_form_does(held_out: tuple[list[Record], Tagger]) -> None:
    assert share_apart(held_out[1], theme_pairs()) <= MOST_PAIRS
