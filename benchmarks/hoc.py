"""Compare mechtag with a linear SVM, SetFit and fine-tuning, on whole abstracts of the Hallmarks of Cancer corpus.

``python -m benchmarks.hoc`` runs each system that has not been run yet, and then writes ``docs/benchmarks/hoc.json``,
its section of ``docs/benchmarks.md`` and the learning curve. Finished runs are kept in ``data/work/benchmarks/hoc``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.hallmarks import CODEBOOK, SEEDS, SHOTS, Hallmarks, Task, load_hallmarks, split
from benchmarks.peers import FineTuning, SetFit, Texts, Ticks, fine_tuning, linear_svm, score_decisions, setfit
from benchmarks.publish import ROOT, publish, result
from mechtag.core.arrays import Index
from mechtag.core.files import read_json, replacing, write_json, write_text
from mechtag.core.settings import EncoderSettings, TrainerName, TrainSettings
from mechtag.evaluation.metrics import as_it_is, example_f1, pooled_figures
from mechtag.evaluation.report.svg import line_chart
from mechtag.models.encoder import Encoder, TransformerEncoder, Vectors, locate_encoder
from mechtag.models.features import embed_codebook
from mechtag.models.tagger import Tagger, units_of
from mechtag.training.dataset import build_corpus
from mechtag.training.finetuning.trainers import FrozenTrainer, make_trainer
from mechtag.training.heads import fit

System = Callable[["Bench", "Task"], Ticks]

COMMAND = "python -m benchmarks.hoc"
_TEXT = (ROOT / "benchmarks/hoc.md").read_text(encoding="utf-8")
_KEPT = ROOT / "data/work/benchmarks/hoc"
# Files that affect mechtag's training; if they change, its earlier runs are invalid.
_MODELS = ("encoder", "features", "scoring", "sentence_roles", "tagger", "text")
_TABLES = ("models/roles.safetensors", "models/spelling.csv")
_TRAINING = ("calibration", "dataset", "heads", "multiple_instance")
_TUNING = ("loop", "losses", "top_layers")


class KeptVectors:
    """An encoder that caches the vectors of ``texts`` in a file, so that they are computed only once."""

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
        """Return the number of elements of each vector."""
        return self._encoder.size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text; see `Encoder.encode`."""
        new = [text for text in texts if text not in self._vectors]
        self._vectors.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._vectors[text] for text in texts])


@dataclass(frozen=True)
class Bench:
    """The corpus and its encoder; ``encoder`` caches the vectors that ``transformer`` computes."""

    hallmarks: Hallmarks
    transformer: TransformerEncoder
    encoder: Encoder

    @property
    def folder(self) -> Path:
        """Return the folder that contains the encoder's files."""
        return self.transformer.source.folder

    def texts(self, rows: Index) -> Texts:
        """Return the documents in the given rows as whole texts, with their labels."""
        return Texts(self.hallmarks.texts, self.hallmarks.targets).take(rows)


def prepare() -> Bench:
    """Load the corpus and the encoder."""
    hallmarks = load_hallmarks()
    settings = EncoderSettings()
    source = locate_encoder(settings.name, sha256=settings.sha256)
    encoder = TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)
    units = units_of([coded.document for coded in hallmarks.documents])
    return Bench(hallmarks, encoder, KeptVectors(encoder, _KEPT, [*units.parts, *units.whole_texts()]))


def mechtag(bench: Bench, task: Task, trainer: TrainerName, *, sentences: bool) -> Ticks:
    """Train a model as ``mechtag train`` does, including cross-validation, and tag the test documents.

    Parameters
    ----------
    sentences
        Whether to train on the labels of sentences, and not only on those of whole documents.

    Returns
    -------
    ndarray of bool, shape (n_test_documents, n_labels)
        Whether each label is suggested.
    """
    codebook = bench.hallmarks.codebook
    definitions = embed_codebook(codebook, bench.encoder)
    documents = bench.hallmarks.coded(task.known, sentences=sentences)
    corpus = build_corpus(documents, [], codebook.keys, bench.encoder, definitions)
    settings = TrainSettings(trainer=trainer)
    if trainer == "frozen":
        fitted = fit(corpus, FrozenTrainer(bench.encoder, definitions), settings, task.seed)
    else:
        tuning = make_trainer(bench.transformer, codebook, definitions, settings, work=_KEPT / "checkpoints")
        fitted = fit(corpus, tuning, settings, task.seed)
    encoded = fitted.encoded
    tagger = Tagger(codebook, encoded.encoder, encoded.definitions, fitted.heads, fitted.calibration)
    scored = tagger.tag([bench.hallmarks.documents[row].document for row in task.held])
    chances = np.stack([found.probabilities for found in scored])
    # Where mechtag would leave the decision to a person, the threshold decides.
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


_CODED = {"abstracts coded as a whole": False, "sentences coded": True}
PEERS: dict[str, System] = {"TF-IDF + linear SVM": _svm, "SetFit": _setfit, "fine-tuning": _fine_tuning}
OURS: dict[str, System] = {
    f"mechtag, {how}": partial(mechtag, trainer="frozen", sentences=_CODED[how]) for how in _CODED
}
# These take hours each on two cores, so they run only on request.
TUNED: dict[str, System] = {
    f"mechtag, {how}, contrastive": partial(mechtag, trainer="contrastive", sentences=_CODED[how]) for how in _CODED
}
SYSTEMS = PEERS | OURS | TUNED


def _fingerprint(system: str) -> str:
    """Return a hash of the code and settings that a system uses, so that outdated runs are not reused."""
    what: Any = None
    if system in PEERS:
        what = {"SetFit": asdict(SetFit()), "fine-tuning": asdict(FineTuning())}.get(system)
    else:
        modules = [*(f"models/{name}.py" for name in _MODELS), *(f"training/{name}.py" for name in _TRAINING)]
        if system in TUNED:
            modules += ["models/encoder.py", *(f"training/finetuning/{name}.py" for name in _TUNING)]
        files = [*(ROOT / name for name in (*modules, *_TABLES)), CODEBOOK]
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        what = {"files": hashes, "settings": TrainSettings().model_dump(mode="json")}
    return hashlib.sha256(json.dumps([system, what], sort_keys=True).encode()).hexdigest()[:16]


def _path(system: str, seed: int, shots: int | None) -> Path:
    return _KEPT / f"{_fingerprint(system)}-{seed}-{shots or 'all'}.json"


def run(bench: Bench, system: str, task: Task) -> None:
    """Run a system on a task and save its decisions, unless the system was already run on the task."""
    path = _path(system, task.seed, task.shots)
    if path.exists():
        return
    begun = time.process_time()
    decided = SYSTEMS[system](bench, task)
    seconds = time.process_time() - begun
    write_json(path, {"system": system, "seconds": seconds, "decided": decided.astype(int).tolist()})
    judged = score_decisions(decided, bench.hallmarks.targets[task.held])
    figure = float(example_f1(judged, as_it_is(judged.truth))[0])
    where = f"{system}, split {task.seed}, documents per label: {task.shots or 'all'}"
    print(f"{where}: example-based F1 {figure:.3f}, {seconds:.0f} s", flush=True)  # noqa: T201


def figures(decided: Ticks, targets: Ticks) -> dict[str, float]:
    """Compute metrics of the decisions of one system on the test documents of one task."""
    judged = score_decisions(decided, targets)
    once = as_it_is(judged.truth)
    pooled = pooled_figures(judged, once)
    return {
        "example-based F1": float(example_f1(judged, once)[0]),
        "micro-F1": float(pooled["micro_f1"][0]),
        "macro-F1": float(pooled["macro_f1"][0]),
    }


def finished(bench: Bench, shots: int | None) -> dict[str, dict[int, dict[str, float]]]:
    """Return the metrics of the finished runs, keyed by system and by the seed of the split."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for system in SYSTEMS:
        for seed in SEEDS:
            path = _path(system, seed, shots)
            if path.exists():
                held = split(bench.hallmarks.targets, seed, shots).held
                decided = np.array(read_json(path)["decided"], dtype=bool)
                found.setdefault(system, {})[seed] = figures(decided, bench.hallmarks.targets[held])
    return found


def mean_interval(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of values and its 95% interval by Student's t; the interval is ``None`` for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    reach = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, (mean - reach, mean + reach)


def results(bench: Bench) -> tuple[list[dict[str, Any]], dict[str, list[tuple[float, float]]]]:
    """Return all metrics in the form that `publish` expects, and the points of the learning curve of each system."""
    rows: list[dict[str, Any]] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    for shots in (None, *SHOTS):
        dataset = f"{shots} a label" if shots else "all"
        for system, runs in finished(bench, shots).items():
            rows.append(result(dataset, system, "splits", len(runs)))
            for metric in next(iter(runs.values())):
                mean, interval = mean_interval([run[metric] for run in runs.values()])
                rows.append(result(dataset, system, metric, mean, interval, len(runs)))
            if shots:
                lines.setdefault(system, []).append((shots, rows[-3]["value"]))
    return rows, lines


def _gaps(rows: Sequence[dict[str, Any]]) -> str:
    """Return a sentence that lists the runs that have not been made yet; ``""`` if no run is missing."""
    ran = {(row["dataset"], row["system"]) for row in rows}
    told = []
    for system in (*PEERS, *OURS):
        samples = [name for name in ("all", *(f"{shots} a label" for shots in SHOTS)) if (name, system) not in ran]
        if samples:
            told.append(f"{system} ({', '.join(samples)})")
    return f"Not run yet: {'; '.join(told)}." if told else ""


def write_up(bench: Bench) -> None:
    """Publish the metrics of all finished runs, and draw the learning curves."""
    rows, lines = results(bench)
    told = "; ".join(f"{name}: " + ", ".join(f"{y:.2f}" for _, y in points) for name, points in lines.items())
    if lines:
        chart = line_chart(
            lines,
            title="Hallmarks of Cancer: example-based F1 by number of labelled abstracts",
            description=f"One line per system, from left to right. {told}.",
            x_name="abstracts with each label to learn from",
            y_name="example-based F1",
        )
        write_text(ROOT / "docs/benchmarks/hoc_curve.svg", chart)
    samples = [split(bench.hallmarks.targets, SEEDS[0], shots) for shots in SHOTS]
    text = _TEXT.format(
        gaps=_gaps(rows),
        sizes=", ".join(str(len(task.known)) for task in samples),
        **{f"tuning_{name}": value for name, value in asdict(FineTuning()).items()},
        **{f"setfit_{name}": value for name, value in asdict(SetFit()).items()},
    )
    versions = ("scikit-learn", "torch", "transformers", "sentence-transformers", "setfit")
    publish("hoc", COMMAND, rows, text, versions=versions)


def main() -> None:
    """Run the selected systems on all tasks that have no saved results yet, and publish all saved results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=[*PEERS, *OURS])
    parser.add_argument("--splits", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--shots", nargs="+", type=int, choices=(0, *SHOTS), default=(0, *SHOTS), help="0 for all")
    parser.add_argument("--publish-only", action="store_true", help="run nothing; publish what is finished")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = prepare()
    if not arguments.publish_only:
        for shots, seed, system in product(arguments.shots, arguments.splits, arguments.systems):
            run(bench, system, split(bench.hallmarks.targets, seed, shots or None))
    write_up(bench)


if __name__ == "__main__":
    main()
