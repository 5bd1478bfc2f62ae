"""Measure how many papers people must code until the tagger ranks well, for several rules that choose the papers.

``python -m benchmarks.active`` replays the coding of the project's coded records and of the Hallmarks of Cancer corpus
in batches, and writes ``docs/benchmarks/active.json`` and its section of ``docs/benchmarks.md``. Finished replays are
kept in ``data/work/benchmarks/active``; delete this folder after changing the code.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.hallmarks import load_hallmarks
from benchmarks.hoc import KeptVectors, mean_interval
from benchmarks.publish import ROOT, publish, result
from benchmarks.variants import load_ground
from mechtag.core.arrays import Array, Mask
from mechtag.core.codebook import Codebook
from mechtag.core.files import read_json, write_json
from mechtag.core.settings import Settings, TrainSettings
from mechtag.models.encoder import TransformerEncoder
from mechtag.models.features import embed_codebook
from mechtag.models.scoring import probabilities
from mechtag.models.tagger import units_of
from mechtag.pipeline.screening.coding_order import TURNS, Papers, Reason, choose
from mechtag.training.calibration import fit_calibration
from mechtag.training.dataset import CodedDocument, Corpus, build_corpus
from mechtag.training.heads import fit_heads, score_texts, score_wholes
from mechtag.training.train import load_encoder

COMMAND = "python -m benchmarks.active"
BATCH, MOST = 10, 100
# Papers of each corpus that a replay draws, and the proportion of them that is held out to measure the ranking.
DRAWN, HELD = 450, 0.4
GOAL, EXAMPLES = 0.9, 3
_KEPT = ROOT / "data/work/benchmarks/active"
_TEXT = (ROOT / "benchmarks/active.md").read_text(encoding="utf-8")

CODED, HALLMARKS = DATASETS = ("coded records", "Hallmarks of Cancer")
# The Hallmarks of Cancer corpus has rare labels, so its metrics vary more and need more seeds.
SEEDS = {CODED: tuple(range(2021, 2026)), HALLMARKS: tuple(range(2021, 2029))}
TO_GOAL, COVERED, MEAN_AP = f"papers to {GOAL:.0%}", f"papers to {EXAMPLES} examples per label", "mean AP"
RANDOM, SHIPPED, BY_RELEVANCE = "random order", "the rule (shipped)", "most probably relevant first"

# Function that returns the rows of the papers to code next.
Chooser = Callable[[Papers, Array, Array], Sequence[int]]


def _in_turns(*turns: Reason) -> Chooser:
    def chooser(papers: Papers, examples: Array, vectors: Array) -> list[int]:
        return [choice.row for choice in choose(papers, examples, BATCH, turns)]

    return chooser


def _by_relevance(papers: Papers, examples: Array, vectors: Array) -> list[int]:
    return _highest(papers.relevance, papers)


def _by_doubt(papers: Papers, examples: Array, vectors: Array) -> list[int]:
    """Choose the papers whose labels are most uncertain, weighted by the probability that the paper is relevant."""
    doubt = papers.relevance * np.minimum(papers.labels, 1 - papers.labels).sum(axis=1)
    return _highest(doubt, papers)


def _highest(values: Array, papers: Papers) -> list[int]:
    order = np.argsort(np.where(papers.coded, np.inf, -values), kind="stable")
    return [int(row) for row in order[: min(BATCH, int((~papers.coded).sum()))]]


def _by_distance(papers: Papers, examples: Array, vectors: Array) -> list[int]:
    """Choose papers that are probably relevant and whose texts differ most from the texts of the coded papers."""
    free, rows = ~papers.coded, []
    known = vectors[papers.coded]
    nearest = (vectors @ known.T).max(axis=1) if len(known) else np.zeros(len(vectors))
    for _ in range(min(BATCH, int(free.sum()))):
        rows.append(int(np.where(free, papers.relevance * (1 - nearest), -np.inf).argmax()))
        free[rows[-1]] = False
        nearest = np.maximum(nearest, vectors @ vectors[rows[-1]])
    return rows


RULES: dict[str, Chooser] = {
    RANDOM: _in_turns("random"),
    SHIPPED: _in_turns(*TURNS),
    "labels with few examples, none at random": _in_turns("label"),
    "uncertain labels": _by_doubt,
    BY_RELEVANCE: _by_relevance,
    "unlike the coded papers": _by_distance,
}


@dataclass(frozen=True)
class Replay:
    """Results of one replay, in which the papers of a coded corpus are coded again, batch by batch.

    ``papers``, ``labels`` and ``relevance`` have one value before the first batch and one value after each batch.

    Attributes
    ----------
    papers
        Number of coded papers.
    labels
        Average precision on the held-out relevant papers, averaged over the labels.
    relevance
        Average precision of relevance on the held-out papers.
    full
        The metrics ``labels`` and ``relevance`` for a model trained on all papers that are not held out.
    covered
        Number of coded papers after which every label was coded yes in `EXAMPLES` papers; `MOST` if this never occurs.
    """

    papers: tuple[int, ...]
    labels: tuple[float, ...]
    relevance: tuple[float, ...]
    full: tuple[float, float]
    covered: int

    def needed(self) -> int:
        """Return the number of coded papers after which ``labels`` first reaches the goal, or `MOST` if it never does.

        The goal is the proportion `GOAL` of the average precision after training on all papers (``full[0]``).
        """
        reached = [
            papers for papers, found in zip(self.papers, self.labels, strict=True) if found >= GOAL * self.full[0]
        ]
        return reached[0] if reached else MOST


def load_corpus(dataset: str, encoder: TransformerEncoder) -> Corpus:
    """Load a coded corpus without example sentences and without the codes of sentences.

    Parameters
    ----------
    dataset
        Name from `DATASETS`.
    """
    codebook: Codebook
    documents: Sequence[CodedDocument]
    if dataset == HALLMARKS:
        hallmarks = load_hallmarks()
        documents, codebook = hallmarks.documents, hallmarks.codebook
    else:
        ground = load_ground()
        documents, codebook = ground.documents, ground.codebook
    units = units_of([coded.document for coded in documents])
    kept = KeptVectors(encoder, _KEPT, [*units.parts, *units.whole_texts()])
    corpus = build_corpus(documents, (), codebook.keys, kept, embed_codebook(codebook, kept))
    return replace(corpus, unit_targets=np.full_like(corpus.unit_targets, np.nan))


def draw(corpus: Corpus, seed: int) -> tuple[Corpus, Mask]:
    """Return a random sample of the corpus, and a mask of the sampled papers that are held out."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros(corpus.n_documents, dtype=bool)
    drawn[generator.permutation(corpus.n_documents)[:DRAWN]] = True
    sample = corpus.keep(drawn)
    held = np.zeros(sample.n_documents, dtype=bool)
    held[generator.permutation(sample.n_documents)[: int(HELD * sample.n_documents)]] = True
    return sample, held


def score(corpus: Corpus, learned: Mask, settings: TrainSettings) -> Array:
    """Score all papers with classifiers that are trained on the papers in the mask ``learned``.

    If the mask selects no paper, labels are scored by their definitions alone.

    Returns
    -------
    ndarray, shape (n_documents, 1 + n_labels)
        Scores of relevance, then of the labels.
    """
    own = corpus.keep(learned) if learned.any() else corpus
    heads = fit_heads(own, learned[learned] if learned.any() else learned, settings)
    everything = np.ones(corpus.n_documents, dtype=bool)
    scores = score_texts(corpus, heads, np.ones(len(corpus.texts), dtype=bool))
    return corpus.score_documents(score_wholes(corpus, heads, everything), scores)


def precision(corpus: Corpus, held: Mask, scores: Array) -> tuple[float, float]:
    """Return average precision on held-out papers: first the mean over the labels, then the value for relevance.

    The mean over the labels includes only relevant papers.
    """
    targets, found = corpus.document_targets[held], scores[held]
    relevant = targets[:, 0] == 1
    labels = [
        average_precision_score(targets[relevant, column], found[relevant, column])
        for column in range(1, targets.shape[1])
        if targets[relevant, column].any()
    ]
    return float(np.mean(labels)), float(average_precision_score(targets[:, 0], found[:, 0]))


def replay(
    corpus: Corpus, held: Mask, chooser: Chooser, full: tuple[float, float], seed: int, settings: TrainSettings
) -> Replay:
    """Replay the coding of a corpus that starts without codes, batch by batch.

    Probabilities are calibrated on the scores that each coded paper had when it was chosen, before its codes were
    known. `mechtag train` calibrates by cross-validation instead, which would take several times as long.

    Parameters
    ----------
    held
        Mask of the held-out papers, on which the metrics are measured.
    chooser
        Function that chooses the papers of the next batch.
    full
        Metrics of a model trained on all papers that are not held out.
    """
    pool = np.flatnonzero(~held)
    targets = corpus.document_targets
    order = np.random.default_rng(seed).permutation(len(pool))
    coded, earlier = np.zeros(len(held), dtype=bool), np.full(targets.shape, np.nan)
    papers, figures, covered = [], [], MOST
    everything_relevant = bool((targets[:, 0] == 1).all())
    while True:
        scores = score(corpus, coded, settings)
        papers.append(int(coded.sum()))
        figures.append(precision(corpus, held, scores))
        if papers[-1] >= MOST:
            break
        calibration = fit_calibration(earlier[coded], targets[coded], settings)
        chances, given = probabilities(scores, calibration.slope, calibration.intercept)
        relevance = np.ones(len(pool)) if everything_relevant else chances[pool, 0]
        state = Papers(relevance, given[pool], coded[pool], order)
        examples = np.nansum(targets[coded, 1:], axis=0)
        for row in pool[chooser(state, examples, corpus.wholes[pool].astype(np.float64))]:
            coded[row], earlier[row] = True, scores[row]
            if covered == MOST and np.nansum(targets[coded, 1:], axis=0).min() >= EXAMPLES:
                covered = int(coded.sum())
    labels, relevance_figures = zip(*figures, strict=True)
    return Replay(tuple(papers), labels, relevance_figures, full, covered)


def _path(dataset: str, rule: str, seed: int) -> Path:
    return _KEPT / f"{dataset}-{rule}-{seed}.json".replace(" ", "_").replace(",", "")


def measured(dataset: str, rule: str) -> dict[int, Replay]:
    """Return the finished replays of a rule on a data set, keyed by seed."""
    paths = {seed: _path(dataset, rule, seed) for seed in SEEDS[dataset]}
    return {seed: Replay(**read_json(path)) for seed, path in paths.items() if path.exists()}


def figures(found: Replay) -> dict[str, float]:
    """Return the metrics of one replay, keyed by the names under which they are published."""
    after = dict(zip(found.papers, found.labels, strict=True))
    return {
        TO_GOAL: found.needed(),
        COVERED: found.covered,
        "macro AP after 50": after[50],
        MEAN_AP: float(np.mean(found.labels)),
        "relevance AP after 50": dict(zip(found.papers, found.relevance, strict=True))[50],
    }


def results() -> list[dict[str, Any]]:
    """Return the results to publish: the mean of each metric over the replays of each rule on each data set.

    For some metrics, the results also contain the mean difference from random order.
    """
    rows = []
    for dataset, rule in product(DATASETS, RULES):
        own, plain = ({seed: figures(run) for seed, run in measured(dataset, one).items()} for one in (rule, RANDOM))
        for metric in next(iter(own.values()), {}):
            if dataset == HALLMARKS and metric.startswith("relevance"):
                continue
            mean, bounds = mean_interval([each[metric] for each in own.values()])
            rows.append(result(dataset, rule, metric, mean, bounds, len(own)))
            both = own.keys() & plain.keys()
            if rule != RANDOM and both and metric in (TO_GOAL, COVERED, MEAN_AP):
                mean, bounds = mean_interval([own[seed][metric] - plain[seed][metric] for seed in sorted(both)])
                rows.append(result(dataset, rule, f"{metric}, against random order", mean, bounds, len(both)))
    return rows


def outcome(rows: Sequence[dict[str, Any]]) -> str:
    """Return sentences that compare mechtag's rule for choosing papers, and the other rules, with random order."""
    found = {(row["dataset"], row["system"], row["metric"]): row for row in rows}
    told = []
    for dataset in DATASETS:
        own, plain = (found[dataset, rule, COVERED]["value"] for rule in (SHIPPED, RANDOM))
        gain = found[dataset, SHIPPED, f"{MEAN_AP}, against random order"]
        told.append(
            f"{dataset}: with the rule, each label has {EXAMPLES} examples after {own:.0f} papers, and in random order "
            f"after {plain:.0f}; the mean AP differs by {gain['value']:+.3f} ({gain['ci_low']:.3f} to "
            f"{gain['ci_high']:.3f})."
        )
    sooner = [
        f"{rule} ({dataset})"
        for dataset, rule in product(DATASETS, RULES)
        if (gap := found.get((dataset, rule, f"{TO_GOAL}, against random order"))) and (gap["ci_high"] or 0) < 0
    ]
    told.append(
        f"Rules that reach {GOAL:.0%} with significantly fewer papers than random order: {', '.join(sooner) or 'none'}."
    )
    return " ".join(told)


def run(dataset: str, corpus: Corpus, held: Mask, seed: int, rules: Sequence[str], settings: TrainSettings) -> None:
    """Run the replays of the rules with one seed, unless they are finished, and save their results."""
    missing = [rule for rule in rules if not _path(dataset, rule, seed).exists()]
    if corpus.document_targets[:, 0].all():
        missing = [rule for rule in missing if rule != BY_RELEVANCE]
    if not missing:
        return
    full = precision(corpus, held, score(corpus, ~held, settings))
    for rule in missing:
        found = replay(corpus, held, RULES[rule], full, seed, settings)
        write_json(_path(dataset, rule, seed), asdict(found))
        print(dataset, rule, seed, figures(found), flush=True)  # noqa: T201


def main() -> None:
    """Run the selected replays that are not finished yet, and publish the results of all finished replays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES))
    parser.add_argument("--publish-only", action="store_true", help="run nothing; publish what is finished")
    arguments = parser.parse_args()
    if not arguments.publish_only:
        settings, encoder = TrainSettings(), load_encoder(Settings())
        for dataset in arguments.data:
            corpus = load_corpus(dataset, encoder)
            for seed in SEEDS[dataset]:
                run(dataset, *draw(corpus, seed), seed, arguments.rules, settings)
    rows = results()
    text = _TEXT.format(batch=BATCH, drawn=DRAWN, held=HELD, most=MOST, outcome=outcome(rows))
    publish("active", COMMAND, rows, text, versions=("scikit-learn", "torch"))


if __name__ == "__main__":
    main()
