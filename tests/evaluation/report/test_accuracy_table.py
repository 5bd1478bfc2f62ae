"""Test the accuracy tables: each set of coded records has its rows, and notes describe its texts."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mechtag.evaluation.gold_benchmark import evaluate
from mechtag.evaluation.report.accuracy_table import (
    accuracy_markdown,
    accuracy_sections,
    summary_section,
    terminal,
)
from mechtag.evaluation.results import Coverage, Results, describe_texts, words_of
from tests.support.gold import LABELS, SET_SETTINGS, random_sets


@pytest.fixture
def metrics(gold, systems) -> dict:
    coded = random_sets({"a": (8, 0, 0, 9), "b": (7, 6, 5, 0)})
    about = {"a": ("first 168 real papers", "synopses"), "b": ("144 invented abstracts in journal prose", "invented")}
    return evaluate(
        LABELS, gold, systems, SET_SETTINGS, np.random.default_rng(2), coded=replace(coded, about=about)
    ).content()


def row(text: str, section: str, start: str) -> list[str]:
    """Return the cells of a row of the Markdown table under a heading."""
    (part,) = [part for part in text.split("\n## ") if part.startswith(section)]
    (line,) = [line for line in part.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def said(figure: dict) -> str:
    return f"{figure['value']:.2f} ({figure['ci_low']:.2f} to {figure['ci_high']:.2f})".replace("-", "−")


def test_every_set_has_its_row_in_every_table(metrics: dict) -> None:
    text = accuracy_markdown(Results.model_validate(metrics))
    for name, start in (("a", "first 168 real papers"), ("b", "144 invented abstracts")):
        own = metrics["coded_records"]["sets"][name]
        ranked = row(text, "Each set of coded records: ranking of relevance", start)
        assert ranked[1:3] == [f"{own['relevant']}/{own['records']}", said(own["relevance"]["roc_auc"])]
        hard = "–" if name == "a" else said(own["relevance"]["roc_auc_hard"])
        assert ranked[3] == hard
        kept = row(text, "Each set of coded records: records kept and lost", start)
        lost = own["relevance"]["decisions"]["relevant"]["no"]
        assert kept[1:4] == [
            f"{lost}/{own['relevant']}",
            *(said(own["relevance"][key]) for key in ("kept", "yes_right")),
        ]
        labels = row(text, "Each set of coded records: labels of the relevant ones", start)
        names = ("across_auc", "within_auc", "kappa", "yes_right", "kept")
        expected = [said(own["mechanisms"][key]) for key in names]
        assert labels[1:] == [*expected, said(own["evidence"]["precision_at_1"])]
        again = row(text, "Each set of coded records: agreement with a second coder", start)
        assert again[1] == str(own["second_coder"]["records"])
        assert again[3:] == [said(own["second_coder"][key]["cohen_kappa"]) for key in ("papers", "sentences")]


def test_all_records_and_each_set_are_in_one_table(metrics: dict) -> None:
    text = accuracy_markdown(Results.model_validate(metrics))
    title = "Training records, out of fold"
    (part,) = [part for part in text.split("\n## ") if part.startswith(title)]
    rows = [line.split(" | ")[0].strip("| ") for line in part.splitlines() if line.startswith("|")][2:]
    assert rows == [
        "All records",
        "All sentences",
        *("first 168 real papers", "first 168 real papers, sentences"),
        *("144 invented abstracts in journal prose", "144 invented abstracts in journal prose, sentences"),
    ]
    assert "The first rows cover all sets of records together, the others one set each." in part
    own = metrics["coded_records"]["sets"]["a"]["documents"]
    # Rows of a single set contain no p-values.
    cells = row(text, title, "first 168 real papers |")
    assert cells[1] == "17"
    assert cells[4] == said(own["across_auc"])


def test_tables_state_that_texts_are_synopses_or_invented(metrics: dict) -> None:
    text = accuracy_markdown(Results.model_validate(metrics))
    note = (
        "The texts are 17 synopses of abstracts in other words and 18 invented abstracts. None is a published "
        "abstract; on published abstracts the results may be worse."
    )
    parts = {part.split("\n")[0]: part for part in text.split("\n## ")}
    assert note in parts["Training records, out of fold"]
    assert note in parts["Relevance"]
    again = metrics["agreement"]["records"]
    agreement = note.replace("17 synopses", "9 synopses").replace("18 invented", "9 invented")
    assert (again, agreement in parts["Agreement of people with one another and with the model"]) == (18, True)
    assert "For 5 of the 7 papers that were read, the text is a reworded synopsis" in text
    assert row(text, "Each set of coded records: records kept", "first 168")[0] == "first 168 real papers (synopses)"


def test_the_tables_fit_a_terminal(metrics: dict) -> None:
    results = Results.model_validate(metrics)
    sections = accuracy_sections(results, {"a": "A label with a long name that is wrapped in its column"})
    for width in (80, 100):
        console = Console(width=width, no_color=True, record=True, file=io.StringIO())
        console.print(terminal(sections))
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for section in sections:
            # Each line of a cell is shown in full, on one line.
            for line in (line for row in section.rows for cell in row[1:] for line in cell.splitlines()):
                assert len(line) > 22 or line in text


def test_the_summary_fits_one_screen(metrics: dict) -> None:
    console = Console(width=80, no_color=True, record=True, file=io.StringIO())
    console.print(terminal([summary_section(Results.model_validate(metrics))]))
    lines = [" ".join(line.split()).casefold() for line in console.export_text().splitlines()]
    # The paths of the files must fit on the same screen of 24 lines.
    assert len(lines) <= 24 - len(LABELS) - 5
    for label, own in metrics["transfer"]["labels"].items():
        shown = [own[name]["value"] for name in ("precision", "recall", "f1", "kappa")]
        values = ["too few" if own.get("note") else f"{value:.2f}" for value in shown]
        row = f"{words_of(label)} {own['support']}/{own['papers']} {' '.join(values)}".replace("-", "−")
        assert row in lines
    pooled = metrics["transfer"]["pooled"]
    mean = f"{pooled['macro_f1']['value']:.2f} {pooled['kappa']['value']:.2f}".replace("-", "−")
    assert any(line.endswith(mean) for line in lines)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, ""),
        ({"unknown": 4}, ""),
        ({"published": 4}, ""),
        (
            {"synopses": 1},
            "The texts are 1 synopsis of an abstract in other words. None is a published abstract; on published "
            "abstracts the results may be worse.",
        ),
        (
            {"invented": 2, "published": 1, "synopses": 3},
            "The texts are 3 synopses of abstracts in other words, 2 invented abstracts and 1 published abstract. On "
            "published abstracts alone the results may differ.",
        ),
        (
            {"invented": 2, "unknown": 5},
            "The texts are 2 invented abstracts and 5 texts of unknown kind. On published abstracts alone the results "
            "may differ.",
        ),
    ],
)
def test_kinds_of_text_in_words(texts: dict[str, int], expected: str) -> None:
    assert describe_texts(texts) == expected


def test_a_gold_standard_of_published_abstracts_needs_no_note() -> None:
    assert Coverage(abstract=30, synopsis=0, title_only=3, none=1).describe() == ""


def test_records_that_were_only_screened_have_a_table(gold, systems, coded):
    records = [
        one.model_copy(update={"labels": (), "not_judged": tuple(LABELS), "sentence_labels": None})
        for one in coded.records
    ]
    found = evaluate(
        LABELS, gold, systems, SET_SETTINGS, np.random.default_rng(2), coded=replace(coded, records=records, second=())
    )
    assert "| All records | 8 | – | – | – | – |" in accuracy_markdown(found)
