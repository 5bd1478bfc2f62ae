"""Measure how often suggested roles of evidence (context, resource, reasoning, outcome) are right.

``python -m benchmarks.evidence_roles`` compares the methods with two readers in ``data/annotated/roles.jsonl``, and
writes ``docs/benchmarks/evidence_roles.json`` and its section of ``docs/benchmarks.md``. The roles of sentences in an
abstract (background, methods, results) are a different matter, and are measured by ``benchmarks.roles``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.publish import ROOT, publish, result
from mechtag.core.arrays import Array
from mechtag.core.codebook import EVIDENCE_ROLES
from mechtag.core.settings import load_settings
from mechtag.pipeline.export.evidence_roles.suggest import LEAST_KAPPA, choose, count_cues, likeness_to
from mechtag.training.train import load_encoder

ROLES, CODED = ROOT / "data/annotated/roles.jsonl", ROOT / "data/annotated/coded"
KEYS = [role.key for role in EVIDENCE_ROLES]
NONE = "none"
FOLDS, RESAMPLES, SEED = 5, 2000, 2021
# The learnt method is accepted if its kappa exceeds that of cue phrases and definitions by at least this much.
MARGIN = 0.05
DATASET, PAIRED = "sentences on which both readers agree", "learnt method against cue phrases and definitions"

TEXT = """## Roles of evidence

Which role a sentence has in an explanation of its label: context, resource, reasoning or outcome
([what they mean](roles.md)). {drawn} sentences that support a label were drawn at random from the synopses of the coded
records, in turn from each label. Two readers of the project, both assisted by a language model, assigned a main role
to each sentence independently, without the rest of the abstract. They agree at kappa {readers:.2f} (role) and
{signs:.2f} (sign). The figures below are for the {agreed} sentences on which both assigned the same role.

- *Majority* is the most frequent role ({majority}, {share:.0%}).
- *Cue phrases* are 80 rules. A method that suggests no role for a sentence is wrong there.
- *Definitions* is the role whose definition is most similar.
- *Cue phrases and definitions* is what `mechtag roles suggest` does.
- *Learnt* is a logistic regression on the vector of the sentence, the mean of its neighbours' vectors and the number of
  cues, trained on other papers in {folds} folds.

Intervals are bootstrapped over papers. The cue phrases were written by the first reader, who had read the sentences, so
their figures are optimistic.

{verdict}
"""


class Judged(NamedTuple):
    """A sentence with the roles and signs that two readers assigned to it.

    ``around`` contains the sentences directly before and after it. A sign states whether what the label describes is
    present or absent.
    """

    paper: str
    text: str
    around: tuple[str, ...]
    roles: tuple[str, str]
    signs: tuple[str, str]


def read_judged() -> list[Judged]:
    """Return the sentences of coded records to which two readers assigned roles and signs."""
    coded = {
        row["key"]: [sentence["text"] for sentence in row["sentences"]]
        for path in sorted(CODED.glob("*.jsonl"))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }
    found = []
    for row in map(json.loads, ROLES.read_text(encoding="utf-8").splitlines()):
        texts, number = coded[row["key"]], row["sentence"]
        around = (*texts[max(0, number - 1) : number], *texts[number + 1 : number + 2])
        roles, signs = ((row["first"][name], row["second"][name]) for name in ("role", "sign"))
        found.append(Judged(row["key"], texts[number], around, roles, signs))
    return found


def learn(features: Array, truth: Sequence[str], papers: Sequence[str]) -> list[str]:
    """Predict the role of each sentence with a model that was not trained on sentences of the same paper."""
    found = np.empty(len(truth), dtype=object)
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=SEED).split(features, truth, papers):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000))
        found[test] = model.fit(features[train], np.asarray(truth)[train]).predict(features[test])
    return list(found)


def kappa(truth: Sequence[str], given: Sequence[str]) -> float:
    """Return Cohen's kappa between two lists of roles or signs; ``none`` counts as a separate role."""
    return float(np.nan_to_num(cohen_kappa_score(truth, given)))


def macro_f1(truth: Sequence[str], given: Sequence[str]) -> float:
    """Return the F1 of the suggested roles, averaged over the four roles."""
    return float(f1_score(truth, given, labels=KEYS, average="macro", zero_division=0))


def accuracy(truth: Sequence[str], given: Sequence[str]) -> float:
    """Return the proportion of the sentences for which the suggested role is right."""
    return float(np.mean(np.asarray(truth) == np.asarray(given)))


METRICS: Mapping[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "accuracy": accuracy,
    "macro-F1": macro_f1,
    "kappa": kappa,
}


def resampled(papers: Sequence[str]) -> Iterator[Array]:
    """Yield bootstrap samples of papers; each sample consists of the indices of all sentences of the drawn papers.

    ``papers`` names the paper of each sentence.
    """
    generator = np.random.default_rng(SEED)
    names = sorted(set(papers))
    places = {name: np.flatnonzero(np.asarray(papers) == name) for name in names}
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(names), size=len(names))
        yield np.concatenate([places[names[number]] for number in drawn])


def measure(judged: Sequence[Judged]) -> tuple[list[dict[str, Any]], str]:
    """Return the results of all methods, and the text to publish above the table of results."""
    agreed = [each for each in judged if each.roles[0] == each.roles[1] != NONE]
    texts, papers = [each.text for each in agreed], [each.paper for each in agreed]
    truth = [each.roles[0] for each in agreed]
    encoder = load_encoder(load_settings(ROOT / "params.yaml"))

    def encode(given: Sequence[str]) -> Array:
        return np.asarray(encoder.encode(list(given)), dtype=float)

    counts, likeness = count_cues(texts), likeness_to(texts, encode)
    vectors = encode(texts)
    around = np.array([encode(each.around).mean(axis=0) if each.around else 0 * vectors[0] for each in agreed])
    chosen = choose(counts, likeness)
    by_rules = [int(own.argmax()) if (own == own.max()).sum() == 1 else None for own in counts]
    majority = max(KEYS, key=truth.count)
    given = {
        "majority": [majority] * len(truth),
        "definitions": [KEYS[place] for place in likeness.argmax(axis=1)],
        "cue phrases": [NONE if place is None else KEYS[place] for place in by_rules],
        "cue phrases and definitions": [NONE if place is None else KEYS[place] for place in chosen],
        "learnt": learn(np.hstack([vectors, around, counts]), truth, papers),
    }
    draws = list(resampled(papers))
    values = {
        (system, metric): np.array([score(np.asarray(truth)[own], np.asarray(found)[own]) for own in draws])
        for system, found in given.items()
        for metric, score in METRICS.items()
    }
    results = [
        result(DATASET, system, metric, METRICS[metric](truth, found), _interval(values[system, metric]))
        for system, found in given.items()
        for metric in METRICS
    ]
    differences = values["learnt", "kappa"] - values["cue phrases and definitions", "kappa"]
    gain = kappa(truth, given["learnt"]) - kappa(truth, given["cue phrases and definitions"])
    low, high = _interval(differences)
    results.append(result(PAIRED, "learnt", "difference in kappa", gain, (low, high)))
    readers = [kappa([each.roles[0] for each in judged], [each.roles[1] for each in judged])]
    readers.append(kappa([each.signs[0] for each in judged], [each.signs[1] for each in judged]))
    for name, number in (("kappa of roles", readers[0]), ("kappa of signs", readers[1])):
        results.append(result("all sentences", "readers", name, number))
    results.append(result("all sentences", "readers", "sentences", len(judged)))
    results.append(result("all sentences", "readers", "same role", len(agreed)))
    accepted = gain >= MARGIN and low > 0
    best = kappa(truth, given["learnt" if accepted else "cue phrases and definitions"])
    verdict = (
        f"The learnt method was to be used only if its kappa exceeded that of cue phrases and definitions by {MARGIN}, "
        f"with an interval above 0. The difference is {gain:+.3f} ({low:.3f} to {high:.3f}), so the learnt method is "
        f"{'used' if accepted else 'not used'}. Suggestions with a kappa below {LEAST_KAPPA:.2f} are marked as "
        f"experimental, so mechtag {'marks' if best < LEAST_KAPPA else 'does not mark'} them. Suggestions are off by "
        "default."
    )
    text = TEXT.format(
        drawn=len(judged),
        readers=readers[0],
        signs=readers[1],
        agreed=len(agreed),
        majority=majority,
        share=truth.count(majority) / len(truth),
        folds=FOLDS,
        verdict=verdict,
    )
    return results, text


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Measure all methods that suggest roles, and publish the results."""
    results, text = measure(read_judged())
    publish("evidence_roles", "python -m benchmarks.evidence_roles", results, text, versions=("spacy", "scikit-learn"))


if __name__ == "__main__":
    main()
