"""Train the classifier that distinguishes evidence of presence from evidence of absence by vectors.

``python -m benchmarks.sign_training`` reads the invented sentences in ``data/annotated/sign_pairs.csv``, and the
sentences of coded records in ``data/annotated/signs.csv`` that both readers judged present or both judged absent. It
writes the weights to ``pipeline/reading/text/sign_weights.json``, and prints the accuracy in cross-validation, by which
the method was chosen. The sentences made up for testing were not used for this choice. The command needs the encoder
``accurate`` (``mechtag encoder get accurate``).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from benchmarks.publish import ROOT
from mechtag.core.arrays import Array, Mask
from mechtag.core.settings import ENCODERS
from mechtag.models.encoder import Encoder
from mechtag.pipeline.reading.text.sign_by_vectors import WEIGHTS, accurate_encoder, features

PAIRS = ROOT / "data/annotated/sign_pairs.csv"
SIGNS, CODED = ROOT / "data/annotated/signs.csv", ROOT / "data/annotated/coded"
# Inverse of the strength of regularisation, and number of folds.
_C, _FOLDS = 4.0, 8
_PLACES = 4


class Judged(NamedTuple):
    """A sentence that two readers judged; each judgement is ``present``, ``absent`` or ``unclear``.

    ``key`` is the key of the coded record that contains the sentence, and empty for a sentence that was made up.
    """

    set_name: str
    key: str
    text: str
    first: str
    second: str


def read_signs() -> Iterator[Judged]:
    """Yield the sentences that two readers judged.

    For a sentence of a coded record, the file contains the key of the record and the number of the sentence. The text
    is taken from the coded record.
    """
    coded = {
        row["key"]: [sentence["text"] for sentence in row["sentences"]]
        for path in sorted(CODED.glob("*.jsonl"))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }
    with SIGNS.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            text = row["text"] or coded[row["key"]][int(row["sentence"])]
            yield Judged(row["set"], row["key"], text, row["first"], row["second"])


class Example(NamedTuple):
    """A training sentence and whether it is evidence of absence; sentences of the same group are in the same fold."""

    kind: str
    group: str
    text: str
    absent: bool


def read_examples() -> list[Example]:
    """Return the training sentences: those of the invented pairs, and sentences of coded records.

    An invented pair consists of a sentence that is evidence of presence and one that is evidence of absence.
    """
    with PAIRS.open(encoding="utf-8", newline="") as lines:
        found = [
            Example("pairs", f"pair {number}", row[sign], sign == "absent")
            for number, row in enumerate(csv.DictReader(lines))
            for sign in ("present", "absent")
        ]
    for row in read_signs():
        if row.key and row.first == row.second != "unclear":
            found.append(Example(row.set_name, row.key, row.text, row.first == "absent"))
    return found


def fit(examples: list[Example], encoder: Encoder) -> tuple[LogisticRegression, Mask]:
    """Train the classifier on all examples; also classify each example by cross-validation.

    Returns
    -------
    model : LogisticRegression
        Classifier trained on all examples.
    absent : ndarray of bool, shape (n_examples,)
        Whether a classifier that was trained on the other folds classifies the example as absent.
    """
    texts = [example.text for example in examples]
    rows = features(texts, np.asarray(encoder.encode(texts), dtype=float))
    absent = np.array([example.absent for example in examples])
    groups = [example.group for example in examples]
    model = LogisticRegression(C=_C, max_iter=5000)
    called = cross_val_predict(model, rows, absent, groups=groups, cv=GroupKFold(_FOLDS))
    return model.fit(rows, absent), np.asarray(called, dtype=bool)


def weights_of(model: LogisticRegression, size: int) -> dict[str, object]:
    """Return the content of ``sign_weights.json``; ``size`` is the length of the encoder's vectors."""

    def rounded(values: Array) -> list[float]:
        return [round(float(value), _PLACES) for value in values]

    name, sha256 = ENCODERS["accurate"]
    own = model.coef_[0]
    content = {"vector": rounded(own[:size]), "words": rounded(own[size:]), "intercept": rounded(model.intercept_)[0]}
    return {"encoder": name, "encoder_sha256": sha256, **content}


def main() -> None:
    """Train the classifier, print its accuracy, and write its weights."""
    encoder = accurate_encoder()
    examples = read_examples()
    model, called = fit(examples, encoder)
    for kind in dict.fromkeys(example.kind for example in examples):
        right = [bool(one) == each.absent for one, each in zip(called, examples, strict=True) if each.kind == kind]
        print(f"{kind}: accuracy {np.mean(right):.3f} on {len(right)} sentences, in cross-validation")  # noqa: T201
    WEIGHTS.write_text(json.dumps(weights_of(model, encoder.size)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
