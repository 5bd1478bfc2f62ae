"""Labels of whole abstracts on the Hallmarks of Cancer, beside a linear SVM, SetFit and fine-tuning.

``python -m benchmarks.hoc`` runs what has not been run yet, system by system, and then
writes ``docs/benchmarks/hoc.json``, its section of ``docs/benchmarks.md`` and the learning
curve. What is finished is kept in ``data/work/benchmarks/hoc``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.hallmarks import Hallmarks, load_hallmarks
from benchmarks.peers import FineTuning, SetFit, Texts, Ticks, fine_tuning, judge, linear_svm, setfit
from benchmarks.publish import ROOT, publish, result
from evaluation.metrics import as_it_is, example_f1, pooled_figures
from models.encoder import Encoder, TransformerEncoder, Vectors, locate_encoder
from models.features import embed_codebook
from models.tagger import Tagger
from pipeline.settings import EncoderSettings, TrainSettings
from pipeline.store import read_json, replacing, write_json
from training.examples import build_corpus
from training.fit import fit
from training.trainers import Frozen

Index = NDArray[np.int64]

COMMAND = "python -m benchmarks.hoc"
SEEDS = (2021, 2022, 2023, 2024, 2025)
SHOTS = (8, 16, 32, 64, 128)
_LEARNT, _VALID = 0.7, 0.1
# Of a small sample, what the peers that need it hold out for early stopping and thresholds.
_HELD_SHARE = 5
_KEPT = ROOT / "data/work/benchmarks/hoc"
# What decides how mechtag learns; a change of these makes earlier runs of it void.
_SOURCES = (
    *("models/encoder.py", "models/features.py", "models/pooling.py", "models/tagger.py", "models/words.py"),
    *("training/examples.py", "training/fit.py", "training/pooled.py", "training/thresholds.py", "training/trainers.py"),
    *("models/calibration.py", "benchmarks/hallmarks.yaml"),
)


@dataclass(frozen=True)
class Task:
    """Documents to learn from, to choose on, and to decide for.

    Attributes
    ----------
    shots
        How many documents with each label there are to learn from; ``None`` for all.
    """

    seed: int
    shots: int | None
    learnt: Index
    valid: Index
    held: Index

    @property
    def known(self) -> Index:
        """Everything whose codes may be used."""
        return np.concatenate([self.learnt, self.valid])


class KeptVectors:
    """An encoder that keeps what it has encoded in a file."""

    def __init__(self, encoder: TransformerEncoder, folder: Path, texts: Sequence[str]) -> None:
        texts = list(dict.fromkeys(texts))
        digest = hashlib.sha256("\n".join([encoder.source.sha256, *texts]).encode()).hexdigest()
        path = folder / f"vectors-{digest[:16]}.npy"
        if not path.exists():
            with replacing(path) as part, part.open("wb") as file:
                np.save(file, encoder.encode(texts))
        self._encoder = encoder
        self._vectors: dict[str, NDArray[np.float32]] = dict(zip(texts, np.load(path), strict=True))

    @property
    def size(self) -> int:
        """Length of a vector."""
        return self._encoder.size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Give one vector a text; see `Encoder.encode`."""
        new = [text for text in texts if text not in self._vectors]
        self._vectors.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._vectors[text] for text in texts])


@dataclass(frozen=True)
class Bench:
    """The corpus, and the encoder that mechtag and its peers share."""

    hallmarks: Hallmarks
    folder: Path
    encoder: Encoder

    def texts(self, rows: Index) -> Texts:
        """Give whole documents."""
        return Texts(self.hallmarks.texts, self.hallmarks.targets).take(rows)


def prepare() -> Bench:
    """Load corpus and encoder."""
    hallmarks = load_hallmarks()
    settings = EncoderSettings()
    source = locate_encoder(settings.name, sha256=settings.sha256)
    encoder = TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)
    units = [unit for coded in hallmarks.documents for unit in coded.document.units]
    return Bench(hallmarks, source.folder, KeptVectors(encoder, _KEPT, units))


def split(targets: Ticks, seed: int, shots: int | None = None) -> Task:
    """Deal documents 70/10/20; few shots are drawn from the 70, the same for all systems."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(targets))
    ends = np.cumsum([int(_LEARNT * len(order)), int(_VALID * len(order))])
    learnt, valid, held = np.split(order, ends)
    if shots is not None:
        sample = draw_shots(targets, learnt, shots, generator)
        learnt, valid = sample[len(sample) // _HELD_SHARE :], sample[: len(sample) // _HELD_SHARE]
    return Task(seed, shots, learnt, valid, held)


def draw_shots(targets: Ticks, rows: Index, shots: int, generator: np.random.Generator) -> Index:
    """Draw documents until each label has ``shots`` of them, or all there are; rarest label first.

    Returns
    -------
    ndarray of int
        Some of ``rows``, in random order.
    """
    drawn = np.zeros(len(targets), dtype=bool)
    for label in np.argsort(targets[rows].sum(axis=0), kind="stable"):
        carriers = generator.permutation(rows[targets[rows, label] & ~drawn[rows]])
        missing = max(shots - int(targets[drawn, label].sum()), 0)
        drawn[carriers[:missing]] = True
    return generator.permutation(np.flatnonzero(drawn))


def mechtag(bench: Bench, task: Task, *, sentences: bool) -> Ticks:
    """Train as ``mechtag train`` does, with its own cross-validation, and tag."""
    codebook = bench.hallmarks.codebook
    definitions = embed_codebook(codebook, bench.encoder)
    documents = bench.hallmarks.coded(task.known, sentences=sentences)
    corpus = build_corpus(documents, [], codebook.keys, bench.encoder, definitions)
    fitted = fit(corpus, Frozen(bench.encoder, definitions), TrainSettings(), task.seed)
    encoded = fitted.encoded
    tagger = Tagger(codebook, encoded.encoder, encoded.definitions, fitted.heads, fitted.calibration)
    scored = tagger.tag([bench.hallmarks.documents[row].document for row in task.held])
    chances = np.stack([found.probabilities for found in scored])
    # Those in the band that is left to people count by the threshold.
    decided: Ticks = (chances >= fitted.calibration.threshold)[:, 1:]
    return decided


def _svm(bench: Bench, task: Task) -> Ticks:
    return linear_svm(bench.texts(task.known), bench.texts(task.held).texts, task.seed)


def _fine_tuning(bench: Bench, task: Task) -> Ticks:
    held = bench.texts(task.held).texts
    return fine_tuning(bench.texts(task.learnt), bench.texts(task.valid), held, bench.folder, task.seed)


def _setfit(bench: Bench, task: Task) -> Ticks:
    held = bench.texts(task.held).texts
    return setfit(bench.texts(task.learnt), bench.texts(task.valid), held, bench.folder, task.seed)


def _documents_only(bench: Bench, task: Task) -> Ticks:
    return mechtag(bench, task, sentences=False)


def _with_sentences(bench: Bench, task: Task) -> Ticks:
    return mechtag(bench, task, sentences=True)


SYSTEMS: dict[str, Callable[[Bench, Task], Ticks]] = {
    "TF-IDF + linear SVM": _svm,
    "SetFit": _setfit,
    "fine-tuning": _fine_tuning,
    "mechtag, abstracts coded as a whole": _documents_only,
    "mechtag, sentences coded": _with_sentences,
}


def _fingerprint(system: str) -> str:
    """Name what a run depends on beside its task."""
    what: dict[str, Any] = {"SetFit": asdict(SetFit()), "fine-tuning": asdict(FineTuning())}
    if system.startswith("mechtag"):
        sources = {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in _SOURCES}
        what[system] = {"sources": sources, "settings": TrainSettings().model_dump(mode="json")}
    text = json.dumps([system, what.get(system)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _path(system: str, seed: int, shots: int | None) -> Path:
    return _KEPT / f"{_fingerprint(system)}-{seed}-{shots or 'all'}.json"


def run(bench: Bench, system: str, task: Task) -> None:
    """Run a system on a task, unless that has been done, and keep its decisions."""
    path = _path(system, task.seed, task.shots)
    if path.exists():
        return
    begun = time.process_time()
    decided = SYSTEMS[system](bench, task)
    seconds = time.process_time() - begun
    write_json(path, {"system": system, "seconds": seconds, "decided": decided.astype(int).tolist()})
    judged = judge(decided, bench.hallmarks.targets[task.held])
    figure = float(example_f1(judged, as_it_is(judged.truth))[0])
    print(f"{system}, split {task.seed}, shots {task.shots or 'all'}: {figure:.3f}, {seconds:.0f} s", flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="*", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--splits", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--shots", nargs="*", type=int, default=[0, *SHOTS])
    arguments = parser.parse_args()
    bench = prepare()
    for seed in arguments.splits:
        for shots in arguments.shots:
            for system in arguments.systems:
                run(bench, system, split(bench.hallmarks.targets, seed, shots or None))


if __name__ == "__main__":
    main()
