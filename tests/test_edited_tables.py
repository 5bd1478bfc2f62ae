"""Test that commands that read edited tables accept them in each of four formats in which Excel saves tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mechtag.core.errors import MechtagError
from mechtag.core.parquet import write_records
from mechtag.core.settings import load_settings
from mechtag.evaluation.evaluate import agreement_of_files
from mechtag.pipeline.annotations.additions import match_codings
from mechtag.pipeline.annotations.coding_table import read_annotations, read_codings
from mechtag.pipeline.annotations.gold_table import gold_standard, load_matrix
from mechtag.pipeline.dedupe.dedupe import dedupe
from mechtag.pipeline.dedupe.review_tables import UNCERTAIN, read_decisions, write_uncertain
from mechtag.pipeline.screening.decisions import read_judgements
from tests.support.coded_papers import BOOK, RECORDS, import_from
from tests.support.coded_papers import CODINGS as FIXTURES
from tests.support.command import call
from tests.support.exports import workbook
from tests.support.papers import LONG, SETTINGS, TEXT, record

KEYS = BOOK.all_keys
Rows = Sequence[Sequence[str]]
PAPERS = [str(dict(one.raw)["key"]) for one in RECORDS[:4]]
CODINGS = (
    ("key", "coder", "label", "value", "basis", "evidence"),
    *((PAPERS[0], coder, "trust", word, "abstract", "") for coder, word in (("Zoë", "yes"), ("Ann", "WAHR"))),
    *((PAPERS[1], coder, "trust", word, "abstract", "") for coder, word in (("Zoë", "no"), ("Ann", "0"))),
    *((PAPERS[2], coder, "money", word, "abstract", "«für»") for coder, word in (("Zoë", "x"), ("Ann", ""))),
)
MATRIX = (
    ("key", "paper", "trust", "money", "sharing_power"),
    (PAPERS[0], "Zoë (2017)", "x", "no", ""),
    (PAPERS[1], "Brandt (2019)", "FALSCH", "1", "ja"),
)
LABELS = (
    ("key", "title", "decision"),
    (PAPERS[0], RECORDS[0].title, "yes"),
    (PAPERS[1], RECORDS[1].title, ""),
    (PAPERS[2], RECORDS[2].title, "exclude"),
)
PREPRINT = record(1, title=LONG, abstract=TEXT, journal="medRxiv", doi="10.1101/1").model_copy(
    update={"source_file": "é.ris"}
)
ARTICLE = record(2, title=LONG, abstract=TEXT, journal="Care", doi="10.1234/2").model_copy(
    update={"source_file": "é.ris"}
)


def _text(rows: Rows, delimiter: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue()


def _csv(rows: Rows) -> tuple[str, bytes]:
    return "table.csv", _text(rows, ",").encode("utf-8-sig")


def _semicolons(rows: Rows) -> tuple[str, bytes]:
    """Return CSV as Excel saves it in countries with a decimal comma, with an empty row at the end."""
    return "table.csv", _text([*rows, [""] * len(rows[0])], ";").encode("cp1252")


def _unicode_text(rows: Rows) -> tuple[str, bytes]:
    return "table.txt", _text(rows, "\t").encode("utf-16")


def _xlsx(rows: Rows) -> tuple[str, bytes]:
    """Return a workbook in which numbers are numeric cells and empty cells are missing."""
    cells = [[int(cell) if cell in ("0", "1", "2") else cell or None for cell in row] for row in rows]
    return "table.xlsx", workbook({"Tabelle1": [*cells, []]})


WAYS = (_csv, _semicolons, _unicode_text, _xlsx)
Way = Callable[[Rows], tuple[str, bytes]]


def saved(folder: Path, way: Way, rows: Rows) -> Path:
    name, content = way(rows)
    (folder / name).write_bytes(content)
    return folder / name


def params(folder: Path, records: Path) -> Path:
    """Write settings for training on a table of codings, and return their path."""
    write_records(folder / "records.parquet", RECORDS)
    train = {"records": str(records), "texts": str(folder / "records.parquet"), "added": str(folder / "added")}
    content = {
        "codebook": str(FIXTURES / "codebook.yaml"),
        "train": train,
        "evaluate": {"bootstrap": 100},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "params.yaml"


def codings(path: Path) -> object:
    """Return what ``mechtag codings`` reads from a table."""
    imported = import_from(path)
    if imported.rejected:
        (rejected,) = imported.rejected
        raise MechtagError(f"{rejected.file}: line {rejected.line}: {rejected.reason}")
    return sorted((row.key, row.coder, row.label, row.value, row.evidence) for row in imported.codings)


def agreement(path: Path) -> object:
    """Return what ``mechtag agreement`` reads from a table."""
    settings = load_settings(params(path.parent, path))
    status, said, told = call("agreement", path, "--project", path.parent)
    if status:
        raise MechtagError(told)
    assert "Zoë" in said
    found: dict[str, Any] = agreement_of_files([path], KEYS, settings, None, None).model_dump()
    trust = found["pairs"][0]["labels"]["trust"]
    return found["records"], [trust[name] for name in ("n", "both_yes", "only_a", "only_b", "both_no")]


def train(path: Path) -> object:
    """Return what ``mechtag train`` reads from a table."""
    settings = load_settings(params(path.parent, path))
    coded = read_annotations(settings, BOOK.keys, BOOK.relevance.key)
    return [(one.key, one.labels, one.not_judged, one.coder) for one in coded]


def retrain(path: Path) -> object:
    """Return what ``mechtag retrain`` reads from a table."""
    incoming = match_codings(read_codings(path, KEYS), RECORDS, [], SETTINGS, str(path))
    return sorted((row.key, row.coder, row.label, row.value, row.evidence) for row in incoming.codings)


def evaluate(path: Path) -> object:
    """Return what ``mechtag evaluate`` reads from a table."""
    matrix = load_matrix(path)
    standard = gold_standard(matrix, RECORDS)
    truth = np.nan_to_num(standard.truth(BOOK.keys), nan=-1).tolist()
    return matrix.papers, [one.record_id for one in standard.evaluated], truth


def rank(path: Path) -> object:
    """Return what ``mechtag rank --labels`` reads from a table."""
    return np.nan_to_num(read_judgements(path, BOOK.relevance.key).labels(RECORDS), nan=-1).tolist()


def dedupe_decisions(path: Path) -> object:
    """Return the result of ``mechtag dedupe --decisions`` with a table: number of duplicates, ignored decisions."""
    found = dedupe([PREPRINT, ARTICLE], SETTINGS, decisions=read_decisions([path]))
    return found.duplicates, found.ignored


def uncertain(decision: str) -> Rows:
    """Return the rows of an ``uncertain.csv`` with one pair of records and a decision on this pair."""
    folder = Path("uncertain.csv")
    write_uncertain(folder, dedupe([PREPRINT, ARTICLE], SETTINGS))
    rows = list(csv.reader(folder.read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == 2
    rows[1][UNCERTAIN.index("decision")] = decision
    return rows


COMMANDS: dict[str, tuple[Callable[[Path], object], Callable[[], Rows], str]] = {
    "codings": (codings, lambda: CODINGS, "value"),
    "agreement": (agreement, lambda: CODINGS, "value"),
    "train": (train, lambda: CODINGS, "value"),
    "retrain": (retrain, lambda: CODINGS, "value"),
    "evaluate": (evaluate, lambda: MATRIX, "trust"),
    "rank": (rank, lambda: LABELS, "decision"),
    "dedupe": (dedupe_decisions, lambda: uncertain("same"), "decision"),
}
_CODES = sorted(
    (key, coder, label, {"yes": 1, "WAHR": 1, "x": 1, "no": 0, "0": 0, "": None}[value], evidence or None)
    for key, coder, label, value, _, evidence in CODINGS[1:]
)
EXPECTED: dict[str, object] = {
    "codings": _CODES,
    "retrain": _CODES,
    "agreement": (2, [2, 1, 0, 0, 1]),
    "train": [
        (PAPERS[0], ("trust",), ("money", "sharing_power"), "Ann, Zoë"),
        (PAPERS[1], (), ("money", "sharing_power"), "Ann, Zoë"),
        (PAPERS[2], ("money",), ("trust", "sharing_power"), "Ann, Zoë"),
    ],
    "evaluate": (
        ("Zoë (2017)", "Brandt (2019)"),
        [RECORDS[0].record_id, RECORDS[1].record_id],
        [[1, 0, -1], [0, 1, 1]],
    ),
    "rank": [1, -1, 0, -1, -1, -1],
    "dedupe": (1, ()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, way: Way
) -> None:
    monkeypatch.chdir(tmp_path)
    read, rows, _ = COMMANDS[command]
    assert read(saved(tmp_path, way, rows())) == EXPECTED[command]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_file_row_and_reason_of_a_cell_that_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, way: Way
) -> None:
    monkeypatch.chdir(tmp_path)
    read, rows, column = COMMANDS[command]
    header, first, *others = map(list, rows())
    last = others[-1] if others else first
    last[header.index(column)] = "2"
    table = [header, [""] * len(header), first, *others]
    row = len(table)
    with pytest.raises(MechtagError, match=rf"(?s)table\.\w+: (line|row) {row}\b.*{column}.*'2'.*write "):
        read(saved(tmp_path, way, table))
