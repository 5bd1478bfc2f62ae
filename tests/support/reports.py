"""A small project with measured accuracy, its report, and a parser for the report's page."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mechtag.core.codebook import load_codebook
from mechtag.core.files import read_json, write_json
from mechtag.core.parquet import write_predictions, write_records
from mechtag.core.records import Coding, Evidence, Prediction, Record
from mechtag.core.settings import load_settings
from mechtag.pipeline.annotations.coding_table import read_annotations, write_codings
from mechtag.pipeline.llm.run import LlmRun, LlmRuns, write_runs
from tests.support.command import call

ATTACK = "</script><script>alert('x')</script><img src=x onerror=alert(1)> \"quoted\" & 'so' {{ 7 * 7 }}"
LABELS = ("watering", "pests", "shade")
CODEBOOK = {
    "name": "kitchen garden",
    "title": f"Gardens {ATTACK}",
    "relevance": {"key": "about_gardens", "definition": "The text is about growing food at home."},
    "labels": [
        {"key": "watering", "name": f"Watering {ATTACK}", "definition": f"Plants are given water. {ATTACK}"},
        {"key": "pests", "name": "Pests", "definition": "Slugs eat the plants."},
        {"key": "shade", "name": "Shade", "definition": "Trees keep the sun off."},
    ],
}
PAPERS = 16


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "ci_low": low, "ci_high": high}


def agreement() -> dict[str, Any]:
    """Return agreement results in the form in which a comparison of several coders writes them."""
    measures = {
        "agreement": figure(0.9, 0.8, 0.95),
        "cohen_kappa": figure(-0.001, -0.1, 0.1),
        "pabak": figure(0.8, 0.7, 0.9),
        "gwet_ac1": figure(None),
        "krippendorff_alpha": figure(0.7, 0.6, 0.8),
    }
    counts = {"n": 10, "both_yes": 4, "only_a": 1, "only_b": 0, "both_no": 5}
    pairs = [
        {"a": "Ada", "b": other, "kind": kind, "unit": "records", "labels": {"pests": {**counts, **measures}}}
        | {"pooled": {**counts, **measures}}
        for other, kind in ((f"Bo {ATTACK}", "human-human"), ("mechtag", "human-model"))
    ]
    chance = {
        "fleiss_kappa": figure(0.5, 0.4, 0.6),
        "gwet_ac1": figure(0.6),
        "krippendorff_alpha": figure(0.55),
        "labels": {},
    }
    return {
        "records": 10,
        "coders": [{"name": "Ada", "kind": "human"}, {"name": "mechtag", "kind": "model"}],
        "pairs": pairs,
        "all": {"humans": chance, "with_model": chance},
        "texts": {"synopses": 8, "published": 2},
        "adjudicate": [
            {"record_id": "text:1", "key": "p1", "label": "pests", "reason": f"they differ {ATTACK}", "score": 0.876}
            | {"codes": {"Ada": 1, f"Bo {ATTACK}": 0}, "probability": 0.432}
        ],
    }


def described_run(coder: str = "llm:toy", endpoint: str = "local", **fields: object) -> LlmRun:
    """Return the description of a language model's run; ``fields`` replace its fields."""
    content = {
        **{"coder": coder, "model": "toy", "endpoint": endpoint, "host": "", "basis": "abstract", "codebook": "toy"},
        **{"codebook_sha256": "c0", "prompt_sha256": "abcdef0123456789", "system": "Code. *Rules*", "text": "Text:"},
        **{"questions": {"trust": "The code: Trust"}, "parameters": {"temperature": 0, "seed": 1}},
        **{"mode": "json_schema", "first": "2026-11-01", "last": "2026-11-02"},
        **{"papers": 8, "asked": 24, "answered": 23, "rejected": 1, "not_asked": 0, "yes": 11, "no": 9, "unclear": 3},
        **{"unsupported": 2, "quotes": 20, "moved": 1, "invented": 5, "calls": 25, "calls_without_usage": 0},
        **{"prompt_tokens": 12_345, "completion_tokens": 678, "cached_tokens": 0, "cost_usd": 0.25},
    }
    return LlmRun.model_validate(content | fields)


def predictions(record_ids: list[str], name: str, seed: int) -> list[Prediction]:
    generator = np.random.default_rng(seed)
    found = []
    for number, record_id in enumerate(record_ids):
        for label in ("about_gardens", *LABELS):
            chance = float(generator.uniform())
            evidence = [
                Evidence(sentence=place, start=0, end=5, text=text, score=1.0)
                for place, text in enumerate((f"=Sentence {number} {label}.", ATTACK))
            ]
            found.append(
                Prediction(
                    record_id=record_id,
                    label=label,
                    score=chance,
                    probability=chance,
                    threshold=0.5,
                    decision="refer" if 0.45 < chance < 0.6 else "yes" if chance > 0.5 else "no",
                    evidence=tuple(evidence) if number else (),
                    model_id="abc",
                )
            )
    return found


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with everything that a report shows, made from invented papers with hostile names."""
    folder = tmp_path_factory.mktemp("report")
    generator = np.random.default_rng(5)
    (folder / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    rows = [["key", "paper", *LABELS, "other"]]
    records = []
    for number in range(PAPERS):
        codes = ["" if number == 3 else str(number % 2), str(int(number % 3 == 0))]
        rows.append([f"p{number}", f"Roe ({number}) {ATTACK}", *codes, str(int(number < 2)), "1"])
        text = "" if number == 0 else f"An abstract. {ATTACK}"
        if number < PAPERS - 1:
            raw = (("key", f"p{number}"),)
            records.append(Record(record_id=f"text:{number}", title=f"Title {ATTACK}", abstract=text, raw=raw))
    with (folder / "gold.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    notes = {"source": f"Roe {ATTACK}", "printed_counts": {"pests": 1}, "notes": [f"A note. {ATTACK}"]}
    (folder / "gold.yaml").write_text(yaml.safe_dump(notes), encoding="utf-8")
    write_records(folder / "tagged/records.parquet", records)
    ids = [record.record_id for record in records]
    write_predictions(folder / "tagged/predictions.parquet", predictions(ids, "model", 1))
    for seed, name in enumerate(("leave_one_out", "all_positive", "odd_<b>_cosine"), start=2):
        write_predictions(folder / f"baselines/{name}.parquet", predictions(ids, name, seed))

    coded = [
        {
            "key": f"c{number}",
            "title": f"Coded {number}",
            "relevant": number % 3 > 0,
            "labels": [label for label in LABELS if number % 3 and generator.uniform() < 0.5],
            "sentences": [{"text": f"Sentence {number}."}],
            "coder": f"Ada {ATTACK}",
            "basis": "abstract",
            "codebook": "kitchen garden",
        }
        for number in range(24)
    ]
    # Two sets of records; the second has too few records for most figures.
    (folder / "coded").mkdir()
    for row in coded[15:]:
        row["hard"] = not row["relevant"] and row["key"] != "c21"
    for name, own in (("garden", coded[:15]), ("made", coded[15:])):
        text = "".join(json.dumps(row) + "\n" for row in own)
        (folder / f"coded/{name}.jsonl").write_text(text, encoding="utf-8")
    about = {"garden": {"title": f"Real ones {ATTACK}", "texts": "synopses"}}
    about |= {"made": {"title": "Made up", "texts": "invented"}}
    (folder / "coded/about.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    names = ("key", "relevant", "labels", "basis", "codebook")
    again = [{**{name: row[name] for name in names}, "coder": "Bo"} for row in coded[:12]]
    again[1] |= {"labels": ["shade"], "relevant": True}
    (folder / "second.jsonl").write_text("".join(json.dumps(row) + "\n" for row in again), encoding="utf-8")
    settings = {
        "codebook": str(folder / "codebook.yaml"),
        "train": {"records": str(folder / "coded"), "exemplars": ""},
        "evaluate": {
            "gold": str(folder / "gold.csv"),
            "second_coder": str(folder / "second.jsonl"),
            "bootstrap": 100,
            "permutations": 100,
        },
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    codebook = load_codebook(folder / "codebook.yaml")
    known = read_annotations(load_settings(folder / "params.yaml"), codebook.keys, codebook.relevance.key)
    own = [row.record.record_id for row in known]
    for name in ("oof/documents", "oof/sentences", "curve/6", "curve/18", "told/as_it_is", "told/methods_added"):
        write_predictions(folder / f"{name}.parquet", predictions(own, name, len(name)))
    write_predictions(folder / "told/headings_removed.parquet", [])
    write_predictions(folder / "baselines/relevance_words.parquet", predictions(own, "words", 9))

    (folder / "model").mkdir()
    config = {
        "format_version": 4,
        "model_id": "abc",
        "codebook": {"name": "kitchen garden"},
        "codebook_sha256": "0" * 64,
        "encoder": {"name": "tiny", "revision": "main", "sha256": "1" * 64},
        "seed": 7,
        "settings": {"folds": 3, "tuning": {"epochs": 2}, "texts": ""},
        "data": {f"coded {ATTACK}.jsonl": "2" * 64},
        "versions": {"torch": "2.0"},
    }
    write_json(folder / "model/config.json", config)
    write_json(folder / "model/mlflow_run.json", {"run_id": "run-of-today", "model_id": "abc"})
    (folder / "model/model.safetensors").write_bytes(b"weights")
    counts = {"identified_by_source": {f"export {ATTACK}.ris": 30}, "duplicates_removed": 4, "removed_by_automation": 0}
    counts |= {"removed_for_other_reasons": 0, "screened": 26, "without_abstract": 0}
    write_json(folder / "summary.json", {"prisma": counts})
    answers = [
        Coding.model_validate(
            {"record_id": record_id, "coder": f"llm:{ATTACK}", "label": label, "value": (0, 1, None)[number % 3]}
            | {"basis": "abstract"}
        )
        for number, record_id in enumerate(ids[:-1])
        for label in LABELS
    ]
    write_codings(folder / "llm.csv", answers)
    write_runs(folder / "llm.csv", LlmRuns(runs=(described_run(f"llm:{ATTACK}", model=ATTACK, system=ATTACK),)))
    status, _, message = call(
        *("evaluate", folder / "tagged/predictions.parquet", folder / "gold.csv", "--project", folder),
        *("-o", folder / "reports/metrics.json", "--baselines", folder / "baselines"),
        *("--out-of-fold", folder / "oof", "--curve", folder / "curve", "--variations", folder / "told"),
        *("--llm", folder / "llm.csv"),
    )
    assert status == 0, message
    metrics = read_json(folder / "reports/metrics.json")
    write_json(folder / "reports/metrics.json", metrics | {"agreement": agreement()})
    (folder / "reports/methods.md").write_text(f"# Methods\n\nWe used it. {ATTACK}\n\n- one\n- two\n", encoding="utf-8")
    return folder


def write(folder: Path, *options: object) -> str:
    """Write the report of a project folder and return its HTML."""
    words = [
        "report",
        folder / "reports/metrics.json",
        "-o",
        folder / "report.html",
        "--project",
        folder,
    ]
    words += ["--model", folder / "model", "--summary", folder / "summary.json", *options]
    status, _, message = call(*words)
    assert status == 0, message
    return (folder / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """The elements of an HTML page, each with its attributes and all text inside it."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert self._open == [], [self.elements[row][0] for row in self._open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), []))
        if tag not in self.VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for row in self._open:
            self.elements[row][2].append(data)

    def having(self, attribute: str) -> list[tuple[str, str]]:
        """Return the value of an attribute and the text of each element that has this attribute."""
        return [(own[attribute] or "", "".join(text)) for _, own, text in self.elements if attribute in own]

    def tags(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(own, "".join(text)) for name, own, text in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.elements[0][2])


def value_at(metrics: Any, path: str) -> Any:
    for key in path.split("/"):
        metrics = metrics[int(key)] if isinstance(metrics, list) else metrics[key]
    return metrics


def said(kind: str, values: list[float | None]) -> str:
    """Return the sum of numbers as the report must write it, rounded independently of the report's code."""
    if None in values:
        return "–"
    exact = sum((Decimal(value) for value in values if value is not None), Decimal(0))
    if kind == "count":
        return f"{int(exact):,}"
    kind, _, places = kind.partition(" ")
    if kind == "percent":
        return f"{(exact * 100).quantize(Decimal(1).scaleb(-int(places or 0)))}%"
    if kind == "p":
        return "p < 0.001" if exact < Decimal("0.001") else f"p = {exact.quantize(Decimal('0.001'))}"
    assert kind == "number"
    rounded = str(exact.quantize(Decimal(1).scaleb(-int(places or 2))))
    return rounded.removeprefix("-") if not float(rounded) else rounded.replace("-", "−")
