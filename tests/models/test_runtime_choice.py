"""Test which runtime ``auto`` chooses, with encoders that are made slower or less accurate."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.errors import MechtagError
from mechtag.models.encoder import Encoder
from mechtag.models.features import definition_texts
from mechtag.models.model_folder import load_model
from mechtag.models.runtimes import choice as choosing
from mechtag.models.runtimes.choice import Choice, Runtimes, made_up_texts, measure_agreement
from mechtag.models.tagger import Scored
from tests.support.tuned import model_folder, settings

__all__ = ["model_folder", "settings"]  # fixtures, which pytest finds by their names here

pytestmark = pytest.mark.usefixtures("one_thread")


class Sleepy:
    """Encoder that returns the vectors of another encoder, after a delay or with random noise added."""

    def __init__(self, encoder: Encoder, seconds: float = 0.0, noise: float = 0.0) -> None:
        self._encoder, self._seconds, self._noise = encoder, seconds, noise

    size = property(lambda self: self._encoder.size)

    def encode(self, texts):  # type: ignore[no-untyped-def]
        threading.Event().wait(self._seconds)
        vectors = self._encoder.encode(texts)
        return vectors + self._noise * np.random.default_rng(0).standard_normal(vectors.shape).astype(np.float32)


@pytest.fixture
def chosen(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return a function that chooses a runtime from the given encoders and a slow torch encoder."""
    reference = load_model(model_folder)
    texts = made_up_texts(reference.tagger.heads.words.terms, definition_texts(reference.config.codebook)[0], 1)

    def choose(**made: Encoder | MechtagError) -> Choice:
        def encoder(self: Runtimes, runtime: str) -> Encoder:
            found = made.get(runtime, MechtagError(f"runtime {runtime}: not here"))
            if isinstance(found, MechtagError):
                raise found
            return found

        monkeypatch.setattr(Runtimes, "encoder", encoder)
        slow = Sleepy(reference.tagger.encoder, 0.05)
        found = Runtimes(tmp_path / "auto", "fruit", lambda: slow, texts)  # type: ignore[arg-type,return-value]
        return found.choose(lambda encoder, finer: replace(reference.tagger, encoder=encoder, finer=finer), texts)

    choose.encoder = reference.tagger.encoder  # type: ignore[attr-defined]
    return choose


def test_auto_takes_the_fastest_that_agrees(chosen) -> None:  # type: ignore[no-untyped-def]
    choice = chosen(fp32=Sleepy(chosen.encoder, 0.02), bf16=chosen.encoder, int8=Sleepy(chosen.encoder, noise=9.0))
    assert choice.runtime == "bf16"
    assert "times as fast as torch" in choice.reason
    assert "int8 is not precise enough" in choice.reason


def test_auto_stays_with_torch_where_nothing_is_faster(chosen) -> None:  # type: ignore[no-untyped-def]
    choice = chosen(fp32=Sleepy(chosen.encoder, 0.2))
    assert choice.runtime == "torch"
    assert "runtime int8: not here" in choice.reason


def test_auto_remembers_until_something_changes(chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    first = chosen(bf16=chosen.encoder)
    assert first.runtime == "bf16"
    assert chosen() == first
    monkeypatch.setattr(choosing, "machine", lambda _: "another machine")
    assert chosen().runtime == "torch"
    assert chosen(bf16=chosen.encoder).runtime == "torch"
    (tmp_path / "auto/auto.json").write_text("damaged")
    assert chosen(bf16=chosen.encoder).runtime == "bf16"


def test_auto_without_openvino_is_torch(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = load_model(model_folder, runtime="auto")
    assert model.choice.runtime == "torch"
    assert "pip install -c constraints.txt -e '.[fast]'" in model.choice.reason
    with pytest.raises(MechtagError, match=r"need OpenVINO, .*pip install -c constraints\.txt -e '\.\[fast\]'"):
        load_model(model_folder, runtime="bf16")


def test_difference_and_changed_decisions_are_counted() -> None:
    def scored(*chances: float) -> Scored:
        decisions = tuple("yes" if chance > 0.5 else "no" for chance in chances)
        own = np.array(chances)
        return Scored(np.zeros(2), own, own[1:], decisions, np.zeros((1, 2)), unlike=False)  # type: ignore[arg-type]

    found = measure_agreement([scored(0.2, 0.49), scored(0.9, 0.1)], [scored(0.2, 0.52), scored(0.88, 0.1)])
    assert found.difference == pytest.approx(0.03)
    assert found.changed == 0.25


def test_made_up_texts_hold_the_codebook_and_the_words_in_no_order() -> None:
    terms = [f"word{number}" for number in range(30)]
    texts = made_up_texts(terms, ["A definition."], 0)
    assert texts[0] == "A definition."
    assert sorted(" ".join(texts[1:]).lower().replace(".", "").split()) == sorted(terms)
    assert texts != made_up_texts(terms, ["A definition."], 1)
    assert made_up_texts((), ["A definition."], 0) == ["A definition."]
