"""Test the command that compares the number of records read from each file with an independent count."""

import gzip
import sys
from pathlib import Path

import pytest

from benchmarks import exports
from benchmarks.exports import count, main, read
from tests.support.exports import EXPORTS
from tests.support.paths import ROOT

FILES = sorted(
    path
    for folder in (EXPORTS, ROOT / "tests/fixtures/cases")
    for path in folder.rglob("*")
    if path.suffix not in (".yaml", "") and ".expected" not in path.suffixes
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_record_of_the_fixtures_is_read_or_rejected(path: Path) -> None:
    found = read(path)
    assert not found.fault
    assert not found.refused
    assert found.read >= 1
    # The independent count does not cover vertical tables and archives.
    assert (found.found is None) == (path.name in ("embase_vertical.csv", "zip_same_names.zip"))


@pytest.mark.parametrize(
    ("form", "text", "records"),
    [
        ("RIS", "TY  - JOUR\n\tTY  - BOOK\nAB  - TY  - x\n", 2),
        ("BibTeX", "@string{a={x}}\n@comment{x}\n@article{a, title={b}}\n  @Book (c,", 2),
        ("PubMed XML", "<PubmedArticleSet><PubmedArticle/><PubmedArticle ><PubmedBookArticle>", 2),
        ("CSV or TSV", 'query,asthma\n\ntitle;year;doi\n"One\ntwo";2001;\n;;\nThree, four, five, six;2002;\n', 2),
        ("JSONL", '{"title": "One"}\n\n{\n', 2),
        ("Lens JSON", '{"total": 2, "data": [{"a": {"b": [{}, {}, {}]}}, {}], "x": {"y": [{}]}}', 2),
        ("CSL-JSON", '[{"title": "One"}', None),
    ],
)
def test_independent_count(form: str, text: str, records: int | None) -> None:
    assert count(text.encode(), form) == records
    assert count(gzip.compress(text.encode("utf-8-sig")), form) == records


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["exports", str(folder)])
    with pytest.raises(SystemExit, match=r"False|True") as ended:
        main()
    return ended.value.code


def test_status_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ris").write_text("TY  - JOUR\nTI  - One\nER  - \nTY  - JOUR\nTI  - Two\nER  - \n")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7")
    assert run(tmp_path, monkeypatch) == 0
    _, first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("2\t2\t0\t0\t0.0")
    assert "refused: this is a binary file" in second
    assert last == "2 files, 1 refused with a message, 0 at fault"
    # The first reader loses a record, the second one fails.
    with monkeypatch.context() as patch:
        patch.setattr(exports, "count", lambda data, form: 3)
        assert run(tmp_path, monkeypatch) == 1
        assert "3 records were counted, but 2 were read" in capsys.readouterr().out

    def fail(sources: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(exports, "ingest", fail)
    assert run(tmp_path, monkeypatch) == 1
    assert "ValueError: broken" in capsys.readouterr().out
