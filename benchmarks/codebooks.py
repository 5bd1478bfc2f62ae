"""Measure how well papers are ranked by label and by relevance, for several codebooks and numbers of training papers.

``python -m benchmarks.codebooks`` writes ``docs/benchmarks/codebooks.json``, its section of ``docs/benchmarks.md``
and one plot per codebook in ``docs/benchmarks/codebooks/``. Published results that a run does not measure again are
kept, with the commit at which they were measured. Vectors, and the scores of SetFit and of an earlier version of
mechtag, are cached in ``data/work/benchmarks/codebooks``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.codebook_peers import PREVIOUS, WORK, Scores, SetFitSettings, previous, setfit, tfidf, whole_vector
from benchmarks.codebook_sets import CodedSet, load_sets
from benchmarks.hoc import KeptVectors
from benchmarks.publish import ROOT, merge, publish, result
from mechtag.core.arrays import Array, Mask
from mechtag.core.files import read_json, write_text
from mechtag.core.settings import ENCODERS, EncoderSettings, TrainSettings, load_settings
from mechtag.evaluation.metrics import Judged, Resamples, ranking, within_auc
from mechtag.evaluation.report.svg import line_chart
from mechtag.evaluation.resampling import draw_resamples, interval
from mechtag.models.encoder import TransformerEncoder, Vectors
from mechtag.models.features import definition_texts, embed_codebook
from mechtag.models.scoring import mean
from mechtag.models.tagger import units_of
from mechtag.models.text import clauses
from mechtag.training.dataset import NO_DOCUMENT, Corpus, build_corpus
from mechtag.training.heads import fit_heads, score_texts, score_wholes
from mechtag.training.train import load_encoder

SIZES = (0, 2, 5, 10, 20, 40, 80, None)
SEEDS = (2021, 2022, 2023)
# SetFit takes minutes per draw, so it learns from few papers only, in the first draw of each size.
SETFIT_SIZES, SETFIT_SEEDS = (5, 10, 20, 40), SEEDS[:1]
# Proportion of the papers that is held out, and the number of positives and negatives that a label needs among them.
HELD, LEAST = 0.4, 3
BOOTSTRAP = 300
ALONE, COSINE, WORDS, VECTOR = "definitions alone", "definition cosine", "TF-IDF + linear SVM", "whole-text vector"
SETFIT, BEFORE, OURS = "SetFit", "previous version", "mechtag"
# Order of systems in tables and plots.
ORDER = (ALONE, COSINE, WORDS, VECTOR, SETFIT, BEFORE, OURS)
PAPERS, SENTENCES, EXEMPLARS = "whole papers", "sentences", "whole papers and exemplars"
BETTER = "the better of definitions and TF-IDF"
METRICS = ("across", "within", "average precision")
RELEVANCE = "relevance AUC"
PUBLISHED = ROOT / "docs/benchmarks/codebooks.json"
_TEXT = (ROOT / "benchmarks/codebooks.md").read_text(encoding="utf-8")


@dataclass(frozen=True, eq=False)
class Draw:
    """A division of the papers of a set into training papers, held-out papers and unused papers.

    Attributes
    ----------
    size
        Maximum number of relevant training papers; ``None`` if all papers that are not held out are training papers.
    learned, held : ndarray of bool, shape (n_documents,)
        Masks of the training papers and of the held-out papers.
    """

    size: int | None
    seed: int
    learned: Mask
    held: Mask


def draw(relevant: Mask, size: int | None, seed: int) -> Draw:
    """Draw at most ``size`` relevant and ``size`` irrelevant training papers, and the held-out papers.

    If ``size`` is ``None``, all papers that are not held out are training papers. The held-out papers do not depend on
    the size, and a smaller draw is contained in a larger draw with the same seed.
    """
    generator = np.random.default_rng(seed)
    learned, held = np.zeros(len(relevant), dtype=bool), np.zeros(len(relevant), dtype=bool)
    for kind in (True, False):
        rows = generator.permutation(np.flatnonzero(relevant == kind))
        cut = int(HELD * len(rows))
        held[rows[:cut]] = True
        learned[rows[cut:][:size]] = True
    return Draw(size, seed, learned, held)


def all_draws(relevant: Mask) -> list[Draw]:
    """Return, for each seed, a draw of each size for which there are enough papers, and a draw of all papers."""
    most = int((1 - HELD) * relevant.sum())
    return [draw(relevant, size, seed) for size in SIZES if size is None or size < most for seed in SEEDS]


def ours(corpus: Corpus, learned: Mask, settings: TrainSettings) -> Scores:
    """Score papers with mechtag, trained on the papers in the mask ``learned``.

    If the mask selects no paper, papers are scored by the definitions of the labels and, if the corpus contains them,
    example sentences.
    """
    heads = fit_heads(corpus, learned, settings)
    texts = score_texts(corpus, heads, np.ones(len(corpus.texts), dtype=bool))
    relevance = score_wholes(corpus, heads, np.ones(corpus.n_documents, dtype=bool))
    return Scores(corpus.score_documents(relevance, texts)[:, 1:], relevance)


def definition_cosine(corpus: Corpus, vectors: Vectors) -> Scores:
    """Score each paper for each label by the mean cosine between its sentences and the definition of the label.

    ``vectors`` are the vectors of the definitions, shape (n_labels, n_dimensions).
    """
    own = corpus.document != NO_DOCUMENT
    cosines = corpus.vectors[own].astype(np.float64) @ vectors.T.astype(np.float64)
    return Scores(mean(cosines, corpus.lengths))


@dataclass(frozen=True)
class Encoded:
    """A set of coded papers whose texts were encoded by one encoder.

    Attributes
    ----------
    sets
        Variants of the set, keyed by name. The variant ``whole papers`` has only the codes of whole papers. The variant
        ``sentences`` also has the codes of sentences, and exists only if sentences were coded.
    corpora
        Corpus of each variant. If the set has example sentences (exemplars), there is also a corpus ``whole papers and
        exemplars``.
    """

    transformer: TransformerEncoder
    encoder: KeptVectors
    sets: Mapping[str, CodedSet]
    corpora: Mapping[str, Corpus]


def encode(coded: CodedSet, transformer: TransformerEncoder) -> Encoded:
    """Encode the papers, the codebook and the example sentences of a set; vectors are cached."""
    units = units_of([document.document for document in coded.documents])
    made_up = [part for exemplar in coded.exemplars for part in clauses(exemplar.text)]
    encoder = KeptVectors(transformer, WORK, [*units.parts, *units.whole_texts(), *made_up])
    definitions = embed_codebook(coded.codebook, encoder)
    sets = {PAPERS: coded.without_sentences()} | ({SENTENCES: coded} if coded.has_sentences else {})
    corpora = {
        coding: build_corpus(own.documents, (), own.codebook.keys, encoder, definitions) for coding, own in sets.items()
    }
    if coded.exemplars:
        documents = sets[PAPERS].documents
        corpora[EXEMPLARS] = build_corpus(documents, coded.exemplars, coded.codebook.keys, encoder, definitions)
    return Encoded(transformer, encoder, sets, corpora)


Scored = dict[str, dict[Draw, Scores]]


def score(encoded: Encoded, draws: Sequence[Draw], settings: TrainSettings) -> Scored:
    """Score the papers of a set with mechtag, with the label definitions alone, and with whole-text vectors.

    Each system except the definitions is trained separately on each draw of training papers.
    """
    corpus = encoded.corpora[PAPERS]
    alone = ours(corpus, np.zeros(corpus.n_documents, dtype=bool), settings)
    coded = [each for each in draws if each.size != 0]
    found: Scored = {ALONE: dict.fromkeys(draws, alone)}
    found[VECTOR] = {each: whole_vector(corpus, each.learned) for each in coded}
    for coding, own in encoded.corpora.items():
        learned_from = draws if coding == EXEMPLARS else coded
        found[f"{OURS}, {coding}"] = {each: ours(own, each.learned, settings) for each in learned_from}
    return found


def score_peers(encoded: Encoded, draws: Sequence[Draw], *, train_setfit: bool) -> Scored:
    """Score the papers of a set with definition cosines, SetFit and an earlier version of mechtag.

    SetFit and the earlier version are trained separately on each draw of training papers. `curve` compares these
    systems with mechtag only for the encoder ``fast``.

    Parameters
    ----------
    train_setfit
        Whether to train SetFit on draws without cached scores. If false, SetFit has no scores for these draws.
    """
    corpus, encoder, codebook = encoded.corpora[PAPERS], encoded.encoder, encoded.sets[PAPERS].codebook
    cosine = definition_cosine(corpus, encoder.encode([label.definition for label in codebook.labels]))
    coded = [each for each in draws if each.size != 0]
    few = [each for each in coded if each.size in SETFIT_SIZES and each.seed in SETFIT_SEEDS]
    found: Scored = {COSINE: {each: cosine for each in draws if each.size == 0}}
    texts = [*corpus.texts, *corpus.whole_texts, *definition_texts(codebook)[0]]
    for coding, own in encoded.sets.items():
        scores = previous(own, [each.learned for each in coded], (texts, encoder.encode(texts)))
        found[f"{BEFORE}, {coding}"] = dict(zip(coded, scores, strict=True))
    folder = encoded.transformer.source.folder
    by_setfit = {each: setfit(corpus, each.learned, each.held, folder, each.seed, train=train_setfit) for each in few}
    found[SETFIT] = {each: scores for each, scores in by_setfit.items() if scores is not None}
    return found


def figures(targets: Array, scores: Scores, weight: Array) -> dict[str, Array]:
    """Compute metrics on resamples of the held-out papers.

    Parameters
    ----------
    targets : ndarray, shape (n_held, 1 + n_labels)
        Codes of the held-out papers for relevance and for the labels; NaN if not judged.
    scores
        Scores of the held-out papers.
    weight : ndarray, shape (resamples, n_held)
        Number of times that each held-out paper is drawn.

    Returns
    -------
    dict
        Metrics, each of shape (resamples,): ``across`` (ROC AUC across papers), ``within`` (ROC AUC within papers),
        ``average precision`` and the ROC AUC of relevance. ``across`` and ``average precision`` are averaged over the
        labels that have enough positive and negative papers. The ROC AUC of relevance is missing if relevance was not
        scored or all papers are relevant.
    """
    relevant = targets[:, 0] == 1
    truth = np.where(relevant[:, None], targets, np.nan)[:, 1:]
    positives, negatives = truth == 1, truth == 0
    enough = (positives.sum(axis=0) >= LEAST) & (negatives.sum(axis=0) >= LEAST)
    pairs = [
        ranking(scores.labels[:, label], weight * positives[:, label], weight * negatives[:, label])
        for label in np.flatnonzero(enough)
    ]
    nothing, judged_shape = np.full(truth.shape, np.nan), np.zeros(truth.shape, dtype=bool)
    judged = Judged(truth, scores.labels, nothing, judged_shape, judged_shape, nothing)
    values = {
        "across": np.nanmean([pair[0] for pair in pairs], axis=0),
        "within": within_auc(judged, Resamples(weight, truth[None])),
        "average precision": np.nanmean([pair[1] for pair in pairs], axis=0),
    }
    if scores.relevance is not None and not relevant.all():
        values[RELEVANCE] = ranking(scores.relevance, weight * relevant, weight * ~relevant)[0]
    return values


Runs = dict[str, dict[int, dict[str, Array]]]


def measure(targets: Array, scored: Scored, draws: Sequence[Draw], name: str) -> list[dict[str, Any]]:
    """Return the results to publish: the metrics of all systems, and how far mechtag is ahead of the other systems.

    Parameters
    ----------
    targets : ndarray, shape (n_documents, 1 + n_labels)
        Codes of all papers for relevance and for the labels; NaN if not judged.
    scored
        Scores of all papers, keyed by system and draw.
    name
        Name of the set.
    """
    results: list[dict[str, Any]] = []
    for size in dict.fromkeys(each.size for each in draws):
        runs: Runs = {}
        papers = learned = 0
        for each in (each for each in draws if each.size == size):
            papers, learned = int(each.held.sum()), int((targets[each.learned, 0] == 1).sum())
            drawn = draw_resamples(papers, BOOTSTRAP, 1, np.random.default_rng(each.seed)).weights
            weight = np.vstack([np.ones(papers), drawn])
            for system, scores in scored.items():
                if each in scores:
                    found = figures(targets[each.held], scores[each].take(each.held), weight)
                    runs.setdefault(system, {})[each.seed] = found
        measured = [
            (system, metric, _mean([run[metric] for run in by_seed.values()]), len(by_seed))
            for system, by_seed in runs.items()
            for metric in next(iter(by_seed.values()))
        ]
        results += [
            result(
                f"{name}, {'all' if size is None else 'n'} = {learned}",
                system,
                metric,
                float(values[0]),
                interval(values[1:], papers)[:2],
                count,
            )
            for system, metric, values, count in [*measured, *leads(runs)]
        ]
    return results


def _mean(values: Sequence[Array]) -> Array:
    found: Array = np.mean(values, axis=0)
    return found


def lead_over(peer: str) -> str:
    """Return the name of the metric that states how far mechtag is ahead of the system ``peer``."""
    return f"lead over {peer}"


def leads(runs: Runs) -> list[tuple[str, str, Array, int]]:
    """Compute how far each variant of mechtag is ahead of the systems that it is compared with.

    A variant and the system that it is compared with are measured on the same draws of training papers. The metric is
    ``across`` (mean ROC AUC across papers).

    Returns
    -------
    list of (system, metric, difference, number of seeds)
        The difference has shape (resamples,). In the comparison with the better of two systems (definitions alone and
        TF-IDF), the better system is chosen separately in each resample.
    """
    found = []
    for system in (name for name in runs if name.startswith(OURS)):
        _, coding, *encoder = system.split(", ")
        suffix = f", {encoder[0]}" if encoder else ""
        peers = {
            BETTER: [f"{ALONE}{suffix}", WORDS],
            VECTOR: [f"{VECTOR}{suffix}"],
            SETFIT: [SETFIT] if not encoder else [],
            BEFORE: [f"{BEFORE}, {coding}{suffix}"],
        }
        for peer, names in peers.items():
            if not names or any(name not in runs for name in names):
                continue
            seeds = [seed for seed in runs[system] if all(seed in runs[name] for name in names)]
            own, *others = (_mean([runs[name][seed]["across"] for seed in seeds]) for name in (system, *names))
            found.append((system, lead_over(peer), own - np.max(others, axis=0), len(seeds)))
    return found


def significantly_below(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the variants of mechtag that are significantly worse than a simpler method.

    The simpler method is the better of two: the label definitions alone, and TF-IDF. A variant is significantly worse
    if the whole confidence interval of the difference is below zero.

    Returns
    -------
    list of str
        Data set, number of training papers and name of each such variant.
    """
    return [
        f"{found['dataset']}, {found['system']}"
        for found in results
        if found["metric"] == lead_over(BETTER) and found["ci_high"] is not None and found["ci_high"] < 0
    ]


def origins(results: Sequence[Mapping[str, Any]]) -> str:
    """Return one sentence for each earlier commit that lists the published results measured at that commit."""
    commits: dict[str, dict[str, dict[str, None]]] = {}
    for found in results:
        if "commit" in found:
            last = str(found["system"]).split(", ")[-1]
            kind = last if last in (SETFIT, "accurate") else "fast"
            commits.setdefault(found["commit"], {}).setdefault(_name(found), {})[kind] = None
    sentences = []
    for commit, names in commits.items():
        listed = "; ".join(f"{name} ({', '.join(kinds)})" for name, kinds in names.items())
        sentences.append(f"Results of commit {commit} that were not measured again: {listed}.")
    return " ".join(sentences)


def report(results: Sequence[Mapping[str, Any]], command: str) -> None:
    """Write the results, the section of the documentation and the plots."""
    names = list(dict.fromkeys(_name(found) for found in results))
    worse = "; ".join(significantly_below(results)) or "none"
    text = _TEXT.format(
        worse=f"{worse}.",
        previous=PREVIOUS[:7],
        steps=SetFitSettings().max_steps,
        origins=origins(results),
        relevance=relevance_table(results, names),
        means=means_table(results, names),
        leads=leads_table(results, names),
        sets="\n\n".join(
            f"### {name[0].upper()}{name[1:]}\n\n{plot(results, name)}\n\n{set_table(results, name)}" for name in names
        ),
    )
    publish("codebooks", command, results, text, versions=("scikit-learn", "torch", "setfit"), table=False)


def _name(found: Mapping[str, Any]) -> str:
    return str(found["dataset"]).rsplit(", ", 1)[0]


def _size(found: Mapping[str, Any]) -> str:
    return str(found["dataset"]).rsplit(", ", 1)[1]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _systems(results: Sequence[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = dict.fromkeys(found["system"] for found in results)
    return sorted(names, key=lambda name: ORDER.index(name.split(", ")[0]))


def means_table(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return a table of the metric ``across``, averaged over all numbers of training papers except 0.

    There is one row per system, one column per set, and a column with the mean over the sets. A cell is empty if the
    system was not measured for all numbers of training papers in the set. A system without any value has no row.
    """
    rows = []
    coded = [found for found in results if found["metric"] == "across" and _size(found) != "n = 0"]
    sizes = {name: {_size(found) for found in coded if _name(found) == name} for name in names}
    for system in _systems(coded):
        cells = []
        for name in names:
            own = {_size(found): found["value"] for found in coded if (_name(found), found["system"]) == (name, system)}
            cells.append(float(np.mean(list(own.values()))) if own.keys() == sizes[name] else None)
        if any(cell is not None for cell in cells):
            known = [cell for cell in cells if cell is not None]
            average = f"{np.mean(known):.3f}" if len(known) == len(names) else ""
            rows.append([system, *("" if cell is None else f"{cell:.3f}" for cell in cells), average])
    return _table(["system", *names, "mean"], rows)


def leads_table(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return a table that states how far mechtag is ahead of the other systems.

    Each cell contains the mean difference over the numbers of training papers, and three counts: for how many of these
    numbers the interval of the difference is above zero, includes zero, and is below zero.
    """
    own = [found for found in results if found["metric"].startswith(lead_over(""))]
    rows = []
    pairs = dict.fromkeys((found["system"], found["metric"]) for found in own)
    for system, metric in sorted(pairs, key=lambda pair: _systems(own).index(pair[0])):
        cells = []
        for name in names:
            same = [
                found for found in own if (_name(found), found["system"], found["metric"]) == (name, system, metric)
            ]
            above = sum(found["ci_low"] > 0 for found in same)
            below = sum(found["ci_high"] < 0 for found in same)
            average = np.mean([found["value"] for found in same]) if same else np.nan
            cells.append(f"{average:+.3f} ({above}, {len(same) - above - below}, {below})" if same else "")
        rows.append([system, metric.removeprefix(lead_over("")), *cells])
    return _table(["system", "peer", *names], rows)


def relevance_table(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return a table of the ROC AUC of relevance, for the sets with irrelevant papers.

    There is one row per set and system, and one column per number of training papers. Systems that also learn from the
    codes of sentences or from example sentences are omitted, because neither influences relevance.
    """
    own = [
        found
        for found in results
        if found["metric"] == RELEVANCE and not {SENTENCES, EXEMPLARS} & set(found["system"].split(", "))
    ]
    sizes = [f"n = {size}" for size in SIZES if size is not None]
    rows = []
    for name in names:
        here = [found for found in own if _name(found) == name]
        for system in _systems(here):
            values = {_size(found): found for found in here if found["system"] == system}
            values = {"all" if size.startswith("all") else size: found for size, found in values.items()}
            rows.append([name, system, *(_cell(values[size]) if size in values else "" for size in (*sizes, "all"))])
    return _table(["set", "system", *sizes, "all"], rows)


def set_table(results: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return a table of the results on one set, with one row per system.

    The table contains the metric ``across`` for each number of training papers, and the other metrics for training on
    all papers that are not held out.
    """
    own = [found for found in results if _name(found) == name and not found["metric"].startswith(lead_over(""))]
    sizes = list(dict.fromkeys(_size(found) for found in own))
    columns = [("across", size) for size in sizes] + [(metric, sizes[-1]) for metric in (*METRICS[1:], RELEVANCE)]
    columns = [column for column in columns if column in {(found["metric"], _size(found)) for found in own}]
    rows = []
    for system in _systems(own):
        values = {(found["metric"], _size(found)): found for found in own if found["system"] == system}
        rows.append([system, *(_cell(values[column]) if column in values else "" for column in columns)])
    return _table(["system", *(f"{metric}, {size}" for metric, size in columns)], rows)


def _cell(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.3f} ({found['ci_low']:.2f} to {found['ci_high']:.2f})"


def plot(results: Sequence[Mapping[str, Any]], name: str) -> str:
    """Draw the learning curves of one set as an SVG file, and return the Markdown that shows the file."""
    own = [found for found in results if _name(found) == name and found["metric"] == "across"]
    lines: dict[str, list[tuple[float, float]]] = {system: [] for system in _systems(own) if system != COSINE}
    for found in own:
        if found["system"] != COSINE:
            lines[found["system"]].append((int(_size(found).split(" = ")[1]), found["value"]))
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


def curve(
    coded: CodedSet, encoders: Mapping[str, TransformerEncoder], settings: TrainSettings, *, train_setfit: bool = False
) -> list[dict[str, Any]]:
    """Measure all systems on one set, for all numbers of training papers.

    Parameters
    ----------
    encoders
        Encoders, keyed by name.
    train_setfit
        Whether to train SetFit where its scores are not cached.
    """
    draws = all_draws(np.array([document.relevant for document in coded.documents]))
    scored: Scored = {}
    for name, transformer in encoders.items():
        # In float32, `accurate` would take three times as long; the cosines with its float32 vectors are above 0.999.
        with torch.autocast("cpu", torch.bfloat16, enabled=name != "fast"):
            encoded = encode(coded, transformer)
        corpus = encoded.corpora[PAPERS]
        if not scored:
            scored[WORDS] = {each: tfidf(corpus, each.learned) for each in draws if each.size != 0}
        own = score(encoded, draws, settings)
        if name == "fast":
            own |= score_peers(encoded, draws, train_setfit=train_setfit)
        scored |= {system if name == "fast" else f"{system}, {name}": scores for system, scores in own.items()}
    return measure(corpus.document_targets, scored, draws, coded.name)


def main() -> None:
    """Run the benchmark with the chosen encoders, and publish the results together with earlier results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", nargs="+", choices=list(ENCODERS), default=["fast"], help="encoders to measure")
    parser.add_argument("--only", help="measure only sets whose name contains this text")
    parser.add_argument("--setfit", action="store_true", help="train SetFit where its scores are not cached (slow)")
    asked = parser.parse_args()
    settings = load_settings()
    encoders = {
        name: load_encoder(settings.model_copy(update={"encoder": EncoderSettings(name=name)}))
        for name in asked.encoder
    }
    results, console = [], Console(soft_wrap=True)
    for coded in load_sets():
        if asked.only and asked.only not in coded.name:
            continue
        found_here = curve(coded, encoders, settings.train, train_setfit=asked.setfit)
        results += found_here
        for found in found_here:
            if found["metric"] in ("across", RELEVANCE) or found["metric"].startswith(lead_over("")):
                console.print(found["dataset"], found["system"], found["metric"], round(found["value"], 3))
    kept = merge(read_json(PUBLISHED), results) if PUBLISHED.exists() else results
    report(kept, f"python -m benchmarks.codebooks --encoder {' '.join(ENCODERS)}")


if __name__ == "__main__":
    main()
