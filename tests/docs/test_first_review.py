"""Test the tutorial, starting from an empty folder: its commands run in order and print what it quotes."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import openpyxl
import pytest

from mechtag.project import open_project
from tests.support.command import call
from tests.support.documents import blocks, expanded, parts

PAGE = "docs/first-review.md"
# Start of the only irrelevant title among the first six; the page says that it is about citizens.
STRANGER = "Citizens' preferences"


def judge(path: Path) -> None:
    """Fill in decisions on the first six records, as the reader does in a spreadsheet."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["title"].startswith(STRANGER) for row in rows[:6]) == 1
    for row in rows[:6]:
        row["decision"] = str(int(not row["title"].startswith(STRANGER)))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
def test_the_review_is_followed_from_the_search_to_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    started, printed, quoted = time.monotonic(), "", 0
    for block in blocks(PAGE):
        if block.language == "text":
            for line in block.text.splitlines():
                assert plain(line) in plain(printed), f"{block}: {line}"
                quoted += 1
            continue
        assert (block.language, block.not_run) == ("sh", [])
        printed = ""
        for words in (words for command in block.commands for words in parts(command)):
            if words[0] == "cd":
                os.chdir(words[1])
                continue
            if "--labels" in words:
                judge(Path("data/ranking.csv"))
            status, output, message = call(*expanded(words)[1:])
            assert status == 0, f"{' '.join(words)}: {output}{message}"
            printed += output + message
    assert quoted > 10
    assert time.monotonic() - started < 600
    check_what_the_reader_is_told_to_look_at()


def check_what_the_reader_is_told_to_look_at() -> None:
    codebook = open_project().codebook
    assert [label.name for label in codebook.labels][::3] == ["Costs and payments", "What a good farmer does"]
    with Path("data/ranking.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [bool(row["decision"]) for row in csv.DictReader(file)] == [False] * 34 + [True] * 6
    sheet = openpyxl.load_workbook("data/tagged/review.xlsx")["Review"]
    assert sheet.max_row == 41
    assert "In short" in Path("reports/report.html").read_text(encoding="utf-8")
    assert "[" in Path("reports/methods.md").read_text(encoding="utf-8")
    flow = Path("reports/flow_counts.csv").read_text(encoding="utf-8")
    for line in ("from: Databases,44", "Duplicate records removed,4", "Records screened,40"):
        assert f"{line}\n" in flow
