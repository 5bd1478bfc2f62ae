"""The accuracy report: its numbers are those of the metrics file, its text is escaped, and gaps are told."""

from __future__ import annotations

import base64
import copy
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evaluation.figures import figures
from evaluation.report import Sources, blocks, two_decimals, write_report
from models.codebook import load_codebook
from pipeline.codings import read_annotations
from pipeline.errors import MechtagError
from pipeline.files import read_json, write_json
from pipeline.records import Evidence, Prediction, Record
from pipeline.settings import load_settings
from pipeline.store import write_predictions, write_records
from tests.test_cli import call

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
    """A block such as a comparison of several coders writes."""
    measures = {
        "agreement": figure(0.9, 0.8, 0.95),
        "cohen_kappa": figure(-0.001, -0.1, 0.1),
        "pabak": figure(0.8, 0.7, 0.9),
        "gwet_ac1": figure(None),
        "krippendorff_alpha": figure(0.7, 0.6, 0.8),
    }
    counts = {"n": 10, "both_yes": 4, "both_no": 5, "only_a": 1, "only_b": 0}
    pairs = [
        {"a": "Ada", "b": other, "kind": kind, "unit": "records", "labels": {"pests": {**counts, **measures}}}
        | {"pooled": {**counts, **measures}}
        for other, kind in ((f"Bo {ATTACK}", "human-human"), ("mechtag", "human-model"))
    ]
    chance = {"fleiss_kappa": figure(0.5, 0.4, 0.6), "gwet_ac1": figure(0.6), "krippendorff_alpha": figure(0.55)}
    return {
        "records": 10,
        "coders": [{"name": "Ada", "kind": "human"}, {"name": "mechtag", "kind": "model"}],
        "pairs": pairs,
        "all": {"humans": chance, "with_model": chance},
        "adjudicate": [
            {"record_id": "text:1", "key": "p1", "label": "pests", "reason": f"they differ {ATTACK}", "score": 0.876}
            | {"codes": {"Ada": 1, f"Bo {ATTACK}": 0}, "probability": 0.432}
        ],
    }


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
    """A folder in which everything that a report tells of has been run, on made-up papers with hostile names."""
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
    (folder / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in coded), encoding="utf-8")
    settings = {
        "codebook": str(folder / "codebook.yaml"),
        "train": {"records": str(folder / "coded.jsonl"), "exemplars": ""},
        "evaluate": {"gold": str(folder / "gold.csv"), "second_coder": "", "bootstrap": 100, "permutations": 100},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    codebook = load_codebook(folder / "codebook.yaml")
    known = read_annotations(load_settings(folder / "params.yaml"), codebook.keys, codebook.relevance.key)
    own = [row.record.record_id for row in known]
    for name in ("oof/documents", "oof/sentences", "curve/6", "curve/18"):
        write_predictions(folder / f"{name}.parquet", predictions(own, name, len(name)))
    write_predictions(folder / "baselines/relevance_words.parquet", predictions(own, "words", 9))

    (folder / "model").mkdir()
    config = {
        "format_version": 3,
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
    status, _, message = call(
        *("evaluate", folder / "tagged/predictions.parquet", folder / "gold.csv", "--params", folder / "params.yaml"),
        *("-o", folder / "reports/metrics.json", "--baselines", folder / "baselines"),
        *("--out-of-fold", folder / "oof", "--curve", folder / "curve"),
    )
    assert status == 0, message
    metrics = read_json(folder / "reports/metrics.json")
    write_json(folder / "reports/metrics.json", metrics | {"agreement": agreement()})
    (folder / "reports/methods.md").write_text(f"# Methods\n\nWe used it. {ATTACK}\n\n- one\n- two\n", encoding="utf-8")
    return folder


def write(folder: Path, *options: object) -> str:
    """Write the report of a folder and give its text."""
    words = [
        "report",
        folder / "reports/metrics.json",
        "-o",
        folder / "report.html",
        "--params",
        folder / "params.yaml",
    ]
    words += ["--model", folder / "model", "--summary", folder / "summary.json", *options]
    status, _, message = call(*words)
    assert status == 0, message
    return (folder / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements of a page with their attributes and their own text, as a browser understands them."""

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
        """Value of an attribute and text of each element that has it."""
        return [(own[attribute] or "", "".join(text)) for _, own, text in self.elements if attribute in own]

    def tags(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(own, "".join(text)) for name, own, text in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.elements[0][2])


@pytest.fixture(scope="module")
def text(finished: Path) -> str:
    return write(finished)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def value_at(metrics: Any, path: str) -> Any:
    for key in path.split("/"):
        metrics = metrics[int(key)] if isinstance(metrics, list) else metrics[key]
    return metrics


def said(kind: str, values: list[float | None]) -> str:
    """Write numbers as the report must, by another way of rounding than its own."""
    if None in values:
        return "–"
    exact = sum((Decimal(value) for value in values if value is not None), Decimal(0))
    if kind == "count":
        return f"{int(exact):,}"
    if kind == "percent":
        return f"{(exact * 100).quantize(Decimal(1))}%"
    if kind == "p":
        return "p < 0.001" if exact < Decimal("0.001") else f"p = {exact.quantize(Decimal('0.001'))}"
    assert kind == "number"
    rounded = str(exact.quantize(Decimal("0.01")))
    return "0.00" if rounded == "-0.00" else rounded


def test_every_number_is_that_of_the_metrics_file(finished: Path, page: Page) -> None:
    metrics = read_json(finished / "reports/metrics.json")
    shown = 0
    for _, own, words in page.elements:
        path = own.get("data-metric")
        if path is None:
            continue
        values = [value_at(metrics, one) for one in path.split("+")]
        assert "".join(words) == said(str(own["data-as"]), values), path
        shown += 1
    assert shown > 400


def test_no_figure_of_accuracy_is_left_out(finished: Path, page: Page) -> None:
    metrics = read_json(finished / "reports/metrics.json")
    paths = {one for path, _ in page.having("data-metric") for one in path.split("+")}
    wanted = {f"coverage/{key}" for key in metrics["coverage"]}
    for protocol in ("transfer", "leave_one_out"):
        for label, own in metrics[protocol]["labels"].items():
            at = f"{protocol}/labels/{label}"
            wanted |= {f"{at}/support", f"{at}/papers", *(f"{at}/confusion/{count}" for count in ("tp", "fp", "fn"))}
            figures = [name for name, found in own.items() if isinstance(found, dict) and "value" in found]
            assert len(figures) == 9
            if "note" not in own:
                wanted |= {f"{at}/{name}/value" for name in figures if name != "mcc"}
    for name in metrics["baselines"]:
        wanted |= {f"baselines/{name}/pooled/{figure}/value" for figure in ("across_auc", "within_auc", "kappa")}
        wanted |= {f"baselines/{name}/labels/{label}/roc_auc/value" for label in LABELS[:2]}
    wanted |= {f"agreement/pairs/1/labels/pests/{name}" for name in ("n", "both_yes", "only_a", "cohen_kappa/value")}
    wanted |= {
        "agreement/all/with_model/fleiss_kappa/value",
        "agreement/adjudicate/0/probability",
        "relevance/gold/kept",
        "relevance/coded_records/roc_auc/value",
    }
    assert wanted <= paths


def test_tables_of_figures_hold_no_number_of_their_own(text: str) -> None:
    tables = re.findall(r'<table class="numbers">.*?</table>', text, re.DOTALL)
    assert len(tables) > 8
    for table in tables:
        body = re.sub(r'<span data-metric="[^"]*" data-as="\w+">[^<]*</span>', "", table.split("<tbody>")[1])
        cells = re.sub(r"<th.*?</th>", "", body, flags=re.DOTALL)
        assert not re.search(r"\d", re.sub(r"<[^>]*>", "", cells).replace("p1", "")), table


def test_label_with_too_few_papers_has_counts_and_no_figures(finished: Path, page: Page) -> None:
    metrics = read_json(finished / "reports/metrics.json")
    assert "too few" in metrics["transfer"]["labels"]["shade"]["note"]
    paths = {path for path, _ in page.having("data-metric")}
    assert "transfer/labels/shade/confusion/tp" in paths
    assert "transfer/labels/shade/f1/value" not in paths
    assert "too few papers carry it: 2, and 5 are needed" in " ".join(page.text.split())
    assert "Too few papers for a curve: Shade." in page.text


@pytest.mark.parametrize("name", ["reliability", "coverage_risk", "learning_curve"])
def test_table_of_a_chart_has_its_points(finished: Path, page: Page, name: str) -> None:
    cells = [words for source, words in page.having("data-source") if source == f"plots/{name}.csv"]
    with (finished / f"reports/plots/{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    expected: list[str] = []
    for row in rows:
        if name == "learning_curve":
            expected.append(row["papers"])
            for key in ("across_auc", "within_auc", "macro_f1", "macro_average_precision"):
                low, high = Decimal(row[f"{key}_ci_low"]), Decimal(row[f"{key}_ci_high"])
                expected.append(f"{Decimal(row[key]):.2f} ({low:.2f} to {high:.2f})")
        else:
            protocol, first, second, judgements = row.values()
            words = {"transfer": "as for a new review", "leave_one_out": "with the other papers coded"}[protocol]
            expected += [words, f"{float(first):.2f}", f"{float(second):.2f}", judgements]
    assert cells == expected


def test_curves_are_drawn_through_their_points(finished: Path) -> None:
    metrics = read_json(finished / "reports/metrics.json")
    made = figures(finished / "reports/plots", metrics, {"pests": "Pests"}, {"transfer": "new"})
    ((caption, drawing),) = made["roc"].panels
    assert caption == "Pests"
    area = metrics["transfer"]["labels"]["pests"]["roc_auc"]["value"]
    assert f"area under it {area:.2f}" in drawing
    (path,) = re.findall(r'd="M([^"]*)" class="series-0"', drawing)
    points = [tuple(map(float, point.split(","))) for point in path.split("L")]
    # The field is 264 wide and 236 high, from 72 and 12; the area below the drawn line is the AUC.
    shares = [((x - 72) / 264, 1 - (y - 12) / 236) for x, y in points]
    assert np.trapezoid([y for _, y in shares], [x for x, _ in shares]) == pytest.approx(area, abs=0.005)
    ((label, protocol, value, corners),) = made["roc"].rows
    assert (label, protocol, value) == ("Pests", "new", f"{area:.2f}")
    written = [tuple(map(float, corner.split(", "))) for corner in corners.split("; ")]
    assert np.trapezoid([y for _, y in written], [x for x, _ in written]) == pytest.approx(area, abs=0.02)


def test_matrix_has_every_paper_and_marks_every_disagreement(finished: Path, text: str, page: Page) -> None:
    with (finished / "reports/predictions_vs_gold.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    judged = [row for row in rows if row["agreement"] != "no text"]
    assert len(rows) == PAPERS * 3
    assert len(judged) == (PAPERS - 1) * 3
    assert page.having("data-cell") == [
        (f"{row['key']}/{row['label']}", f"{row['decision']} {float(row['probability']):.2f}") for row in judged
    ]
    differ = [row for row in judged if row["agreement"] == "no"]
    assert text.count('class="cell differ') == text.count("They disagree.") == text.count(">≠<") == len(differ) > 0
    for mark, value in (("yes", "1"), ("no", "0"), ("not judged", "")):
        count = sum(row["human"] == value for row in judged)
        assert text.count(f"People: {mark}. Tool:</span>") == count > 0
    assert text.count("no text</span></span>") == 3


def test_cells_lead_to_their_evidence(page: Page) -> None:
    targets = [own["aria-controls"] for own, _ in page.tags("button") if "aria-controls" in own]
    quoted = dict(page.having("id"))
    assert len(set(targets)) == (PAPERS - 1) * 3
    for number, label in ((2, "watering"), (7, "shade")):
        target = targets[number * 3 + LABELS.index(label)]
        assert f"\n=Sentence {number} {label}." in quoted[str(target)]
        assert ATTACK in quoted[str(target)]
    assert "the tool had only the title" in quoted[str(targets[0])]


def test_text_from_data_stays_text(text: str, page: Page) -> None:
    assert len(page.tags("script")) == len(page.tags("style")) == 1
    assert page.tags("img") == []
    # Every place where such a text was put shows it as it is.
    for before in ("Gardens ", "Watering ", "Plants are given water. ", "Roe (2) ", "A note. ", "We used it. ", "Bo "):
        assert f"{before}{ATTACK}" in page.text, before
    assert f"coded {ATTACK}.jsonl" in page.text
    assert "they differ </script>" in page.text
    for tag, own, _ in page.elements:
        assert not [name for name in own if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "action", "srcset", "xlink:href"):
            target = own.get(name)
            assert target is None or target.startswith("#") or target == "data:,", (tag, target)


def test_policy_allows_this_style_and_this_script_alone(page: Page) -> None:
    (policy,) = [own["content"] for own, _ in page.tags("meta") if own.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules["default-src"] == "'none'"
    for kind in ("script", "style"):
        ((_, content),) = page.tags(kind)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_structure_of_the_page(page: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [name for name, _ in page.having("id")]
    assert len(ids) == len(set(ids))
    for own, _ in page.tags("a"):
        assert str(own["href"]).removeprefix("#") in ids
    for own, _ in page.tags("svg"):
        assert own.get("role") == "img" or own.get("aria-hidden") == "true"
    assert page.tags("html")[0][0]["lang"] == "en"


def test_technical_part_names_what_the_report_was_made_from(finished: Path, page: Page) -> None:
    named = dict(page.having("data-file"))
    expected = ["reports/metrics.json", "reports/predictions_vs_gold.csv", "reports/methods.md", "summary.json"]
    expected += ["model/config.json", "model/model.safetensors", "reports/plots/roc.csv"]
    for name in expected:
        path = finished / name
        assert named[path.as_posix()] == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    for words in ("train.tuning.epochs", "0" * 64, "1" * 64, "2" * 64, "model_id = abc"):
        assert words in page.text


def test_report_is_the_same_twice_and_names_a_run_only_where_asked(finished: Path, text: str) -> None:
    assert write(finished) == text
    assert "run-of-today" not in text
    assert "run-of-today" in write(finished, "--mlflow-run", finished / "model/mlflow_run.json")


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(metrics: dict[str, Any]) -> None:
        for key in keys:
            del metrics[key]

    return change


def all_too_few(metrics: dict[str, Any]) -> None:
    for protocol in ("transfer", "leave_one_out"):
        for own in metrics[protocol]["labels"].values():
            own["note"] = "too few: 2 of 15 carry the label, 5 are needed for figures"
            for found in own.values():
                if isinstance(found, dict) and "ci_low" in found:
                    found |= {"value": None, "ci_low": None, "ci_high": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("baselines"), ["No naive methods were run, so nothing says how much of this comes for free."]),
        (
            without("coded_records", "learning_curve", "relevance"),
            ["There are no figures of the records that the tool"],
        ),
        (without("agreement"), ["no figures of agreement between people and the tool"]),
        (without("leave_one_out"), ["Only one of the two ways of testing was run."]),
        (without("transfer"), ["Only one of the two ways of testing was run.", "Having learnt from all papers but"]),
        (
            without("transfer", "leave_one_out", "baselines", "coverage", "gold_standard", "resampling"),
            ["There is no gold standard in the metrics", "Neither of the two ways of testing was run."],
        ),
        (all_too_few, ["Too few papers for a curve: Watering", "too few papers carry it"]),
    ],
)
def test_blocks_that_are_missing_are_told(
    finished: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: list[str]
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    metrics = copy.deepcopy(read_json(finished / "reports/metrics.json"))
    change(metrics)
    metrics.get("relevance", {}).pop("gold", None)
    write_json(tmp_path / "copy/reports/metrics.json", metrics)
    shown = Page(write(tmp_path / "copy"))
    for expected in words:
        assert expected in " ".join(shown.text.split())
    for path, _ in shown.having("data-metric"):
        if "resampling" not in path:
            assert [value_at(metrics, one) for one in path.split("+")]


@pytest.mark.parametrize("place", ["metrics", "tagged search"])
def test_figures_of_another_model_are_refused(finished: Path, tmp_path: Path, place: str) -> None:
    """After a retraining or a rollback, figures of the former model would stand under the name of the new one."""
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy" / ("reports/metrics.json" if place == "metrics" else "summary.json")
    content = read_json(path)
    (content["transfer"] if place == "metrics" else content)["model_id"] = "former"
    write_json(path, content)
    words = ("--model", tmp_path / "copy/model", "--summary", tmp_path / "copy/summary.json")
    status, _, message = call(
        *("report", tmp_path / "copy/reports/metrics.json", "-o", tmp_path / "page.html"),
        *("--params", finished / "params.yaml", *words),
    )
    assert (status, (tmp_path / "page.html").exists()) == (1, False)
    assert message == f"{place}: made with model former, the model given is abc; run it again"


def test_files_that_are_missing_are_told(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    for name in ("reports/metrics.json", "params.yaml"):
        shutil.copy(finished / name, tmp_path / name)
    shown = " ".join(Page(write(tmp_path)).text.split())
    for words in (
        "The table of all predictions (predictions_vs_gold.csv) does not stand beside the metrics",
        "There are no points to draw: 'mechtag curve' was not run",
        "No tagged batch was named",
        "No model folder was named",
        "there is no methods.md beside the metrics",
    ):
        assert words in shown


def test_what_cannot_be_a_report_is_refused(finished: Path, tmp_path: Path) -> None:
    metrics = finished / "reports/metrics.json"
    status, _, message = call("report", metrics, "-o", tmp_path / "report.docx")
    assert status == 2
    # The message stands in a box, broken where its lines end.
    assert "report.docx:areportiswrittenas.htmlor.md" in re.sub(r"[│╭╮╰╯─\s]", "", message)
    write_json(tmp_path / "metrics.json", {"read": 3, "baselines": {}})
    sources = Sources(tmp_path / "c.csv", tmp_path, tmp_path / "m.md")
    with pytest.raises(MechtagError, match="no accuracy in it; name the file that 'mechtag evaluate' wrote"):
        write_report(tmp_path / "r.html", tmp_path / "metrics.json", sources, codebook=CODEBOOK)
    shutil.copytree(finished / "reports", tmp_path / "reports")
    broken = tmp_path / "reports/predictions_vs_gold.csv"
    broken.write_text("key,paper\np1,Roe\n", encoding="utf-8")
    words = [
        "report",
        tmp_path / "reports/metrics.json",
        "-o",
        tmp_path / "r.html",
        "--params",
        finished / "params.yaml",
        *("--model", finished / "model", "--summary", finished / "summary.json"),
    ]
    status, _, message = call(*words)
    assert status == 1
    assert "predictions_vs_gold.csv: line 2: 'text'; run 'mechtag evaluate' again" in message
    assert not (tmp_path / "r.html").exists()


def test_markdown_and_page_can_be_written_at_once(finished: Path, tmp_path: Path) -> None:
    words = ["report", finished / "reports/metrics.json", "--params", finished / "params.yaml"]
    words += ["--model", finished / "model", "--summary", finished / "summary.json"]
    status, shown, _ = call(*words, "-o", tmp_path / "a.md", "-o", tmp_path / "b.HTML")
    assert status == 0
    assert "How far mechtag agrees with human coding" in shown
    assert (tmp_path / "a.md").read_text(encoding="utf-8").startswith("# How far")
    assert (tmp_path / "b.HTML").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_curve_of_other_files_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "curve/6.parquet", tmp_path / "six.parquet")
    status, _, message = call(
        *("evaluate", finished / "tagged/predictions.parquet", finished / "gold.csv", "-o", tmp_path / "metrics.json"),
        *("--params", finished / "params.yaml", "--out-of-fold", finished / "oof", "--curve", tmp_path),
    )
    assert status == 1
    assert "found six.parquet; expected files that 'mechtag curve' wrote" in message


@pytest.mark.parametrize(("value", "expected"), [(-0.001, "0.00"), (0.005, "0.01"), (-0.21, "-0.21"), (1, "1.00")])
def test_two_decimals(value: float, expected: str) -> None:
    assert two_decimals(value) == expected


def test_markdown_blocks() -> None:
    text = "# One\nMore of it\nover lines.\r\n\r\n- a\n- b\n\n\n## Two\n\nLast."
    assert blocks(text) == [
        ("heading", ["One"]),
        ("paragraph", ["More of it over lines."]),
        ("list", ["a", "b"]),
        ("heading", ["Two"]),
        ("paragraph", ["Last."]),
    ]
