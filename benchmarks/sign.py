"""Measure how often the sign of a sentence, presence or absence, is right.

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
SETS = {"coded": "sentences of the coded records with a word of lack", "made": "made sentences"}
_NEGATION = re.compile(r"\b(?:no|not|never|without|lack\w*|absence)\b", re.I)
TEXT = """## Presence and absence

Whether a sentence that supports a label says that it is present or absent (*the partners had no shared budget*). Two
readers each judged all sentences as present, absent or unclear; *right* is measured on the sentences on which both say
present, or both say absent. The first set consists of all sentences of the coded records that support a label and
contain a word of lack, such as *without* or *seldom*. The words of the method were chosen on these sentences, so its figure there
is optimistic. The second set was made up afterwards by someone who had not seen the method. *Always absent* and
*any negation* (*no*, *not*, *never*, *without*, *lack*, *absence*) are the naive methods.
"""


class Judged(NamedTuple):
    """A sentence with the signs that two readers gave it: present, absent or unclear."""

    set_name: str
    text: str
    first: str
    second: str


def read_signs() -> Iterator[Judged]:
    """Yield the judged sentences; those of coded records are found by key and number."""
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
    """Yield the share of right signs of each method, with a Wilson interval, and the agreement of the readers."""
    agreed = [each for each in judged if each.first == each.second != "unclear"]
    methods: dict[str, Callable[[str], str]] = {
        "mechtag": sign_of,
        "any negation": lambda text: "absent" if _NEGATION.search(text) else "present",
        "always absent": lambda text: "absent",
    }
    for system, method in methods.items():
        for truth in ("present", "absent", "either"):
            asked = [each for each in agreed if truth in (each.first, "either")]
            right = sum(method(each.text) == each.first for each in asked)
            interval = binomtest(right, len(asked)).proportion_ci(method="wilson")
            yield result(SETS[name], system, f"right, {truth}", right / len(asked), tuple(interval))
    yield result(SETS[name], "readers", "sentences", len(judged))
    yield result(SETS[name], "readers", "both present or both absent", len(agreed))
    kappa = cohen_kappa_score([each.first for each in judged], [each.second for each in judged])
    yield result(SETS[name], "readers", "kappa", float(kappa))


def main() -> None:
    """Measure both sets, and publish the results."""
    judged = list(read_signs())
    found = [each for name in SETS for each in measure(name, [one for one in judged if one.set_name == name])]
    publish("sign", "python -m benchmarks.sign", found, TEXT)


if __name__ == "__main__":
    main()
