"""Measure the tagging speed of a plain pipeline, and of mechtag with each of the backends that run the encoder.

Both the whole of tagging and the encoding alone are measured.

``python -m benchmarks.throughput`` needs the public screening sets (``MECHTAG_BENCH``) and a
trained model. Each run is a separate process, and its results are saved in
``data/work/benchmarks/throughput``, so that an interrupted benchmark can resume. ``--fresh`` discards saved results.
``--encoders`` instead compares the speed of the encoders that have a short name, without the other steps of tagging.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import peak_memory
from benchmarks.peak import encoder_work, matrix_peak
from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH, read_table
from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.parquet import read_records, read_sentences, write_predictions, write_records
from mechtag.core.records import Record, Sentence
from mechtag.core.settings import ENCODERS, EncoderSettings, SentenceSettings, Settings
from mechtag.models.encoder import TransformerEncoder, Vectors
from mechtag.models.features import definition_texts
from mechtag.models.model_folder import Model, load_model
from mechtag.models.runtimes.choice import RUNTIMES, Runtime, Runtimes, made_up_texts, measure_agreement
from mechtag.models.tagger import Document, Scored
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import documents_of, predict
from mechtag.training.train import load_encoder

COMMAND = "python -m benchmarks.throughput"
WORK = ROOT / "data/work/benchmarks/throughput"
MODEL = ROOT / "models/trained"
_SETS = ("nudging", "ace", "virus", "wilson")
_RECORDS, _REPEATS, _CHUNK = 2000, 5, 1000
# Slow runtimes tag only every fourth record; the rate is comparable.
_SHARE = {"torch": 4, "fp32": 4}
# Number of randomly drawn sentences that are encoded on their own.
_ALONE, _SEED = 4000, 2021
_ENCODER_RECORDS, _ENCODER_REPEATS = 100, 1
PLAIN = "plain way"
_MECHTAG: tuple[Runtime, ...] = tuple(name for name in RUNTIMES if name != "auto")
SYSTEMS = (PLAIN, *_MECHTAG)
_TEXT = (ROOT / "benchmarks/throughput.md").read_text(encoding="utf-8")
_ENCODERS_TEXT = (ROOT / "benchmarks/encoders.md").read_text(encoding="utf-8")


def abstracts(count: int) -> list[Record]:
    """Return real records with titles and abstracts, about the same number from each review."""
    records = []
    for name in _SETS:
        rows = [row for row in read_table(BENCH / "screening" / f"{name}.csv.gz") if row["abstract"].strip()]
        records += [
            Record(record_id=f"{name}:{number}", title=row["title"], abstract=row["abstract"])
            for number, row in enumerate(rows[: -(-count // len(_SETS))])
        ]
    return records[:count]


def _model(runtime: Runtime) -> Model:
    return load_model(MODEL, runtime=runtime)


def _chunks(records: Sequence[Record]) -> list[Sequence[Record]]:
    return [records[start : start + _CHUNK] for start in range(0, len(records), _CHUNK)]


def tag_plainly(source: Path, target: Path) -> dict[str, float]:
    """Tag a table of records as a tutorial does, with spaCy's sentencizer, sentence-transformers and scikit-learn."""
    import pandas
    import spacy
    import torch
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = _model("torch")
    heads = []
    for weights, intercept in zip(model.tagger.heads.weights, model.tagger.heads.intercept, strict=True):
        head = LogisticRegression()
        head.classes_, head.coef_, head.intercept_ = np.array([0, 1]), weights[None], np.array([intercept])
        heads.append(head)
    encoder = SentenceTransformer(str(model.reference().source.folder), device="cpu")
    encoder.encode(["A sentence that is not counted."])
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    torch.set_grad_enabled(False)

    begun = time.perf_counter()
    table = pandas.read_parquet(source)
    texts, owners = [], []
    for owner, (title, doc) in enumerate(zip(table["title"], nlp.pipe(table["abstract"]), strict=True)):
        found = [title, *(sentence.text for sentence in doc.sents)]
        texts += found
        owners += [owner] * len(found)
    vectors = encoder.encode(texts)
    chances = pandas.DataFrame([head.predict_proba(vectors)[:, 1] for head in heads]).T
    best = chances.groupby(np.array(owners)).max()
    best.columns = [str(column) for column in best.columns]
    best.to_parquet(target)
    return {"records": len(table), "seconds": time.perf_counter() - begun}


def tag_with(runtime: Runtime, source: Path, target: Path) -> dict[str, float]:
    """Tag a table of records as ``mechtag tag`` does, and return the number of records, times, memory and throughput.

    The encoder alone, and the peak throughput of the machine, are also measured.
    """
    begun = time.perf_counter()
    model = _model(runtime)
    warm = [Record(record_id="text:0", title="A title", abstract="One sentence. And another.")]
    _predictions(model, warm)
    start = time.perf_counter() - begun

    share = WORK / "share.parquet"
    write_records(share, read_records(source)[:: _SHARE.get(runtime, 1)])
    begun = time.perf_counter()
    records = read_records(share)
    rows = [row for chunk in _chunks(records) for row in _predictions(model, chunk)]
    write_predictions(target, rows)
    seconds = time.perf_counter() - begun
    memory = peak_memory()

    units = _units(records)
    units = [units[place] for place in np.random.default_rng(_SEED).permutation(len(units))[:_ALONE]]
    begun = time.perf_counter()
    model.tagger.encoder.encode(units)
    encoding = time.perf_counter() - begun
    reference = model.reference()
    lengths = [len(ids) for ids in reference.tokens(units)]
    return {
        "records": len(records),
        "seconds": seconds,
        "start": start,
        "megabytes": memory,
        "tokens": sum(lengths),
        "encoding": encoding,
        "work": encoder_work(reference, lengths),
        "peak": matrix_peak(runtime),
    }


def _units(records: Sequence[Record]) -> list[str]:
    """Return the distinct titles and sentences of records."""
    sentences = split(records, SentenceSettings())
    return list(dict.fromkeys([record.title for record in records] + [sentence.text for sentence in sentences]))


def encode_with(name: str, runtime: Runtime, count: int) -> dict[str, float]:
    """Measure how long an encoder takes to encode abstracts on one thread.

    The runtime ``torch`` must be measured first: its vectors are saved, and those of other runtimes are compared with
    them.

    Parameters
    ----------
    name
        Short name of the encoder, such as ``fast``.
    """
    texts = _units(abstracts(count))
    settings = EncoderSettings.model_validate({"name": name})

    def reference() -> TransformerEncoder:
        return load_encoder(Settings(encoder=settings))

    # The words of a model come from its training texts, so they are the same for each encoder.
    model = _model("torch")
    calibration = made_up_texts(
        model.tagger.heads.words.terms, definition_texts(model.config.codebook)[0], model.config.seed
    )
    identity = f"{settings.sha256} {settings.max_tokens}"
    # The processor time of one thread depends little on other processes.
    runtimes = Runtimes(WORK / "encoders" / name, identity, reference, calibration, threads=1)
    encoder = runtimes.encoder(runtime)
    encoder.encode(texts[:50])
    begun = time.process_time()
    vectors = encoder.encode(texts)
    seconds = time.process_time() - begun
    kept = _kept_vectors(name, count)
    if runtime == "torch":
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    expected: Vectors = np.load(kept)
    return _encoding(count, runtimes.reference(), texts, seconds, vectors, expected)


def encode_plainly(name: str, count: int) -> dict[str, float]:
    """Measure how long sentence-transformers takes to encode abstracts on one thread, used as in a tutorial.

    The vectors are normalised. They are compared with the vectors of the runtime ``torch``, which `encode_with` must
    have saved before.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    texts = _units(abstracts(count))
    reference = load_encoder(Settings(encoder=EncoderSettings.model_validate({"name": name})))
    encoder = SentenceTransformer(str(reference.source.folder), device="cpu")
    encoder.encode(texts[:50])
    begun = time.process_time()
    vectors = encoder.encode(texts, normalize_embeddings=True)
    seconds = time.process_time() - begun
    return _encoding(count, reference, texts, seconds, vectors, np.load(_kept_vectors(name, count)))


def _kept_vectors(name: str, count: int) -> Path:
    return WORK / "encoders" / f"{name}-{count}.npy"


def _encoding(
    count: int, reference: TransformerEncoder, texts: Sequence[str], seconds: float, vectors: Vectors, expected: Vectors
) -> dict[str, float]:
    cosines = np.einsum("ij,ij->i", vectors, expected)
    tokens = sum(len(ids) for ids in reference.tokens(texts))
    return {
        **{"records": count, "texts": len(texts), "tokens": tokens, "seconds": seconds},
        **{"mean cosine": float(cosines.mean()), "lowest cosine": float(cosines.min()), "size": vectors.shape[1]},
    }


def compare_encoders(count: int, repeats: int) -> list[dict[str, Any]]:
    """Measure the speed of each encoder with each runtime and with plain sentence-transformers.

    The results include the cosine similarity of the vectors to those of the runtime ``torch``.
    """
    systems = (*_MECHTAG, PLAIN)
    found: dict[tuple[str, str], list[dict[str, float]]] = {
        (name, system): [] for name in ENCODERS for system in systems
    }
    for turn in range(repeats):
        for (name, system), runs in found.items():
            part = f"encoder {name} {system}"
            runs.append(_kept(f"{count}-{name}-{system}-{turn}", lambda part=part: _in_process(part, count)))  # type: ignore[misc]
    seconds = {key: float(np.median([run["seconds"] for run in runs])) for key, runs in found.items()}
    results = []
    for (name, system), runs in found.items():
        figures = {
            "records/s, one core": count / seconds[name, system],
            "times the plain way": seconds[name, PLAIN] / seconds[name, system],
            "tokens/s, one core": runs[0]["tokens"] / seconds[name, system],
            **{key: runs[0][key] for key in ("mean cosine", "lowest cosine")},
        }
        results += [
            result(f"{count:,} abstracts", f"{name}, {system}", key, value, runs=len(runs))
            for key, value in figures.items()
        ]
    return results


def _predictions(model: Model, records: Sequence[Record]) -> list[Any]:
    sentences = split(records, SentenceSettings())
    return predict(model.tagger, model.config.model_id, records, sentences, evidence_sentences=2)


def _scored(runtime: Runtime, documents: Sequence[Document]) -> list[Scored]:
    tagger = _model(runtime).tagger
    return [one for start in range(0, len(documents), _CHUNK) for one in tagger.tag(documents[start : start + _CHUNK])]


def agreement(count: int) -> dict[str, Any]:
    """Compare the predictions of each runtime with those of ``torch``, on abstracts and on gold-standard papers."""
    records = abstracts(count)
    documents = _documents(records, list(split(records, SentenceSettings())))
    gold = ROOT / "data/work/gold"
    papers = read_records(gold / "unique.parquet")
    judged = _documents(papers, read_sentences(gold / "sentences.parquet"))
    expected = _scored("torch", [*documents, *judged])
    found: dict[str, Any] = {}
    for runtime in _MECHTAG[1:]:
        scored = _scored(runtime, [*documents, *judged])
        on_abstracts = measure_agreement(expected[: len(documents)], scored[: len(documents)])
        on_gold = measure_agreement(expected[len(documents) :], scored[len(documents) :])
        found[runtime] = {
            "largest difference": on_abstracts.difference,
            "decisions changed": on_abstracts.changed,
            "largest difference, Table 2": on_gold.difference,
            "decisions changed, Table 2": on_gold.changed,
        }
    return found


def _documents(records: Sequence[Record], sentences: Sequence[Sentence]) -> list[Document]:
    return [document for document, _ in documents_of(records, sentences)]


def table2(runtime: Runtime, folder: Path) -> dict[str, float]:
    """Tag the papers of the gold standard with an encoder runtime, and return four metrics of these predictions."""
    gold = ROOT / "data/work/gold"
    model = _model(runtime)
    sentences = read_sentences(gold / "sentences.parquet")
    papers = read_records(gold / "unique.parquet")
    rows = predict(model.tagger, model.config.model_id, papers, sentences, evidence_sentences=2)
    shutil.copytree(gold / "tagged", folder, dirs_exist_ok=True)
    write_predictions(folder / "predictions.parquet", rows)
    command = ("evaluate", str(folder / "predictions.parquet"), "data/annotated/table2.csv", "-o")
    _run(("-m", "mechtag", *command, str(folder / "metrics.json")))
    pooled = read_json(folder / "metrics.json")["transfer"]["pooled"]
    return {name: pooled[name]["value"] for name in ("across_auc", "within_auc", "macro_f1", "kappa")}


def start_up() -> dict[str, float]:
    """Measure the time of ``mechtag --help``, and the time to tag one record with a cached export of the encoder."""
    one = WORK / "one.parquet"
    write_records(one, abstracts(1))
    seconds = {}
    for name, command in (
        ("help", ("--help",)),
        ("first prediction", ("tag", str(one), "-o", str(WORK / "one"), "--runtime", "auto")),
    ):
        begun = time.perf_counter()
        _run(("-m", "mechtag", *command))
        seconds[name] = time.perf_counter() - begun
    return seconds


def _run(command: Sequence[str]) -> str:
    done = subprocess.run((sys.executable, *command), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MechtagError(f"{' '.join(command)}: failed: {done.stderr[-1500:]}")
    return done.stdout


def _kept(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the results that an earlier run saved, or compute and save them."""
    path = WORK / f"{name}.json"
    if not path.exists():
        write_json(path, make())
        sys.stderr.write(f"{name}: {json.dumps(read_json(path))}\n")
    return read_json(path)


def _in_process(part: str, count: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(("-m", "benchmarks.throughput", "--records", str(count), "--part", part)))
    return found


def _part(name: str, count: int) -> dict[str, Any]:
    """Run one part of the benchmark in this process, and return its results."""
    source, target = WORK / f"records-{count}.parquet", WORK / "predictions.parquet"
    if name == "agreement":
        return agreement(count)
    if name == PLAIN:
        return tag_plainly(source, target)
    if name.startswith("encoder "):
        _, encoder, runtime = name.split(maxsplit=2)
        if runtime == PLAIN:
            return encode_plainly(encoder, count)
        return encode_with(encoder, next(one for one in _MECHTAG if one == runtime), count)
    kind, _, runtime = name.partition(" ")
    known = next(one for one in _MECHTAG if one == (runtime or kind))
    return table2(known, WORK / f"table2-{known}") if kind == "table2" else tag_with(known, source, target)


def _speeds(found: dict[str, list[dict[str, float]]], dataset: str) -> list[dict[str, Any]]:
    rows = []
    plain = float(np.median([run["records"] / run["seconds"] for run in found[PLAIN]]))
    for system, runs in found.items():
        name = system if system == PLAIN else f"mechtag {system}"
        median = {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
        rate = float(np.median([run["records"] / run["seconds"] for run in runs]))
        figures = {"records/s": rate, "times the plain way": rate / plain}
        if "encoding" in median:
            rates = [run["work"] / run["encoding"] / run["peak"] for run in runs]
            figures |= {
                "tokens/s, encoder": median["tokens"] / median["encoding"],
                "of the matrix peak": float(np.median(rates)),
                "matrix peak, GFLOP/s": median["peak"] / 1e9,
                "start, s": median["start"],
                "peak MB": median["megabytes"],
            }
        rows += [result(dataset, name, key, value, runs=len(runs)) for key, value in figures.items()]
    return rows


def _show(results: Sequence[dict[str, Any]]) -> None:
    for row in results:
        sys.stderr.write("{dataset}: {system}: {metric} {value:.5g}\n".format(**row))


def main() -> None:
    """Run the parts of the benchmark that have no saved results yet, and publish the results of all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", action="store_true", help="compare encoders instead, without the rest of tagging")
    parser.add_argument("--records", type=int, help="number of records; published only if 2,000 (encoders: 100)")
    parser.add_argument("--repeats", type=int, help="number of runs; published only if 5 (encoders: 1)")
    parser.add_argument("--fresh", action="store_true", help="discard earlier runs")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    usual = (_ENCODER_RECORDS, _ENCODER_REPEATS) if asked.encoders else (_RECORDS, _REPEATS)
    count, repeats = asked.records or usual[0], asked.repeats or usual[1]
    if asked.part:
        sys.stdout.write(json.dumps(_part(asked.part, count)))
        return
    if asked.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    if asked.encoders:
        results = compare_encoders(count, repeats)
        _show(results)
        if (count, repeats) == usual:
            command = f"{COMMAND} --encoders"
            publish(
                "encoders",
                command,
                results,
                _ENCODERS_TEXT,
                versions=("openvino", "nncf", "torch", "transformers", "sentence-transformers"),
            )
        return
    write_records(WORK / f"records-{count}.parquet", abstracts(count))
    for runtime in _MECHTAG:
        _model(runtime)  # exports are created before anything is timed
    found: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    for turn in range(repeats):
        for system in SYSTEMS:
            found[system].append(_kept(f"{count}-{system}-{turn}", lambda part=system: _in_process(part, count)))  # type: ignore[misc]
    results = _speeds(found, f"{count:,} abstracts")
    differences = _kept(f"{count}-agreement", lambda: _in_process("agreement", count))
    for runtime in _MECHTAG:
        figures = _kept(f"table2-{runtime}", lambda part=runtime: _in_process(f"table2 {part}", count))  # type: ignore[misc]
        results += [result("Table 2, transfer", f"mechtag {runtime}", key, value) for key, value in figures.items()]
        for key, value in differences.get(runtime, {}).items():
            results.append(result("against torch", f"mechtag {runtime}", key, value))
    taken = _model("auto").choice.runtime  # before start-up is timed
    starts = [_kept(f"start-{turn}", start_up) for turn in range(repeats)]
    for key in starts[0]:
        value = float(np.median([run[key] for run in starts]))
        results.append(result("start-up", f"mechtag, auto taking {taken}", f"{key}, s", value, runs=repeats))
    _show(results)
    if (count, repeats) == usual:
        versions = ("openvino", "nncf", "torch", "sentence-transformers", "spacy", "scikit-learn")
        publish("throughput", COMMAND, results, _TEXT, versions=versions)


if __name__ == "__main__":
    main()
