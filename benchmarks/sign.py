"""Measure how often the sign of a sentence, presence or absence, is right.

``python -m benchmarks.sign`` compares `mechtag.pipeline.text.sign` and `mechtag.pipeline.text.sign_by_vectors` with the
judgements of two readers in ``data/annotated/signs.csv``. It needs the encoder ``accurate``
(``mechtag encoder get accurate``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from benchmarks.publish import publish, result
from benchmarks.sign_training import Judged, fit, read_examples, read_signs
from mechtag.pipeline.text.sign import by_words
from mechtag.pipeline.text.sign_by_vectors import SignsByVectors, accurate_encoder

SETS = {
    "lack": "coded sentences with a word of lack",
    "other": "other coded sentences",
    "made": "hard sentences, made up",
    "ordinary": "ordinary sentences, made up",
    "configuration": "segments of configurations, made up",
}
_NEGATION = re.compile(r"\b(?:no|not|never|without|lack\w*|absence)\b", re.I)
TEXT = """## Presence and absence

PLACEHOLDER
"""


def measure(name: str, judged: Sequence[Judged], called: Mapping[str, Sequence[bool]]) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each method on one set of sentences, with Wilson intervals, and the readers' agreement.

    Parameters
    ----------
    called
        For each method, whether it calls each of ``judged`` absent.
    """
    agreed = [each.first == each.second != "unclear" for each in judged]
    for system, answers in called.items():
        pairs = [
            (answer, each.first == "absent") for answer, each, both in zip(answers, judged, agreed, strict=True) if both
        ]
        for metric, asked in (
            ("absent is right", [truth for called, truth in pairs if called]),
            ("absent found", [called for called, truth in pairs if truth]),
            ("right", [called == truth for called, truth in pairs]),
        ):
            if not asked:
                continue
            interval = binomtest(sum(asked), len(asked)).proportion_ci(method="wilson")
            yield result(SETS[name], system, metric, sum(asked) / len(asked), tuple(interval))
    yield result(SETS[name], "readers", "sentences", len(judged))
    yield result(SETS[name], "readers", "both present or both absent", sum(agreed))
    kappa = cohen_kappa_score([each.first for each in judged], [each.second for each in judged])
    yield result(SETS[name], "readers", "kappa", float(kappa))


def _answers(judged: Sequence[Judged]) -> dict[str, dict[str, bool]]:
    """Return, for each method, whether it calls each sentence absent.

    A sentence on which the classifier was trained has the answer of a classifier that was not trained on its paper.
    """
    texts = [each.text for each in judged]
    encoder = accurate_encoder()
    by_vectors = {text: sign == "absent" for text, sign in zip(texts, SignsByVectors(encoder)(texts), strict=True)}
    examples = read_examples()
    _, called = fit(examples, encoder)
    by_vectors |= {each.text: bool(answer) for each, answer in zip(examples, called, strict=True)}
    return {
        "mechtag, words": {text: sign == "absent" for text, sign in zip(texts, by_words(texts), strict=True)},
        "mechtag, accurate": by_vectors,
        "any negation": {text: bool(_NEGATION.search(text)) for text in texts},
    }


def main() -> None:
    """Measure all sets, and publish the results."""
    judged = list(read_signs())
    answers = _answers(judged)
    found = list[dict[str, Any]]()
    for name in SETS:
        own = [each for each in judged if each.set_name == name]
        called = {system: [given[each.text] for each in own] for system, given in answers.items()}
        found += measure(name, own, called)
    publish("sign", "python -m benchmarks.sign", found, TEXT)


if __name__ == "__main__":
    main()
