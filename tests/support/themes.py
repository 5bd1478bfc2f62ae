"""Lists of themes and the same told in sentences, and whether a tagger takes them for the same."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from mechtag.models.tagger import Document, Tagger
from tests.support.paths import ROOT

PATH = ROOT / "tests/data/theme_lists.jsonl"
# Says nothing of any label, and is the same for all.
_TITLE = "A report"


@dataclass(frozen=True)
class Pair:
    """A sentence that lists themes, the same in sentences, and a label of the shipped codebook that both carry."""

    label: str
    listed: str
    told: tuple[str, ...]


def theme_pairs() -> list[Pair]:
    rows = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
    return [Pair(row["label"], row["listed"], tuple(row["told"])) for row in rows]


def label_scores(tagger: Tagger, pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Give the highest score that a sentence of each form has for the label: as a list, and as it is told."""
    forms = []
    for texts in ([(pair.listed,) for pair in pairs], [pair.told for pair in pairs]):
        scored = tagger.tag([Document(_TITLE, sentences) for sentences in texts])
        columns = [tagger.codebook.all_keys.index(pair.label) for pair in pairs]
        forms.append([one.unit_scores[1:, column].max() for one, column in zip(scored, columns, strict=True)])
    return np.array(forms[0]), np.array(forms[1])


def share_apart(tagger: Tagger, pairs: list[Pair]) -> float:
    """Share of pairs of which one form gets the label by a sentence, and the other does not."""
    listed, told = label_scores(tagger, pairs)
    return float(((listed >= 0) != (told >= 0)).mean())
