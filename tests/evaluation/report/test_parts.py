"""Test reports with missing, damaged or mismatched inputs, and reports in Markdown and HTML."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.parquet import write_predictions, write_records
from mechtag.core.records import Prediction, Record
from mechtag.core.settings import load_settings
from mechtag.evaluation.report.accuracy_table import accuracy_markdown
from mechtag.evaluation.report.html import Sources, render_markdown, write_report
from mechtag.evaluation.report.paper import plain
from mechtag.evaluation.report.wording import for_readers, number, percent
from mechtag.evaluation.results import Results
from mechtag.pipeline.annotations.coding_table import read_annotations
from tests.support.command import call
from tests.support.reports import CODEBOOK, Page, finished, value_at, write

__all__ = ["finished"]  # a fixture, which pytest finds by its name here


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(metrics: dict[str, Any]) -> None:
        for key in keys:
            del metrics[key]

    return change


def all_too_few(metrics: dict[str, Any]) -> None:
    for protocol in ("transfer", "leave_one_out"):
        for own in metrics[protocol]["labels"].values():
            own["note"] = "too few: 2 of 15 have the label; metrics need 5"
            for found in own.values():
                if isinstance(found, dict) and "ci_low" in found:
                    found |= {"value": None, "ci_low": None, "ci_high": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("baselines"), ["No naive methods were run, so the figures cannot be compared."]),
        (
            without("coded_records", "learning_curve", "relevance"),
            ["The metrics do not cover the records that the tool"],
        ),
        (
            without("invariance"),
            ["Whether decisions stay the same when a paper is reworded was not measured"],
        ),
        (without("agreement"), ["no agreement between people and the tool"]),
        (without("leave_one_out"), ["Only one of the two ways of testing was run."]),
        (without("transfer"), ["Only one of the two ways of testing was run.", "Trained on all papers except"]),
        (
            without("transfer", "leave_one_out", "baselines", "coverage", "gold_standard", "resampling"),
            ["The metrics include no gold standard", "Neither of the two ways of testing was run."],
        ),
        (all_too_few, ["Too few papers for a curve: Watering", "too few papers have the label"]),
    ],
)
def test_missing_sections_are_reported(
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


@pytest.mark.parametrize(
    ("place", "made", "commands"),
    [
        ("metrics", "the metrics were computed", "'mechtag tag' and 'mechtag evaluate'"),
        ("tagged search", "the records were tagged", "'mechtag tag'"),
    ],
)
def test_figures_of_another_model_are_refused(
    finished: Path, tmp_path: Path, place: str, made: str, commands: str
) -> None:
    """Otherwise, after retraining, the report would present metrics of the previous model as those of the new one."""
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy" / ("reports/metrics.json" if place == "metrics" else "summary.json")
    content = read_json(path)
    (content["transfer"] if place == "metrics" else content)["model_id"] = "former"
    write_json(path, content)
    words = ("--model", tmp_path / "copy/model", "--summary", tmp_path / "copy/summary.json")
    status, _, message = call(
        *("report", tmp_path / "copy/reports/metrics.json", "-o", tmp_path / "page.html"),
        *("--project", finished, *words),
    )
    assert (status, (tmp_path / "page.html").exists()) == (1, False)
    assert message == f"{made} with model former, but the model folder contains model abc; run {commands} again"


def test_missing_files_are_reported(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    for name in ("reports/metrics.json", "params.yaml"):
        shutil.copy(finished / name, tmp_path / name)
    shown = " ".join(Page(write(tmp_path)).text.split())
    for words in (
        "The table of all predictions (predictions_vs_gold.csv) is not next to the metrics",
        "There is no chart: “mechtag curve” was not run",
        "No tagged batch was named",
        "No model folder was named",
        "there is no methods.md next to the metrics",
    ):
        assert words in shown


def test_invalid_inputs_and_outputs_are_refused(finished: Path, tmp_path: Path) -> None:
    metrics = finished / "reports/metrics.json"
    status, _, message = call("report", metrics, "-o", tmp_path / "report.docx")
    assert status == 2
    # The terminal wraps the message in a box.
    assert "report.docx:thenameofareportmustendin.htmlor.md" in re.sub(r"[│╭╮╰╯─\s]", "", message)
    write_json(tmp_path / "metrics.json", {"baselines": {}})
    sources = Sources(tmp_path / "c.csv", tmp_path, tmp_path / "m.md")
    with pytest.raises(MechtagError, match="contains no accuracy metrics; use the file written by 'mechtag evaluate'"):
        write_report(tmp_path / "r.html", tmp_path / "metrics.json", sources, codebook=CODEBOOK)
    shutil.copytree(finished / "reports", tmp_path / "reports")
    broken = tmp_path / "reports/predictions_vs_gold.csv"
    broken.write_text("key,paper\np1,Roe\n", encoding="utf-8")
    words = [
        "report",
        tmp_path / "reports/metrics.json",
        "-o",
        tmp_path / "r.html",
        "--project",
        finished,
        *("--model", finished / "model", "--summary", finished / "summary.json"),
    ]
    status, _, message = call(*words)
    assert status == 1
    assert "predictions_vs_gold.csv: line 2: the column 'text' is missing; run 'mechtag evaluate' again" in message
    assert not (tmp_path / "r.html").exists()


def test_markdown_and_page_can_be_written_at_once(finished: Path, tmp_path: Path) -> None:
    words = ["report", finished / "reports/metrics.json", "--project", finished]
    words += ["--model", finished / "model", "--summary", finished / "summary.json"]
    status, shown, _ = call(*words, "-o", tmp_path / "a.md", "-o", tmp_path / "b.HTML")
    assert status == 0
    assert "Agreement of mechtag with human coding" in shown
    assert (tmp_path / "a.md").read_text(encoding="utf-8").startswith("# Agreement of")
    assert (tmp_path / "b.HTML").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_curve_of_other_files_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "curve/6.parquet", tmp_path / "six.parquet")
    status, _, message = call(
        *("evaluate", finished / "tagged/predictions.parquet", finished / "gold.csv", "-o", tmp_path / "metrics.json"),
        *("--project", finished, "--out-of-fold", finished / "oof", "--curve", tmp_path),
    )
    assert status == 1
    assert "contains six.parquet, but must contain only files written by 'mechtag curve'" in message


@pytest.mark.parametrize(("value", "expected"), [(-0.001, "0.00"), (0.005, "0.01"), (-0.21, "−0.21"), (1, "1.00")])
def test_numbers_have_two_decimals_and_a_true_minus(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0%"), (1, "100%"), (0.614, "61%"), (0.996, "99.6%"), (299.9 / 300, "99.97%"), (0.004, "0.4%"), (None, "–")],
)
def test_a_share_reads_100_percent_only_if_it_is_exact(value: float | None, expected: str) -> None:
    assert percent(value) == expected


def test_text_for_the_paper_is_rendered() -> None:
    text = (
        "# Title\n\n## One\nMore of it\nover **bold** lines: [number] of `a_b`.\r\n\r\n- a\n- b\n\n"
        "| Code | Kappa |\n|---|---:|\n| A \\| B | 1 |\n\n#### Two\n\nhttps://example.org"
    )
    assert render_markdown(text).splitlines() == [
        "<h3>One</h3>",
        "<p>More of it",
        "over <strong>bold</strong> lines: [number] of <code>a_b</code>.</p>",
        *("<ul>", "<li>a</li>", "<li>b</li>", "</ul>"),
        '<div class="scroll" role="region" aria-label="Text for the paper, table 1" tabindex="0">',
        *("<table>", "<thead>", "<tr>", '<th scope="col">Code</th>', '<th scope="col">Kappa</th>', "</tr>", "</thead>"),
        *("<tbody>", "<tr>", "<td>A | B</td>", "<td>1</td>", "</tr>", "</tbody>", "</table>", "</div>"),
        "<h4>Two</h4>",
        "<p>https://example.org</p>",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://example.org/a.png)",
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x]: javascript:alert(1)\n\n[x]",
        "```\n</code><script>\n```",
    ],
)
def test_text_for_the_paper_brings_no_code_and_no_request_into_the_page(text: str) -> None:
    shown = str(render_markdown(text))
    assert not re.search(r"<(img|script)|\"javascript:", shown)


def test_text_from_data_is_escaped_in_the_text_for_the_paper() -> None:
    for data in ("*a* **b** _c_ `d` [e](https://f.org) <b>g</b> &amp; a\\*", "| a |", "a_b_c", "![x](y)"):
        assert unescape(re.sub("</?p>", "", render_markdown(plain(data)))).strip() == data


def test_published_report_does_not_show_where_its_files_lay(finished: Path) -> None:
    named = re.findall(r'data-file="([^"]*)"', write(finished))
    assert "reports/metrics.json" in named
    assert not [name for name in named if name.startswith("/")]


def test_people_are_named_by_role_and_labels_by_name(finished: Path) -> None:
    results = Results.read(finished / "reports/metrics.json")
    assert results.coded_records is not None
    shown = for_readers(results, {"pests": "Pests and slugs"})
    assert shown.agreement is not None
    assert [coder.name for coder in shown.agreement.coders] == ["first coder", "tool"]
    assert [(pair.a, pair.b) for pair in shown.agreement.pairs] == [
        ("first coder", "second coder"),
        ("first coder", "tool"),
    ]
    assert shown.agreement.adjudicate[0].codes == {"first coder": 1, "second coder": 0}
    assert shown.coded_records is not None
    assert shown.coded_records.coders == ("third coder",)
    assert shown.gold_standard is not None
    assert shown.gold_standard.faults[0].startswith("Pests and slugs: the table ticks")
    assert shown.figures() == results.figures()
    alone = for_readers(results.model_copy(update={"agreement": None}), {})
    assert alone.coded_records is not None
    assert alone.coded_records.coders == ("coder",)
    pages = [write(finished), accuracy_markdown(results, {"pests": "Pests"})]
    for page in pages:
        assert "Ada" not in page
        assert "First coder and second coder" in page


@pytest.fixture
def nothing_found(tmp_path: Path) -> Path:
    """Return a project in which no paper was coded as relevant and no label was suggested."""
    labels = {"fungus": "Chytrid fungus", "drought": "Drought"}
    rows = [{"key": key, "name": name, "definition": f"{name}."} for key, name in labels.items()]
    codebook = {"name": "frogs", "relevance": {"key": "about_frogs", "definition": "About frogs."}, "labels": rows}
    coded = [
        {"key": f"c{place}", "title": f"Coded {place}", "relevant": False, "labels": [], "coder": "jkb"}
        | {"sentences": [{"text": f"Sentence {place}."}], "basis": "abstract", "codebook": "frogs"}
        for place in range(5)
    ]
    settings = {
        "codebook": "codebook.yaml",
        "train": {"records": "coded.jsonl", "exemplars": ""},
        "evaluate": {"gold": "gold.csv", "second_coder": "", "bootstrap": 100, "permutations": 100},
    }
    (tmp_path / "codebook.yaml").write_text(yaml.safe_dump(codebook), encoding="utf-8")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (tmp_path / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in coded), encoding="utf-8")
    gold = "key,paper,fungus,drought\n" + "".join(f"p{place},Frog ({place}),0,0\n" for place in range(5))
    (tmp_path / "gold.csv").write_text(gold, encoding="utf-8")
    known = read_annotations(load_settings(tmp_path / "params.yaml"), tuple(labels), "about_frogs")
    records = [
        Record(record_id=f"text:{place}", title=f"Frogs {place}", abstract="Ponds.", raw=(("key", f"p{place}"),))
        for place in range(5)
    ]
    write_records(tmp_path / "tagged/records.parquet", records)
    for name, ids in (
        ("tagged/predictions", [record.record_id for record in records]),
        ("oof/documents", [row.record.record_id for row in known]),
        ("oof/sentences", [row.record.record_id for row in known]),
    ):
        rows = [
            Prediction(
                record_id=record_id,
                label=label,
                score=0.1,
                probability=0.1,
                threshold=0.5,
                decision="no",
                evidence=(),
                model_id="abc",
            )
            for record_id in ids
            for label in ("about_frogs", *labels)
        ]
        write_predictions(tmp_path / f"{name}.parquet", rows)
    words = ("evaluate", tmp_path / "tagged/predictions.parquet", tmp_path / "gold.csv", "--project", tmp_path)
    status, _, message = call(*words, "-o", tmp_path / "reports/metrics.json", "--out-of-fold", tmp_path / "oof")
    assert status == 0, message
    return tmp_path


def test_report_of_a_review_in_which_nothing_was_found_is_not_empty(nothing_found: Path) -> None:
    words = ("report", nothing_found / "reports/metrics.json", "-o", nothing_found / "report.html")
    status, shown, message = call(*words, "--project", nothing_found)
    assert status == 0, message
    page = Page((nothing_found / "report.html").read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    assert "People gave none of the labels to any of these papers" in text
    assert "5 records were coded by one coder, from the abstract" in text
    assert text.count("There is no curve: no label has enough papers with it and without it.") == 2
    assert "A dash means that a figure has no value" in text
    assert "jkb" not in text
    for own, words in page.tags("section"):
        # No section consists only of its title.
        assert len(" ".join(words.split())) > 60, own
    for tag in ("table", "tbody", "ul", "dl", "ol"):
        assert [own for own, words in page.tags(tag) if not words.strip()] == []
    assert "A dash means that a figure has no value" in " ".join(shown.split())
    assert "None" not in shown.replace("None: coders agree", "")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.2, 0.45, "The ranking is therefore worse than chance."),
        (0.2, 0.6, "The interval includes 50%, so these papers do not show that it is better than chance."),
        (0.55, 0.7, "The ranking is therefore better than chance, though perhaps not by much."),
    ],
)
def test_the_interval_of_the_ranking_is_explained(
    finished: Path, tmp_path: Path, low: float, high: float, expected: str
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy/reports/metrics.json"
    metrics = read_json(path)
    metrics["transfer"]["pooled"]["across_auc"] |= {"value": (low + high) / 2, "ci_low": low, "ci_high": high}
    write_json(path, metrics)
    text = " ".join(Page(write(tmp_path / "copy")).text.split())
    assert expected in text
