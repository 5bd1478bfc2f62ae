"""Files that a reader of the documentation has: a codebook, exports and codes of invented papers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openpyxl
import yaml

from mechtag.core.parquet import write_records
from mechtag.pipeline.reading.ingest import ingest
from tests.support.pdfs import write_paper

LABELS = ("trust", "funding")
CODEBOOK = {
    "name": "joint boards",
    "relevance": {
        "key": "relevant",
        "definition": "The text is about boards that join health and social care.",
    },
    "labels": [
        {"key": "trust", "name": "Trust", "definition": "Members trust one another and keep their promises."},
        {"key": "funding", "name": "Funding", "definition": "Money and budgets are shared between organisations."},
    ],
}
SAID = {
    "trust": ("Members of the {} board trusted one another.", "Trust grew as {} leaders kept their promises."),
    "funding": ("The {} organisations agreed on one shared budget.", "A {} pool of money paid for both services."),
}
ABOUT = (
    "We met the {} joint boards of health and social care.",
    "Both services met in {} meetings each month.",
)
OTHER = ("Soil moisture was measured in {} alpine meadows.", "Grasses grew faster in {} plots after rain.")
WORDS = ("large", "small", "old", "new", "rural", "urban", "northern", "southern")


class Paper(NamedTuple):
    """An invented paper; ``labels`` is ``None`` if the paper is irrelevant."""

    key: str
    title: str
    abstract: str
    labels: tuple[str, ...] | None


def papers(count: int, seed: int) -> list[Paper]:
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        relevant = number % 3 != 2
        labels = tuple(label for place, label in enumerate(LABELS) if relevant and (number // 3) >> place & 1)
        chosen = [str(generator.choice(SAID[label])) for label in labels]
        chosen += list(ABOUT if relevant else OTHER) * (2 - len(labels) // 2)
        sentences = [text.format(generator.choice(WORDS)) for text in generator.permutation(chosen)]
        subject = "Joint boards of care" if relevant else "Moisture of mountain meadows"
        title = f"{subject} in {WORDS[number % 8]} region {seed}-{number}"
        found.append(Paper(f"{seed}-{number}", title, " ".join(sentences), labels if relevant else None))
    return found


def ris(path: Path, found: Iterable[Paper]) -> None:
    lines = []
    for paper in found:
        lines += ["TY  - JOUR", f"ID  - {paper.key}", f"TI  - {paper.title}", f"AU  - Writer{paper.key}, Ada"]
        lines += ["PY  - 2020", f"AB  - {paper.abstract}", "ER  - ", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as a workbook if the file name ends with ``.xlsx``, otherwise as CSV."""
    rows = [list(row) for row in rows]
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in (list(header), *rows):
            book.worksheets[0].append(row)
        book.save(path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def matrix(path: Path, found: Iterable[Paper], name: str = "key") -> None:
    """Write a table of papers and labels (1 or 0), whose column ``name`` has the key or the title of each paper."""
    rows = [(getattr(one, name), *(int(label in (one.labels or ())) for label in LABELS)) for one in found]
    table(path, [name, *LABELS], rows)


def rayyan(path: Path, found: Iterable[Paper]) -> None:
    """Write a Rayyan export with the decisions of one member and the labels that she set."""
    rows = []
    for one in found:
        note = f'RAYYAN-INCLUSION: {{"Ann"=>"{"Excluded" if one.labels is None else "Included"}"}}'
        if one.labels:
            note += f" | RAYYAN-LABELS: {','.join(one.labels)}"
        rows.append((f"rayyan-{one.key}", one.title, 2020, f"Writer{one.key}, Ada", one.abstract, note))
    table(path, ["key", "title", "year", "authors", "abstract", "notes"], rows)


def codings(path: Path, found: Iterable[Paper]) -> None:
    """Write codings by one coder, who judged the relevance of each paper and every label of the relevant ones."""
    rows = [
        (one.key, "Ann", label, int(one.labels is not None if label == "relevant" else label in (one.labels or ())))
        for one in found
        for label in ("relevant", *(LABELS if one.labels is not None else ()))
    ]
    table(path, ["key", "coder", "label", "value", "basis"], [(*row, "abstract") for row in rows])


def coded(path: Path, found: Iterable[Paper]) -> None:
    """Write coded papers as JSON lines, with the labels of each sentence."""
    rows = []
    for one in found:
        texts = [f"{text}." for text in one.abstract.rstrip(".").split(". ")]
        sentences = [{"text": text, "labels": [name for name in LABELS if _says(text, name)]} for text in texts]
        row = {"key": one.key, "title": one.title, "relevant": one.labels is not None, "labels": one.labels or ()}
        rows.append({**row, "coder": "Ann", "basis": "abstract", "codebook": "joint boards", "sentences": sentences})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _says(text: str, label: str) -> bool:
    return any(text.startswith(said.split("{}")[0]) and text.endswith(said.split("{}")[1]) for said in SAID[label])


def reader_files(folder: Path) -> None:
    """Write the files that documentation pages name but that no command on the page writes."""
    for name in ("my_codebook.yaml", "codebook.yaml", "codes.yaml"):
        (folder / name).write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    ris(folder / "my_export.ris", papers(24, 1))
    ris(folder / "ovid.ris", papers(12, 1))
    ris(folder / "screened.ris", papers(24, 5))
    ris(folder / "my_papers.ris", papers(24, 6))
    for name, seed in (("another", 2), ("scopus", 3)):
        table(
            folder / f"{name}.csv",
            ["Title", "Year", "Abstract"],
            [(p.title, 2020, p.abstract) for p in papers(12, seed)],
        )
    finished = [(one.title, one.abstract, int(one.labels is not None)) for one in papers(60, 4)]
    table(folder / "finished.csv", ["title", "abstract", "decision"], finished)
    codings(folder / "codings.csv", papers(24, 5))
    matrix(folder / "my_codes.csv", papers(24, 6))
    rows = [(one.title, one.abstract, *(int(label in (one.labels or ())) for label in LABELS)) for one in papers(48, 7)]
    table(folder / "codes.csv", ["title", "abstract", *LABELS], rows)
    rayyan(folder / "articles.csv", papers(24, 1))
    boxes = (
        "Trust\n\nAfter mergers (C), leaders listen (M+, Resource), staff trust them (M+, Reasoning), and stay (O+).\n"
    )
    (folder / "boxes.txt").write_text(boxes, encoding="utf-8")
    matrix(folder / "matrix.xlsx", papers(24, 1), "title")
    records = ingest([folder / "my_export.ris"]).records
    write_records(folder / "unique.parquet", records)
    write_records(folder / "records.parquet", records)
    for number, one in enumerate(records[:3]):
        write_paper(folder / f"pdfs/{number}.pdf", one.title)
    table(folder / "map.csv", ["file", "record_id"], [("0.pdf", records[0].record_id)])
    by_title = {one.title: one for one in papers(24, 1)}
    gold = [
        (one.record_id, *(int(name in (by_title[one.title].labels or ())) for name in LABELS)) for one in records[:12]
    ]
    table(folder / "gold.csv", ["record_id", *LABELS], gold)


def reader_project(folder: Path) -> None:
    """Write the settings and coded papers of a project in which a model can be trained."""
    coded(folder / "data/annotated/coded/first.jsonl", papers(48, 8))
    params = {
        "codebook": "codebook.yaml",
        "sources": {"search": "my_export.ris"},
        "train": {"records": "data/annotated/coded", "exemplars": "", "added": "data/annotated/added", "folds": 3},
        "evaluate": {
            "gold": "my_codes.csv",
            "second_coder": "",
            "baseline_query": "",
            "bootstrap": 100,
            "permutations": 100,
        },
        "retrain": {
            "test_records": "my_papers.ris",
            "bootstrap": 100,
            "paraphrase": 1.0,
            "margins": dict.fromkeys(("across_auc", "relevance_auc", "kappa"), 0.9),
        },
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
