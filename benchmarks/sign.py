"""Measure how accurately mechtag detects sentences that say that something is absent.

``python -m benchmarks.sign`` compares `mechtag.pipeline.text.sign` with the judgements of two readers in
``data/annotated/signs.csv``. Nothing is trained.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from benchmarks.publish import ROOT, publish, result
from mechtag.pipeline.text.sign import sign_of

SIGNS, CODED = ROOT / "data/annotated/signs.csv", ROOT / "data/annotated/coded"
SETS = {
    "lack": "coded sentences with a word of lack",
    "other": "other coded sentences",
    "made": "hard sentences, made up",
}
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

*Any negation* looks for *no*, *not*, *never*, *without*, *lack* and *absence*. The aim was to be right in 90% of all
sentences. mechtag reaches it where absence is expressed by a word of lack, as it usually is in abstracts, and misses it
by far on the hard sentences. So it marks only absence, and an unmarked sentence is not called present.
"""


class Judged(NamedTuple):
    """A sentence that two readers judged; each judgement is ``present``, ``absent`` or ``unclear``."""

    set_name: str
    text: str
    first: str
    second: str


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


def measure(name: str, judged: list[Judged]) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each method on one set of sentences, with Wilson intervals, and the readers' agreement."""
    agreed = [each for each in judged if each.first == each.second != "unclear"]
    methods: dict[str, Callable[[str], bool]] = {
        "mechtag": lambda text: sign_of(text) == "absent",
        "any negation": lambda text: bool(_NEGATION.search(text)),
    }
    for system, method in methods.items():
        answers = [(method(each.text), each.first == "absent") for each in agreed]
        for metric, asked in (
            ("absent is right", [truth for called, truth in answers if called]),
            ("absent found", [called for called, truth in answers if truth]),
            ("right", [called == truth for called, truth in answers]),
        ):
            if not asked:
                continue
            interval = binomtest(sum(asked), len(asked)).proportion_ci(method="wilson")
            yield result(SETS[name], system, metric, sum(asked) / len(asked), tuple(interval))
    yield result(SETS[name], "readers", "sentences", len(judged))
    yield result(SETS[name], "readers", "both present or both absent", len(agreed))
    kappa = cohen_kappa_score([each.first for each in judged], [each.second for each in judged])
    yield result(SETS[name], "readers", "kappa", float(kappa))


def main() -> None:
    """Measure all sets, and publish the results."""
    judged = list(read_signs())
    found = [each for name in SETS for each in measure(name, [one for one in judged if one.set_name == name])]
    publish("sign", "python -m benchmarks.sign", found, TEXT)


if __name__ == "__main__":
    main()
