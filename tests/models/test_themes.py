"""Test the lists of themes and the sentences that say the same, and the share of pairs that are scored differently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.records import Record
from mechtag.core.settings import SentenceSettings
from mechtag.models.tagger import Document
from mechtag.pipeline.reading.text.sentences import split
from tests.support.themes import Pair, share_apart, theme_pairs


def test_pairs_cover_the_labels_and_are_lists_and_sentences(codebook: Codebook) -> None:
    pairs = theme_pairs()
    assert len(pairs) >= 25
    for label in codebook.keys:
        assert sum(pair.label == label for pair in pairs) >= 3
    assert {pair.label for pair in pairs} == set(codebook.keys)
    assert len({pair.listed for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert pair.listed.count(";") >= 2
        assert ";" not in "".join(pair.told)
        # Sentences are split as they are written in the pair: a list is one sentence.
        for texts in ([pair.listed], pair.told):
            record = Record(record_id="text:1", title="x", abstract=" ".join(texts))
            assert [sentence.text for sentence in split([record], SentenceSettings())] == list(texts)
        assert len(re.findall(r"\w+", pair.listed)) < 40


@dataclass
class Counting:
    """Tagger that gives a sentence a lower score for each semicolon, for every label."""

    codebook: Any = None

    def tag(self, documents: list[Document]) -> list[Any]:
        def score(text: str) -> list[float]:
            return [-1.0, 1.0 - text.count(";")]

        return [SimpleNamespace(unit_scores=np.array([score(unit) for unit in one.units])) for one in documents]


def test_share_of_pairs_with_different_decisions() -> None:
    tagger: Any = Counting(SimpleNamespace(all_keys=("relevant", "one")))
    pairs = [
        Pair("one", "a; b; c.", ("a.", "b.")),
        Pair("one", "a; b.", ("a.",)),
        Pair("one", "a.", ("a.", "b; c; d; e.")),
    ]
    # Scores as a list and as sentences: -1 and 1, 0 and 1, 1 and 1 (the best sentence counts).
    assert share_apart(tagger, pairs) == pytest.approx(1 / 3)
