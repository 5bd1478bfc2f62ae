"""Measure how accurately mechtag detects sentences that say that something is absent.

``python -m benchmarks.sign`` compares `mechtag.pipeline.text.sign`, and logistic regression on the vectors of each
encoder, with the judgements of two readers in ``data/annotated/signs.csv``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from benchmarks.publish import ROOT, publish, result
from mechtag.core.settings import EncoderSettings, load_settings
from mechtag.pipeline.text.sign import sign_of
from mechtag.training.train import load_encoder

SIGNS, CODED = ROOT / "data/annotated/signs.csv", ROOT / "data/annotated/coded"
PAIRS = ROOT / "data/annotated/sign_pairs.csv"
SETS = {
    "lack": "coded sentences with a word of lack",
    "other": "other coded sentences",
    "made": "hard sentences, made up",
    "ordinary": "ordinary sentences, made up",
    "configuration": "parts of configurations, made up",
}
ENCODERS = ("fast", "accurate")
# Sets on which logistic regression is trained, in addition to the pairs.
_TRAINED = ("lack", "other")
_FOLDS = 8
_NEGATION = re.compile(r"\b(?:no|not|never|without|lack\w*|absence)\b", re.I)
TEXT = """## Presence and absence

Whether a sentence that supports a label says that what the label describes is absent (*the partners had no shared
budget*). Two readers judged all sentences independently as present, absent or unclear; the figures are for the
sentences on which both say present, or both say absent. *Absent is right* is the share of the sentences called absent
that are, *absent found* the share of absent sentences that are called so, and *right* the share of all. Intervals are
Wilson's.

- **Coded sentences with a word of lack**: all sentences of the coded records that support a label and contain a word
  such as *without* or *seldom*. The words of the method were chosen on them, so these figures are optimistic.
- **Other coded sentences**: a random sample of the others. Some of their words were added to the method, too.
- **Hard sentences, made up**: written by someone who had not seen the method, on other subjects, to be hard: half of
  the absent ones have no word of lack (*each agency kept its own records*), and half of the present ones have one.

- **Ordinary sentences** and **parts of configurations, made up**: written by someone who had not seen the method, on
  some fifteen subjects, as authors write them; half of them are absent. The second judgement is the writer's own. They
  were measured once, after the methods had been chosen.

*Any negation* looks for *no*, *not*, *never*, *without*, *lack* and *absence*. *Learnt* is logistic regression on the
vectors of an encoder, trained on 220 made-up pairs of a present and an absent sentence about one thing
(`data/annotated/sign_pairs.csv`) and on the coded sentences; on the latter, it is measured by cross-validation.

The aim was to be right in 90% of all sentences. The words that mechtag looks for reach it where absence is expressed
by a word of lack, as it usually is in abstracts, and miss it by far elsewhere. So mechtag marks only absence, and an
unmarked sentence is not called present. Learnt from the vectors of the encoder `accurate`, the sign reaches the aim on
all sets; the vectors of the encoder `fast` do not represent it. mechtag does not use the learnt sign yet.
"""


class Judged(NamedTuple):
    """A sentence that two readers judged; each judgement is ``present``, ``absent`` or ``unclear``."""

    set_name: str
    text: str
    first: str
    second: str

    @property
    def agreed(self) -> bool:
        """Return whether both judged ``present``, or both ``absent``."""
        return self.first == self.second != "unclear"


def read_signs() -> Iterator[Judged]:
    """Yield the judged sentences; the text of a sentence of a coded record is looked up by key and sentence number."""
    coded = {
        row["key"]: [sentence["text"] for sentence in row["sentences"]]
        for path in sorted(CODED.glob("*.jsonl"))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }
    with SIGNS.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            text = row["text"] or coded[row["key"]][int(row["sentence"])]
            yield Judged(row["set"], text, row["first"], row["second"])


def learnt(encoder: str, judged: Sequence[Judged]) -> list[bool]:
    """Return whether logistic regression on vectors calls each sentence absent.

    A sentence of the sets that it is trained on is judged by the models of the folds without the sentence.
    """
    loaded = load_encoder(
        load_settings(ROOT / "params.yaml").model_copy(update={"encoder": EncoderSettings(name=encoder)})
    )
    with PAIRS.open(encoding="utf-8", newline="") as lines:
        pairs = [(row["present"], row["absent"]) for row in csv.DictReader(lines)]
    own = [place for place, each in enumerate(judged) if each.set_name in _TRAINED and each.agreed]
    texts = [text for pair in pairs for text in pair] + [judged[place].text for place in own]
    signs = [False, True] * len(pairs) + [judged[place].first == "absent" for place in own]
    # Both sentences of a pair are in the same fold.
    groups = [number for number in range(len(pairs)) for _ in range(2)] + list(range(len(pairs), len(pairs) + len(own)))
    vectors = np.asarray(loaded.encode(texts))
    method = LogisticRegression(max_iter=5000)
    held_out = cross_val_predict(method, vectors, signs, groups=groups, cv=GroupKFold(_FOLDS))
    answers: list[bool] = method.fit(vectors, signs).predict(loaded.encode([each.text for each in judged])).tolist()
    for place, answer in zip(own, held_out[2 * len(pairs) :], strict=True):
        answers[place] = bool(answer)
    return answers


def measure(name: str, judged: Sequence[Judged], called: Mapping[str, Sequence[bool]]) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each method on one set of sentences, with Wilson intervals, and the readers' agreement.

    Parameters
    ----------
    name
        Key of the set in `SETS`.
    judged
        Sentences of all sets.
    called
        Whether each method called each sentence absent, in the order of ``judged``.
    """
    of_set = [place for place, each in enumerate(judged) if each.set_name == name]
    agreed = [place for place in of_set if judged[place].agreed]
    for system, answers_of in called.items():
        answers = [(answers_of[place], judged[place].first == "absent") for place in agreed]
        for metric, asked in (
            ("absent is right", [truth for absent, truth in answers if absent]),
            ("absent found", [absent for absent, truth in answers if truth]),
            ("right", [absent == truth for absent, truth in answers]),
        ):
            if not asked:
                continue
            interval = binomtest(sum(asked), len(asked)).proportion_ci(method="wilson")
            yield result(SETS[name], system, metric, sum(asked) / len(asked), tuple(interval))
    yield result(SETS[name], "readers", "sentences", len(of_set))
    yield result(SETS[name], "readers", "both present or both absent", len(agreed))
    kappa = cohen_kappa_score([judged[place].first for place in of_set], [judged[place].second for place in of_set])
    yield result(SETS[name], "readers", "kappa", float(kappa))


def main() -> None:
    """Measure all sets, and publish the results."""
    judged = list(read_signs())
    called = {
        "mechtag": [sign_of(each.text) == "absent" for each in judged],
        "any negation": [bool(_NEGATION.search(each.text)) for each in judged],
        **{f"learnt, encoder {encoder}": learnt(encoder, judged) for encoder in ENCODERS},
    }
    found = [each for name in SETS for each in measure(name, judged, called)]
    publish("sign", "python -m benchmarks.sign", found, TEXT)


if __name__ == "__main__":
    main()
