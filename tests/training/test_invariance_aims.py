"""Test that few decisions change when abstracts are varied, on coded records that the model has not seen.

The tests take some minutes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.records import Prediction
from mechtag.core.settings import Settings, load_settings
from mechtag.evaluation.invariance import invariance_section
from mechtag.pipeline.reading.text.variations import AS_IT_IS, VARIATIONS
from mechtag.training.invariance import fold_taggers, tag_fold
from tests.support.paths import ROOT
from tests.support.themes import share_apart, theme_pairs

pytestmark = pytest.mark.slow

MOST_CELLS = 0.02
# One of the 26 pairs adds 0.04, so four pairs can make up nearly all of a difference. With five seeds of
# the folds, the heads that start from the definitions reach 0.17 to 0.19 (95% interval over pairs: 0.07 to 0.31). The
# former heads reached 0.12 because their scores were higher: both texts had the label in 3 of 4 pairs, now in 3 of 5.
MOST_PAIRS = 0.2
FEWEST_PAPERS = 10


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The shipped settings with absolute paths."""
    shipped = load_settings(ROOT / "params.yaml")
    names = ("records", "exemplars", "added")
    train = shipped.train.model_copy(update={name: str(ROOT / getattr(shipped.train, name)) for name in names})
    return shipped.model_copy(update={"train": train})


@pytest.fixture(scope="module")
def measured(settings: Settings, codebook: Codebook) -> tuple[dict[str, dict[str, Any]], list[float]]:
    """Figures of all coded records, each tagged by a model that has not seen it, and `share_apart` of each model."""
    predictions: dict[str, list[Prediction]] = {}
    apart = []
    for records, tagger in fold_taggers(settings, codebook):
        for name, rows in tag_fold(records, tagger, settings).items():
            predictions.setdefault(name, []).extend(rows)
        apart.append(share_apart(tagger, theme_pairs()))
    assert predictions[AS_IT_IS]
    generator = np.random.default_rng(settings.seed)
    return invariance_section(predictions, codebook.keys, codebook.relevance.key, 100, generator), apart


@pytest.mark.parametrize("name", list(VARIATIONS))
def test_few_decisions_change(measured: tuple[dict[str, dict[str, Any]], list[float]], name: str) -> None:
    own = measured[0][name]
    if own["papers"] < FEWEST_PAPERS:
        pytest.skip(f"{name} changes {own['papers']} of the coded records, too few to tell")
    assert own["changed_cells"] <= MOST_CELLS * own["cells"], own
    assert own["relevance_reversed"] == 0, own


def test_lists_of_themes_get_the_same_labels_as_sentences(
    measured: tuple[dict[str, dict[str, Any]], list[float]],
) -> None:
    assert np.mean(measured[1]) <= MOST_PAIRS, measured[1]
