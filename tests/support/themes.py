"""Pairs of texts with the same content, as a list of themes and in sentences, and how a tagger scores them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from mechtag.models.tagger import Document, Tagger
from tests.support.paths import ROOT

PATH = ROOT / "tests/data/theme_lists.jsonl"
# The title of all texts, which supports no label.
_TITLE = "A report"


@dataclass(frozen=True)
class Pair:
    """A sentence that lists themes, sentences with the same content, and a label of the shipped codebook for both."""

    label: str
    listed: str
    told: tuple[str, ...]


def theme_pairs() -> list[Pair]:
    rows = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
    return [Pair(row["label"], row["listed"], tuple(row["told"])) for row in rows]


def label_scores(tagger: Tagger, pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest score for its label of each pair's list, and of its sentences, both of shape (n_pairs,)."""
    forms = []
    for texts in ([(pair.listed,) for pair in pairs], [pair.told for pair in pairs]):
        scored = tagger.tag([Document(_TITLE, sentences) for sentences in texts])
        columns = [tagger.codebook.all_keys.index(pair.label) for pair in pairs]
        forms.append([one.unit_scores[1:, column].max() for one, column in zip(scored, columns, strict=True)])
    return np.array(forms[0]), np.array(forms[1])


def share_apart(tagger: Tagger, pairs: list[Pair]) -> float:
    """Return the share of pairs in which only one of the two texts gets the label."""
    listed, told = label_scores(tagger, pairs)
    return float(((listed >= 0) != (told >= 0)).mean())
