"""Measure how well papers are ranked for labels and relevance from no coded paper to all, with several codebooks.

``python -m benchmarks.codebooks`` writes ``docs/benchmarks/codebooks.json``, its section of ``docs/benchmarks.md``
and one plot per set in ``docs/benchmarks/codebooks/``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from benchmarks.codebook_sets import CodedSet, load_sets
from benchmarks.hoc import KeptVectors
from benchmarks.publish import ROOT, publish, result
from mechtag.core.arrays import Array, Mask
from mechtag.core.files import write_text
from mechtag.core.settings import TrainSettings, load_settings
from mechtag.evaluation.metrics import Judged, Resamples, ranking, within_auc
from mechtag.evaluation.report.svg import line_chart
from mechtag.evaluation.resampling import draw_resamples, interval
from mechtag.models.encoder import TransformerEncoder, Vectors
from mechtag.models.features import embed_codebook
from mechtag.models.scoring import mean
from mechtag.models.tagger import units_of
from mechtag.training.dataset import NO_DOCUMENT, Corpus, build_corpus
from mechtag.training.heads import fit_heads, score_texts, score_wholes
from mechtag.training.train import load_encoder

SIZES = (0, 2, 5, 10, 20, 40, 80, None)
SEEDS = (2021, 2022, 2023)
# Proportion of the papers that is held out, and the number of positives and negatives that a label needs among them.
HELD, LEAST = 0.4, 3
BOOTSTRAP = 300
WORK = ROOT / "data/work/benchmarks/codebooks"
ZERO, WORDS, OURS = "definitions alone", "TF-IDF + linear SVM", "mechtag"
METRICS = ("across", "within", "average precision")
RELEVANCE = "relevance AUC"
BEHIND = "difference from the better of definitions and TF-IDF"

TEXT = """## From no coded paper to many, with several codebooks

{counts} *n* is the number of coded relevant papers; as many irrelevant papers are coded where a set has any.
40% of the papers are held out, and all figures are for them: *across* is the mean ROC AUC of labels over relevant
papers, *within* that of the labels of a paper, both explained in [metrics.md](metrics.md), and *average precision* the
mean over labels. No exemplars are used. Figures are means over three draws of the papers, with 95% intervals
bootstrapped over held-out papers.

Systems: *definitions alone* is mechtag without codes; *definition cosine* the mean cosine of sentences with the label's
definition; *TF-IDF + linear SVM* and *whole-text vector + logistic regression* learn from whole papers; *mechtag*
starts from the definitions and learns from the codes.

The rule was written down before the first run: at no size and with no codebook significantly below the better of
definitions and TF-IDF, and the highest mean over sizes. Sets on which the interval of the difference in *across* lies
below zero: {worse}

{plots}

The settings (weight of the definitions, regularisation, `heads.ENOUGH`, `heads.FADES`) were chosen on these sets, so
the figures are slightly optimistic for them; they have one value for all sets and sizes."""

Scores = tuple[Array, Array]
System = Callable[[Corpus, Mask, TrainSettings], Scores | None]


def ours(corpus: Corpus, learned: Mask, settings: TrainSettings) -> Scores:
    """Score with mechtag's heads; if no document is selected, these are the definitions alone."""
    heads = fit_heads(corpus, learned, settings)
    texts = score_texts(corpus, heads, np.ones(len(corpus.texts), dtype=bool))
    relevance = score_wholes(corpus, heads, np.ones(corpus.n_documents, dtype=bool))
    return relevance, corpus.score_documents(relevance, texts)[:, 1:]


def definitions_alone(corpus: Corpus, learned: Mask, settings: TrainSettings) -> Scores:
    """Score with mechtag's heads, but without any code."""
    return ours(corpus, np.zeros_like(learned), settings)


def tfidf(corpus: Corpus, learned: Mask, _: TrainSettings) -> Scores | None:
    """Score with one linear support vector machine per label on the words of whole texts."""
    if not learned.any():
        return None
    own = [text for text, use in zip(corpus.whole_texts, learned, strict=True) if use]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(own) < 100 else 2).fit(own)
    return _by_label(vectorizer.transform(corpus.whole_texts), corpus, learned, lambda: LinearSVC(random_state=0))


def whole_vector(corpus: Corpus, learned: Mask, _: TrainSettings) -> Scores | None:
    """Score with one logistic regression per label on the vectors of whole texts."""
    if not learned.any():
        return None
    return _by_label(
        corpus.wholes.astype(np.float64), corpus, learned, lambda: LogisticRegression(C=10.0, max_iter=1000)
    )


def _by_label(features: Any, corpus: Corpus, learned: Mask, make: Callable[[], Any]) -> Scores:
    scores = np.zeros(corpus.document_targets.shape)
    for column, codes in enumerate(corpus.document_targets.T):
        rows = learned & ~np.isnan(codes)
        if len(np.unique(codes[rows])) == 2:
            scores[:, column] = make().fit(features[rows], codes[rows]).decision_function(features)
    return scores[:, 0], scores[:, 1:]


SYSTEMS: dict[str, System] = {ZERO: definitions_alone, WORDS: tfidf, "whole-text vector": whole_vector, OURS: ours}


def draw(corpus: Corpus, size: int | None, seed: int) -> tuple[Mask, Mask]:
    """Draw the papers to learn from and the papers held out; the held-out papers do not depend on the size.

    Returns
    -------
    learned, held : ndarray of bool, shape (n_documents,)
        ``learned`` has ``size`` relevant and as many irrelevant papers, or all that are not held out.
    """
    generator = np.random.default_rng(seed)
    relevant = corpus.document_targets[:, 0] == 1
    learned, held = np.zeros(len(relevant), dtype=bool), np.zeros(len(relevant), dtype=bool)
    for kind in (True, False):
        rows = generator.permutation(np.flatnonzero(relevant == kind))
        cut = int(HELD * len(rows))
        held[rows[:cut]] = True
        learned[rows[cut:][:size]] = True
    return learned, held


def figures(corpus: Corpus, held: Mask, scores: Scores, weight: Array) -> dict[str, Array]:
    """Compute the metrics on held-out papers, each of shape (resamples,).

    Parameters
    ----------
    weight : ndarray, shape (resamples, n_held)
        How often each held-out paper is drawn.
    """
    targets = corpus.document_targets[held]
    truth = np.where(targets[:, :1] == 1, targets, np.nan)[:, 1:]
    positives, negatives = truth == 1, truth == 0
    found = scores[1][held]
    enough = (positives.sum(axis=0) >= LEAST) & (negatives.sum(axis=0) >= LEAST)
    pairs = [
        ranking(found[:, label], weight * positives[:, label], weight * negatives[:, label])
        for label in np.flatnonzero(enough)
    ]
    nothing, judged_shape = np.full(found.shape, np.nan), np.zeros(found.shape, dtype=bool)
    judged = Judged(truth, found, nothing, judged_shape, judged_shape, nothing)
    values = {
        "across": np.nanmean([pair[0] for pair in pairs], axis=0),
        "within": within_auc(judged, Resamples(weight, truth[None])),
        "average precision": np.nanmean([pair[1] for pair in pairs], axis=0),
    }
    if not (targets[:, 0] == 1).all():
        relevant = targets[:, 0] == 1
        values[RELEVANCE] = ranking(scores[0][held], weight * relevant, weight * ~relevant)[0]
    return values


def definition_cosine(corpus: Corpus, vectors: Vectors) -> Scores:
    """Score by the mean cosine of a paper's sentences with the definition of the label."""
    own = corpus.document != NO_DOCUMENT
    cosines = corpus.vectors[own].astype(np.float64) @ vectors.T.astype(np.float64)
    return np.zeros(corpus.n_documents), mean(cosines, corpus.lengths)


def curve(coded: CodedSet, transformer: TransformerEncoder, settings: TrainSettings) -> list[dict[str, Any]]:
    """Measure all systems at all sizes on one set."""
    units = units_of([document.document for document in coded.documents])
    encoder = KeptVectors(transformer, WORK, [*units.parts, *units.whole_texts()])
    definitions = embed_codebook(coded.codebook, encoder)
    corpus = build_corpus(coded.documents, (), coded.codebook.keys, encoder, definitions)
    cosine = definition_cosine(corpus, encoder.encode([label.definition for label in coded.codebook.labels]))
    most = int((1 - HELD) * (corpus.document_targets[:, 0] == 1).sum())
    results = []
    for size in [each for each in SIZES if each is None or each < most]:
        made: dict[str, list[dict[str, Array]]] = {}
        papers = 0
        for seed in SEEDS:
            learned, held = draw(corpus, size, seed)
            papers = int(held.sum())
            drawn = draw_resamples(papers, BOOTSTRAP, 1, np.random.default_rng(seed)).weights
            weight = np.vstack([np.ones(drawn.shape[1]), drawn])
            found = {name: system(corpus, learned, settings) for name, system in SYSTEMS.items()}
            found["definition cosine"] = cosine if size == 0 else None
            for name, scores in found.items():
                if scores is not None and not (size == 0 and name == OURS):
                    made.setdefault(name, []).append(figures(corpus, held, scores, weight))
        dataset = f"{coded.name}, {'all' if size is None else f'n = {size}'}"
        means = {
            name: {metric: np.mean([each[metric] for each in runs], axis=0) for metric in runs[0]}
            for name, runs in made.items()
        }
        for name, metrics in means.items():
            results += [
                result(dataset, name, metric, float(values[0]), interval(values[1:], papers)[:2], len(SEEDS))
                for metric, values in metrics.items()
            ]
        if OURS in means:
            better = np.maximum(means[ZERO]["across"], means[WORDS]["across"])
            gap = means[OURS]["across"] - better
            results.append(result(dataset, OURS, BEHIND, float(gap[0]), interval(gap[1:], papers)[:2], len(SEEDS)))
    return results


def report(results: Sequence[Mapping[str, Any]]) -> None:
    """Write the results, the section of the documentation and the plot."""
    worse = [f"{found['dataset']}" for found in results if found["metric"] == BEHIND and found["ci_high"] < 0]
    names = list(dict.fromkeys(found["dataset"].rsplit(", ", 1)[0] for found in results))
    counts = f"{len({name.split(',')[0] for name in names})} codebooks, coded by sentence or as whole papers."
    text = TEXT.format(
        counts=counts, worse=f"{'; '.join(worse) or 'none'}.", plots="\n\n".join(plot(results, name) for name in names)
    )
    publish("codebooks", "python -m benchmarks.codebooks", results, text, versions=("scikit-learn", "torch"))


def plot(results: Sequence[Mapping[str, Any]], name: str) -> str:
    """Draw the curves of one set, and return the Markdown that shows them."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for found in results:
        dataset, size = found["dataset"].rsplit(", ", 1)
        if dataset == name and found["metric"] == "across" and size != "all":
            lines.setdefault(found["system"], []).append((int(size.removeprefix("n = ")), found["value"]))
    slug = re.sub(r"[^a-z]+", "-", name).strip("-")
    drawing = line_chart(
        lines,
        title=f"Ranking of papers by label: {name}",
        description="Mean ROC AUC across papers of each system, against the number of coded relevant papers.",
        x_name="coded relevant papers",
        y_name="ROC AUC across",
    )
    write_text(ROOT / f"docs/benchmarks/codebooks/{slug}.svg", drawing)
    return f"![ROC AUC across papers against the number of coded papers: {name}](benchmarks/codebooks/{slug}.svg)"


def main() -> None:
    """Run the benchmark; vectors are kept in ``data/work/benchmarks/codebooks``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="measure only sets whose name contains this text, and print the results")
    asked = parser.parse_args()
    settings = load_settings()
    encoder = load_encoder(settings)
    results, console = [], Console(soft_wrap=True)
    for coded in load_sets():
        if asked.only and asked.only not in coded.name:
            continue
        own = curve(coded, encoder, settings.train)
        results += own
        for found in own:
            if found["metric"] in ("across", BEHIND, RELEVANCE):
                console.print(found["dataset"], found["system"], found["metric"], round(found["value"], 3))
    if not asked.only:
        report(results)


if __name__ == "__main__":
    main()
