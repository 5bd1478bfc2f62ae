"""Test that the accuracy figures in the README are the measured ones."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.readme import END, START, collect, section, write
from mechtag.core.errors import MechtagError
from tests.support.paths import ROOT

DOCS = ROOT / "docs/benchmarks"


def test_the_section_of_the_readme_shows_the_recorded_figures() -> None:
    figures = json.loads((DOCS / "readme.json").read_text(encoding="utf-8"))
    hoc = json.loads((DOCS / "hoc.json").read_text(encoding="utf-8"))["results"]
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    text = page.partition(START)[2].partition(END)[0]
    assert text == section(figures, hoc)
    # One row is also checked without the code that writes it.
    own = figures["systems"]["transfer"]["across_auc"]
    row = re.search(r"^\| \*\*mechtag\*\* \| \*\*(\S+)\*\* \((\S+) to (\S+)\)", text, re.M)
    assert row is not None
    assert [float(cell) for cell in row.groups()] == pytest.approx(
        [own["value"], own["ci_low"], own["ci_high"]], abs=0.005
    )
    assert figures["machine"] in text
    assert "processor" in text


def test_no_accuracy_figure_is_outside_the_section() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    outside = page.partition(START)[0] + page.partition(END)[2]
    assert not re.findall(r"(?<![\w.])[01]\.\d\d\b(?!\.)|\d%", outside)


def test_the_command_reads_a_metrics_file_and_changes_only_its_section(tmp_path: Path) -> None:
    figure = {"value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "p_value": 0.2}
    pooled = dict.fromkeys(
        ("across_auc", "within_auc", "macro_f1", "kappa", "referred", "yes_right", "no_right"), figure
    )
    names = ("definition_cosine", "tfidf", "leadership_cosine", "text_length", "all_positive")
    whole = {
        "title": "three papers",
        "texts": "synopses",
        "relevance": dict.fromkeys(("roc_auc", "lost", "yes_right"), figure),
        "mechanisms": {**pooled, "kept": figure},
        "evidence": {"precision_at_1": figure},
    }
    metrics = {
        "transfer": {"pooled": pooled},
        "baselines": {name: {"pooled": pooled} for name in names},
        "relevance": {"gold": {"included": 9, "papers": 8, "yes": 5, "refer": 2, "no": 1, "median_rank": 3}},
        "coded_records": {"sets": {"first": whole}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    shutil.copy(DOCS / "hoc.json", tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}old\n{END}after\n", encoding="utf-8")
    write(tmp_path / "metrics.json", readme, tmp_path)
    page = readme.read_text(encoding="utf-8")
    assert page.startswith(f"before\n{START}Measured on the 8 papers of Table 2")
    assert page.endswith(f"{END}after\n")
    assert "of the 9 included papers, 8 could be scored. The tool calls 5 of them relevant, refers" in page
    assert "| **mechtag** | **0.50** (0.25 to 0.75) | **0.50** (0.25 to 0.75) |" in page
    assert "across papers not clearly better than chance (p = 0.20)" in page
    assert "| three papers (synopses) | 0.50 | 50% | 50% | 0.50, 0.50 | 50% | 50% | 50% |" in page
    written = json.loads((tmp_path / "readme.json").read_text(encoding="utf-8"))
    assert {**written, **collect(metrics)} == written

    readme.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(MechtagError, match="the marker <!-- accuracy --> or <!-- /accuracy --> is missing"):
        write(tmp_path / "metrics.json", readme, tmp_path)
