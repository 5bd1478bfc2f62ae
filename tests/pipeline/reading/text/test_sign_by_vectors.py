"""Test the sign of a sentence as computed from its vector and its words."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.sign_training import fit, read_examples, weights_of
from mechtag.core.errors import MechtagError
from mechtag.core.settings import ENCODERS, TagSettings
from mechtag.models.encoder import Encoder, Vectors
from mechtag.pipeline.reading.text import sign_by_vectors
from mechtag.pipeline.reading.text.sign import by_words, word_features
from mechtag.pipeline.reading.text.sign_by_vectors import (
    WEIGHTS,
    SignsByVectors,
    accurate_encoder,
    features,
    read_signs_by,
)

LACK = "They had no shared budget."
NONE = "They shared a budget."


class ToyEncoder:
    """Encoder with vectors of one element, which is 1 for texts that contain ``stayed`` and otherwise 0."""

    size = 1

    def encode(self, texts: Sequence[str]) -> Vectors:
        return np.array([[float("stayed" in text)] for text in texts], dtype=np.float32)


def test_features_are_the_vector_and_what_the_words_say() -> None:
    rows = features([LACK, NONE], np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert rows.shape == (2, 2 + len(word_features(NONE)))
    assert rows[:, :2].tolist() == [[1, 0], [0, 1]]
    assert rows[0, 2:].tolist() == pytest.approx([0.3, 0.3, 0.3, 0, 0.3, 0])
    assert not rows[1, 2:].any()


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (NONE, (0, 0, 0, 0, 0, 0)),
        ("They not only met, but also planned together every week.", (0, 0, 1, 1, 0, 1)),
        ("No plan and no budget was ever agreed upon, but the two teams met.", (1, 0, 1, 0, 2, 1)),
    ],
)
def test_features_of_words(sentence: str, expected: tuple[float, ...]) -> None:
    assert word_features(sentence) == expected


def test_vectors_and_words_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.array([2.0, 10.0, *[0.0] * 5])
    monkeypatch.setattr(sign_by_vectors, "_weights", lambda: (weights, -1.0))
    read = SignsByVectors(ToyEncoder())
    assert read([NONE, LACK, "Decisions stayed with the director."]) == ["present", "absent", "absent"]
    assert read([]) == []


def test_the_stored_weights_belong_to_the_encoder_and_the_features() -> None:
    content = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    assert (content["encoder"], content["encoder_sha256"]) == ENCODERS["accurate"]
    assert (len(content["vector"]), len(content["words"])) == (768, len(word_features(NONE)))


def test_the_settings_choose_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_signs_by(TagSettings()) is by_words
    monkeypatch.setattr(sign_by_vectors, "accurate_encoder", ToyEncoder)
    assert isinstance(read_signs_by(TagSettings(sign="accurate")), SignsByVectors)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    try:
        return accurate_encoder()
    except MechtagError:
        pytest.skip("the encoder 'accurate' is not on this machine")


@pytest.mark.slow
def test_the_stored_weights_are_those_of_the_training(encoder: Encoder) -> None:
    model, _ = fit(read_examples(), encoder)
    stored = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    again = json.loads(json.dumps(weights_of(model, encoder.size)))
    for part in ("vector", "words"):
        assert again[part] == pytest.approx(stored[part], abs=2e-3)
    assert again["intercept"] == pytest.approx(stored["intercept"], abs=2e-3)


@pytest.mark.slow
def test_absence_without_a_word_of_lack_is_found(encoder: Encoder) -> None:
    sentences = ["Each agency kept its own records.", "The agencies kept one record together."]
    assert by_words(sentences) == ["present", "present"]
    assert SignsByVectors(encoder)(sentences) == ["absent", "present"]
