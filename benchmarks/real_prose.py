"""Measure the decisions of the trained model on real abstracts, almost none of which is about the subject of the model.

``python -m benchmarks.real_prose`` uses the model in ``models/trained`` to tag the abstracts of all benchmark data, in
the folder that the environment variable ``MECHTAG_BENCH`` names. It writes the titles of the abstracts that the model
classifies as relevant to ``data/work/benchmarks/real_prose/``, and prints those with the highest probabilities, so that
a person can sort them by kind. Titles and abstracts are not published.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH, LABELLED, labelled, read_table
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.records import Prediction, Record, normalise_title
from mechtag.core.settings import load_settings
from mechtag.models.model_folder import load_model
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.cleaning import clean_abstract, clean_text
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import predict

COMMAND = "python -m benchmarks.real_prose"
MODEL = ROOT / "models/trained"
WORK = ROOT / "data/work/benchmarks/real_prose"
TOTAL = "all"
# Findings of a person who read the abstracts classified as relevant: the model id on the first line, then a table.
KINDS = ROOT / "benchmarks/real_prose_kinds.md"
_TEXT = (ROOT / "benchmarks/real_prose.md").read_text(encoding="utf-8")
_CHUNK, _SHOWN = 1000, 40


def read_sets(bench: Path = BENCH) -> Iterator[tuple[str, list[Record]]]:
    """Yield the name of each data set and its records with an abstract; repeated abstracts are skipped.

    Raises
    ------
    MechtagError
        If the folder ``bench`` is missing.
    """
    if not bench.is_dir():
        raise MechtagError(f"{bench}: no such folder; set MECHTAG_BENCH to the folder of the benchmark data")
    seen: set[str] = set()
    for name, texts in _texts(bench):
        records: list[Record] = []
        for title, abstract in texts:
            cleaned, _ = clean_abstract(abstract)
            key = normalise_title(cleaned)
            if key and key not in seen:
                seen.add(key)
                record_id = f"{name}:{len(records)}"
                records.append(Record(record_id=record_id, title=clean_text(title), abstract=cleaned))
        if records:
            yield name, records


def _texts(bench: Path) -> Iterator[tuple[str, Iterable[tuple[str, str]]]]:
    for path in [*sorted((bench / "screening").glob("*.csv.gz")), bench / "multilabel/hoc_documents.csv.gz"]:
        if path.is_file():
            yield path.name.removesuffix(".csv.gz"), ((row["title"], row["abstract"]) for row in read_table(path))
    for name in LABELLED:
        if (bench / "dedupe" / name).is_dir():
            yield name, ((row.get("title") or "", row.get("abstract") or "") for row in labelled(name)[0])
    yield "references", _references(bench / "references")


def _references(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the title and abstract of each record in a folder of exports; files that cannot be read are skipped."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SOURCE.txt"):
        try:
            records = ingest([path]).records
        except MechtagError:
            continue
        yield from ((record.title, record.abstract) for record in records)


def shares(
    decided: Mapping[str, Iterable[Prediction]], relevance_key: str, system: str = "mechtag"
) -> list[dict[str, Any]]:
    """Count the abstracts, and compute the proportions of the decisions yes and needs review.

    Results are returned per data set and for all data sets together, separately for relevance and for labels.

    Parameters
    ----------
    decided
        Predictions of relevance and of all labels for each abstract, keyed by data set.
    """
    counted: dict[str, Counter[tuple[bool, str]]] = {
        name: Counter((row.label == relevance_key, row.decision) for row in rows) for name, rows in decided.items()
    }
    results = []
    for name, count in (*counted.items(), (TOTAL, sum(counted.values(), Counter[tuple[bool, str]]()))):
        abstracts = sum(number for (relevance, _), number in count.items() if relevance)
        cells = sum(number for (relevance, _), number in count.items() if not relevance)
        results.append(result(name, system, "abstracts", abstracts))
        for metric, relevance, decision in (
            ("relevant", True, "yes"),
            ("relevance to people", True, "refer"),
            ("labels yes", False, "yes"),
            ("labels to people", False, "refer"),
        ):
            whole = abstracts if relevance else cells
            results.append(result(name, system, metric, count[relevance, decision] / whole if whole else 0.0))
    return results


def called_relevant(
    records: Mapping[str, Sequence[Record]], decided: Mapping[str, Sequence[Prediction]], relevance_key: str
) -> list[tuple[str, float, str, str]]:
    """Return the data set, probability, title and labels of each abstract that the model classified as relevant.

    The most probable abstract comes first. The start of an abstract replaces a missing title.
    """
    found = []
    for name, rows in decided.items():
        text = {record.record_id: record.title or record.abstract[:120] for record in records[name]}
        labels: dict[str, list[str]] = {}
        for row in rows:
            if row.decision == "yes" and row.label != relevance_key:
                labels.setdefault(row.record_id, []).append(row.label)
        found += [
            (name, row.probability or 0.0, text[row.record_id], ", ".join(labels.get(row.record_id, ())))
            for row in rows
            if row.label == relevance_key and row.decision == "yes"
        ]
    return sorted(found, key=lambda item: (-item[1], item))


def kinds(model_id: str, path: Path = KINDS) -> str:
    """Return a Markdown table that counts, by kind, the abstracts that the model classified as relevant.

    A person sorted the abstracts by kind and wrote the table for one model. For any other model, a sentence is returned
    that says that the abstracts have not been sorted.
    """
    first, _, table = path.read_text(encoding="utf-8").partition("\n") if path.is_file() else ("", "", "")
    if first.split() != ["model", model_id]:
        return f"The abstracts that model {model_id} calls relevant have not been read and sorted by kind."
    return table.strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Tag abstracts and list those that the model classifies as relevant; publish the results if all were tagged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="tag every n-th abstract of a set, and publish nothing")
    parser.add_argument("--runtime", default="auto", help="runtime of the encoder")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        sets = {name: records[:: chosen.every] for name, records in read_sets()}
    except MechtagError as error:
        console.print(f"skipped: {error}", markup=False, highlight=False)
        return
    settings = load_settings(ROOT / "params.yaml")
    model = load_model(MODEL, runtime=chosen.runtime, threads=settings.tag.threads, score_all=False)
    relevance_key = model.config.codebook.relevance.key
    decided: dict[str, list[Prediction]] = {name: [] for name in sets}
    parts = [
        (name, records[at : at + _CHUNK]) for name, records in sets.items() for at in range(0, len(records), _CHUNK)
    ]
    for name, part in track(parts, description="real prose"):
        sentences = split(part, settings.sentences)
        decided[name] += predict(model.tagger, model.config.model_id, part, sentences, evidence_sentences=0)
    results = shares(decided, relevance_key)
    found = called_relevant(sets, decided, relevance_key)
    write_csv(WORK / "relevant.csv", ("data set", "probability", "title", "labels"), found)
    for name, probability, title, labels in found[:_SHOWN]:
        console.print(f"{probability:.2f}  {name}: {title} [{labels}]", markup=False, highlight=False)
    console.print(f"{len(found)} abstracts were classified as relevant; see {WORK / 'relevant.csv'}", markup=False)
    for one in results:
        if one["dataset"] == TOTAL or one["metric"] == "relevant":
            console.print(f"{one['dataset']}, {one['metric']}: {one['value']:,.4f}".removesuffix(".0000"), markup=False)
    if chosen.every == 1:
        text = _TEXT.format(
            model=model.config.model_id, runtime=model.choice.runtime, kinds=kinds(model.config.model_id)
        )
        publish("real_prose", COMMAND, results, text, versions=("torch", "transformers", "scikit-learn", "spacy"))


if __name__ == "__main__":
    main()
