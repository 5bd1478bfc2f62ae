"""Compare frozen and fine-tuned versions of the encoders ``fast`` and ``accurate`` on the coded records.

``python -m benchmarks.finetuning`` writes ``docs/benchmarks/finetuning.json`` and its section of
``docs/benchmarks.md``. The scores of each finished run are cached in ``data/work/benchmarks/finetuning``; delete this
folder after changing the classifiers or the fine-tuning.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.coded_records import SEEDS, Figures, Sample, label_run_figures, relevance_figures
from benchmarks.publish import ROOT, publish, result
from benchmarks.variants import JOURNAL, Ground, Run, load_ground, out_of_fold
from mechtag.core.arrays import Array, Index, Mask
from mechtag.core.files import replacing
from mechtag.core.settings import ENCODERS, EncoderSettings
from mechtag.evaluation.resampling import interval
from mechtag.models.encoder import Vectors
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.top_layers import States, TopLayers
from mechtag.training.finetuning.trainers import Encoded, Trainer, TuningTrainer
from mechtag.training.train import load_encoder

WORK = ROOT / "data/work/benchmarks/finetuning"
FROZEN, TUNED = "frozen", "contrastive"
TO_JOURNAL, FOLDS = f"from synopses to {JOURNAL}", "five folds"
# For each gain, the two systems that it compares.
GAINS = {
    "fast, contrastive instead of frozen": (f"fast, {TUNED}", f"fast, {FROZEN}"),
    "accurate, contrastive instead of frozen": (f"accurate, {TUNED}", f"accurate, {FROZEN}"),
    "frozen, accurate instead of fast": (f"accurate, {FROZEN}", f"fast, {FROZEN}"),
}
SHOWN = ("sentence AP", "evidence P@1", "across", "within", "relevance AUC")
# Conditions for fine-tuning by default: minimum gain in sentence AP, and maximum training time in seconds on two cores.
LEAST, LONGEST, CORES = 0.01, 300, 2
_TEXT = (ROOT / "benchmarks/finetuning.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class FrozenTop:
    """An encoder that is not fine-tuned. It computes vectors from the same hidden states as a fine-tuned encoder.

    Attributes
    ----------
    states
        Hidden states that the top layers receive.
    low_precision
        Whether the layers below the top layers are computed in bfloat16.
    """

    states: States
    top: TopLayers
    low_precision: bool

    @property
    def size(self) -> int:
        """Return the number of elements of each vector."""
        return self.top.size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text; see `Encoder.encode`."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.low_precision):
            self.states.of(texts)
        return self.top.encode(texts)


@dataclass
class Timed:
    """A trainer that records the cost of each training.

    Attributes
    ----------
    seconds
        Processor seconds of each training.
    size
        Size in bytes of the weights that the last training changed.
    """

    trainer: Trainer
    seconds: list[float] = field(default_factory=list)
    size: int = 0

    def encode(self, corpus: Corpus, documents: Mask, seed: int) -> Encoded:
        """Train an encoder, and encode the whole corpus with it; see `Trainer.encode`."""
        begun = time.process_time()
        found = self.trainer.encode(corpus, documents, seed)
        self.seconds.append(time.process_time() - begun)
        self.size = sum(array.nbytes for array in found.tuned.values())
        return found


@dataclass(frozen=True)
class Finished:
    """The scores and the cost of a finished run, which trains one model per fold.

    Attributes
    ----------
    below
        Processor seconds for computing the layers that are not fine-tuned, for all texts.
    fit
        Processor seconds of the longest fine-tuning.
    size
        Size in bytes of the weights that fine-tuning changed.
    """

    run: Run
    below: float
    fit: float
    size: int


def prepare(base: Ground, name: str) -> tuple[Ground, States, float]:
    """Encode the coded records with the encoder ``name``.

    Returns
    -------
    ground
        The coded records, with their vectors.
    states
        Hidden states from which fine-tuning starts.
    seconds : float
        Processor seconds for encoding.
    """
    settings = base.settings.model_copy(update={"encoder": EncoderSettings(name=name)})
    states = States(load_encoder(settings), settings.train.tuning.layers)
    encoder = FrozenTop(states, TopLayers(states, settings.train.tuning.rank), low_precision=name != "fast")
    ground = replace(base, settings=settings, encoder=encoder)
    begun = time.process_time()
    ground.corpus  # noqa: B018 - computed once and kept
    return ground, states, time.process_time() - begun


def assign(ground: Ground, split: str, seed: int) -> Index:
    """Return the fold in which each paper is held out; -1 for papers that are always trained on.

    ``split`` is `FOLDS` or `TO_JOURNAL`.
    """
    return ground.deal(seed) if split == FOLDS else np.where(ground.sets[JOURNAL], 0, -1)


def cache(ground: Ground, encoder: str, trainer: str, split: str, seed: int) -> Path:
    """Return the path of the file that caches the scores and the cost of a run."""
    train = ground.settings.train.model_dump_json()
    texts = [ground.codebook.sha256, *(repr(each) for each in (*ground.documents, *ground.exemplars))]
    digest = hashlib.sha256("\n".join([train, *texts]).encode()).hexdigest()[:12]
    return WORK / f"{digest}-{encoder}-{trainer}-{'journal' if split == TO_JOURNAL else 'folds'}-{seed}.npz"


def compute(ground: Ground, states: States, below: float, trainer: str, split: str, seed: int) -> Finished:
    """Train one model for each fold of a split, and score the papers held out in the fold.

    ``below`` is the cost of the layers that are not fine-tuned, which is stored in the result.
    """
    tuning = TuningTrainer(states, ground.codebook, ground.settings.train.tuning, WORK / "checkpoints", lambda _: None)
    timed = Timed(ground.frozen if trainer == FROZEN else tuning)
    run = out_of_fold(ground, ground.corpus, timed, assign(ground, split, seed), seed)["both"]
    return Finished(run, below, max(timed.seconds), timed.size)


def save(path: Path, finished: Finished) -> None:
    """Write a finished run to a file."""
    with replacing(path) as part, part.open("wb") as file:
        cost = np.array([finished.below, finished.fit, finished.size])
        np.savez(file, texts=finished.run.texts, units=finished.run.units, documents=finished.run.documents, cost=cost)


def load(path: Path) -> Finished:
    """Read a finished run from a file that `save` wrote."""
    with np.load(path) as found:
        below, fit, size = found["cost"].tolist()
        return Finished(Run(found["texts"], found["units"], found["documents"]), below, fit, int(size))


def planned() -> Iterator[tuple[str, int, str, str]]:
    """Yield the split, seed, encoder and trainer of each run, the most important runs first."""
    for split in (TO_JOURNAL, FOLDS):
        for encoder in ENCODERS:
            for seed in SEEDS:
                for trainer in (FROZEN, TUNED):
                    yield split, seed, encoder, trainer


Runs = dict[tuple[str, str], dict[int, Figures]]


def samples(ground: Ground, split: str) -> dict[str, Sample]:
    """Return the samples of held-out papers on which the models of a split are evaluated.

    ``split`` is `FOLDS` or `TO_JOURNAL`. The samples are keyed by the name of the data set in the results.
    """
    if split == TO_JOURNAL:
        return {TO_JOURNAL: Sample(ground.sets[JOURNAL], ground.settings.seed)}
    return {f"{FOLDS}, {name}": Sample(papers, ground.settings.seed) for name, papers in ground.sets.items()}


def gain(runs: Runs, dataset: str, name: str, metric: str) -> tuple[Array, int] | None:
    """Compute the difference in a metric between two systems, averaged over the seeds for which both were measured.

    Parameters
    ----------
    name
        Key in `GAINS`, which names the two systems.

    Returns
    -------
    tuple of ndarray and int, or None
        The difference, shape (1 + n_resamples,): its value in the sample, followed by its values in the resamples; and
        the number of seeds. ``None`` if the systems have no seed in common.
    """
    own, other = (runs.get((dataset, system), {}) for system in GAINS[name])
    seeds = [seed for seed in own if seed in other]
    if not seeds:
        return None
    return np.mean([own[seed][metric] - other[seed][metric] for seed in seeds], axis=0), len(seeds)


def results_of(runs: Runs, papers: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the results to publish: the metrics of all systems, and the differences between systems.

    Parameters
    ----------
    papers
        Number of papers of each data set, keyed by its name.
    """
    rows = []
    for dataset in dict.fromkeys(dataset for dataset, _ in runs):
        count = papers[dataset]
        own = {system: found for (name, system), found in runs.items() if name == dataset}
        values: dict[str, dict[str, tuple[Array, int]]] = {
            system: {
                metric: (np.mean([figures[metric] for figures in by_seed.values()], axis=0), len(by_seed))
                for metric in SHOWN
            }
            for system, by_seed in own.items()
        }
        for name in GAINS:
            gained = {metric: gain(runs, dataset, name, metric) for metric in SHOWN}
            found = {metric: each for metric, each in gained.items() if each is not None}
            if found:
                values[f"gain: {name}"] = found
        for system, found in values.items():
            for metric, (value, seeds) in found.items():
                low, high, _ = interval(value[1:], count)
                rows.append(result(dataset, system, metric, float(value[0]), (low, high), runs=seeds))
            rows.append(result(dataset, system, "seeds", next(iter(found.values()))[1]))
    return rows


def costs(finished: Mapping[str, Finished], fits: int) -> list[dict[str, Any]]:
    """Return the cost of fine-tuning each encoder, as results to publish.

    Parameters
    ----------
    finished
        For each encoder, the run with the longest fine-tuning.
    fits
        Number of times that an encoder is fine-tuned to train one model.
    """
    rows = []
    for encoder, each in finished.items():
        metrics = {
            "below the top layer, s": each.below,
            "longest fit, s": each.fit,
            "a training, s": each.below + fits * each.fit,
            "kB": each.size / 1000,
        }
        rows += [result("processor time", encoder, metric, value) for metric, value in metrics.items()]
    return rows


def outcome(results: Sequence[Mapping[str, Any]]) -> str:
    """Return sentences that state, for each encoder, which conditions for fine-tuning by default are not met."""
    found = {(each["dataset"], each["system"], each["metric"]): each for each in results}
    sentences = []
    for encoder in ENCODERS:
        system = f"gain: {encoder}, contrastive instead of frozen"
        failed = []
        for metric in SHOWN:
            journal = found.get((TO_JOURNAL, system, metric))
            if journal and journal["ci_high"] < 0:
                failed.append(f"{metric} on journal prose is lower ({journal['value']:+.3f})")
        overall = found.get((f"{FOLDS}, all records", system, SHOWN[0]))
        if overall is None:
            failed.append("five folds were not measured")
        elif overall["value"] < LEAST or overall["ci_low"] <= 0:
            bounds = f"{overall['ci_low']:+.3f} to {overall['ci_high']:+.3f}"
            failed.append(f"the gain in {SHOWN[0]} is {overall['value']:+.3f} ({bounds})")
        seconds = found.get(("processor time", encoder, "a training, s"))
        if seconds and seconds["value"] / CORES > LONGEST:
            failed.append(f"a training takes {seconds['value'] / CORES / 60:.0f} minutes on two cores")
        sentences.append(f"`{encoder}`: {'; '.join(failed) or 'all of this holds'}.")
    return f"Conditions that are not met: {' '.join(sentences)}"


def main() -> None:
    """Compute the runs that are not cached yet, and publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", action="store_true", help="publish only the runs that are finished")
    asked = parser.parse_args()
    base, console = load_ground(), Console(soft_wrap=True)
    prepared: dict[str, tuple[Ground, States, float]] = {}
    runs: Runs = {}
    papers: dict[str, int] = {}
    longest: dict[str, Finished] = {}
    for split, seed, encoder, trainer in planned():
        path = cache(base, encoder, trainer, split, seed)
        if not path.exists():
            if asked.finished:
                continue
            if encoder not in prepared:
                prepared[encoder] = prepare(base, encoder)
            save(path, compute(*prepared[encoder], trainer, split, seed))
        finished = load(path)
        if trainer == TUNED and finished.fit >= longest.get(encoder, finished).fit:
            longest[encoder] = finished
        ground = next(iter(prepared.values()))[0] if prepared else base
        for dataset, sample in samples(ground, split).items():
            relevance = relevance_figures(ground, sample, finished.run.documents[:, 0])
            figures = {**label_run_figures(ground, sample, finished.run), **relevance}
            runs.setdefault((dataset, f"{encoder}, {trainer}"), {})[seed] = figures
            papers[dataset] = len(sample.papers)
            told = {metric: round(float(figures[metric][0]), 3) for metric in SHOWN}
            console.print(dataset, encoder, trainer, seed, told, f"{finished.fit:.0f} s a fit")
    results = [*results_of(runs, papers), *costs(longest, base.settings.train.folds + 1)]
    text = _TEXT.format(journal=JOURNAL, outcome=outcome(results))
    publish("finetuning", "python -m benchmarks.finetuning", results, text, versions=("scikit-learn", "torch"))


if __name__ == "__main__":
    main()
