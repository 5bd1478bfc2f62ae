"""Test the files that the evaluation writes, and its tables for people."""

import copy
import csv
import io

import numpy as np
import pytest
from rich.console import Console

from mechtag.core.records import Evidence
from mechtag.evaluation.output_tables import reliability_points, write_outputs
from mechtag.evaluation.predictions import System
from mechtag.evaluation.report.accuracy_table import accuracy_markdown, accuracy_sections, terminal
from mechtag.evaluation.results import Results
from tests.support.gold import (
    LABELS,
    predict,
)


def test_files_next_to_the_metrics(tmp_path, gold, systems, metrics):
    quote = Evidence(sentence=0, start=0, end=5, text="=cmd()", score=1.0)
    systems["transfer"] = [row.model_copy(update={"evidence": (quote,)}) for row in systems["transfer"]]
    write_outputs(tmp_path / "out", Results.model_validate(metrics), LABELS, gold, systems)

    def read(name):
        with (tmp_path / "out" / name).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    per_label = read("per_label.csv")
    assert [(row["protocol"], row["label"]) for row in per_label] == [
        (protocol, label) for protocol in ("transfer", "leave_one_out") for label in LABELS
    ]
    trust = metrics["transfer"]["labels"]["trust"]
    assert float(per_label[0]["roc_auc_ci_low"]) == trust["roc_auc"]["ci_low"]
    assert int(per_label[0]["tp"]) == trust["confusion"]["tp"]
    assert per_label[2]["note"].startswith("too few")
    assert per_label[2]["f1"] == ""

    assert (tmp_path / "out/predictions_vs_codes.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    rows = read("predictions_vs_codes.csv")
    assert len(rows) == 8 * 3
    by_cell = {(row["key"], row["label"]): row for row in rows}
    assert by_cell["p7", "trust"]["agreement"] == "no text"
    assert by_cell["p7", "trust"]["score"] == ""
    assert by_cell["p3", "hard_money"]["agreement"] == "not judged"
    assert by_cell["p0", "trust"]["evidence"] == "'=cmd()"
    assert by_cell["p5", "trust"]["text"] == "title only"
    for row in rows:
        if row["agreement"] in ("yes", "no"):
            assert (row["agreement"] == "yes") == ((row["decision"] == "yes") == (row["human"] == "1"))
    assert {row["agreement"] for row in rows} == {"yes", "no", "referred", "not judged", "no text"}

    roc = [row for row in read("plots/roc.csv") if (row["protocol"], row["label"]) == ("transfer", "trust")]
    points = [(float(row["false_positive_rate"]), float(row["true_positive_rate"])) for row in roc]
    area = np.trapezoid([true for _, true in points], [false for false, _ in points])
    assert area == pytest.approx(trust["roc_auc"]["value"], abs=1e-6)
    assert {row["label"] for row in read("plots/precision_recall.csv")} == set(LABELS)
    reliability = read("plots/reliability.csv")
    assert sum(int(row["judgements"]) for row in reliability if row["protocol"] == "transfer") == 20


def test_reliability_points_by_hand(gold):
    truth = np.array([[0, 1, 0, 1, 1, 0, 1, 1, 1, 1.0]])
    rows = [predict("a", str(n), n / 10) for n in range(10)]
    judged = System("toy", rows).judged(["a"], [str(n) for n in range(10)], truth)
    expected = [(0.05, 0.5, 2), (0.25, 0.5, 2), (0.45, 0.5, 2), (0.65, 1.0, 2), (0.85, 1.0, 2)]
    assert [pytest.approx(point) for point in reliability_points(judged)] == expected


def test_terminal_table_fits_100_columns_without_colour(metrics):
    console = Console(width=100, no_color=True, record=True, file=io.StringIO())
    console.print(terminal(accuracy_sections(Results.model_validate(metrics))))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "…" not in text
    assert text.index("Of its 8 papers, 1 were read with their abstract") < text.index("mechtag, transfer")
    for part in (
        "mechtag, transfer",
        "Naive: yes to everything",
        "too few",
        "Naive: word counts",
        "Hard money: the table ticks 5",
    ):
        assert part in text


def test_markdown_has_the_same_content_as_the_terminal(metrics):
    text = accuracy_markdown(Results.model_validate(metrics))
    figure = metrics["transfer"]["pooled"]["within_auc"]
    row = next(line for line in text.splitlines() if line.startswith("| mechtag, transfer | 7 |"))
    assert (
        f"{figure['value']:.2f} ({figure['ci_low']:.2f} to {figure['ci_high']:.2f}; p = {figure['p_value']:.3f})" in row
    )
    assert text.startswith("# Agreement of mechtag with human coding\n")
    assert "\n- Hard money: the table ticks 5 papers" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 15
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_paper_names_cannot_break_the_tables(metrics):
    metrics = copy.deepcopy(metrics)
    metrics["transfer"]["labels"]["[red]a|b[/]"] = metrics["transfer"]["labels"].pop("trust")
    assert "[red]a\\|b[/]" in accuracy_markdown(Results.model_validate(metrics))
    console = Console(width=100, no_color=True, record=True, file=io.StringIO())
    console.print(terminal(accuracy_sections(Results.model_validate(metrics))))
    assert "[red]a|b[/]" in console.export_text()
