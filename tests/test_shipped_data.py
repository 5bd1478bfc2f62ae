"""Test the shipped annotations, counted and compared without the code that reads them."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.metrics import cohen_kappa_score

from tests.support.paths import ROOT

DATA = ROOT / "data/annotated"
CODED, SECOND = DATA / "coded", DATA / "second_coder"
LABELS = [label["key"] for label in yaml.safe_load((DATA / "codebook.yaml").read_text(encoding="utf-8"))["labels"]]

Rows = list[dict[str, Any]]


def rows(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def plain(title: str) -> str:
    """Return the letters and digits of a title, so that different spellings of a title are equal."""
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", title).lower())


@pytest.mark.parametrize(
    ("name", "papers", "relevant", "hard", "sentences"),
    [
        ("coded_records", 168, 79, 0, 1317),
        ("coded_records_2", 141, 70, 71, 1169),
        ("journal_style", 144, 72, 48, 1681),
    ],
)
def test_counts_of_each_file(name: str, papers: int, relevant: int, hard: int, sentences: int) -> None:
    found = rows(CODED / f"{name}.jsonl")
    assert len(found) == papers
    assert sum(row["relevant"] for row in found) == relevant
    assert sum(row.get("hard") is True for row in found) == hard
    assert not any(row.get("hard") and row["relevant"] for row in found)
    assert sum(len(row["sentences"]) for row in found) == sentences
    for row in found:
        carried = {label for sentence in row["sentences"] for label in sentence["mechanisms"]}
        assert carried == set(row["mechanisms"]) <= set(LABELS), row["key"]
        assert row["relevant"] or not row["mechanisms"], row["key"]


def test_labels_are_denser_in_invented_texts_than_in_synopses() -> None:
    def a_paper(names: list[str]) -> float:
        relevant = [row for name in names for row in rows(CODED / f"{name}.jsonl") if row["relevant"]]
        return float(np.mean([len(row["mechanisms"]) for row in relevant]))

    real, invented = a_paper(["coded_records", "coded_records_2"]), a_paper(["journal_style"])
    assert (round(real, 1), round(invented, 1)) == (2.7, 4.0)
    text = (DATA / "DATASHEET.md").read_text(encoding="utf-8")
    assert f"{invented:.1f} mechanisms per relevant paper against {real:.1f}" in text


@pytest.mark.parametrize(
    ("second", "first", "papers", "relevance", "sentences", "documents"),
    [
        ("second_coder", "coded_records", 70, 0.97, 0.83, 0.84),
        ("second_coder_2", "coded_records_2", 141, 0.93, 0.79, 0.86),
        ("journal_style_second", "journal_style", 44, 1.00, 0.97, 0.96),
    ],
)
def test_second_coders_agree_as_far_as_the_data_sheet_says(
    second: str, first: str, papers: int, relevance: float, sentences: float, documents: float
) -> None:
    again = rows(SECOND / f"{second}.jsonl")
    assert len(again) == papers
    assert {row["coder"] for row in again} == {"project-2"}
    one: list[list[int]] = [[], [], []]
    two: list[list[int]] = [[], [], []]
    for row in again:
        (original,) = [
            candidate
            for candidate in rows(CODED / f"{first}.jsonl")
            if candidate["key"] == row["key"] and len(candidate["sentences"]) == len(row["sentences"])
        ]
        one[0].append(original["relevant"])
        two[0].append(row["relevant"])
        one[1] += [label in sentence["mechanisms"] for sentence in original["sentences"] for label in LABELS]
        two[1] += [label in names for names in row["sentences"] for label in LABELS]
        one[2] += [label in original["mechanisms"] for label in LABELS]
        two[2] += [label in row["mechanisms"] for label in LABELS]
    kappas = [cohen_kappa_score(left, right) for left, right in zip(one, two, strict=True)]
    assert [round(value, 2) for value in kappas] == [relevance, sentences, documents]
    said = f"| `{second}.jsonl` | {papers} | {relevance:.2f} | {sentences:.2f} | {documents:.2f} |"
    assert said in (DATA / "DATASHEET.md").read_text(encoding="utf-8")


def test_no_paper_is_coded_twice_and_no_gold_paper_is_coded() -> None:
    papers = [row for path in sorted(CODED.glob("*.jsonl")) for row in rows(path)]
    gold = rows(ROOT / "data/raw/gold_records.jsonl")
    assert (len(papers), len(gold)) == (453, 36)
    dois = [row["doi"].lower() for row in papers if row["doi"]]
    assert len(set(dois)) == len(dois)
    titles = [plain(row["title"]) for row in papers]
    assert len(set(titles)) == len(titles)
    assert not {row["doi"].lower() for row in gold if row.get("doi")} & set(dois)
    assert not {plain(row["title"]) for row in gold if row.get("title")} & set(titles)


def test_keys_are_unique_except_grimm_2021() -> None:
    keys = [row["key"] for path in sorted(CODED.glob("*.jsonl")) for row in rows(path)]
    assert {key for key in keys if keys.count(key) > 1} == {"grimm-2021"}


def test_invented_papers_claim_no_journal_year_or_identifier() -> None:
    for row in rows(CODED / "journal_style.jsonl"):
        assert row["type"] == "invented"
        assert not any(row[name] for name in ("doi", "year", "journal", "authors")), row["key"]
        assert all(set(sentence) == {"text", "section", "mechanisms"} for sentence in row["sentences"])
    papers = [row for name in ("coded_records", "coded_records_2") for row in rows(CODED / f"{name}.jsonl")]
    assert all(row["type"] != "invented" for row in papers)


def test_data_sheet_counts_what_is_in_the_files() -> None:
    text = (DATA / "DATASHEET.md").read_text(encoding="utf-8")
    coded = {path.stem: rows(path) for path in sorted(CODED.glob("*.jsonl"))}
    for name, found in coded.items():
        sentences = sum(len(row["sentences"]) for row in found)
        relevant = sum(row["relevant"] for row in found)
        line = next(line for line in text.splitlines() if line.startswith(f"| `coded/{name}.jsonl` |"))
        assert f"| {len(found)} papers ({relevant} relevant), {sentences} sentences |" in line
    for path in sorted(SECOND.glob("*.jsonl")):
        again = rows(path)
        line = next(line for line in text.splitlines() if line.startswith(f"| `second_coder/{path.name}` |"))
        assert f"| {len(again)} papers ({sum(row['relevant'] for row in again)} relevant) |" in line
    exemplars = rows(DATA / "exemplars.jsonl")
    assert f"| {len(exemplars)} sentences ({sum(not row['mechanisms'] for row in exemplars)} with none) |" in text
    real = [*coded["coded_records"], *coded["coded_records_2"]]
    years = [row["year"] for row in real if row["year"]]
    assert f"The real papers date from {min(years)} to {max(years)}" in text
    missing = [sum(not row[name] for row in real) for name in ("doi", "year", "authors")]
    assert "{} real papers have no DOI, {} no year and {} no authors".format(*missing) in text
    for label in LABELS:
        counts = []
        for found in coded.values():
            counts.append(sum(label in row["mechanisms"] for row in found))
            counts.append(sum(label in sentence["mechanisms"] for row in found for sentence in row["sentences"]))
        assert f"| `{label}` | {' | '.join(map(str, counts))} |" in text
