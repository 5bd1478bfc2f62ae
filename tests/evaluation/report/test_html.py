"""Test the accuracy report: its numbers match the metrics file, texts are escaped, and missing metrics explained."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mechtag.core.files import read_json
from mechtag.evaluation.report.chart_data import draw_charts
from mechtag.evaluation.results import Results
from tests.support.reports import ATTACK, LABELS, PAPERS, Page, finished, said, value_at, write

__all__ = ["finished"]  # a fixture, which pytest finds by its name here


@pytest.fixture(scope="module")
def text(finished: Path) -> str:
    return write(finished)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


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
    for label in LABELS[:2]:
        wanted |= {f"llms/0/labels/{label}/{name}" for name in ("support", "kappa/value", "roc_auc/value", "referred")}
    wanted |= {f"llms/0/pooled/{figure}/value" for figure in ("across_auc", "within_auc", "kappa", "referred")}
    wanted |= {
        "agreement/all/with_model/fleiss_kappa/value",
        "agreement/adjudicate/0/probability",
        "relevance/gold/kept",
        "invariance/methods_added/changed/value",
        "invariance/methods_added/relevance_reversed",
        "invariance/headings_removed/papers",
        "relevance/coded_records/roc_auc/value",
        "coded_records/texts/synopses",
        "coded_records/texts/invented",
    }
    for name, hard in (("garden", False), ("made", True)):
        at = f"coded_records/sets/{name}"
        wanted |= {f"{at}/relevant", f"{at}/records", f"{at}/documents/across_auc/value", f"{at}/mechanisms/papers"}
        wanted |= {f"{at}/mechanisms/{figure}/value" for figure in ("across_auc", "kappa", "yes_right", "kept")}
        assert (f"{at}/hard" in paths) == hard
    wanted |= {f"coded_records/sets/garden/relevance/{name}/value" for name in ("roc_auc", "kept", "lost", "yes_right")}
    wanted |= {f"coded_records/sets/garden/second_coder/{what}/cohen_kappa/value" for what in ("relevance", "papers")}
    assert wanted <= paths


def test_each_section_states_the_texts_behind_its_metrics(page: Page) -> None:
    shown = " ".join(page.text.split())
    note = (
        "The texts are 15 synopses of abstracts in other words and 9 invented abstracts. None is a published abstract; "
        "on published abstracts the results may be worse."
    )
    sections = {
        own["aria-labelledby"]: " ".join(words.split())
        for own, words in page.tags("section")
        if "aria-labelledby" in own and "class" not in own
    }
    for name in ("tested", "coded", "limits", "curves"):
        assert note in sections[name], name
    agreement = "The texts are 8 synopses of abstracts in other words and 2 published abstracts. On published abstracts"
    assert agreement in sections["agreement"]
    # Once for relevance, and once for labels.
    assert sections["coded"].count(note) == 2
    assert "Real ones" in sections["coded"]
    assert ATTACK in sections["coded"]
    assert "too few" in sections["coded"]
    assert "Figures here are for one set each; those above are for all sets together." in shown


def test_table_cells_contain_only_numbers_of_the_metrics_file(text: str) -> None:
    tables = re.findall(r'<table class="numbers">.*?</table>', text, re.DOTALL)
    assert len(tables) > 8
    for table in tables:
        body = re.sub(r'<span data-metric="[^"]*" data-as="[\w ]+">[^<]*</span>', "", table.split("<tbody>")[1])
        cells = re.sub(r"<th.*?</th>", "", body, flags=re.DOTALL)
        assert not re.search(r"\d", re.sub(r"<[^>]*>", "", cells).replace("p1", "")), table


def test_label_with_too_few_papers_has_counts_and_no_figures(finished: Path, page: Page) -> None:
    metrics = read_json(finished / "reports/metrics.json")
    assert "too few" in metrics["transfer"]["labels"]["shade"]["note"]
    paths = {path for path, _ in page.having("data-metric")}
    assert "transfer/labels/shade/confusion/tp" in paths
    assert "transfer/labels/shade/f1/value" not in paths
    assert "too few papers have the label: 2; at least 5 are needed" in " ".join(page.text.split())
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
    made = draw_charts(
        finished / "reports/plots", Results.model_validate(metrics), {"pests": "Pests"}, {"transfer": "new"}
    )
    ((caption, drawing),) = made["roc"].panels
    assert caption == "Pests"
    area = metrics["transfer"]["labels"]["pests"]["roc_auc"]["value"]
    assert f"area under it {area:.2f}" in drawing
    (path,) = re.findall(r'd="M([^"]*)" class="series-0"', drawing)
    points = [tuple(map(float, point.split(","))) for point in path.split("L")]
    # The plot is 264 wide and 236 high, and starts at (72, 12); the area below the curve is the AUC.
    shares = [((x - 72) / 264, 1 - (y - 12) / 236) for x, y in points]
    assert np.trapezoid([y for _, y in shares], [x for x, _ in shares]) == pytest.approx(area, abs=0.005)
    ((label, protocol, value, corners),) = made["roc"].rows
    assert (label, protocol, value) == ("Pests", "new", f"{area:.2f}")
    written = [tuple(map(float, corner.split(", "))) for corner in corners.split("; ")]
    assert np.trapezoid([y for _, y in written], [x for x, _ in written]) == pytest.approx(area, abs=0.02)


@pytest.mark.parametrize(
    ("name", "across", "up"),
    [
        ("roc", "proportion of papers without it", "proportion of papers with it"),
        ("precision_recall", "recall: proportion of ticks found", "precision: proportion right"),
        ("reliability", "predicted probability", "proportion ticked by people"),
        ("coverage_risk", "proportion of decisions, most certain first", "proportion of them that are wrong"),
        ("learning_curve", "training papers", "metric, out of fold"),
    ],
)
def test_axes_are_named(finished: Path, name: str, across: str, up: str) -> None:
    results = Results.read(finished / "reports/metrics.json")
    made = draw_charts(finished / "reports/plots", results, {"pests": "Pests"}, {"transfer": "new"})
    ((_, drawing),) = made[name].panels
    *_, below, beside = re.findall(r"<text ([^>]*)>([^<]*)</text>", drawing)
    assert (below[1], beside[1]) == (across, up)
    assert "rotate" not in below[0]
    assert "rotate(-90)" in beside[0]


def test_matrix_has_every_paper_and_marks_every_disagreement(finished: Path, text: str, page: Page) -> None:
    with (finished / "reports/predictions_vs_gold.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    judged = [row for row in rows if row["agreement"] != "no text"]
    assert len(rows) == PAPERS * 3
    assert len(judged) == (PAPERS - 1) * 3
    words = {"yes": "yes", "no": "no", "refer": "review"}
    assert page.having("data-cell") == [
        (f"{row['key']}/{row['label']}", f"{words[row['decision']]} {float(row['probability']):.2f}") for row in judged
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
    # Each place with a hostile text shows it unchanged.
    for before in ("Gardens ", "Watering ", "Plants are given water. ", "Roe (2) ", "A note. ", "We used it. "):
        assert f"{before}{ATTACK}" in page.text, before
    assert f"coded {ATTACK}.jsonl" in page.text
    assert "They differ </script>" in page.text
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


def test_technical_part_names_the_inputs_of_the_report(finished: Path, page: Page) -> None:
    named = dict(page.having("data-file"))
    expected = ["reports/metrics.json", "reports/predictions_vs_gold.csv", "reports/methods.md", "summary.json"]
    expected += ["model/config.json", "model/model.safetensors", "reports/plots/roc.csv"]
    for name in expected:
        path = finished / name
        assert named[name] == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    for words in ("train.tuning.epochs", "0" * 64, "1" * 64, "2" * 64, "model_id = abc"):
        assert words in page.text


def test_report_is_reproducible_and_names_a_run_only_on_request(finished: Path, text: str) -> None:
    assert write(finished) == text
    assert "run-of-today" not in text
    assert "run-of-today" in write(finished, "--mlflow-run", finished / "model/mlflow_run.json")


def test_report_names_no_run_if_none_was_logged(finished: Path, text: str, tmp_path: Path) -> None:
    assert "MLflow" in text
    model = shutil.copytree(finished / "model", tmp_path / "model", ignore=shutil.ignore_patterns("mlflow_run.json"))
    assert "MLflow" not in write(finished, "--model", model)


def test_claims_with_one_coder_and_an_unchecked_gold_standard_are_limited(page: Page) -> None:
    """In the fixture, only one coder is a person, and the model folder has no list of training papers."""
    assert "Only one person coded them, so people cannot be compared with one another." in page.text
    assert "Whether a different coder would agree with the codes was not measured" in page.text
    assert "could not be checked" in page.text
    for claim in ("Without being trained on any", "coded by several people", "of one review", "by these coders"):
        assert claim not in page.text


def test_a_language_model_is_called_so(text: str, page: Page) -> None:
    headings = ["".join(words) for tag, _, words in page.elements if tag in ("h2", "h3")]
    assert "Language models as coders" in headings
    assert f"Language model {ATTACK}, by the abstract" in headings
    assert "is a language model, not a person" in text
    assert "may have seen published papers" in text
